"""Pictures of a probe: confusion matrix or scatter of a regression, and learning curves."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.pictures.maps import INK, MUTED
from thor_geo.pictures.sheet import save_png
from thor_geo.probe.metrics import SCORES
from thor_geo.probe.names import SCORE_NAMES
from thor_geo.probe.probed import Probed
from thor_geo.probe.report import model_name
from thor_geo.probe.scatter import draw_scatter
from thor_geo.support.files import atomic_path
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_GRID = "#dfe4e9"
# Embeddings, raw bands, chance; then whatever else is compared, in turn.
_COLOURS = {"embeddings": "#1f6fb4", "bands": "#c2571a", "none": "#7b8691"}
_OTHERS = ("#2a8c55", "#8a4fa3", "#b0891a", "#c23b6b", "#3a9aa8")
# Where the axis of R² ends below: a regression on a few labels may be far worse than the mean.
_LOWEST_R2 = -1.0
_LONGEST_NAME = 22
# Most classes for which numbers are written into the matrix.
_NUMBERED = 20
# Size of the lines under a title, points; their distance, and the widths of a character of usual
# and of bold ones, inches.
_LINE_SIZE, _LINE, _CHARACTER, _BOLD = 10.5, 0.25, 0.088, 0.1


def write_pictures(probed: Probed, folder: Path) -> list[Path]:
    """Draw ``confusion.png`` (classes) or ``scatter.png`` (numbers), and ``curve.png``, if any.

    Args:
        probed: The results of the probe.
        folder: Where the pictures go.
    """
    path = folder / ("confusion.png" if probed.classes else "scatter.png")
    with atomic_path(path) as temporary:
        save_png(draw_first(probed), temporary, _DPI)
    return [path, *write_curve(probed, folder)]


def write_curve(probed: Probed, folder: Path) -> list[Path]:
    """Draw ``curve.png``, as far as the curve has been measured.

    Args:
        probed: The results of the probe.
        folder: Where the picture goes.

    Returns:
        Its path; none if the curve is to have a single point, the scores with all labels.
    """
    if probed.points == 1:
        return []
    path = folder / "curve.png"
    with atomic_path(path) as temporary:
        save_png(draw_curve(probed), temporary, _DPI)
    return [path]


def draw_first(probed: Probed) -> Figure:
    """Draw the confusion matrix of the linear probe, or its predictions against the truth.

    Args:
        probed: The results of the probe.
    """
    if not probed.classes:
        figure, axes = _figure(probed, 8.4, 7.9, "Predicted and true, test samples of all folds")
        box = axes.get_position(original=True)
        # Room for the scale of a density on the right.
        axes.set_position((box.x0, box.y0, box.width - 0.9 / 8.4, box.height))
        axes.set_anchor("NW")
        tested = probed.folds.tested
        draw_scatter(
            axes,
            probed.targets[tested],
            probed.evaluations[0].predictions[tested].astype(np.float64),
            probed.evaluations[0].scores,
            model_name(probed, 0),
        )
        return figure
    k = len(probed.classes)
    side = min(max(5.4, 1.9 + 0.78 * k), 18.0)
    figure, axes = _figure(
        probed, side + 2.4, side + 1.7, f"Confusion matrix, {model_name(probed, 0)}"
    )
    _matrix(axes, probed)
    return figure


def draw_curve(probed: Probed) -> Figure:
    """Draw the score against the number of training labels, with 95 % intervals.

    Args:
        probed: The results of the probe.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    name = SCORES[probed.task][0]
    title = f"Learning curve: {SCORE_NAMES[name]}"
    if not probed.curve_complete:
        title += f", {probed.measured} of {counted(probed.points, 'point')} so far"
    width = 12.4
    figure, axes = _figure(probed, width, 6.4, title)
    box = axes.get_position(original=True)
    # Room for the legend on the right: on the axes it would hide lines.
    axes.set_position((box.x0, box.y0, 8.0 / width, box.height))
    most = max(e.curve[-1].labels for e in probed.evaluations)
    _draw_lines(axes, probed, name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = [point.labels for point in probed.evaluations[0].curve]
    axes.set_xticks(ticks)
    axes.set_xlim(min(ticks) / 1.15, most * 1.15)
    axes.set_xlabel("training labels (mean of the folds)", fontsize=11, color=MUTED)
    axes.set_ylabel(SCORE_NAMES[name], fontsize=11, color=MUTED)
    axes.grid(color=_GRID, lw=0.8)
    axes.legend(
        fontsize=10, labelcolor=INK, edgecolor=_GRID, loc="upper left", bbox_to_anchor=(1.02, 1)
    )
    note = (
        f"Bands: 95 % intervals of the linear probes (bootstrap over {probed.folds.drawn}), "
        f"mean of {counted(probed.spec.repeats, 'draw')} of labels."
    )
    if name == "r2" and (lowest := axes.dataLim.y0) < _LOWEST_R2:
        axes.set_ylim(_LOWEST_R2, max(axes.dataLim.y1, 0) + 0.06)
        note += f" The axis ends at {_LOWEST_R2:g}; lines and bands go down to {lowest:.3g}."
    figure.text(0.83 / width, 0.028, note, fontsize=9.5, color=MUTED)
    return figure


def _draw_lines(axes: Axes, probed: Probed, name: str) -> None:
    """Draw a line for each evaluation, of the score *name*; chance is the same for any labels."""
    colours = _colours(probed)
    for k, evaluation in enumerate(probed.evaluations):
        colour = colours[evaluation.features]
        scores = [point.scores[name] for point in evaluation.curve]
        if evaluation.model == "chance":
            axes.axhline(
                scores[-1].value, color=colour, ls=":", lw=1.6, label=model_name(probed, k)
            )
            continue
        labels = [point.labels for point in evaluation.curve]
        dashed = evaluation.model == "knn"
        axes.plot(
            labels,
            [s.value for s in scores],
            color=colour,
            ls="--" if dashed else "-",
            marker="s" if dashed else "o",
            markersize=5,
            lw=1.8,
            label=model_name(probed, k),
        )
        if not dashed:
            low, high = [s.low for s in scores], [s.high for s in scores]
            axes.fill_between(labels, low, high, color=colour, alpha=0.13, lw=0)


def _figure(probed: Probed, width: float, height: float, title: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words = (
        f"{probed.probe.target}   ·   {len(probed.samples):,} {probed.samples.unit}   ·   "
        f"{probed.folds.words}"
    )
    warning = "; ".join(filter(None, (probed.notice, *probed.warnings)))
    # Text, colour and weight of each line under the title.
    lines = [
        (line, colour, weight)
        for text, colour, weight, character in (
            (probed.finding, INK, "normal", _CHARACTER),
            (words, MUTED, "normal", _CHARACTER),
            (warning, "#7a3e00", "bold", _BOLD),
        )
        for line in textwrap.wrap(text, int((width - 0.6) / character))
    ]
    # Each line beyond the first makes the figure higher, so that the axes keep their size.
    height += _LINE * (len(lines) - (2 if warning else 1))
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left, top = 0.3 / width, 1 - 0.45 / height
    figure.text(left, top, title, fontsize=15, fontweight="bold", color=INK)
    for k, (line, colour, weight) in enumerate(lines, start=1):
        y = top - (0.02 + _LINE * k) / height
        figure.text(left, y, line, fontsize=_LINE_SIZE, fontweight=weight, color=colour)
    above = 0.7 + _LINE * len(lines)
    axes = figure.add_axes(
        (0.9 / width, 0.95 / height, 1 - 1.2 / width, 1 - (0.95 + above) / height)
    )
    axes.tick_params(labelsize=10, colors=MUTED)
    for spine in axes.spines.values():
        spine.set(edgecolor="#c9d1d8", linewidth=0.8)
    return figure, axes


def _matrix(axes: Axes, probed: Probed) -> None:
    counts = probed.confusion
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [_short(name) for name in probed.probe.names]
    k = len(names)
    long = max(map(len, names)) > 4
    axes.set_xticks(range(k), names, rotation=40 if long else 0, ha="right" if long else "center")
    axes.set_yticks(
        range(k), [f"{n}\n(n = {int(r)})" for n, r in zip(names, rows[:, 0], strict=True)]
    )
    axes.set_xlabel("predicted", fontsize=11, color=MUTED)
    axes.set_ylabel("true", fontsize=11, color=MUTED)
    for (i, j), value in np.ndenumerate(share):
        if k <= _NUMBERED:
            axes.text(
                j,
                i,
                f"{value:.0%}\n{int(counts[i, j])}" if k <= 10 else f"{100 * value:.0f}",
                fontsize=10 if k <= 10 else 8.5,
                color="white" if value > 0.55 else INK,
                ha="center",
                va="center",
            )
    widest = max(map(len, names))
    # Room for the names left of the matrix and below it.
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    left = 0.75 + 0.088 * max(widest, 9)
    below = 0.62 + (0.065 * widest if long else 0.12)
    top = axes.get_position(original=True).y1
    axes.set_position(
        (left / width, below / height, 1 - (left + 1.25) / width, top - below / height)
    )
    axes.set_anchor("NW")
    bar = axes.inset_axes((1.03, 0, 0.035, 1))
    colours = figure.colorbar(image, cax=bar)
    colours.set_label("share of the true class", fontsize=10, color=MUTED)
    colours.outline.set_edgecolor("#c9d1d8")
    bar.tick_params(labelsize=9.5, colors=MUTED)


def _colours(probed: Probed) -> dict[str, str]:
    """Return the colour of each side, by the name of its features."""
    others = [e.features for e in probed.evaluations if e.features not in _COLOURS]
    named = {name: _OTHERS[k % len(_OTHERS)] for k, name in enumerate(dict.fromkeys(others))}
    return _COLOURS | named


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
