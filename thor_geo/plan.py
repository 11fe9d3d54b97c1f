"""The plan of a run: every tile of an area, by shard, as columns of small integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.area import LONLAT, Area, transformer
from thor_geo.errors import AreaError
from thor_geo.grid import Lattice, Square, Tile, zone_strip

# Tiles that only touch the area's edge are left out: a footprint shrunk by a centimetre must meet
# it. Coordinates that went through another CRS and back differ by less.
_TOUCH_M = 0.01
# Candidate footprints tested at once: bounds the memory of planning a continent.
_CHUNK = 500_000
# Tiles whose columns are widened or compared at once.
_ROWS = 1_000_000

IntArray = npt.NDArray[np.int64]
Columns = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A square of tiles that one rank owns: tiles ``start`` to ``stop`` of the plan.

    Attributes:
        id: Name of its output files.
        epsg: EPSG code of its UTM zone.
        square: Its pixels.
        start: Index of its first tile in the plan.
        stop: Index after its last tile.
    """

    id: str
    epsg: int
    square: Square
    start: int
    stop: int

    def __len__(self) -> int:
        """Return the number of tiles."""
        return self.stop - self.start


class Shards(Sequence[Shard]):
    """Shards of a plan, in plan order; a `Shard` is made when it is asked for.

    A slice is again a `Shards`, a view of the same columns. The land surface has some 300,000
    shards: as objects they would take a hundred times the memory of the columns.

    Attributes:
        starts: Index in the plan of every shard's first tile, (n,) int64, ascending.
        stops: Index after every shard's last tile, (n,) int64.
        zone: Index of every shard's lattice, (n,) uint8.
        col: Column of every shard, counted in shards from the lattice's anchor, (n,) int32.
        row: Row of every shard, likewise, (n,) int32.
    """

    def __init__(
        self,
        lattices: Sequence[Lattice],
        *,
        starts: IntArray,
        stops: IntArray,
        zone: npt.NDArray[np.uint8],
        col: Columns,
        row: Columns,
    ) -> None:
        """Initialize a new Shards instance.

        Args:
            lattices: One per UTM zone.
            starts: See above.
            stops: See above.
            zone: See above.
            col: See above.
            row: See above.
        """
        self.lattices = tuple(lattices)
        self.starts, self.stops = starts, stops
        self.zone, self.col, self.row = zone, col, row

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Shard: ...

    @overload
    def __getitem__(self, index: slice) -> Shards: ...

    def __getitem__(self, index: int | slice) -> Shard | Shards:
        """Return one shard, or a view of several."""
        if isinstance(index, slice):
            return Shards(
                self.lattices,
                starts=self.starts[index],
                stops=self.stops[index],
                zone=self.zone[index],
                col=self.col[index],
                row=self.row[index],
            )
        lattice = self.lattices[self.zone[index]]
        col, row = int(self.col[index]), int(self.row[index])
        return Shard(
            id=lattice.shard_id(col, row),
            epsg=lattice.epsg,
            square=lattice.shard_square(col, row),
            start=int(self.starts[index]),
            stop=int(self.stops[index]),
        )

    def __iter__(self) -> Iterator[Shard]:
        """Yield the shards one by one."""
        return map(self.__getitem__, range(len(self)))

    def holding(self, tile: int) -> int:
        """Return the position in this sequence of the shard that holds a tile of the plan.

        Args:
            tile: Index in the plan.

        Raises:
            IndexError: If none of these shards holds it.
        """
        index = int(np.searchsorted(self.starts, tile, side="right")) - 1
        if index < 0 or tile >= self.stops[index]:
            raise IndexError(f"tile {tile} lies in none of these {len(self)} shards")
        return index


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Every tile of an area; tiles of a shard are neighbours, shards of a zone as well.

    The order is: zone, shards from north to south and west to east, tiles likewise within.

    Attributes:
        lattices: One per UTM zone, ascending EPSG code.
        zone: Index into `lattices` of every tile, (n,) uint8.
        col: Lattice column of every tile, (n,) int32.
        row: Lattice row of every tile, (n,) int32.
        primary: Whether the tile's centre lies in its own zone's strip, (n,) bool. Ground on a
            zone's edge may lie in no primary tile: prefer them, do not drop the others.
    """

    lattices: tuple[Lattice, ...]
    zone: npt.NDArray[np.uint8]
    col: Columns
    row: Columns
    primary: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, area: Area, lattice: Lattice) -> Plan:
        """Plan an area.

        Args:
            area: The area.
            lattice: Tile size, stride, resolution, shard size and anchor; its zone is replaced by
                each of the area's zones.

        Raises:
            AreaError: If a tile would straddle the antimeridian, an anchored lattice meets several
                zones, or the area holds no tile.
        """
        parts = area.zones()
        if lattice.anchor is not None and len(parts) > 1:
            raise AreaError(
                "anchor",
                lattice.anchor,
                f"the area lies in {len(parts)} UTM zones, an anchor belongs to one",
                "Plan each zone in a run of its own, or leave the anchor out.",
            )
        lattices = tuple(replace(lattice, epsg=epsg) for epsg in parts)
        columns = [
            _tiles_of(one, geometry) for one, geometry in zip(lattices, parts.values(), strict=True)
        ]
        zone = np.concatenate([np.full(len(c), k) for k, (c, _, _) in enumerate(columns)])
        col, row, primary = (np.concatenate(list(parts)) for parts in zip(*columns, strict=True))
        if len(col) == 0:
            raise AreaError(
                area.source, area.geometry.wkt[:80], "no tile meets the area", "Give a larger area."
            )
        k = lattice.shard_tiles
        order = np.lexsort((col, -row, col // k, row // -k, zone))  # -row // -k == ceil(row / k)
        return cls(
            lattices=lattices,
            zone=zone[order].astype(np.uint8),
            col=col[order].astype(np.int32),
            row=row[order].astype(np.int32),
            primary=primary[order],
        )

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.col)

    def tile(self, index: int) -> Tile:
        """Return one tile of the plan."""
        lattice: Lattice = self.lattices[self.zone[index]]
        return lattice.tile(int(self.col[index]), int(self.row[index]))

    def tiles(self, indices: Sequence[int] | range) -> Iterator[Tile]:
        """Yield several tiles of the plan."""
        return map(self.tile, indices)

    @cached_property
    def shards(self) -> Shards:
        """The shards, in plan order."""
        k = self.lattices[0].shard_tiles
        found = [np.zeros(1, dtype=np.int64)]
        for start in range(1, len(self), _ROWS):  # each chunk begins with the tile before it
            part = slice(start - 1, start + _ROWS)
            zone, col, row = self.zone[part], self.col[part] // k, -(-self.row[part] // k)
            new = (zone[1:] != zone[:-1]) | (col[1:] != col[:-1]) | (row[1:] != row[:-1])
            found.append(np.flatnonzero(new) + start)
        starts = np.concatenate(found)
        return Shards(
            self.lattices,
            starts=starts,
            stops=np.append(starts[1:], len(self)),
            zone=self.zone[starts],
            col=self.col[starts] // k,
            row=-(-self.row[starts] // k),
        )

    def footprints(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.object_]:
        """Return tile footprints as polygons in longitude and latitude (OGC:CRS84).

        Args:
            start: First tile.
            stop: Tile after the last; None for the plan's end.

        Returns:
            (stop - start,) shapely polygons, corners exact, edges straight.
        """
        stop = len(self) if stop is None else stop
        out = np.empty(stop - start, dtype=object)
        for k, lattice in enumerate(self.lattices):
            chosen = self.zone[start:stop] == k
            if not chosen.any():
                continue
            left, bottom, right, top = _bounds(
                lattice, self.col[start:stop][chosen], self.row[start:stop][chosen]
            )
            x = np.stack([left, right, right, left, left], axis=1)
            y = np.stack([bottom, bottom, top, top, bottom], axis=1)
            lon, lat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform(x, y)
            out[chosen] = shapely.polygons(np.stack([lon, lat], axis=-1))
        return out

    @property
    def tile_km2(self) -> float:
        """Ground in square kilometres that a tile adds: the square of the stride."""
        lattice = self.lattices[0]
        return (lattice.step * lattice.resolution / 1000.0) ** 2

    @property
    def area_km2(self) -> float:
        """Ground the tiles cover in square kilometres."""
        return len(self) * self.tile_km2

    @cached_property
    def digest(self) -> str:
        """sha256 over the lattices and all tiles, hexadecimal."""
        digest = hashlib.sha256()
        for lattice in self.lattices:
            digest.update(f"{lattice.name}_k{lattice.shard_tiles}\n".encode())
        for column in (self.zone, self.col, self.row):
            for start in range(0, len(self), _ROWS):
                digest.update(column[start : start + _ROWS].astype("<i8").tobytes())
        return digest.hexdigest()


def _bounds(
    lattice: Lattice, col: IntArray | Columns, row: IntArray | Columns
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    x, y = lattice.origin
    scale, side = lattice.step * lattice.resolution, lattice.tile_size * lattice.resolution
    left = x + col * np.float64(scale)
    top = y + row * np.float64(scale)
    return left, top - side, left + side, top


def _tiles_of(
    lattice: Lattice, geometry: BaseGeometry
) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Return columns, rows and primary flags of the tiles whose interior meets a geometry."""
    left, bottom, right, top = geometry.bounds
    cols = np.asarray(lattice.columns(left, right), dtype=np.int64)
    rows = np.asarray(lattice.rows(bottom, top), dtype=np.int64)
    shapely.prepare(geometry)
    found_cols: list[IntArray] = [np.empty(0, np.int64)]
    found_rows: list[IntArray] = [np.empty(0, np.int64)]
    rows_at_once = max(1, _CHUNK // max(1, len(cols)))
    for first in range(0, len(rows), rows_at_once):
        row, col = (
            a.ravel() for a in np.meshgrid(rows[first : first + rows_at_once], cols, indexing="ij")
        )
        x0, y0, x1, y1 = _bounds(lattice, col, row)
        boxes = shapely.box(x0 + _TOUCH_M, y0 + _TOUCH_M, x1 - _TOUCH_M, y1 - _TOUCH_M)
        meets = shapely.intersects(geometry, boxes)
        found_cols.append(col[meets])
        found_rows.append(row[meets])
    col, row = np.concatenate(found_cols), np.concatenate(found_rows)
    return col, row, _primary(lattice, col, row)


def _primary(lattice: Lattice, col: IntArray, row: IntArray) -> npt.NDArray[np.bool_]:
    x0, y0, x1, y1 = _bounds(lattice, col, row)
    lon, lat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform((x0 + x1) / 2, (y0 + y1) / 2)
    west, south, east, north = zone_strip(lattice.epsg)
    corner, _ = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform(
        np.where(lon < (west + east) / 2, x0, x1), (y0 + y1) / 2
    )
    straddles = np.abs(corner - lon) > 180
    if straddles.any():
        k = int(np.flatnonzero(straddles)[0])
        raise AreaError(
            "area",
            lattice.tile(int(col[k]), int(row[k])).id,
            "this tile would straddle the antimeridian",
            "Keep the area at least one tile away from 180 degrees.",
        )
    inside: npt.NDArray[np.bool_] = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
    return inside
