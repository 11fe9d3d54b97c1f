"""Marks on maps: outlined squares with words, rings, and stars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.maps import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour of outlines.
MARK = "#e8442e"
# Squares that are smaller than this on paper, in points, are drawn as rings.
_SMALLEST = 9.0
# Smallest distance between words, points.
_APART = 14.0
# Distance of a word beside its square from the edge, points.
_BESIDE = 8.0


class Marks(NamedTuple):
    """Places to outline on a map.

    Attributes:
        squares: Left, bottom, right, top, metres, and the word beside each; a point is a square
            without an extent.
        queries: Easting and northing of the query points, metres.
    """

    squares: Sequence[tuple[Bounds, str]]
    queries: Sequence[tuple[float, float]] = ()


def draw_marks(axes: Axes, bounds: Bounds, marks: Marks) -> None:
    """Draw marks on a map.

    Args:
        axes: The map.
        bounds: Its ground: left, bottom, right, top, metres.
        marks: The marks; a word for which there is no room in or beside its square is left out.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.5, foreground="white")]
    points = axes.get_window_extent().width * 72 / axes.figure.dpi / (bounds[2] - bounds[0])
    taken = list(marks.queries)
    middles = [_middle(square) for square, _ in marks.squares]
    for ((left, bottom, right, top), word), (x, y) in zip(marks.squares, middles, strict=True):
        if (right - left) * points < _SMALLEST:
            axes.plot(
                x, y, "o", ms=_SMALLEST, mfc="none", mec=MARK, mew=1.6, path_effects=halo, zorder=6
            )
            x, y = x + 9 / points, y + 6 / points
        else:
            axes.add_patch(
                Rectangle(
                    (left, bottom),
                    right - left,
                    top - bottom,
                    facecolor="none",
                    edgecolor=MARK,
                    linewidth=1.8,
                    path_effects=halo,
                    zorder=6,
                )
            )
        beside = max(right - left, _SMALLEST / points) / 2 + _BESIDE / points
        # The first are the most important: a word that would cover an earlier one goes beside its
        # square, and where it would be read as that of another square it is left out.
        place = _free_place((x, y), beside, taken, middles, _APART / points)
        if place is None:
            continue
        x, y = place
        taken.append(place)
        axes.text(
            x,
            y,
            word,
            fontsize=10,
            fontweight="bold",
            color=MARK,
            ha="center",
            va="center",
            path_effects=halo,
            zorder=7,
            clip_on=True,
        )
    for x, y in marks.queries:
        axes.plot(x, y, "*", ms=19, mfc="#ffd23f", mec=INK, mew=1.2, path_effects=halo, zorder=8)


def _middle(bounds: Bounds) -> tuple[float, float]:
    left, bottom, right, top = bounds
    return (left + right) / 2, (bottom + top) / 2


def _free_place(
    middle: tuple[float, float],
    beside: float,
    taken: Sequence[tuple[float, float]],
    middles: Sequence[tuple[float, float]],
    apart: float,
) -> tuple[float, float] | None:
    """Return where a word covers nothing: in the middle, else on the freest side; None if nowhere.

    Args:
        middle: Where the word would be best, metres.
        beside: Distance from there to a word beside the square.
        taken: Where words and stars are.
        middles: Middles of all squares, on which no word of another may lie.
        apart: Smallest distance between words.
    """

    def room(point: tuple[float, float], others: Sequence[tuple[float, float]]) -> float:
        return min((math.dist(point, other) for other in others), default=math.inf)

    if room(middle, taken) >= apart:
        return middle
    x, y = middle
    sides = ((x + beside, y), (x, y + beside), (x - beside, y), (x, y - beside))
    others = [other for other in middles if other != middle]
    free = [p for p in sides if room(p, taken) >= apart and room(p, others) >= 0.7 * apart]
    return max(free, key=lambda point: room(point, taken), default=None)
