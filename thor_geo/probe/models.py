"""The models of a probe, fitted on standardised features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from thor_geo.probe.spec import Task
from thor_geo.support.arrays import Float64Array, Int64Array

ProbeKind = Literal["linear", "knn", "chance"]

#: Inverse strengths of the penalty to choose from for logistic regression (scikit-learn's `C`).
CS = (1e-3, 1e-1, 10.0)
#: Strengths of the penalty to choose from for ridge regression (scikit-learn's `alpha`).
ALPHAS = tuple(float(10.0**k) for k in range(-2, 6))
# Folds of the inner cross-validation that chooses the penalty.
_INNER = 3
# Iterations of lbfgs; the best penalties converge far earlier.
_ITERATIONS = 300


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

    def scores(self, features: npt.NDArray[Any]) -> Float64Array:
        """Return the scores of the classes, or the predicted number, (N, K) float64.

        Args:
            features: (N, D).
        """
        # The order of the sums does not depend on the number of rows: equal samples, equal scores.
        standard = (features.astype(np.float64) - self.mean) / self.scale
        scores: Float64Array = np.einsum("nd,kd->nk", standard, self.coef) + self.intercept
        return scores


def fit_linear(
    features: npt.NDArray[Any], targets: npt.NDArray[Any], groups: Int64Array, task: Task, seed: int
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
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features.astype(np.float64))
    x = scaler.transform(features.astype(np.float64))
    penalty = _choose(x, targets, groups, task, seed)
    model: Any
    if task == "classification":
        model = LogisticRegression(C=penalty, max_iter=_ITERATIONS)
    else:
        model = Ridge(alpha=penalty)
    _fit(model, x, targets)
    coef, intercept = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if task == "classification" and len(coef) == 1:
        # With two classes there is one score; the first class's is 0.
        coef = np.concatenate([np.zeros_like(coef), coef])
        intercept = np.concatenate([np.zeros(1), intercept])
    return LinearProbe(
        mean=scaler.mean_,
        scale=scaler.scale_,
        coef=np.asarray(coef, dtype=np.float64),
        intercept=np.asarray(intercept, dtype=np.float64),
        penalty=penalty,
    )


def fit_predict(
    kind: ProbeKind,
    train: tuple[npt.NDArray[Any], npt.NDArray[Any], Int64Array],
    test: npt.NDArray[Any],
    task: Task,
    *,
    neighbours: int,
    seed: int,
) -> npt.NDArray[Any]:
    """Fit a model and return its predictions, classes as integers or numbers, (M,).

    Args:
        kind: ``linear``, ``knn`` (uniform weights, Euclidean distance of standardised features), or
            ``chance``: the most frequent class, or the mean.
        train: Features (N, D), targets (N,) and groups (N,).
        test: Features (M, D).
        task: What is predicted.
        neighbours: k of kNN, at most N.
        seed: Seed of the inner folds.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.preprocessing import StandardScaler

    features, targets, groups = train
    classes = task == "classification"
    if kind == "chance" or len(np.unique(targets)) == 1:
        dummy = DummyClassifier(strategy="prior") if classes else DummyRegressor()
        return np.asarray(dummy.fit(features, targets).predict(test))
    if kind == "linear":
        scores = fit_linear(features, targets, groups, task, seed).scores(test)
        return np.unique(targets)[scores.argmax(axis=1)] if classes else scores[:, 0]
    scaler = StandardScaler().fit(features)
    k = min(neighbours, len(targets))
    model = KNeighborsClassifier(k) if classes else KNeighborsRegressor(k)
    model.fit(scaler.transform(features), targets)
    return np.asarray(model.predict(scaler.transform(test)))


def _fit(model: Any, x: Float64Array, targets: npt.NDArray[Any]) -> None:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # A weak penalty on few samples has no optimum; the cross-validation does not choose it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, targets)


def _choose(
    x: Float64Array, targets: npt.NDArray[Any], groups: Int64Array, task: Task, seed: int
) -> float:
    """Return the penalty with the best score in an inner cross-validation; the strongest of equals.

    The score is the macro recall, or the squared error. With too few samples for the folds, it is
    the middle of the range.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    classes = task == "classification"
    choices = sorted(CS) if classes else sorted(ALPHAS, reverse=True)
    splits = _inner(targets, groups, classes, seed)
    if not splits:
        return choices[len(choices) // 2]
    scores = np.zeros(len(choices))
    for train, test in splits:
        for k, penalty in enumerate(choices):
            model: Any = (
                LogisticRegression(C=penalty, max_iter=_ITERATIONS)
                if classes
                else Ridge(alpha=penalty)
            )
            _fit(model, x[train], targets[train])
            right = model.predict(x[test])
            if classes:
                hit = right == targets[test]
                scores[k] += np.mean(
                    [hit[targets[test] == c].mean() for c in np.unique(targets[test])]
                )
            else:
                scores[k] -= np.mean((right - targets[test]) ** 2)
    return choices[int(scores.argmax())]


def _inner(
    targets: npt.NDArray[Any], groups: Int64Array, classes: bool, seed: int
) -> list[tuple[Int64Array, Int64Array]]:
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
    import warnings

    with warnings.catch_warnings():
        # A class with fewer members than folds is spread as far as possible.
        warnings.filterwarnings("ignore", message="The least populated class")
        splits = list(divide.split(targets, targets, divided_by))
    return [(a, b) for a, b in splits if len(np.unique(targets[a])) > 1 or not classes]
