"""Scores with confidence intervals: a bootstrap over blocks of ground.

Errors of neighbouring samples are correlated, so drawing single samples would make the intervals
too narrow. Instead, whole blocks are drawn with replacement, 1,000 times, and the interval lies
between the 2.5th and 97.5th percentiles (Efron & Tibshirani 1993, chapter 13; blocks: Kuensch
1989). The scores of a draw are those of all its samples together, from sums for each block. For
means over classes, draws without a sample of some class do not count. Classes of which no sample
is tested at all have no part in such means. There is no interval if all draws that count have the
same blocks, as those of a single block do: they say nothing about other ground.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.probe.spec import Task
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array

DRAWS = 1000
_PERCENTILES = (2.5, 97.5)

#: Scores of each task; curves show the first.
SCORES: dict[Task, tuple[str, ...]] = {
    "classification": ("macro_f1", "accuracy", "balanced_accuracy", "miou", "kappa"),
    "regression": ("r2", "rmse", "mae"),
}


class Score(NamedTuple):
    """A score with its 95 % confidence interval, whose ends are NaN if there are too few blocks."""

    value: float
    low: float
    high: float


def json_scores(scores: Mapping[str, Score]) -> dict[str, list[float | None]]:
    """Return scores as [value, low, high] for JSON, with None for those that are not defined."""
    return {
        name: [v if math.isfinite(v) else None for v in score] for name, score in scores.items()
    }


def block_scores(
    task: Task,
    truth: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    block: Int64Array,
    *,
    classes: int = 0,
    seed: int = 0,
) -> dict[str, Score]:
    """Return all scores of a task.

    Args:
        task: What was predicted.
        truth: Classes as integers below *classes*, or numbers, (N,).
        predictions: Likewise, (N,), or (R, N) for several repeats, whose scores are averaged.
        block: Block of each sample, (N,).
        classes: Number of classes.
        seed: Seed of the draws.
    """
    return score_draws(task, truth, predictions, block, classes=classes, seed=seed).intervals()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreDraws:
    """Scores of draws of blocks.

    Attributes:
        task: What was predicted.
        values: (S, 1 + `DRAWS`) in the order of `SCORES`: first those of all blocks; NaN where a
            draw has no score.
        drawn: How often each draw has each block, (`DRAWS`, blocks).
    """

    task: Task
    values: Float64Array
    drawn: Float64Array

    def minus(self, other: ScoreDraws) -> ScoreDraws:
        """Return the differences, draw by draw.

        Args:
            other: Of the same draws.
        """
        return replace(self, values=self.values - other.values)

    def intervals(self) -> dict[str, Score]:
        """Return the scores by name, with their intervals."""
        return {
            name: Score(float(values[0]), *self._ends(values[1:]))
            for name, values in zip(SCORES[self.task], self.values, strict=True)
        }

    def _ends(self, values: Float64Array) -> tuple[float, float]:
        finite = np.isfinite(values)
        drawn = self.drawn[finite]
        # Equal values are no sign of it: equal predictions never differ, whatever is drawn.
        if not (drawn[1:] != drawn[:1]).any():
            return math.nan, math.nan
        low, high = np.percentile(values[finite], _PERCENTILES)
        return float(low), float(high)


def score_draws(
    task: Task,
    truth: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    block: Int64Array,
    *,
    classes: int = 0,
    seed: int = 0,
) -> ScoreDraws:
    """Return all scores of a task for all blocks, and for each draw of them.

    Equal blocks and seeds give equal draws, so that the scores of two models can be subtracted draw
    by draw.

    Args:
        task: What was predicted.
        truth: Classes as integers below *classes*, or numbers, (N,).
        predictions: Likewise, (N,), or (R, N) for several repeats, whose scores are averaged.
        block: Block of each sample, (N,).
        classes: Number of classes.
        seed: Seed of the draws.
    """
    several = np.atleast_2d(predictions)
    rng = np.random.default_rng(seed)
    blocks = int(block.max()) + 1
    draws = rng.multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS).astype(np.float64)
    weights = np.concatenate([np.ones((1, blocks)), draws])
    values = np.zeros((len(SCORES[task]), len(weights)))
    for repeat in several:
        if task == "classification":
            sums = confusions(truth, repeat, block, classes).reshape(blocks, -1)
            totals = (weights @ sums).reshape(-1, classes, classes)
            values += _class_scores(totals, totals[0].sum(axis=1) > 0) / len(several)
        else:
            sums = _moments(truth, repeat, block)
            values += _number_scores(weights @ sums) / len(several)
    return ScoreDraws(task=task, values=values, drawn=draws)


def confusions(
    truth: npt.NDArray[Any], predictions: npt.NDArray[Any], block: Int64Array, classes: int
) -> Float64Array:
    """Return the confusion matrix of each block, (blocks, true class, predicted class)."""
    blocks = int(block.max()) + 1
    flat = (block * classes + truth.astype(np.int64)) * classes + predictions.astype(np.int64)
    counts = np.bincount(flat, minlength=blocks * classes * classes)
    return counts.reshape(blocks, classes, classes).astype(np.float64)


def _ratio(above: Float64Array, below: Float64Array) -> Float64Array:
    """Return quotients, NaN where the divisor is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _class_scores(matrices: Float64Array, tested: BoolArray) -> Float64Array:
    """Return macro F1, accuracy, balanced accuracy, mIoU and kappa, (5, n), of (n, K, K).

    Means over the tested classes are NaN if one has no sample: a draw of blocks without a rare
    class would be easier than the whole.
    """
    total = matrices.sum(axis=(1, 2))
    hits = np.einsum("nkk->nk", matrices)
    true, taken = matrices.sum(axis=2), matrices.sum(axis=1)
    absent = np.where(true > 0, 0.0, np.nan)
    accuracy = _ratio(hits.sum(axis=1), total)
    expected = _ratio((true * taken).sum(axis=1), total**2)
    return np.stack(
        [
            np.mean((_ratio(2 * hits, true + taken) + absent)[:, tested], axis=1),
            accuracy,
            np.mean(_ratio(hits, true)[:, tested], axis=1),
            np.mean((_ratio(hits, true + taken - hits) + absent)[:, tested], axis=1),
            # Cohen 1960; not defined if all samples and all predictions are of one class.
            _ratio(accuracy - expected, 1 - expected),
        ]
    )


def _moments(truth: Float64Array, predictions: Float64Array, block: Int64Array) -> Float64Array:
    """Return count, sum, sum of squares, squared and absolute errors of each block, (blocks, 5).

    The mean is subtracted from the truth first: sums of large numbers would lose the variance.
    """
    centred, error = truth - truth.mean(), predictions - truth
    columns = (np.ones(len(truth)), centred, centred**2, error**2, np.abs(error))
    return np.stack([np.bincount(block, column) for column in columns], axis=1)


def _number_scores(sums: Float64Array) -> Float64Array:
    """Return R2, RMSE and MAE, (3, n), of the sums of `_moments`, (n, 5)."""
    count, total, squares, squared, absolute = sums.T
    return np.stack(
        [
            1 - _ratio(squared, squares - total**2 / count),
            np.sqrt(squared / count),
            absolute / count,
        ]
    )
