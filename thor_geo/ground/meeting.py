"""Which tiles of a lattice meet a polygon, without a test for every tile.

Squares of shards are tested first, from coarse to fine: none of the tiles of a square outside the
polygon meets it, and all of a square inside it do. What is left to be tested tile by tile are the
shards on the polygon's edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.errors import AreaError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Lattice, zone_strip
from thor_geo.support.antimeridian import continuous_longitudes
from thor_geo.support.arrays import BoolArray, Float64Array, Int32Array

# Tiles that only touch the area's edge are left out: a footprint shrunk by a centimetre must meet
# it. Coordinates that went through another CRS and back differ by less.
_TOUCH_M = 0.01
# Footprints tested at once; as shapely's objects they take some 500 bytes each.
_BOXES = 100_000
# Tiles whose columns are made at once.
_ROWS = 1_000_000
# Most squares that the search begins with, and how many of a square's side are tested next.
_COARSEST, _FACTOR = 1024, 4
# A shard this far inside the strip (degrees) needs no look at its tiles' centres: far more than the
# error of the projection's inverse.
_MARGIN_DEGREES = 1e-6
# A plan's columns hold numbers below this.
_MOST = 2**31 - 1

Integers = npt.NDArray[np.signedinteger]


class TileColumns(NamedTuple):
    """Tiles of one lattice as columns; see `thor_geo.ground.plan.Plan`.

    Attributes:
        col: Lattice columns, (n,) int32.
        row: Lattice rows, (n,) int32.
        primary: Whether the tile's centre lies in its zone's strip, (n,) bool.
    """

    col: Int32Array
    row: Int32Array
    primary: BoolArray


class _Squares(NamedTuple):
    """Squares of tiles: columns and rows in squares from the anchor, and whether known inside."""

    col: Integers
    row: Integers
    inside: BoolArray

    def take(self, chosen: slice | Integers | BoolArray) -> _Squares:
        """Return some of them."""
        return _Squares(self.col[chosen], self.row[chosen], self.inside[chosen])


def tile_bounds(
    lattice: Lattice, col: Integers, row: Integers
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return left, bottom, right, top of tiles in metres, each of the columns' shape."""
    return _bounds(lattice, col, row, 1)


def tiles_meeting(lattice: Lattice, geometry: BaseGeometry) -> TileColumns:
    """Return the tiles whose interior meets a polygon.

    The order is the plan's: shards from north to south and west to east, tiles likewise within.

    Args:
        lattice: The lattice.
        geometry: (Multi)polygon in the lattice's zone, metres.

    Raises:
        AreaError: If a tile lies too far from the anchor.
    """
    shapely.prepare(geometry)
    shards = _shards_meeting(lattice, geometry)
    parts = [
        TileColumns(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.bool_)),
        *_tiles_of(lattice, geometry, shards),
    ]
    return TileColumns(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _bounds(
    lattice: Lattice, col: Integers, row: Integers, tiles: int
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return the bounds of all tiles in squares of *tiles* x *tiles*: those of their footprints."""
    x, y = lattice.origin
    step = lattice.step * lattice.resolution
    side = (tiles - 1) * step + lattice.tile_size * lattice.resolution
    left = x + col * np.float64(tiles * step)
    top = y + row * np.float64(tiles * step)
    return left, top - side, left + side, top


def _shards_meeting(lattice: Lattice, geometry: BaseGeometry) -> _Squares:
    """Return the shards that may have tiles, in plan order."""
    left, bottom, right, top = geometry.bounds
    cols, rows = lattice.columns(left, right), lattice.rows(bottom, top)
    if not len(cols) or not len(rows):
        return _Squares(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))
    if max(map(abs, (cols[0], cols[-1], rows[0], rows[-1]))) > _MOST:
        raise AreaError(
            "anchor",
            lattice.anchor,
            f"the area lies more than {_MOST:,} tiles away from it",
            "Put the anchor at a corner of the data.",
        )
    factor = 1
    while True:
        side = factor * lattice.shard_tiles
        across = np.arange(cols[0] // side, cols[-1] // side + 1, dtype=np.int64)
        down = np.arange(-(-rows[0] // side), -(-rows[-1] // side) + 1, dtype=np.int64)
        if len(across) * len(down) <= _COARSEST:
            break
        factor *= _FACTOR
    col, row = (a.ravel() for a in np.meshgrid(across, down))
    squares = _Squares(col, row, np.zeros(len(col), dtype=np.bool_))
    while True:
        squares = _test(lattice, geometry, squares, factor * lattice.shard_tiles)
        if factor == 1:
            break
        factor //= _FACTOR
        squares = _divide(squares)
    order = np.lexsort((squares.col, -squares.row))
    return squares.take(order)


def _test(lattice: Lattice, geometry: BaseGeometry, squares: _Squares, tiles: int) -> _Squares:
    """Drop the squares outside and mark those inside; whole footprints keep both on the safe side.

    Args:
        lattice: The lattice.
        geometry: The prepared polygon.
        squares: Squares of *tiles* x *tiles*.
        tiles: See above.
    """
    keep, inside = squares.inside.copy(), squares.inside.copy()
    unknown = np.flatnonzero(~squares.inside)
    for start in range(0, len(unknown), _BOXES):
        some = unknown[start : start + _BOXES]
        boxes = shapely.box(*_bounds(lattice, squares.col[some], squares.row[some], tiles))
        meets = shapely.intersects(geometry, boxes)
        keep[some] = meets
        inside[some[meets]] = shapely.covers(geometry, boxes[meets])
    return _Squares(squares.col, squares.row, inside).take(keep)


def _divide(squares: _Squares) -> _Squares:
    """Return each square's parts. As tiles do, they hang from the square's upper edge."""
    right, down = (a.ravel() for a in np.meshgrid(np.arange(_FACTOR), np.arange(_FACTOR)))
    return _Squares(
        (squares.col[:, None] * _FACTOR + right).ravel(),
        (squares.row[:, None] * _FACTOR - down).ravel(),
        squares.inside.repeat(_FACTOR**2),
    )


def _tiles_of(lattice: Lattice, geometry: BaseGeometry, shards: _Squares) -> Iterator[TileColumns]:
    """Yield the tiles of shards, some shards at a time, in plan order."""
    k = lattice.shard_tiles
    at_once = max(1, _ROWS // k**2)
    for start in range(0, len(shards.col), at_once):
        left, top, inside = shards.take(slice(start, start + at_once))
        west, north = left * k, top * k
        chosen = np.zeros((len(left), k, k), dtype=np.bool_)
        chosen[inside] = True
        on_edge = np.flatnonzero(~inside)
        for first in range(0, len(on_edge) * k**2, _BOXES):
            candidates = np.arange(first, min(first + _BOXES, len(on_edge) * k**2))
            shard, within = on_edge[candidates // k**2], candidates % k**2
            down, right = within // k, within % k
            bounds = tile_bounds(lattice, west[shard] + right, north[shard] - down)
            x0, y0, x1, y1 = bounds
            boxes = shapely.box(x0 + _TOUCH_M, y0 + _TOUCH_M, x1 - _TOUCH_M, y1 - _TOUCH_M)
            chosen[shard, down, right] = shapely.intersects(geometry, boxes)
        shard, down, right = np.nonzero(chosen)
        col, row = (west[shard] + right), (north[shard] - down)
        primary = _within_strip(lattice, left, top)[shard]
        unknown = np.flatnonzero(~primary)
        primary[unknown] = _primary(lattice, col[unknown], row[unknown])
        yield TileColumns(col.astype(np.int32), row.astype(np.int32), primary)


def _within_strip(lattice: Lattice, col: Integers, row: Integers) -> BoolArray:
    """Return whether all ground of shards surely lies in the zone's strip.

    In a transverse Mercator zone the meridians leave its middle, and parallels bend, the more the
    further from the equator; so a rectangle's extremes are at its corners, and where it crosses
    the zone's middle.
    """
    x0, y0, x1, y1 = _bounds(lattice, col, row, lattice.shard_tiles)
    middle = np.clip(500_000.0, x0, x1)
    x = np.stack([x0, x1, middle, x0, x1, middle])
    y = np.stack([y0, y0, y0, y1, y1, y1])
    lon, lat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform(x, y)
    west, south, east, north = zone_strip(lattice.epsg)
    within = (lon > west + _MARGIN_DEGREES) & (lon < east - _MARGIN_DEGREES)
    within &= (lat > south + _MARGIN_DEGREES) & (lat < north - _MARGIN_DEGREES)
    all_within: BoolArray = within.all(axis=0)
    return all_within


def _primary(lattice: Lattice, col: Integers, row: Integers) -> BoolArray:
    """Return whether the centres of tiles lie in the zone's strip."""
    x0, y0, x1, y1 = tile_bounds(lattice, col, row)
    lon, lat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform((x0 + x1) / 2, (y0 + y1) / 2)
    west, south, east, north = zone_strip(lattice.epsg)
    # Of zones 1 and 60, tiles beyond the antimeridian have longitudes of the other hemisphere.
    lon = continuous_longitudes(lon, (west + east) / 2)
    inside: BoolArray = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
    return inside
