"""Predicted against true numbers, as points or, where there are many, as a density."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.pictures.maps import INK, MUTED
from thor_geo.probe.metrics import Score
from thor_geo.probe.names import SCORE_NAMES
from thor_geo.support.arrays import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: With more points than this they hide each other, and their density is drawn.
MOST_POINTS = 300
_GRID, _POINTS = "#dfe4e9", "#1f6fb4"
# Hexagons across the axes; the fewest that still show the shape of some hundred points.
_FEWEST, _MOST = 24, 60


def draw_scatter(
    axes: Axes,
    truth: Float64Array,
    made: Float64Array,
    scores: Mapping[str, Score],
    what: str,
) -> None:
    """Draw predictions against the truth with the line on which they are equal.

    Both axes have the same range and length, so that the line is the diagonal. More than
    `MOST_POINTS` are drawn as hexagons, coloured by the logarithm of their number.

    Args:
        axes: Where to draw.
        truth: True numbers, (N,).
        made: Predicted ones, (N,).
        scores: Their scores: R², RMSE and MAE are written into the picture.
        what: What predicted them, for the label.
    """
    low, high = (float(end) for end in _range(truth, made))
    if len(truth) > MOST_POINTS:
        _hexagons(axes, truth, made, (low, high))
    else:
        axes.scatter(truth, made, s=18, color=_POINTS, alpha=0.6, lw=0, zorder=3)
    axes.plot([low, high], [low, high], color=INK, lw=1.2, ls="--", zorder=4)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("true", fontsize=11, color=MUTED)
    axes.set_ylabel(f"predicted, {what}", fontsize=11, color=MUTED)
    axes.grid(color=_GRID, lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    lines = []
    for name in ("r2", "rmse", "mae"):
        value, least, most = (f"{each:.{_digits(scores[name])}f}" for each in scores[name])
        ends = f" [{least}, {most}]" if math.isfinite(scores[name].low) else ""
        lines.append(f"{SCORE_NAMES[name]} {value}{ends}")
    beyond = int(((made < low) | (made > high)).sum())
    lines.append(f"n = {len(truth):,}")
    lines += [f"predicted beyond the axes: {beyond:,}"] if beyond else []
    axes.text(
        0.03,
        0.97,
        "\n".join(lines),
        transform=axes.transAxes,
        fontsize=10.5,
        color=INK,
        va="top",
        linespacing=1.4,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": _GRID, "alpha": 0.9},
        zorder=5,
    )


def _range(truth: Float64Array, made: Float64Array) -> tuple[float, float]:
    """Return the ends of both axes: all of the truth, and all but the wildest predictions."""
    low, high = float(truth.min()), float(truth.max())
    # A linear model may predict far outside; one such point would press all others together.
    reach = high - low or float(np.ptp(made))
    near = made[(made >= low - reach) & (made <= high + reach)]
    low, high = min(low, near.min(initial=low)), max(high, near.max(initial=high))
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _hexagons(
    axes: Axes, truth: Float64Array, made: Float64Array, ends: tuple[float, float]
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    side = int(np.clip(np.sqrt(len(truth)) * 0.9, _FEWEST, _MOST))
    cells = axes.hexbin(
        truth,
        made,
        gridsize=side,
        extent=(*ends, *ends),
        bins="log",
        mincnt=1,
        cmap="viridis",
        linewidths=0.2,
        zorder=3,
    )
    bar = axes.inset_axes((1.03, 0, 0.035, 1))
    figure = axes.get_figure(root=True)
    assert figure is not None
    colours = figure.colorbar(cells, cax=bar)
    colours.set_label("samples in a hexagon", fontsize=10, color=MUTED)
    colours.outline.set_edgecolor("#c9d1d8")
    bar.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.yaxis.set_minor_formatter(NullFormatter())
    bar.tick_params(labelsize=9.5, colors=MUTED)


def _digits(score: Score) -> int:
    """Return how many digits after the point show two of the score's own."""
    size = abs(score.value)
    return 2 if not 0 < size < 1 else min(1 - math.floor(math.log10(size)), 6)
