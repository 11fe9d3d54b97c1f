"""The picture of a run of places: maps in colours, counts by class, and some chips."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.pictures.caption import Caption
from thor_geo.pictures.maps import MUTED
from thor_geo.pictures.marks import Marks, draw_marks
from thor_geo.pictures.place_map import (
    Dots,
    PlaceGround,
    dots_on,
    draw_bar_above,
    draw_dots,
    draw_place_frame,
)
from thor_geo.pictures.place_panels import (
    ABOVE,
    CHIP_GAP,
    CHIP_WORDS,
    CHIPS,
    SIDE,
    PlacePicture,
    PlaceSheet,
    draw_chips,
    draw_counts,
)
from thor_geo.pictures.sheet import FOOTER, HEADER, WIDTH, captioned_figure
from thor_geo.support.arrays import BoolArray, Float32Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: the room between panels, and below a map for ticks and the line that explains its dots.
_GAP, _BELOW = 0.75, 0.75
# Width of the counts beside the map of the embeddings.
_COUNTS = 4.8
# Height of a map that has the sheet to itself.
_TALLEST = 9.0
_FAILED, _EMPTY = "#d4213d", "#8a949e"


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
        wide = WIDTH - 2 * SIDE - _GAP - _COUNTS
        rows.append((ABOVE + wide * aspect + _BELOW, _draw_embeddings))
    maps = [
        *([_draw_classes] if "pca" in layers and picture.classes is not None else []),
        *([_draw_observations] if "observations" in layers else []),
    ]
    if maps:
        # A map alone is as large as two.
        columns = 2 if "pca" in layers else 1
        wide = (WIDTH - 2 * SIDE - _GAP * (columns - 1)) / columns
        rows.append((ABOVE + wide * aspect + _BELOW, maps))
    chips = picture.chips if "composite" in layers else ()
    side = (WIDTH - 2 * SIDE - CHIP_GAP * (CHIPS - 1)) / CHIPS
    chip_rows = -(-len(chips) // CHIPS)
    height = HEADER + sum(tall for tall, _ in rows) + FOOTER
    if chips:
        height += ABOVE + chip_rows * (side + CHIP_WORDS)
    figure = captioned_figure(height, caption, footer)
    sheet = PlaceSheet(figure, height)
    top = HEADER
    for tall, content in rows:
        inner = tall - ABOVE - _BELOW
        if content is _draw_embeddings:
            wide = inner / aspect
            _draw_embeddings(sheet.axes(SIDE, top + ABOVE, wide, inner), picture)
            draw_counts(sheet, SIDE + wide + _GAP, top + ABOVE, _COUNTS, inner, picture)
        else:
            for k, draw in enumerate(content):
                left = SIDE + k * (inner / aspect + _GAP)
                draw(sheet.axes(left, top + ABOVE, inner / aspect, inner), picture)
        top += tall
    if chips:
        draw_chips(sheet, top, side, chips, caption.picture)
    return figure


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

    wide = min(WIDTH - 2 * SIDE, _TALLEST / ground.aspect)
    tall = wide * ground.aspect
    height = HEADER + ABOVE + tall + _BELOW + FOOTER
    sheet = PlaceSheet(captioned_figure(height, caption, footer), height)
    axes = sheet.axes((WIDTH - wide) / 2, HEADER + ABOVE, wide, tall)
    draw_place_frame(axes, ground, title)
    dots = dots_on(axes, ground, np.ones(len(values), dtype=np.bool_))
    means = dots.means(values[:, None].astype(np.float64))[:, 0]
    draw_bar_above(
        axes, draw_dots(axes, dots, means, len(values), cmap=cmap, norm=Normalize(*limits))
    )
    _explain(axes, dots, f"mean: {label}" if dots.count.max(initial=0) > 1 else label)
    draw_marks(axes, ground.bounds, marks)
    return sheet.figure
