"""The models of a probe, fitted on standardised features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from thor_geo.probe.components import Standard
from thor_geo.probe.neighbours import predict_nearest
from thor_geo.probe.penalties import choose_logistic, choose_ridge
from thor_geo.probe.spec import Task
from thor_geo.support.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from thor_geo.support.blas import one_blas_thread

ProbeKind = Literal["linear", "knn", "chance"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearProbe:
    """A fitted linear map on standardised features.

    Attributes:
        mean: Means of the training features, (D,).
        scale: Their standard deviations, 1 where they do not vary, (D,).
        coef: (K, D): one row for each class, or a single row for a regression.
        intercept: (K,).
        penalty: The chosen `C` or `alpha`.
    """

    mean: Float64Array
    scale: Float64Array
    coef: Float64Array
    intercept: Float64Array
    penalty: float

    def scores(self, features: AnyArray) -> Float64Array:
        """Return the scores of the classes, or the predicted number, (N, K) float64.

        Args:
            features: (N, D).
        """
        # The order of the sums does not depend on the number of rows: equal samples, equal scores.
        standard = (features.astype(np.float64) - self.mean) / self.scale
        scores: Float64Array = np.einsum("nd,kd->nk", standard, self.coef) + self.intercept
        return scores


def fit_linear(
    features: AnyArray,
    targets: AnyArray,
    groups: Int64Array,
    task: Task,
    seed: int,
    *,
    axes: Float32Array | None = None,
) -> LinearProbe:
    """Fit multinomial logistic regression, or ridge regression, to standardised features.

    The penalty is chosen by cross-validation inside these samples, over whole groups if there are
    enough, so that the choice holds for other ground.

    Args:
        features: (N, D).
        targets: Classes as integers or numbers, (N,); at least two different ones.
        groups: Block of each sample, (N,).
        task: What is predicted.
        seed: Seed of the inner folds.
        axes: See `choose_logistic`.
    """
    with one_blas_thread():
        standard = Standard.fit(features)
        if task == "classification":
            chosen = choose_logistic(standard.float32(features), targets, groups, seed, axes)
        else:
            x = standard.float64(features)
            chosen = choose_ridge(x, targets.astype(np.float64), groups, seed)
    return LinearProbe(
        mean=standard.mean,
        scale=standard.scale,
        coef=chosen.coef,
        intercept=chosen.intercept,
        penalty=chosen.penalty,
    )


def fit_predict(
    kind: ProbeKind,
    train: tuple[AnyArray, AnyArray, Int64Array],
    test: AnyArray,
    task: Task,
    *,
    neighbours: int,
    seed: int,
    axes: Float32Array | None = None,
) -> AnyArray:
    """Fit a model and return its predictions, classes as integers or numbers, (M,).

    Args:
        kind: ``linear``, ``knn`` (uniform weights, Euclidean distance of standardised features), or
            ``chance``: the most frequent class, or the mean.
        train: Features (N, D), targets (N,) and groups (N,).
        test: Features (M, D).
        task: What is predicted.
        neighbours: k of kNN, at most N.
        seed: Seed of the inner folds.
        axes: See `choose_logistic`.
    """
    features, targets, groups = train
    classes = task == "classification"
    names, counts = np.unique(targets, return_counts=True)
    if kind == "chance" or len(names) == 1:
        constant = names[counts.argmax()] if classes else targets.mean()
        return np.full(len(test), constant)
    with one_blas_thread():
        if kind == "linear":
            scores = fit_linear(features, targets, groups, task, seed, axes=axes).scores(test)
            return names[scores.argmax(axis=1)] if classes else scores[:, 0]
        standard = Standard.fit(features)
        known, asked = standard.float32(features), standard.float32(test)
        return predict_nearest(known, targets, asked, neighbours, classes=classes)
