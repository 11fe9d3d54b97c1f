"""The tile or cell of a run that holds a point."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyproj

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import zone_of
from thor_geo.ground.meeting import tile_bounds
from thor_geo.ground.plan import Plan
from thor_geo.results.cells import ZoneCells

# Tiles whose distance is measured at once.
_AT_ONCE = 1_000_000
# Mean radius of the Earth in metres (IUGG, GRS 80): good enough to find the nearest of tiles.
_RADIUS = 6_371_008.8


def tiles_at(plan: Plan, point: tuple[float, float]) -> list[int]:
    """Return the tiles that hold a point, as indices in the plan.

    Primary ones come first, then those with the nearest centres.

    Args:
        plan: The plan.
        point: Longitude and latitude, degrees.
    """
    holding: list[tuple[bool, float, int]] = []
    for k, lattice in enumerate(plan.lattices):
        x, y = transformer(LONLAT, f"EPSG:{lattice.epsg}").transform(*point)
        first, last = np.searchsorted(plan.zone, (k, k + 1)).tolist()
        left, bottom, right, top = tile_bounds(lattice, plan.col[first:last], plan.row[first:last])
        inside = (left <= x) & (x < right) & (bottom < y) & (y <= top)
        for tile in np.flatnonzero(inside).tolist():
            centre = ((left[tile] + right[tile]) / 2, (bottom[tile] + top[tile]) / 2)
            primary = bool(plan.primary[first + tile])
            holding.append((not primary, math.dist((x, y), centre), first + tile))
    return [tile for *_, tile in sorted(holding)]


def cell_at(
    zones: Mapping[int, ZoneCells], plan: Plan, point: tuple[float, float], argument: str
) -> tuple[int, int, int, npt.NDArray[np.float32]]:
    """Return EPSG code, row, column and embedding (D,) of the cell that holds a point.

    Args:
        zones: The maps.
        plan: The plan of their run.
        point: Longitude and latitude, degrees.
        argument: Name of the option that gave the point, for the message.

    Raises:
        ConfigError: If no cell with an embedding holds it; names the nearest tile.
        RunDirectoryError: If its shard cannot be read.
    """
    own_zone = zone_of(*point)
    for epsg in sorted(zones, key=lambda code: code != own_zone):
        zone = zones[epsg]
        x, y = transformer(LONLAT, f"EPSG:{epsg}").transform(*point)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        row, col = (math.floor(d / zone.cell) for d in (zone.bounds[3] - y, x - zone.bounds[0]))
        for shard in zone.shards:
            rows, cols = zone.shard_cells(shard)
            if rows.start <= row < rows.stop and cols.start <= col < cols.stop:
                vector = zone.read(shard, slice(row, row + 1), slice(col, col + 1))[0, 0]
                if np.isfinite(vector).all():
                    return epsg, row, col, vector
    raise outside_error(plan, point, argument)


def outside_error(
    plan: Plan,
    point: tuple[float, float],
    argument: str,
    planned: npt.NDArray[np.int64] | None = None,
) -> ConfigError:
    """Return the error for a point that no embedding covers.

    Args:
        plan: The plan of the run.
        point: Longitude and latitude, degrees.
        argument: Name of the option that gave the point.
        planned: Tiles among which to find the nearest; None for the whole plan.
    """
    indices = np.arange(len(plan)) if planned is None else planned
    best = min(
        (_nearest(plan, indices[start : start + _AT_ONCE], point))
        for start in range(0, len(indices), _AT_ONCE)
    )
    _, tile, lon, lat = best
    metres = pyproj.Geod(ellps="WGS84").inv(*point, lon, lat)[2]
    return ConfigError(
        argument,
        ",".join(f"{value:g}" for value in point),
        f"the run has no embedding there; the nearest tile is {plan.tile(tile).id} at "
        f"{lon:.5f},{lat:.5f}, its centre {metres / 1000:,.1f} km away",
        "Give a point in the run, longitude first.",
    )


def _nearest(
    plan: Plan, indices: npt.NDArray[np.int64], point: tuple[float, float]
) -> tuple[float, int, float, float]:
    """Return distance (metres on a sphere), tile, and longitude and latitude of its centre."""
    lonlat = tile_centres(plan, indices)
    lon, lat = np.radians(lonlat).T
    lon0, lat0 = np.radians(point)
    half = np.sin((lat - lat0) / 2) ** 2
    half += np.cos(lat) * np.cos(lat0) * np.sin((lon - lon0) / 2) ** 2
    distance = 2 * _RADIUS * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    k = int(distance.argmin())
    return float(distance[k]), int(indices[k]), float(lonlat[k, 0]), float(lonlat[k, 1])


def tile_centres(plan: Plan, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return longitude and latitude of tiles' centres, (n, 2) degrees.

    Args:
        plan: The plan.
        indices: Tiles of it.
    """
    out = np.empty((len(indices), 2))
    zones = plan.zone[indices]
    for k in np.unique(zones).tolist():
        in_zone, lattice = zones == k, plan.lattices[k]
        left, bottom, right, top = tile_bounds(
            lattice, plan.col[indices[in_zone]], plan.row[indices[in_zone]]
        )
        x, y = (left + right) / 2, (bottom + top) / 2
        lonlat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform(x, y)
        out[in_zone] = np.stack(lonlat, axis=1)
    return out
