"""Squares on the ground, so that neighbours are not in training and test both."""

from __future__ import annotations

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.support.arrays import AnyArray, Int64Array


def ground_squares(plan: Plan, tiles: Int64Array, side_m: float) -> AnyArray:
    """Return the number of the square in which each tile's centre lies, (n,).

    Args:
        plan: The plan.
        tiles: Indices of tiles in the plan, (n,).
        side_m: Side of a square in metres, in each UTM zone.

    Raises:
        ConfigError: If the side is not positive.
    """
    if not side_m > 0:
        raise ConfigError("block_m", side_m, "not a positive length", "Give metres.")
    squares = np.empty((len(tiles), 3), dtype=np.int64)
    for k, lattice in enumerate(plan.lattices):
        here = plan.zone[tiles] == k
        inside = tiles[here]
        (left, top), half = lattice.origin, lattice.tile_size * lattice.resolution / 2
        step = lattice.step * lattice.resolution
        x = left + plan.col[inside] * np.float64(step) + half
        y = top + plan.row[inside] * np.float64(step) - half
        squares[here] = np.stack(
            [np.full(len(inside), k), np.floor(x / side_m), np.floor(y / side_m)], axis=1
        )
    return np.unique(squares, axis=0, return_inverse=True)[1].ravel()
