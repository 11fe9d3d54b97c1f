"""The plan of a table of places: one chip for each, in its own time window, by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.chips import Chip, chip_lattice, chip_of, chips_at
from thor_geo.ground.fetch_units import alone_chips
from thor_geo.ground.lattice import Lattice, Rect, zone_name, zones_of
from thor_geo.ground.places import Places
from thor_geo.ground.plan import Plan, Shard, Shards
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
)
from thor_geo.support.words import counted, rows_text

# Side in metres of the square that the Hilbert curve of a zone fills: it holds every coordinate of
# a UTM zone. With 2^16 cells a side, places less than 150 m apart may come in any order.
_HILBERT_SIDE = 1e7
_HILBERT_LEVEL = 16

_COORDINATES = ("lon", "lat", "x", "y")


class PlaceShards(Shards):
    """Shards of a `PlacePlan`: as many places each, whatever their zones and windows.

    A shard's `epsg` and `square` are those of its first chip, and say nothing of the others.
    """

    def __init__(
        self,
        lattices: Iterable[Lattice],
        *,
        starts: Int64Array,
        stops: Int64Array,
        zone: npt.NDArray[np.uint8],
        col: Int32Array,
        row: Int32Array,
        shard_places: int,
        first: int = 0,
    ) -> None:
        """Initialize a new PlaceShards instance.

        Args:
            lattices: One per UTM zone.
            starts: Index in the plan of every shard's first place, (n,) int64.
            stops: Index after every shard's last place, (n,) int64.
            zone: Index of the lattice of every shard's first chip, (n,) uint8.
            col: Column of every shard's first chip, (n,) int32.
            row: Row of every shard's first chip, (n,) int32.
            shard_places: Places of a shard; the plan's last has what is left.
            first: See `PlacePlan.first`.
        """
        super().__init__(tuple(lattices), starts=starts, stops=stops, zone=zone, col=col, row=row)
        self.shard_places, self.first = shard_places, first

    def _shard(self, index: int) -> Shard:
        lattice = self.lattices[self.zone[index]]
        start = int(self.starts[index])
        return Shard(
            id=place_shard_id(self.first + start, self.shard_places),
            epsg=lattice.epsg,
            square=lattice.tile(int(self.col[index]), int(self.row[index])),
            start=start,
            stop=int(self.stops[index]),
        )


def place_shard_id(index: int, shard_places: int) -> str:
    """Return the id of the shard that holds a place of the plan, e.g. ``places_000012``.

    Args:
        index: Index in the plan.
        shard_places: Places of a shard.
    """
    return f"places_{index // shard_places:06d}"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacePlan(Plan):
    """The chips of a table's places; those of a shard are near each other in space and time.

    The order is: zone, window, place along a Hilbert curve, row of the table. Rows that were
    skipped are not part of it. `lattices` have the coarsest band's pixel as their stride, so that
    every corner of such a pixel may be a chip's; all chips are `primary`.

    Attributes:
        place: Row of the table, (n,) int64.
        window: Index into `windows`, (n,) int32.
        windows: The different time windows, in ascending order.
        lon: Longitude in degrees, (n,) float64.
        lat: Latitude in degrees, (n,) float64.
        x: Easting in the chip's zone in metres, (n,) float64.
        y: Northing, likewise.
        alone: Whether a chip is fetched as one block of its own, (n,) bool; see `Chip`.
        shard_places: Places of a shard.
        table: Digest of the table's content.
        first: Index of the first place in the whole plan, of which this may be a part.
    """

    place: Int64Array
    window: Int32Array
    windows: tuple[TemporalSpec, ...]
    lon: Float64Array
    lat: Float64Array
    x: Float64Array
    y: Float64Array
    alone: BoolArray
    shard_places: int
    table: str
    first: int = 0

    @classmethod
    def from_places(
        cls,
        places: Places,
        lattice: Lattice,
        *,
        unit: int,
        shard_places: int,
        block_size: int | None,
        anchors: Mapping[int, tuple[float, float] | None] | None = None,
    ) -> PlacePlan:
        """Plan the chips of a table.

        Args:
            places: The table.
            lattice: Tile size and resolution; zone, stride and shards are replaced.
            unit: Side in pixels of the coarsest band's pixel; see `chips.chip_unit`.
            shard_places: Places of a shard.
            block_size: Side in pixels of the lattice's blocks; None where nothing is fetched.
            anchors: Anchor of each zone by EPSG code, where data lies on a grid of its own there.

        Raises:
            ConfigError: If a chip is not a whole number of the coarsest band's pixels, no row is
                left, or places lie in a zone without an anchor.
        """
        base = chip_lattice(lattice, unit)
        rows = np.flatnonzero(np.isfinite(places.lon))
        if not len(rows):
            raise ConfigError(
                "data.places.file", places.source, "no row is left", "Give at least one place."
            )
        lon, lat = places.lon[rows], places.lat[rows]
        epsg = zones_of(lon, lat)
        zones, zone = np.unique(epsg, return_inverse=True)
        if anchors is not None:
            _refuse_zones(places, rows, epsg, anchors)
        windows, window = _windows(places.starts[rows], places.ends[rows])
        lattices = tuple(
            replace(base, epsg=int(code), anchor=anchors[int(code)] if anchors else base.anchor)
            for code in zones
        )
        x, y, distance = (np.empty(len(rows)) for _ in range(3))
        col, row = (np.empty(len(rows), dtype=np.int64) for _ in range(2))
        for k, each in enumerate(lattices):
            chosen = zone == k
            change = transformer(LONLAT, f"EPSG:{each.epsg}").transform
            x[chosen], y[chosen] = change(lon[chosen], lat[chosen])
            distance[chosen] = _along_curve(x[chosen], y[chosen])
            col[chosen], row[chosen] = chips_at(each, x[chosen], y[chosen])
        order = np.lexsort((rows, distance, window, zone))
        zone, window, col, row = (each[order] for each in (zone, window, col, row))
        alone = np.ones(len(order), dtype=np.bool_)
        if block_size is not None:
            alone = alone_chips(
                group=zone.astype(np.int64) * len(windows) + window,
                left=col * unit,
                top=row * unit,
                size=base.tile_size,
                block_size=block_size,
            )
        return cls(
            lattices=lattices,
            zone=zone.astype(np.uint8),
            col=col.astype(np.int32),
            row=row.astype(np.int32),
            primary=np.ones(len(order), dtype=np.bool_),
            place=rows[order],
            window=window.astype(np.int32),
            windows=windows,
            lon=lon[order],
            lat=lat[order],
            x=x[order],
            y=y[order],
            alone=alone,
            shard_places=shard_places,
            table=_digest_of(places),
        )

    def tile(self, index: int) -> Chip:
        """Return the chip of one place of the plan."""
        lattice = self.lattices[self.zone[index]]
        return chip_of(
            lattice,
            int(self.col[index]),
            int(self.row[index]),
            shard_id=place_shard_id(self.first + index, self.shard_places),
            place=int(self.place[index]),
            alone=bool(self.alone[index]),
        )

    def at(self, index: int) -> tuple[float, float]:
        """Return where a place lies in its chip.

        Args:
            index: Index in the plan.

        Returns:
            Row and column in pixels from the chip's upper left corner, with fractions.
        """
        chip: Rect = self.tile(index)
        left, _, _, top = chip.bounds
        return (
            (top - float(self.y[index])) / chip.resolution,
            (float(self.x[index]) - left) / chip.resolution,
        )

    def window_of(self, index: int) -> TemporalSpec:
        """Return the time window of one place of the plan."""
        return self.windows[int(self.window[index])]

    @cached_property
    def offset_m(self) -> Float32Array:
        """Distance in metres between every place and its chip's centre, (n,) float32."""
        origin = np.array([lattice.origin for lattice in self.lattices])[self.zone]
        lattice = self.lattices[0]
        step = lattice.step * lattice.resolution
        half = lattice.tile_size * lattice.resolution / 2
        x = origin[:, 0] + self.col * np.float64(step) + half
        y = origin[:, 1] + self.row * np.float64(step) - half
        return np.hypot(x - self.x, y - self.y).astype(np.float32)

    @cached_property
    def shards(self) -> PlaceShards:
        """The shards, in plan order."""
        starts = np.arange(0, len(self), self.shard_places, dtype=np.int64)
        return PlaceShards(
            self.lattices,
            starts=starts,
            stops=np.minimum(starts + self.shard_places, len(self)),
            zone=self.zone[starts],
            col=self.col[starts],
            row=self.row[starts],
            shard_places=self.shard_places,
            first=self.first,
        )

    def part(self, start: int, stop: int) -> PlacePlan:
        """Return a plan with some places of this one; whole shards keep their ids.

        Args:
            start: First place, that of a shard.
            stop: Place after the last.
        """
        rows = slice(start, stop)
        columns = ("zone", "col", "row", "primary", "place", "window", *_COORDINATES, "alone")
        parts = {name: getattr(self, name)[rows] for name in columns}
        return replace(self, **parts, first=self.first + start)

    @property
    def tile_km2(self) -> float:
        """Ground of a chip in square kilometres."""
        lattice = self.lattices[0]
        return (lattice.tile_size * lattice.resolution / 1000.0) ** 2

    @property
    def area_km2(self) -> float:
        """Ground of all chips in square kilometres; what several of them show counts for each."""
        return len(self) * self.tile_km2

    @cached_property
    def digest(self) -> str:
        """sha256 over lattices, chips, windows and the table, hexadecimal."""
        digest = hashlib.sha256(f"{super().digest}:{self.table}:{self.shard_places}\n".encode())
        for window in self.windows:
            digest.update(f"{window.start.isoformat()}/{window.end.isoformat()}\n".encode())
        for column in (self.place, self.window, self.alone):
            digest.update(column.astype("<i8").tobytes())
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return the plan as run.json records it: digest, counts, and its zones."""
        summary = super().summary()
        for zone in summary["zones"].values():
            del zone["shards"]  # a shard may hold places of several zones
        return {**summary, "places": len(self), "windows": len(self.windows)}


def _refuse_zones(
    places: Places, rows: Int64Array, epsg: Int32Array, known: Mapping[int, object]
) -> None:
    """Refuse places in zones without data."""
    strange = ~np.isin(epsg, list(known))
    if not strange.any():
        return
    names = ", ".join(map(zone_name, np.unique(epsg[strange]).tolist()))
    raise ConfigError(
        "data.places.file",
        places.source,
        f"{counted(int(strange.sum()), 'place')} in zones of which there are no files ({names}), "
        f"in {rows_text(rows[strange].tolist())}",
        "Take these rows out, add files in their zones, or set data.places.on_bad_row: skip.",
    )


def _windows(starts: Any, ends: Any) -> tuple[tuple[TemporalSpec, ...], Int64Array]:
    """Return the different windows, ascending by start and end, and the index of every row's."""
    pairs = np.stack([starts, ends], axis=1).astype("datetime64[us]").astype(np.int64)
    different, index = np.unique(pairs, axis=0, return_inverse=True)
    spans = different.astype("datetime64[us]").tolist()
    return tuple(TemporalSpec(start=start, end=end) for start, end in spans), index.ravel()


def _along_curve(x: Float64Array, y: Float64Array) -> Float64Array:
    """Return the distance of places in one zone along a Hilbert curve."""
    import geopandas as gpd

    points = gpd.GeoSeries(shapely.points(x, y))
    box = (0.0, 0.0, _HILBERT_SIDE, _HILBERT_SIDE)
    distance: Float64Array = points.hilbert_distance(
        total_bounds=box, level=_HILBERT_LEVEL
    ).to_numpy(dtype=np.float64)
    return distance


def _digest_of(places: Places) -> str:
    """Return the digest of a table's content: of all that reaches the outputs."""
    digest = hashlib.sha256()
    for name, value in sorted(places.digests.items()):
        digest.update(f"{name}={value}\n".encode())
    return digest.hexdigest()
