"""The solver of logistic regressions against scikit-learn, problem by problem."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from thor_geo.probe import logistic
from thor_geo.probe.components import principal_axes
from thor_geo.probe.logistic import LogisticProblems, solve

_D = 12
_CS = (1e-3, 0.1, 10.0)


def with_ones(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float32)


def problems(samples: int, classes: int) -> tuple[LogisticProblems, np.ndarray, np.ndarray]:
    """Return three thirds left out in turn with three penalties, the features, and the axes."""
    rng = np.random.default_rng(samples)
    codes = rng.integers(0, classes, samples)
    x = rng.normal(size=(classes, _D))[codes] * 0.7 + rng.normal(size=(samples, _D))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    used = np.repeat(np.arange(samples) % 3 != np.arange(3)[:, None], len(_CS), axis=0)
    axes = principal_axes(x)[0]
    made = LogisticProblems(
        x=with_ones(x @ axes),
        dimensions=_D,
        classes=codes,
        count=classes,
        used=used,
        c=np.tile(_CS, 3),
    )
    return made, x, axes


def check(posed: LogisticProblems, x: np.ndarray, axes: np.ndarray) -> None:
    """Compare with scikit-learn's solutions, one after the other."""
    found = solve(posed)
    for k, (used, c) in enumerate(zip(posed.used, posed.c, strict=True)):
        exact = LogisticRegression(C=c, tol=1e-9, max_iter=10_000)
        exact.fit(x[used], posed.classes[used])
        scores = found.scores[k]
        likely = np.exp(scores - scores.max(axis=0))
        likely /= likely.sum(axis=0)
        np.testing.assert_allclose(likely[exact.classes_].T, exact.predict_proba(x), atol=1e-3)
        gone = np.setdiff1d(np.arange(posed.count), exact.classes_)
        assert (likely[gone] == 0).all()
        weights = found.weights[k][exact.classes_]
        np.testing.assert_allclose(
            weights[:, :-1] @ axes.T @ x.T + weights[:, -1:], scores[exact.classes_], atol=1e-3
        )


@pytest.mark.parametrize(("samples", "classes"), [(9, 2), (9, 3), (60, 2), (60, 4), (400, 5)])
def test_each_of_many_problems_has_the_solution_of_scikit_learn(
    samples: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine samples have fewer components than features, and subsets that lack a class."""
    monkeypatch.setattr(logistic, "TOLERANCE", 2e-6)
    check(*problems(samples, classes))


def test_a_class_that_a_subset_lacks_is_never_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an intercept that runs away it would be the answer everywhere or the steps would end."""
    monkeypatch.setattr(logistic, "TOLERANCE", 2e-6)
    posed, x, axes = problems(60, 4)
    posed.classes[posed.classes == 2] = 1
    posed.classes[:1] = 2  # the first sample, which the first three problems leave out
    check(posed, x, axes)


def test_a_good_start_saves_steps_and_changes_no_answer() -> None:
    posed, _, _ = problems(400, 3)
    first = solve(posed)
    again = solve(posed, first.weights)
    assert again.steps.max() == 0
    near = solve(posed, first.weights * 0.9)
    assert near.steps.sum() < first.steps.sum()
    np.testing.assert_array_equal(near.scores.argmax(axis=1), first.scores.argmax(axis=1))


def test_classes_that_can_be_told_apart_exactly_come_to_an_end() -> None:
    """Without noise the weakest penalty has its optimum far away: scores of 30 and more."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(3), 20)
    x = (np.eye(3)[codes] * 50 + rng.normal(size=(60, 3))).astype(np.float32)
    used = np.ones((1, 60), dtype=np.bool_)
    posed = LogisticProblems(
        x=with_ones(x - x.mean(axis=0)),
        dimensions=3,
        classes=codes,
        count=3,
        used=used,
        c=np.array([1e6]),
    )
    found = solve(posed)
    assert found.steps[0] < logistic.STEPS
    assert (found.scores[0].argmax(axis=0) == codes).all()
