"""Ridge regression for all penalties at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thor_geo.probe.components import principal_axes
from thor_geo.support.arrays import Float64Array


def ridge_path(
    x: Float64Array, y: Float64Array, alphas: Sequence[float]
) -> tuple[Float64Array, Float64Array]:
    """Return the solutions of ``|y - x w - b|^2 + alpha |w|^2`` for several penalties.

    One decomposition serves all of them (Hastie et al. 2009, equation 3.47).

    Args:
        x: Features, (N, D).
        y: Numbers, (N,).
        alphas: The penalties, A of them.

    Returns:
        w, (A, D), and b, (A,).
    """
    mean, level = x.mean(axis=0), y.mean()
    centred = x - mean
    axes, squares = principal_axes(centred)
    slopes = axes.T @ (centred.T @ (y - level))
    weights: Float64Array = (slopes / (squares + np.array(alphas)[:, None])) @ axes.T
    return weights, level - weights @ mean
