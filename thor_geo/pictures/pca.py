"""Colours for embeddings: their first three principal components as red, green and blue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.support.blas import one_blas_thread

# Each component is stretched between these percentiles of the sample.
_PERCENTILES = (2.0, 98.0)


@dataclass(frozen=True, kw_only=True)
class Colours:
    """A fitted map from embeddings to colours.

    Attributes:
        mean: (D,) float32.
        axes: (D, 3) float32, orthonormal columns; zero for missing components.
        low: (3,) value that becomes 0.
        high: (3,) value that becomes 255.
        share: Share of the sample's variance in each component.
    """

    mean: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    share: tuple[float, float, float]

    @classmethod
    def fit(cls, sample: npt.NDArray[Any]) -> Colours:
        """Fit to a sample; equal samples give equal colours.

        The sign of a component is arbitrary. It is chosen so that the axis's element with the
        largest magnitude is positive.

        Args:
            sample: (n, D), finite, n > 0.
        """
        values = sample.astype(np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        with one_blas_thread():
            _, singular, rows = np.linalg.svd(centred, full_matrices=False)
        total = float((singular**2).sum())
        # Rounding leaves singular values of about this size if there is no variance at all.
        floor = singular.max(initial=0.0) * max(values.shape) * np.finfo(np.float64).eps
        axes = np.zeros((values.shape[1], 3))
        share = [0.0, 0.0, 0.0]
        for k in range(min(3, len(singular))):
            if singular[k] <= floor or singular[k] == 0:
                break
            axis = rows[k]
            axes[:, k] = axis * np.sign(axis[np.argmax(np.abs(axis))])
            share[k] = float(singular[k] ** 2) / total
        scores = centred @ axes
        low, high = np.percentile(scores, _PERCENTILES, axis=0)
        return cls(
            mean=mean.astype(np.float32),
            axes=axes.astype(np.float32),
            low=low.astype(np.float32),
            high=high.astype(np.float32),
            share=(share[0], share[1], share[2]),
        )

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours of embeddings.

        Args:
            values: (..., D), finite.

        Returns:
            (..., 3) uint8; 128 in a component that does not vary.
        """
        scores = (values.astype(np.float32) - self.mean) @ self.axes
        span = self.high - self.low
        unit = np.where(span > 0, (scores - self.low) / np.where(span > 0, span, 1), 0.5)
        pixels: npt.NDArray[np.uint8] = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
        return pixels
