"""The order of merged rows: along a Hilbert curve, so that neighbours are close in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.plan import Plan

#: Level of the curve, the finest in geopandas: 65,536 cells a side.
LEVEL = 16
# Tiles whose centres are in memory at once.
_AT_ONCE = 16_384


def hilbert_order(plan: Plan, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """Return tiles by the distance of their centres along a Hilbert curve.

    The curve fills the box of all the plan's tile centres, in longitude and latitude, so the order
    of two tiles does not depend on which others are kept. Tiles in one cell of the curve stay in
    plan order. Memory: 8 bytes a tile while sorting, 4 in the result.

    Args:
        plan: The plan.
        keep: Which tiles to return, (n,) bool.

    Returns:
        (kept,) indices in the plan.
    """
    import geopandas as gpd

    corners = np.array(
        [(lon.min(), lat.min(), lon.max(), lat.max()) for _, lon, lat in _centres(plan)]
    )
    box = (*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist())
    # Distance and index in one number, sorted in place, with ties in plan order.
    keys = np.empty(int(keep.sum()), dtype=np.uint64)
    filled = 0
    for tiles, lon, lat in _centres(plan):
        chosen = keep[tiles]
        points = gpd.GeoSeries.from_xy(lon[chosen], lat[chosen])
        distances = points.hilbert_distance(total_bounds=box, level=LEVEL).to_numpy()
        index = np.arange(tiles.start, tiles.stop, dtype=np.uint64)[chosen]
        keys[filled : filled + len(index)] = (distances.astype(np.uint64) << np.uint64(32)) | index
        filled += len(index)
    keys.sort()
    return keys.astype(np.uint32)  # keeps the lower 32 bits, the index


def _centres(
    plan: Plan,
) -> Iterator[tuple[slice, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Yield tiles of one zone, and the longitudes and latitudes of their centres."""
    for k, lattice in enumerate(plan.lattices):
        first, last = (int(np.searchsorted(plan.zone, k, side=side)) for side in ("left", "right"))
        change: Any = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform
        scale, half = lattice.step * lattice.resolution, lattice.tile_size * lattice.resolution / 2
        for start in range(first, last, _AT_ONCE):
            tiles = slice(start, min(start + _AT_ONCE, last))
            x = lattice.origin[0] + plan.col[tiles] * np.float64(scale) + half
            y = lattice.origin[1] + plan.row[tiles] * np.float64(scale) - half
            yield tiles, *change(x, y)
