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
        marks: The marks; a word that would cover an earlier one is left out.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.5, foreground="white")]
    points = axes.get_window_extent().width * 72 / axes.figure.dpi / (bounds[2] - bounds[0])
    taken = list(marks.queries)
    for (left, bottom, right, top), word in marks.squares:
        x, y = (left + right) / 2, (bottom + top) / 2
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
        # The first are the most important: a word that would cover an earlier one is left out.
        if any(math.dist((x, y), other) * points < _APART for other in taken):
            continue
        taken.append((x, y))
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
