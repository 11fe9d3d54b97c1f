"""Models and scores against scikit-learn called directly, and NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thor_geo.probe.metrics import block_scores
from thor_geo.probe.models import fit_linear, fit_predict
from thor_geo.probe.penalties import ALPHAS, CS


def blobs(classes: int, n: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    targets = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, 7)) * 3
    features = centres[targets] + rng.normal(size=(n, 7)) * 2
    features[:, 3] = 5.0  # a dead dimension
    features[:, 0] *= 1000  # and a loud one
    return features.astype(np.float32), targets, rng.integers(0, 12, n)


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regression_is_that_of_scikit_learn(classes: int) -> None:
    x, y, groups = blobs(classes)
    fitted = fit_linear(x, y, groups, "classification", 0)
    assert fitted.penalty in CS
    exact = LogisticRegression(C=fitted.penalty, max_iter=10_000, tol=1e-8)
    pipe = make_pipeline(StandardScaler(), exact).fit(x.astype(np.float64), y)
    scores = fitted.scores(x)
    np.testing.assert_array_equal(scores.argmax(axis=1), pipe.predict(x.astype(np.float64)))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    # scikit-learn's own answer at its default tolerance is 0.007 from its exact one here.
    np.testing.assert_allclose(
        powers / powers.sum(axis=1, keepdims=True),
        pipe.predict_proba(x.astype(np.float64)),
        atol=2e-4,
    )


def test_the_penalty_is_chosen_at_the_optimum() -> None:
    """Of features like embeddings; at scikit-learn's default tolerance two of 20 are others."""
    rng = np.random.default_rng(0)
    n, d, k = 120, 96, 4
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    same = {1e-4: 0, 1e-8: 0}
    for _ in range(20):
        y, groups = rng.integers(0, k, n), rng.integers(0, 12, n)
        x = rng.normal(size=(n, d)) + 0.3 * rng.normal(size=(k, d))[y]
        x = (x * (1.0 + np.arange(d)) ** -0.75 @ turn).astype(np.float32)
        chosen = fit_linear(x, y, groups, "classification", 0).penalty
        z = StandardScaler().fit_transform(x.astype(np.float64))
        for tol in same:
            models = [LogisticRegression(C=c, tol=tol, max_iter=10_000) for c in sorted(CS)]
            folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
            recalls = [
                cross_val_score(m, z, y, groups=groups, cv=folds, scoring="balanced_accuracy")
                for m in models
            ]
            same[tol] += sorted(CS)[int(np.mean(recalls, axis=1).argmax())] == chosen
    assert same[1e-8] >= 19
    assert same[1e-4] < same[1e-8]


def test_ridge_regression_solves_the_normal_equations() -> None:
    x, _, groups = blobs(3)
    rng = np.random.default_rng(9)
    y = x[:, 1] * 2 - x[:, 5] + rng.normal(size=len(x)) + 100
    fitted = fit_linear(x, y, groups, "regression", 0)
    assert fitted.penalty in ALPHAS
    wide = x.astype(np.float64)
    spread = wide.std(axis=0)
    z = (wide - wide.mean(axis=0)) / np.where(spread > 0, spread, 1)
    coef = np.linalg.solve(z.T @ z + fitted.penalty * np.eye(7), z.T @ (y - y.mean()))
    np.testing.assert_allclose(fitted.scores(x)[:, 0], z @ coef + y.mean(), rtol=1e-8)


def test_the_penalty_is_chosen_for_other_ground() -> None:
    """Where features only tell the blocks apart, the strongest penalty is right."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 20)
    x = rng.normal(size=(12, 12))[groups] + rng.normal(size=(240, 12)) * 0.01
    y = rng.normal(size=12)[groups]
    assert fit_linear(x, y, groups, "regression", 0).penalty == max(ALPHAS)
    assert fit_linear(x, y, np.arange(240), "regression", 0).penalty < max(ALPHAS)


def test_two_blocks_divide_samples_without_a_warning() -> None:
    x, y, _ = blobs(2, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_linear(x, y, np.arange(40) % 2, "classification", 0).penalty in CS


def test_knn_is_that_of_scikit_learn_and_takes_all_where_there_are_fewer() -> None:
    x, y, groups = blobs(3)
    made = fit_predict(
        "knn", (x[:150], y[:150], groups[:150]), x[150:], "classification", neighbours=7, seed=0
    )
    pipe = make_pipeline(StandardScaler(), KNeighborsClassifier(7)).fit(x[:150], y[:150])
    np.testing.assert_array_equal(made, pipe.predict(x[150:]))
    few = fit_predict(
        "knn", (x[:3], np.array([1, 1, 2]), groups[:3]), x, "classification", neighbours=7, seed=0
    )
    assert set(few.tolist()) == {1}


def test_classes_that_training_lacks_are_not_predicted_as_others() -> None:
    """Classes 1 and 3 of a training part without 0 and 2 must stay 1 and 3."""
    x, y, groups = blobs(4)
    part = np.isin(y, (1, 3))
    made = fit_predict(
        "linear", (x[part], y[part], groups[part]), x, "classification", neighbours=5, seed=0
    )
    assert set(made.tolist()) == {1, 3}
    assert (made[part] == y[part]).mean() > 0.9


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 500)
    made = np.where(rng.random(500) < 0.6, truth, rng.integers(0, 4, 500))
    block = rng.integers(0, 20, 500)
    computed = block_scores("classification", truth, made, block, classes=4)
    expected = {
        "accuracy": metrics.accuracy_score(truth, made),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, made),
        "macro_f1": metrics.f1_score(truth, made, average="macro"),
        "miou": metrics.jaccard_score(truth, made, average="macro"),
        "kappa": metrics.cohen_kappa_score(truth, made),
    }
    assert {name: entry.value for name, entry in computed.items()} == pytest.approx(expected)
    number = rng.normal(size=500) + 1e6
    guess = number + rng.normal(size=500) * 0.5
    computed = block_scores("regression", number, guess, block)
    assert computed["r2"].value == pytest.approx(metrics.r2_score(number, guess))
    assert computed["rmse"].value == pytest.approx(metrics.root_mean_squared_error(number, guess))
    assert computed["mae"].value == pytest.approx(metrics.mean_absolute_error(number, guess))


def test_intervals_are_of_blocks_not_of_samples() -> None:
    """Ten blocks that are right or wrong as a whole are ten facts, not a thousand."""
    block = np.repeat(np.arange(10), 100)
    truth = np.tile([0, 1], 500)
    made = np.where(block < 7, truth, 1 - truth)
    computed = block_scores("classification", truth, made, block, classes=2)["accuracy"]
    assert computed.value == 0.7
    # Binomial with n = 10: a standard error of 0.145; with n = 1000: 0.0145.
    assert computed.high - computed.low > 0.4
    rng = np.random.default_rng(0)
    draws = [np.mean(np.arange(10)[rng.integers(0, 10, 10)] < 7) for _ in range(4000)]
    low, high = np.percentile(draws, (2.5, 97.5))
    assert (computed.low, computed.high) == pytest.approx((low, high), abs=0.101)


def test_draws_without_a_class_do_not_make_the_task_easier() -> None:
    block = np.repeat(np.arange(10), 10)
    truth = np.tile([0, 1], 50)
    truth[:5] = 2  # in the first block only, and never found
    made = np.where(truth == 2, 0, truth)
    computed = block_scores("classification", truth, made, block, classes=3)
    assert computed["balanced_accuracy"].high == pytest.approx(2 / 3)


def test_repeats_are_averaged() -> None:
    truth, block = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    both = np.array([[0, 1, 0, 1], [1, 1, 1, 1]])
    assert block_scores("classification", truth, both, block, classes=2)["accuracy"].value == 0.75
