"""Linear models whose penalty is chosen by cross-validation inside their samples."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from thor_geo.probe.components import principal_axes
from thor_geo.probe.logistic import LogisticProblems, solve
from thor_geo.probe.ridge import ridge_path
from thor_geo.support.arrays import AnyArray, Float32Array, Float64Array, Int64Array

#: Inverse strengths of the penalty to choose from for logistic regression (scikit-learn's `C`).
CS = (1e-3, 1e-1, 10.0)
#: Strengths of the penalty to choose from for ridge regression (scikit-learn's `alpha`).
ALPHAS = tuple(float(10.0**k) for k in range(-2, 6))
# Folds of the inner cross-validation that chooses the penalty.
_INNER = 3

# Which warnings are shown is the process's setting: threads that change it and put it back in turn
# would leave it changed.
_SPLITTING = threading.Lock()

#: Training and test indices of inner folds.
_Splits = list[tuple[Int64Array, Int64Array]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A linear model with the penalty that did best on other blocks.

    Attributes:
        coef: (K, D): one row for each class, or a single row for a regression.
        intercept: (K,).
        penalty: The chosen `C` or `alpha`.
    """

    coef: Float64Array
    intercept: Float64Array
    penalty: float


def choose_logistic(
    x: Float32Array,
    targets: AnyArray,
    groups: Int64Array,
    seed: int,
    axes: Float32Array | None = None,
) -> Chosen:
    """Fit multinomial logistic regression; the score of a penalty is the mean recall of classes.

    The strongest penalty of equal ones is chosen, the middle one with too few samples for folds.

    Args:
        x: Standardised features, (N, D).
        targets: Classes as integers, (N,); at least two.
        groups: Block of each sample, (N,).
        seed: Seed of the inner folds.
        axes: Directions in which features of this kind are nearly uncorrelated, orthonormal,
            (D, D); they change how fast a solution is found, not which. None computes them.
    """
    names, codes = np.unique(targets, return_inverse=True)
    n, d = x.shape
    if axes is None or n < d:
        axes = principal_axes(x)[0].astype(np.float32)
    # With the column of ones for the intercept.
    turned = np.ones((n, axes.shape[1] + 1), dtype=np.float32)
    np.matmul(x, axes, out=turned[:, :-1])
    splits = _inner(targets, groups, True, seed)
    choices = sorted(CS)

    def problems(used: AnyArray, c: AnyArray) -> LogisticProblems:
        return LogisticProblems(
            x=turned, dimensions=d, classes=codes.reshape(-1), count=len(names), used=used, c=c
        )

    best, start = len(choices) // 2, None
    if splits:
        used = np.ones((len(splits), len(choices), n), dtype=np.bool_)
        for k, (_, test) in enumerate(splits):
            used[k][:, test] = False
        found = solve(problems(used.reshape(-1, n), np.tile(choices, len(splits))))
        made = names[found.scores.argmax(axis=1)].reshape(used.shape)
        recalls = [
            [_recall(targets[test], row[test]) for row in rows]
            for rows, (_, test) in zip(made, splits, strict=True)
        ]
        best = int(np.sum(recalls, axis=0).argmax())
        # Near the solution: each fold has most of the samples.
        start = found.weights.reshape(len(splits), len(choices), *found.weights.shape[1:])
        start = start[:, best].mean(axis=0)[None]
    whole = solve(problems(np.ones((1, n), dtype=np.bool_), np.array([choices[best]])), start)
    weights = whole.weights[0]
    coef, intercept = weights[:, :-1] @ axes.T, weights[:, -1]
    if len(names) == 2:
        # There is one score; the first class's is 0.
        coef, intercept = coef - coef[0], intercept - intercept[0]
    return Chosen(coef=coef, intercept=intercept, penalty=choices[best])


def choose_ridge(x: Float64Array, targets: AnyArray, groups: Int64Array, seed: int) -> Chosen:
    """Fit ridge regression; the score of a penalty is its mean squared error.

    The strongest penalty of equal ones is chosen, the middle one with too few samples for folds.

    Args:
        x: Standardised features, (N, D).
        targets: Numbers, (N,).
        groups: Block of each sample, (N,).
        seed: Seed of the inner folds.
    """
    choices = sorted(ALPHAS, reverse=True)
    splits = _inner(targets, groups, False, seed)
    best = len(choices) // 2
    if splits:
        scores = np.zeros(len(choices))
        for train, test in splits:
            weights, level = ridge_path(x[train], targets[train], choices)
            error = x[test] @ weights.T + level - targets[test][:, None]
            scores -= np.mean(error**2, axis=0)
        best = int(scores.argmax())
    weights, level = ridge_path(x, targets, choices[best : best + 1])
    return Chosen(coef=weights, intercept=level, penalty=choices[best])


def _recall(truth: AnyArray, made: AnyArray) -> float:
    """Return the mean over the classes that occur of the share that was found."""
    hit = made == truth
    return float(np.mean([hit[truth == c].mean() for c in np.unique(truth)]))


def _inner(targets: AnyArray, groups: Int64Array, classes: bool, seed: int) -> _Splits:
    """Divide samples by whole groups if there are enough, otherwise at random."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold

    divided_by: Int64Array | None = groups
    options: dict[str, Any] = {"n_splits": _INNER, "shuffle": True, "random_state": seed}
    if len(np.unique(groups)) >= _INNER:
        # With one or two samples of each class there is nothing to stratify.
        even = classes and np.unique(targets, return_counts=True)[1].max() >= _INNER
        divide = StratifiedGroupKFold(**options) if even else GroupKFold(**options)
    elif len(targets) >= _INNER:
        divide, divided_by = KFold(**options), None
    else:
        return []
    with _SPLITTING, warnings.catch_warnings():
        # A class with fewer members than folds is spread as far as possible.
        warnings.filterwarnings("ignore", message="The least populated class")
        splits = list(divide.split(targets, targets, divided_by))
    return [(a, b) for a, b in splits if len(np.unique(targets[a])) > 1 or not classes]
