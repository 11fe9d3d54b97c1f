"""What a picture of places shows, and its parts that are no maps: counts by class, and chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.pictures.classes import PlaceClasses
from thor_geo.pictures.maps import INK, MUTED
from thor_geo.pictures.place_map import PlaceGround
from thor_geo.pictures.sheet import WIDTH
from thor_geo.support.arrays import BoolArray, Float32Array, UInt8Array
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: the sides of the sheet, and the room above a panel for its title.
SIDE, ABOVE = 0.75, 0.5
#: Chips of a row, the room between two, and for the words below each.
CHIPS, CHIP_GAP, CHIP_WORDS = 8, 0.2, 0.85
# Where bars begin among the counts, after the names of the classes.
_NAMES = 2.3


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


class PlaceSheet:
    """Places axes by inches from the upper left corner."""

    def __init__(self, figure: Figure, height: float) -> None:
        """Initialize a new PlaceSheet instance.

        Args:
            figure: The figure, `WIDTH` inches wide.
            height: Its height, inches.
        """
        self.figure, self.height = figure, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return new axes; all lengths are inches."""
        return self.figure.add_axes(
            (
                left / WIDTH,
                1 - (top + height) / self.height,
                width / WIDTH,
                height / self.height,
            )
        )

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        """Write words; lengths are inches, *style* is matplotlib's."""
        self.figure.text(left / WIDTH, 1 - top / self.height, words, **style)


def draw_counts(
    sheet: PlaceSheet, left: float, top: float, width: float, height: float, picture: PlacePicture
) -> None:
    """Draw the counts by class: bars in the colours of the map by class, and what must be said.

    Args:
        sheet: The sheet.
        left: Inches from its left edge.
        top: Inches from its upper edge.
        width: Inches.
        height: Inches.
        picture: The places.
    """
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


def draw_chips(
    sheet: PlaceSheet, top: float, side: float, chips: Sequence[ChipPicture], colours: str
) -> None:
    """Draw chips in rows, with their words.

    Args:
        sheet: The sheet.
        top: Inches from its upper edge.
        side: Side of a chip, inches.
        chips: The chips.
        colours: Meaning of their colours.
    """
    sheet.text(
        SIDE,
        top + ABOVE - 0.14,
        f"Some chips, {colours}",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    for k, chip in enumerate(chips):
        row, col = divmod(k, CHIPS)
        left = SIDE + col * (side + CHIP_GAP)
        down = top + ABOVE + row * (side + CHIP_WORDS)
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
