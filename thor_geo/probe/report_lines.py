"""Lines of a probe's summary about what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from thor_geo.probe.beside import BesideVectors
from thor_geo.probe.beside_columns import REASONS
from thor_geo.probe.beside_samples import match_words
from thor_geo.probe.differences import Difference
from thor_geo.probe.metrics import SCORES, Score
from thor_geo.probe.names import SCORE_NAMES, evaluation_name, features_name
from thor_geo.probe.seeds import SeedNoise, Spread
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.support.words import counted


def score_cell(score: Score, *, signed: bool = False) -> str:
    """Return a score with its interval, e.g. ``0.687 [0.549, 0.899]``; alone if it has none.

    Args:
        score: The score, or a difference.
        signed: Whether to write a plus.
    """
    if not math.isfinite(score.value):
        return "-"
    digits = 3 if max(map(abs, score)) < 100 else 1
    value, low, high = (_rounded(each, digits, signed=signed) for each in score)
    return f"{value} [{low}, {high}]" if math.isfinite(score.low) else value


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table with its columns under each other.

    Args:
        rows: Rows of cells, as many in each.
    """
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def difference_lines(
    differences: Sequence[Difference], task: Task, names: Sequence[str], spec: ProbeSpec
) -> list[str]:
    """Return a table of the differences; those to chance are in probe.json alone.

    Args:
        differences: THOR minus others.
        task: What is predicted.
        names: Names of the scores that are shown.
        spec: Settings.
    """
    shown = [each for each in differences if each.features != "none"]
    if not shown:
        return []
    rows = [["THOR minus", *(SCORE_NAMES[name] for name in names)]]
    rows += [
        [
            evaluation_name(each.features, each.model, task, spec.neighbours),
            *(score_cell(each.scores[name], signed=True) for name in names),
        ]
        for each in shown
    ]
    return ["", *aligned(rows)]


def beside_lines(besides: Sequence[BesideVectors], unit: str) -> list[str]:
    """Return what is compared with, how it was joined, and how many samples it covers.

    Args:
        besides: The vectors, of all samples.
        unit: What samples are.
    """
    lines = []
    for each in besides:
        words = [f"{each.name}: {each.columns} ({each.vectors.shape[1]:,} values) of {each.source}"]
        words += [f"joined {each.joined}", match_words(each, unit)]
        distinct = each.distinct
        if distinct < each.has.sum():
            words.append(f"{counted(distinct, 'different vector')}")
        lines.append(f"  beside    {'; '.join(words)}")
        gone = [f"{n:,} {REASONS[key]}" for key, n in each.left_out.items() if n]
        if gone:
            lines.append(f"            of its {counted(each.rows, 'row')}: {', '.join(gone)}")
    return lines


def noise_lines(noise: SeedNoise | None, task: Task) -> list[str]:
    """Return how much scores and differences of the linear probes move with the folds.

    Args:
        noise: Their spread; None if it was not asked for.
        task: What is predicted.
    """
    if noise is None:
        return []
    name, linear = SCORES[task][0], "linear"
    count = len(noise.seeds)
    lines = ["", f"  {SCORE_NAMES[name]} with {count} divisions into folds (lowest to highest, SD)"]
    rows = [
        [f"  {features_name(features)}", _spread(scores[name], signed=False)]
        for (features, model), scores in noise.scores.items()
        if model == linear
    ]
    rows += [
        [f"  THOR minus {features_name(features)}", _spread(scores[name], signed=True)]
        for (features, model), scores in noise.differences.items()
        if model == linear and features != "none"
    ]
    return lines + aligned(rows)


def _spread(spread: Spread, *, signed: bool) -> str:
    if not math.isfinite(spread.deviation):
        return "-"
    lowest, highest = (_rounded(v, 3, signed=signed) for v in (spread.lowest, spread.highest))
    return f"{lowest} to {highest}, SD {spread.deviation:.3f}"


def _rounded(value: float, digits: int, *, signed: bool) -> str:
    """Return a rounded number; one that is zero then has no sign."""
    rounded = round(value, digits) + 0.0  # no minus zero
    sign = "+" if signed and rounded else ""
    return f"{rounded:{sign}.{digits}f}"
