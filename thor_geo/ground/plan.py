"""The plan of a run: every tile of an area, by shard, as columns of small integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from thor_geo.errors import AreaError
from thor_geo.ground.area import LONLAT, Area, transformer
from thor_geo.ground.lattice import Lattice, Square, Tile, zone_name, zone_strip
from thor_geo.ground.meeting import tile_bounds, tiles_meeting
from thor_geo.support.antimeridian import continuous_longitudes, cut_rings
from thor_geo.support.arrays import Int32Array, Int64Array
from thor_geo.support.progress import PATIENCE_S, is_first_process, track

# Tiles whose columns are widened or compared at once.
_ROWS = 1_000_000


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

    def tile_position(self, tile: Tile) -> tuple[int, int]:
        """Return row and column of one of its tiles, counted from its north-west corner."""
        centre = tile.centre
        return (
            (self.square.top - centre.top) // centre.size,
            (centre.left - self.square.left) // centre.size,
        )


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
        starts: Int64Array,
        stops: Int64Array,
        zone: npt.NDArray[np.uint8],
        col: Int32Array,
        row: Int32Array,
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
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Shard | Self:
        """Return one shard, or a view of several."""
        if not isinstance(index, slice):
            return self._shard(index)
        view = copy(self)
        for name in ("starts", "stops", "zone", "col", "row"):
            setattr(view, name, getattr(self, name)[index])
        return view

    def _shard(self, index: int) -> Shard:
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
    col: Int32Array
    row: Int32Array
    primary: npt.NDArray[np.bool_]

    @classmethod
    def from_area(
        cls,
        area: Area,
        lattice: Lattice,
        anchors: Mapping[int, tuple[float, float] | None] | None = None,
    ) -> Plan:
        """Plan an area.

        Args:
            area: The area.
            lattice: Tile size, stride, resolution, shard size and anchor; its zone is replaced by
                each of the area's zones.
            anchors: Anchor of each zone by EPSG code, where data lies on a grid of its own there;
                None for the lattice's in all.

        Raises:
            AreaError: If an anchored lattice meets several zones, or the area holds no tile.
        """
        parts = area.zones()
        if anchors is None and lattice.anchor is not None and len(parts) > 1:
            raise AreaError(
                "anchor",
                lattice.anchor,
                f"the area lies in {len(parts)} UTM zones, an anchor belongs to one",
                "Plan each zone in a run of its own, or leave the anchor out.",
            )
        lattices = tuple(
            replace(lattice, epsg=epsg, anchor=anchors[epsg] if anchors else lattice.anchor)
            for epsg in parts
        )
        columns = [
            tiles_meeting(zone_lattice, geometry)
            for zone_lattice, geometry in track(
                zip(lattices, parts.values(), strict=True),
                "zones",
                total=len(lattices),
                label="planning",
                shown=is_first_process(),
                delay=PATIENCE_S,
            )
        ]
        zone = np.repeat(np.arange(len(columns), dtype=np.uint8), [len(c.col) for c in columns])
        if len(zone) == 0:
            raise AreaError(
                area.source, area.geometry.wkt[:80], "no tile meets the area", "Give a larger area."
            )
        col, row, primary = (np.concatenate(list(column)) for column in zip(*columns, strict=True))
        return cls(lattices=lattices, zone=zone, col=col, row=row, primary=primary)

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

    def part(self, start: int, stop: int) -> Plan:
        """Return a plan with some tiles of this one; whole shards keep their ids.

        Args:
            start: First tile.
            stop: Tile after the last.
        """
        columns = ("zone", "col", "row", "primary")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in columns})

    @cached_property
    def shards(self) -> Shards:
        """The shards, in plan order."""
        k = self.lattices[0].shard_tiles
        boundaries = [np.zeros(1, dtype=np.int64)]
        for start in range(1, len(self), _ROWS):  # each chunk begins with the tile before it
            part = slice(start - 1, start + _ROWS)
            zone, col, row = self.zone[part], self.col[part] // k, -(-self.row[part] // k)
            new = (zone[1:] != zone[:-1]) | (col[1:] != col[:-1]) | (row[1:] != row[:-1])
            boundaries.append(np.flatnonzero(new) + start)
        starts = np.concatenate(boundaries)
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
            (stop - start,) shapely polygons, corners exact, edges straight; of tiles across the
            antimeridian multipolygons that are cut there (RFC 7946, section 3.1.9).
        """
        return cut_rings(self.rings(start, stop))

    def rings(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float64]:
        """Return the corners of tile footprints in longitude and latitude.

        Args:
            start: First tile.
            stop: Tile after the last; None for the plan's end.

        Returns:
            (stop - start, 5, 2): lower left, lower right, upper right, upper left, lower left.
            Beyond the antimeridian longitudes go on: in zone 1 below -180, in zone 60 above 180.
        """
        part = slice(start, stop)
        zone = self.zone[part]
        out = np.empty((len(zone), 5, 2))
        for k in np.unique(zone):
            chosen, lattice = zone == k, self.lattices[k]
            left, bottom, right, top = tile_bounds(
                lattice, self.col[part][chosen], self.row[part][chosen]
            )
            x = np.stack([left, right, right, left], axis=1)
            y = np.stack([bottom, bottom, top, top], axis=1)
            lon, lat = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform(x, y)
            west, _, east, _ = zone_strip(lattice.epsg)
            lon = continuous_longitudes(lon, (west + east) / 2)
            out[chosen, :4] = np.stack([lon, lat], axis=-1)
        out[:, 4] = out[:, 0]
        return out

    @cached_property
    def crosses_antimeridian(self) -> bool:
        """Whether a tile's footprint lies on both sides of it."""
        for k, lattice in enumerate(self.lattices):
            if lattice.epsg % 100 not in (1, 60):
                continue
            first, last = np.searchsorted(self.zone, (k, k + 1)).tolist()
            for start in range(first, last, _ROWS):
                if (np.abs(self.rings(start, min(start + _ROWS, last))[..., 0]) > 180).any():
                    return True
        return False

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

    def summary(self) -> dict[str, Any]:
        """Return the plan as run.json records it: digest, counts, area in km2, and its zones."""
        tiles = np.bincount(self.zone, minlength=len(self.lattices)).tolist()
        shards = np.bincount(self.zone[self.shards.starts], minlength=len(self.lattices)).tolist()
        return {
            "digest": self.digest,
            "tiles": len(self),
            "shards": len(self.shards),
            "area_km2": round(self.area_km2, 6),
            "zones": {
                zone_name(lattice.epsg): {
                    "epsg": lattice.epsg,
                    "lattice": lattice.name,
                    "tiles": tiles[k],
                    "shards": shards[k],
                }
                for k, lattice in enumerate(self.lattices)
                if tiles[k]
            },
        }
