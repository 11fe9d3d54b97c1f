"""Standardised features and their principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thor_geo.support.arrays import AnyArray, Float32Array, Float64Array

# Components with a smaller share of the largest one's variance are rounding.
_LEAST = 1e-12
# Rows that are held as float64 at a time.
_ROWS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """Mean and deviation of features.

    Attributes:
        mean: (D,).
        scale: Standard deviation, 1 where a feature does not vary, (D,).
    """

    mean: Float64Array
    scale: Float64Array

    @classmethod
    def fit(cls, features: AnyArray) -> Standard:
        """Measure features, (N, D); as scikit-learn's StandardScaler, a few rows at a time."""
        n = len(features)
        mean = features.mean(axis=0, dtype=np.float64)
        squares, rest = np.zeros_like(mean), np.zeros_like(mean)
        for begin in range(0, n, _ROWS):
            centred = features[begin : begin + _ROWS] - mean
            squares += np.square(centred).sum(axis=0)
            rest += centred.sum(axis=0)
        # The second term takes back what rounding has left in the mean (Chan et al. 1983).
        variance = (squares - rest**2 / n) / n
        eps = np.finfo(np.float64).eps
        constant = variance <= n * eps * variance + (n * mean * eps) ** 2
        return cls(mean=mean, scale=np.sqrt(np.where(constant, 1.0, variance)))

    def float32(self, features: AnyArray) -> Float32Array:
        """Return standardised features, (N, D); computed as float64, a few rows at a time."""
        made = np.empty(features.shape, dtype=np.float32)
        for begin in range(0, len(features), _ROWS):
            rows = slice(begin, begin + _ROWS)
            made[rows] = self.float64(features[rows])
        return made

    def float64(self, features: AnyArray) -> Float64Array:
        """Return standardised features, (N, D)."""
        made: Float64Array = (features - self.mean) / self.scale
        return made


def principal_axes(centred: AnyArray) -> tuple[Float64Array, Float64Array]:
    """Return the axes of the principal components, and the sums of squares along them.

    The smaller one of the two products of a matrix with itself is decomposed.

    Args:
        centred: Features with a mean of 0, (N, D).

    Returns:
        (D, R) and (R,), R at most the smaller of N and D; all D axes if there are enough samples.
    """
    n, d = centred.shape
    if n >= d:
        product = np.zeros((d, d))
        for begin in range(0, n, _ROWS):
            rows = centred[begin : begin + _ROWS].astype(np.float64, copy=False)
            product += rows.T @ rows
        squares, axes = np.linalg.eigh(product)
        return axes, np.maximum(squares, 0)
    values = centred.astype(np.float64, copy=False)
    squares, left = np.linalg.eigh(values @ values.T)
    kept = squares > _LEAST * max(squares[-1], 1e-300)
    squares, left = squares[kept], left[:, kept]
    return values.T @ left / np.sqrt(squares), squares
