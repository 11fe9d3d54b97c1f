"""Multinomial logistic regression for many subsets and penalties at once.

The objective is scikit-learn's: the mean cross-entropy of a problem's samples plus
``|W|^2 / (2 C n)``, without a penalty on intercepts. A cross-validation over penalties poses many
such problems about one matrix of features. They are solved together: each step multiplies that
matrix by the weights of all of them at once, and a problem that has converged leaves.

Steps are preconditioned conjugate gradients. Instead of a formula and a line search, each step is
Newton's in the plane of the new direction and the last step (as in LOBPCG, Knyazev 2001), since the
Hessian in a plane costs no further product with the features. The preconditioner is the diagonal of
the Hessian, renewed now and then. It is nearly the whole Hessian if features are uncorrelated, so
they should be principal components. Products are float32, sums over weights float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thor_geo.support.arrays import BoolArray, Float32Array, Float64Array, Int64Array

#: A problem is solved when no element of its gradient is larger. At scikit-learn's default, 1e-4,
#: predictions still change where the variances of components span orders of magnitude, and a
#: quarter of the penalties would be chosen otherwise (benchmarks/probe.py, and
#: findings/logistic-regression-tolerance.sh).
TOLERANCE = 3e-6
# The largest element of a gradient in the coordinates of the features, over the root of the mean
# square, which rotations do not change: 2 to 4, as of so many normal numbers.
_LARGEST = 3.0
#: Most steps.
STEPS = 1000
# Steps at which the preconditioner is renewed: often while probabilities still change much.
_RENEWALS = frozenset((4, 10, 20, 40, 80, 160))
# Halvings of a step that does not lower the objective. After that float32 is exhausted.
_HALVINGS = 6
# Rows whose squares are held at a time.
_ROWS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticProblems:
    """Subsets of the same samples, each with a penalty.

    Attributes:
        x: Features and a last column of ones, (N, R + 1) float32; principal components, so that
            steps are few.
        dimensions: Number of features of which these are the components, D.
        classes: Class of each sample, (N,), from 0 to `count` - 1.
        count: Number of classes, K.
        used: Which samples each problem has, (P, N). Classes that these lack have no part in it.
        c: Inverse strength of each penalty, (P,): scikit-learn's `C`.
    """

    x: Float32Array
    dimensions: int
    classes: Int64Array
    count: int
    used: BoolArray
    c: Float64Array


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticSolutions:
    """Solutions of `LogisticProblems`.

    Attributes:
        weights: (P, K, R + 1), the intercept last; of a problem's missing classes 0.
        scores: Of all samples, (P, K, N) float32; of a problem's missing classes minus infinity.
        steps: Steps that each problem took, (P,).
    """

    weights: Float64Array
    scores: Float32Array
    steps: Int64Array


def solve(problems: LogisticProblems, start: Float64Array | None = None) -> LogisticSolutions:
    """Solve problems.

    Args:
        problems: The problems.
        start: Weights to start from, (P, K, R + 1); None starts from 0.
    """
    descent = _Descent(problems, start)
    count, n = len(problems.c), len(problems.x)
    weights = np.zeros((count, problems.count, problems.x.shape[1]))
    scores = np.zeros((count, problems.count, n), dtype=np.float32)
    steps = np.full(count, STEPS)
    active = np.arange(count)
    for step in range(STEPS + 1):
        done = descent.converged() if step < STEPS else np.ones(len(active), dtype=np.bool_)
        if done.any():
            left = active[done]
            weights[left], scores[left] = descent.weights[done], descent.scores[done]
            steps[left] = step
            active = active[~done]
            if not len(active):
                break
            descent.keep(~done)
        if step in _RENEWALS or (step == 0 and start is not None):
            descent.renew()
        descent.step()
    scores += np.where(descent.present_in(problems), 0, -np.inf).astype(np.float32)[:, :, None]
    return LogisticSolutions(weights=weights, scores=scores, steps=steps)


class _Descent:
    """The state of all problems that have not converged."""

    def __init__(self, problems: LogisticProblems, start: Float64Array | None) -> None:
        n, r = len(problems.x), problems.x.shape[1] - 1
        count, k = len(problems.c), problems.count
        self._x = problems.x
        # Where a sample's own class is in (K, N), and 1 there.
        self._own = problems.classes * n + np.arange(n)
        self._truth = np.zeros((k, n), dtype=np.float32)
        self._truth.reshape(-1)[self._own] = 1
        self._dimensions = problems.dimensions
        self._size = problems.used.sum(axis=1).astype(np.float64)
        # A problem's mean over its samples is a sum with these weights, (P, 1, N).
        self._share = (problems.used / self._size[:, None]).astype(np.float32)[:, None]
        present = self.present_in(problems)
        self._missing = np.where(present, 0, -np.inf).astype(np.float32)[:, :, None]
        # Of two classes, scikit-learn penalises one vector w. Here they are -w/2 and w/2, whose
        # squares sum to half of that.
        penalty = np.where(present.sum(axis=1) == 2, 2.0, 1.0) / (problems.c * self._size)
        self._penalty = np.zeros((count, 1, r + 1))
        self._penalty[:, 0, :r] = penalty[:, None]
        self.weights = np.zeros((count, k, r + 1)) if start is None else start.copy()
        self.scores = self._product(self.weights)
        # Directions: the new one, and the last step; and their products with the features.
        self._plane = np.zeros((count, 2, k, r + 1))
        self._moves = np.zeros((count, 2, k, n), dtype=np.float32)
        # At zero all probabilities are equal.
        square = np.mean(np.square(self._x), axis=0, dtype=np.float64)
        self._diagonal = self._penalty + square * (1 / k) * (1 - 1 / k)
        self._objective = self._measure()

    @staticmethod
    def present_in(problems: LogisticProblems) -> BoolArray:
        """Return which classes each problem's samples have, (P, K)."""
        own = np.eye(problems.count, dtype=np.float32)[problems.classes]
        present: BoolArray = problems.used.astype(np.float32) @ own > 0
        return present

    def converged(self) -> BoolArray:
        """Compute the gradients, and return which problems are solved, (P,)."""
        rest = self._likely - self._truth
        rest *= self._share
        count, k, n = rest.shape
        product = (rest.reshape(count * k, n) @ self._x).reshape(count, k, -1)
        self._gradient = product + self._penalty * self.weights
        square = np.square(self._gradient[:, :, :-1]).sum(axis=(1, 2)) / (k * self._dimensions)
        intercept = np.abs(self._gradient[:, :, -1]).max(axis=1)
        largest = np.maximum(_LARGEST * np.sqrt(square), intercept)
        solved: BoolArray = (largest <= TOLERANCE) | self._stuck
        return solved

    def keep(self, kept: BoolArray) -> None:
        """Go on with some of the problems."""
        for name in (
            "weights",
            "scores",
            "_size",
            "_share",
            "_missing",
            "_penalty",
            "_plane",
            "_moves",
            "_diagonal",
            "_objective",
            "_likely",
            "_gradient",
            "_stuck",
        ):
            setattr(self, name, getattr(self, name)[kept])

    def renew(self) -> None:
        """Compute the diagonal of the Hessians."""
        spread = self._likely * (1 - self._likely) * self._share
        count, k, n = spread.shape
        spread = spread.reshape(count * k, n)
        total = np.zeros((count * k, self._x.shape[1]))
        for begin in range(0, n, _ROWS):
            rows = slice(begin, begin + _ROWS)
            total += spread[:, rows] @ np.square(self._x[rows])
        self._diagonal = self._penalty + total.reshape(count, k, -1)

    def step(self) -> None:
        """Go to the lowest point of the plane, as far as it is a paraboloid."""
        count, k, n = self.scores.shape
        # Classes without samples have no curvature and no gradient.
        self._plane[:, 0] = -self._gradient / np.maximum(self._diagonal, 1e-12)
        self._moves[:, 0] = self._product(self._plane[:, 0])
        plane, moves = self._plane.reshape(count, 2, -1), self._moves.reshape(count, 2, -1)
        weighted = self._moves * (self._likely * self._share)[:, None]
        means = weighted.sum(axis=2)
        curved = (weighted.reshape(count, 2, -1) @ moves.swapaxes(1, 2)).astype(np.float64)
        curved -= (means @ means.swapaxes(1, 2)) * self._size[:, None, None]
        curved += (self._plane * self._penalty[:, None]).reshape(count, 2, -1) @ plane.swapaxes(
            1, 2
        )
        slope = plane @ self._gradient.reshape(count, -1, 1)
        # Before the first step there is one direction.
        curved[:, 1, 1] += (curved[:, 1, 1] == 0) + 1e-9 * curved[:, 1, 1]
        lengths = -np.linalg.solve(curved, slope)
        self._plane[:, 1] = (lengths * plane).sum(axis=1).reshape(count, k, -1)
        self._moves[:, 1] = (lengths.astype(np.float32).swapaxes(1, 2) @ moves)[:, 0].reshape(
            count, k, n
        )
        self.weights += self._plane[:, 1]
        self.scores += self._moves[:, 1]
        self._descend()

    def _descend(self) -> None:
        """Halve steps until the objective is lower than before."""
        before = self._objective
        self._objective = self._measure()
        back = 1.0
        for _ in range(_HALVINGS):
            higher = self._objective > before + 1e-6 * np.abs(before)
            if not higher.any():
                return
            back /= 2
            self.weights[higher] -= back * self._plane[higher, 1]
            self.scores[higher] -= np.float32(back) * self._moves[higher, 1]
            self._objective = self._measure()
        self._stuck = self._objective > before + 1e-6 * np.abs(before)

    def _product(self, weights: Float64Array) -> Float32Array:
        """Return weights (P, K, R + 1) times features, (P, K, N)."""
        count, k, r = weights.shape
        flat = weights.reshape(count * k, r).astype(np.float32)
        product: Float32Array = (flat @ self._x.T).reshape(count, k, -1)
        return product

    def _measure(self) -> Float64Array:
        """Compute the probabilities of the classes, and return the objectives, (P,)."""
        scores = self.scores + self._missing
        highest = scores.max(axis=1, keepdims=True)
        scores -= highest
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        scores /= total
        self._likely = scores
        self._stuck = np.zeros(len(scores), dtype=np.bool_)
        # Of a class that a problem lacks there are samples of other parts only, without a share.
        own = self.scores.reshape(len(scores), -1).take(self._own, axis=1)
        loss = np.log(total[:, 0]) + highest[:, 0] - own
        mean = (loss * self._share[:, 0]).sum(axis=1, dtype=np.float64)
        squares = (self._penalty * np.square(self.weights)).sum(axis=(1, 2))
        objective: Float64Array = mean + squares / 2
        return objective
