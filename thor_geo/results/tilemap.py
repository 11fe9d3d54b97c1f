"""Values of tiles as rasters: one pixel per tile and zone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.plan import Plan
from thor_geo.results.cog import RasterExtent


def tile_rasters(
    plan: Plan, index: npt.NDArray[np.int64], values: npt.NDArray[Any], fill: float
) -> dict[int, tuple[RasterExtent, npt.NDArray[Any]]]:
    """Lay out values of tiles, each over the tile's centre, by EPSG code in ascending order.

    Args:
        plan: The plan.
        index: Tiles of it, (n,).
        values: Their values, (n, ...).
        fill: Value of missing pixels.

    Returns:
        For each zone with a tile: the place of the raster, and its values (rows, columns, ...).
    """
    out = {}
    zones = plan.zone[index]
    for k in np.unique(zones).tolist():
        in_zone, lattice = zones == k, plan.lattices[k]
        col, row = plan.col[index[in_zone]], plan.row[index[in_zone]]
        west, north = int(col.min()), int(row.max())
        shape = north - int(row.min()) + 1, int(col.max()) - west + 1
        left, _, _, top = lattice.tile(west, north).centre.bounds
        step = float(lattice.step * lattice.resolution)
        raster = np.full((*shape, *values.shape[1:]), fill, dtype=values.dtype)
        raster[north - row, col - west] = values[in_zone]
        bounds = (left, top - shape[0] * step, left + shape[1] * step, top)
        out[lattice.epsg] = (RasterExtent(epsg=lattice.epsg, bounds=bounds, shape=shape), raster)
    return out
