"""The picture of a run of places: maps in colours, counts by class, and some chips."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.pictures.caption import Caption
from thor_geo.pictures.classes import PlaceClasses
from thor_geo.pictures.maps import INK, MUTED
from thor_geo.pictures.marks import Marks, draw_marks
from thor_geo.pictures.place_map import (
    Dots,
    PlaceGround,
    dots_on,
    draw_bar_above,
    draw_dots,
    draw_place_frame,
)
from thor_geo.pictures.sheet import FOOTER, HEADER, WIDTH, captioned_figure
from thor_geo.support.arrays import BoolArray, Float32Array, UInt8Array
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: the sides of the sheet, between panels, above a map for its title, and below it for ticks
# and the line that explains its dots.
_SIDE, _GAP, _ABOVE, _BELOW = 0.75, 0.75, 0.5, 0.75
# Width of the counts beside the map of the embeddings.
_COUNTS = 4.8
# Where bars begin on it, after the names of the classes.
_NAMES = 2.3
# Chips of a row, the room between two, and for the words below each.
_CHIPS, _CHIP_GAP, _CHIP_WORDS = 8, 0.2, 0.85
# Height of a map that has the sheet to itself.
_TALLEST = 9.0
_FAILED, _EMPTY = "#d4213d", "#8a949e"


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipPicture:
    """A chip in true colour, with words below it.

    Attributes:
        image: (h, w, 3) uint8.
        words: Up to three short lines.
    """

    image: UInt8Array
    words: Sequence[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacePicture:
    """What a picture of places shows.

    Attributes:
        ground: The ground, with all N places.
        rgb: Colour of each embedding, (N, 3) uint8; anything where there is none.
        embedded: Which places have an embedding, (N,).
        pictured: Which of them have a colour, (N,): of very many, only some are read.
        failed: Which failed, (N,).
        empty: Which have no observation, (N,).
        observations: Mean clear observations of each chip, (N,), NaN where unknown.
        classes: Classes of the places with an embedding; None without a column of few values.
        chips: Some chips.
        note: What else must be said about the places, or nothing.
    """

    ground: PlaceGround
    rgb: UInt8Array
    embedded: BoolArray
    pictured: BoolArray
    failed: BoolArray
    empty: BoolArray
    observations: Float32Array
    classes: PlaceClasses | None
    chips: Sequence[ChipPicture] = ()
    note: str = ""


def draw_place_sheet(
    picture: PlacePicture, caption: Caption, footer: str, layers: Collection[str]
) -> Figure:
    """Draw places as a sheet.

    Args:
        picture: The places.
        caption: Text above.
        footer: Text below.
        layers: What to draw, from `thor_geo.pictures.quicklook.LAYERS`.

    Returns:
        A figure 1600 pixels wide.
    """
    aspect = picture.ground.aspect
    rows: list[tuple[float, Any]] = []
    if "pca" in layers:
        wide = WIDTH - 2 * _SIDE - _GAP - _COUNTS
        rows.append((_ABOVE + wide * aspect + _BELOW, _draw_embeddings))
    maps = [
        *([_draw_classes] if "pca" in layers and picture.classes is not None else []),
        *([_draw_observations] if "observations" in layers else []),
    ]
    if maps:
        # A map alone is as large as two.
        columns = 2 if "pca" in layers else 1
        wide = (WIDTH - 2 * _SIDE - _GAP * (columns - 1)) / columns
        rows.append((_ABOVE + wide * aspect + _BELOW, maps))
    chips = picture.chips if "composite" in layers else ()
    side = (WIDTH - 2 * _SIDE - _CHIP_GAP * (_CHIPS - 1)) / _CHIPS
    chip_rows = -(-len(chips) // _CHIPS)
    height = HEADER + sum(tall for tall, _ in rows) + FOOTER
    if chips:
        height += _ABOVE + chip_rows * (side + _CHIP_WORDS)
    figure = captioned_figure(height, caption, footer)
    sheet = _Sheet(figure, height)
    top = HEADER
    for tall, content in rows:
        inner = tall - _ABOVE - _BELOW
        if content is _draw_embeddings:
            wide = inner / aspect
            _draw_embeddings(sheet.axes(_SIDE, top + _ABOVE, wide, inner), picture)
            _draw_counts(sheet, _SIDE + wide + _GAP, top + _ABOVE, _COUNTS, inner, picture)
        else:
            for k, draw in enumerate(content):
                left = _SIDE + k * (inner / aspect + _GAP)
                draw(sheet.axes(left, top + _ABOVE, inner / aspect, inner), picture)
        top += tall
    if chips:
        _draw_chips(sheet, top, side, chips, caption.picture)
    return figure


class _Sheet:
    """Places axes by inches from the upper left corner."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure, self.height = figure, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (
                left / WIDTH,
                1 - (top + height) / self.height,
                width / WIDTH,
                height / self.height,
            )
        )

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        self.figure.text(left / WIDTH, 1 - top / self.height, words, **style)


def _draw_embeddings(axes: Axes, picture: PlacePicture) -> None:
    draw_place_frame(axes, picture.ground, "Embeddings (PCA)")
    dots = _dots(axes, picture, picture.pictured)
    draw_dots(axes, dots, dots.means(picture.rgb[picture.pictured]).round(), len(picture.rgb))
    _explain(axes, dots, "a dot has the mean colour of its places")
    _mark(axes, picture)


def _draw_classes(axes: Axes, picture: PlacePicture) -> None:
    classes = picture.classes
    assert classes is not None
    draw_place_frame(axes, picture.ground, f"Places by {classes.column}")
    dots = _dots(axes, picture, picture.embedded)
    most = dots.most(classes.codes, len(classes.names))
    draw_dots(axes, dots, classes.palette()[most], len(picture.rgb))
    _explain(axes, dots, "a dot has the colour of its most frequent class")


def _draw_observations(axes: Axes, picture: PlacePicture) -> None:
    from matplotlib.colors import Normalize

    draw_place_frame(axes, picture.ground, "Clear observations")
    known = np.isfinite(picture.observations)
    if not known.any():
        return
    dots = _dots(axes, picture, known)
    values = dots.means(picture.observations[known, None].astype(np.float64))[:, 0]
    highest = max(1.0, float(np.ceil(values.max())))
    drawn = draw_dots(
        axes, dots, values, len(picture.rgb), cmap="YlGnBu", norm=Normalize(0, highest)
    )
    draw_bar_above(axes, drawn)
    _explain(axes, dots, "mean per pixel and chip")


def _dots(axes: Axes, picture: PlacePicture, chosen: BoolArray) -> Dots:
    return dots_on(axes, picture.ground, chosen)


def _explain(axes: Axes, dots: Dots, words: str) -> None:
    """Say below a map what a dot is; nothing of colours where each is one place."""
    most = int(dots.count.max(initial=0))
    if most > 1:
        words = f"a dot is 1 to {most:,} places; {words}"
    elif words.startswith("a dot"):
        return
    axes.annotate(
        words,
        xy=(1, 0),
        xytext=(0, -34),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=10,
        color=MUTED,
        ha="right",
        va="center",
    )


def _mark(axes: Axes, picture: PlacePicture) -> None:
    """Mark places without an embedding, and say how many there are."""
    handles = []
    for chosen, colour, marker, word in (
        (picture.failed, _FAILED, "x", "failed"),
        (picture.empty, _EMPTY, "+", "no observations"),
    ):
        if chosen.any():
            dots = _dots(axes, picture, chosen)
            handles += axes.plot(
                dots.x,
                dots.y,
                marker,
                color=colour,
                # Many small marks leave the dots below them to be seen.
                markersize=6 if len(dots.count) < 100 else 3,
                markeredgewidth=1.4 if len(dots.count) < 100 else 0.7,
                linestyle="none",
                zorder=5.6,
                label=f"{word} ({int(chosen.sum()):,})",
            )
    if handles:
        height = axes.get_window_extent().height / axes.figure.dpi
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0, -0.36 / height),
            ncols=2,
            fontsize=10,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            labelcolor=MUTED,
            handletextpad=0.2,
        )


def _draw_counts(
    sheet: _Sheet, left: float, top: float, width: float, height: float, picture: PlacePicture
) -> None:
    """Draw the counts by class: bars in the colours of the map by class."""
    from matplotlib.patches import Rectangle

    total = len(picture.rgb)
    classes = picture.classes
    axes = sheet.axes(left, top, width, height)
    axes.axis("off")
    title = counted(total, "place") if classes is None else f"Places by {classes.column}"
    axes.set_title(title, fontsize=13, fontweight="bold", color=INK, loc="left", pad=9)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    y = 0.1
    if classes is not None:
        rgb = picture.rgb[picture.pictured].astype(np.float64)
        means = classes.means(rgb, picture.pictured[picture.embedded]).round() / 255
        row = min(0.34, (height - 0.8) / max(len(classes.names), 1))
        widest = int(classes.counts.max(initial=1))
        for k, (name, count) in enumerate(zip(classes.names, classes.counts.tolist(), strict=True)):
            middle = y + row / 2
            axes.add_patch(
                Rectangle((0, y + row * 0.14), row * 0.72, row * 0.72, facecolor=means[k])
            )
            axes.text(0.42, middle, _short(name), fontsize=10.5, color=INK, va="center")
            start, room = _NAMES, width - _NAMES - 0.9
            axes.add_patch(
                Rectangle(
                    (start, y + row * 0.16),
                    max(room * count / widest, 0.02),
                    row * 0.68,
                    facecolor=classes.colours[k],
                )
            )
            axes.text(
                start + room * count / widest + 0.08,
                middle,
                f"{count:,}",
                fontsize=10.5,
                color=MUTED,
                va="center",
            )
            y += row
        y += 0.16
        axes.text(
            0,
            y,
            "Squares: mean colour of the embeddings.",
            fontsize=10,
            color=MUTED,
            va="top",
        )
        y += 0.26
    for line in picture.note.splitlines():
        axes.text(0, y, line, fontsize=10, color=MUTED, va="top")
        y += 0.24


def _short(words: str, most: int = 22) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _draw_chips(
    sheet: _Sheet, top: float, side: float, chips: Sequence[ChipPicture], colours: str
) -> None:
    sheet.text(
        _SIDE,
        top + _ABOVE - 0.14,
        f"Some chips, {colours}",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    for k, chip in enumerate(chips):
        row, col = divmod(k, _CHIPS)
        left = _SIDE + col * (side + _CHIP_GAP)
        down = top + _ABOVE + row * (side + _CHIP_WORDS)
        axes = sheet.axes(left, down, side, side)
        axes.imshow(chip.image, interpolation="antialiased", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(edgecolor="#c9d1d8", linewidth=0.8)
        for line, words in enumerate(chip.words):
            sheet.text(
                left,
                down + side + 0.2 + 0.19 * line,
                _short(words, 27),
                fontsize=10 if line == 0 else 9.5,
                color=INK if line == 0 else MUTED,
            )


def draw_place_values(
    ground: PlaceGround,
    values: Float32Array,
    marks: Marks,
    *,
    title: str,
    label: str,
    cmap: str,
    limits: tuple[float, float],
    caption: Caption,
    footer: str = "",
) -> Figure:
    """Draw a map of places in colours of numbers.

    Args:
        ground: Its ground, with N places.
        values: A number for each, (N,).
        marks: Places to mark.
        title: Words above the map.
        label: What the numbers are.
        cmap: Name of the colours.
        limits: Numbers at the ends of the colour bar.
        caption: Text above.
        footer: Text below.

    Returns:
        A figure 1600 pixels wide.
    """
    from matplotlib.colors import Normalize

    wide = min(WIDTH - 2 * _SIDE, _TALLEST / ground.aspect)
    tall = wide * ground.aspect
    height = HEADER + _ABOVE + tall + _BELOW + FOOTER
    sheet = _Sheet(captioned_figure(height, caption, footer), height)
    axes = sheet.axes((WIDTH - wide) / 2, HEADER + _ABOVE, wide, tall)
    draw_place_frame(axes, ground, title)
    dots = dots_on(axes, ground, np.ones(len(values), dtype=np.bool_))
    means = dots.means(values[:, None].astype(np.float64))[:, 0]
    draw_bar_above(
        axes, draw_dots(axes, dots, means, len(values), cmap=cmap, norm=Normalize(*limits))
    )
    _explain(axes, dots, f"mean: {label}" if dots.count.max(initial=0) > 1 else label)
    draw_marks(axes, ground.bounds, marks)
    return sheet.figure
