"""Where UTM zones overlap: which tiles can be left out without losing ground."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.support.antimeridian import continuous_longitudes
from thor_geo.support.arrays import BoolArray, Float64Array

# A tile's ground is checked at 3 x 3 points, this far inside its edges (metres), because edges of
# two lattices at the same place differ by rounding.
_INSIDE_M = 1.0
# Tiles checked together.
_AT_ONCE = 16_384
# A tile lies within this of its zone's central meridian, in degrees, unless it is huge.
_REACH = 15.0


def redundant_tiles(plan: Plan, produced: BoolArray) -> BoolArray:
    """Return which tiles lie wholly in primary tiles that were produced.

    Only tiles that are not primary can be redundant. If ground on a zone's edge lies in no primary
    tile, or only in one that failed, the other zone's tile is kept.

    Args:
        plan: The plan.
        produced: Whether a tile exists and did not fail, (n,) bool.

    Returns:
        (n,) bool.
    """
    out = np.zeros(len(plan), dtype=np.bool_)
    keys: dict[int, npt.NDArray[np.int64]] = {}
    for k, lattice in enumerate(plan.lattices):
        zone = _zone(plan, k)
        others = zone.start + np.flatnonzero(~plan.primary[zone])
        near = list(_neighbours(plan, k))
        keys = {j: keys[j] if j in keys else _keys(plan, j, produced) for j in near}
        for start in range(0, len(others), _AT_ONCE):
            tiles = others[start : start + _AT_ONCE]
            lon, lat = _points(lattice, plan.col[tiles], plan.row[tiles])
            covered = np.zeros(lon.shape, dtype=np.bool_)
            for j in near:
                covered |= _covered(plan.lattices[j], keys[j], lon, lat)
            out[tiles] = covered.all(axis=1)
    return out


def _zone(plan: Plan, k: int) -> slice:
    """Return the tiles of a lattice; the plan is ordered by zone."""
    first, last = (int(np.searchsorted(plan.zone, k, side=side)) for side in ("left", "right"))
    return slice(first, last)


def _neighbours(plan: Plan, k: int) -> Iterator[int]:
    """Yield the lattices of the same and the adjacent strips, in both hemispheres."""
    strip = plan.lattices[k].epsg % 100
    for j, lattice in enumerate(plan.lattices):
        # Strips 60 and 1 are neighbours, across the antimeridian.
        if (lattice.epsg % 100 - strip) % 60 in (0, 1, 59):
            yield j


def _key(col: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return one number for a lattice position (columns and rows have fewer than 31 bits)."""
    return (col << 32) + row


def _keys(plan: Plan, k: int, produced: BoolArray) -> npt.NDArray[np.int64]:
    """Return the positions of a zone's produced primary tiles, sorted."""
    zone = _zone(plan, k)
    good = plan.primary[zone] & produced[zone]
    return np.sort(
        _key(plan.col[zone][good].astype(np.int64), plan.row[zone][good].astype(np.int64))
    )


def _points(
    lattice: Lattice, col: npt.NDArray[np.integer[Any]], row: npt.NDArray[np.integer[Any]]
) -> tuple[Float64Array, Float64Array]:
    """Return longitude and latitude (n, 9) of corners, edge middles and centre of tiles."""
    scale = np.float64(lattice.step * lattice.resolution)
    side = lattice.tile_size * lattice.resolution
    offsets = np.array([_INSIDE_M, side / 2, side - _INSIDE_M])
    x = lattice.origin[0] + col[:, None] * scale + np.tile(offsets, 3)
    y = lattice.origin[1] + row[:, None] * scale - np.repeat(offsets, 3)
    lon, lat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform(x, y)
    return lon, lat


def _covered(
    lattice: Lattice, keys: npt.NDArray[np.int64], lon: Float64Array, lat: Float64Array
) -> BoolArray:
    """Return which points lie in one of a lattice's tiles, given by their sorted positions."""
    out = np.zeros(lon.shape, dtype=np.bool_)
    middle = (lattice.epsg % 100) * 6.0 - 183.0
    near = np.abs(continuous_longitudes(lon, middle) - middle) < _REACH
    if len(keys) == 0 or not near.any():
        return out
    x, y = transformer(LONLAT, f"EPSG:{lattice.epsg}").transform(lon[near], lat[near])
    scale, side = lattice.step * lattice.resolution, lattice.tile_size * lattice.resolution
    # The last column that begins west of the point, the first row that begins north of it; tiles
    # overlap where the stride is short, so that earlier columns and later rows may hold it too.
    col = np.floor((x - lattice.origin[0]) / scale).astype(np.int64)
    row = np.ceil((y - lattice.origin[1]) / scale).astype(np.int64)
    held = np.zeros(x.shape, dtype=np.bool_)
    for back in range(-(-lattice.tile_size // lattice.step)):
        inside_x = x - (lattice.origin[0] + (col - back) * scale) < side
        for up in range(-(-lattice.tile_size // lattice.step)):
            inside_y = lattice.origin[1] + (row + up) * scale - y < side
            held |= inside_x & inside_y & _among(keys, _key(col - back, row + up))
    out[near] = held
    return out


def _among(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> BoolArray:
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    present: BoolArray = keys[places] == wanted
    return present
