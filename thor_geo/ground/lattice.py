"""Tiles, shards and blocks: integer geometry on UTM lattices.

A lattice is anchored on the equator and the zone's false origin, never on the area asked for, so
the same ground has the same tile in every run. That anchor keeps tiles on Sentinel-2's own 10, 20
and 60 m pixel grids (its granules start at multiples of 60 m from it).

Everything is counted in whole pixels from the anchor, x eastwards and y northwards, and becomes
metres in one multiplication at the end. Tile ``(col, row)`` *hangs* from its lattice point: its
upper-left corner is at pixel ``(col * stride, row * stride)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.support.arrays import Float64Array, Int32Array

#: Northing of the equator in southern UTM zones, metres (EPSG guidance note 7-2, false northing).
SOUTH_FALSE_NORTHING = 10_000_000.0

#: How far, in pixels, an edge may lie off the pixel grid and still count as on it: coordinates are
#: binary floats, which round decimal fractions of metres and the sums of an odd anchor.
ON_GRID = 1e-3

Transform = tuple[float, float, float, float, float, float]
Bounds = tuple[float, float, float, float]


def is_utm(epsg: int) -> bool:
    """Return whether an EPSG code is a WGS 84 / UTM zone: 32601 to 32660, or 32701 to 32760."""
    return epsg // 100 in (326, 327) and 1 <= epsg % 100 <= 60


def zone_name(epsg: int) -> str:
    """Return the name of a UTM zone, e.g. ``utm32n`` for EPSG:32632.

    Args:
        epsg: EPSG code, 32601 to 32660 or 32701 to 32760.

    Raises:
        ConfigError: If *epsg* is not a WGS 84 / UTM zone.
    """
    if not is_utm(epsg):
        raise ConfigError(
            "epsg", epsg, "not a WGS 84 / UTM zone", "Use 32601..32660 or 32701..32760."
        )
    return f"utm{epsg % 100:02d}{'n' if epsg // 100 == 326 else 's'}"


def zone_strip(epsg: int) -> Bounds:
    """Return west, south, east, north of a UTM zone's strip, degrees.

    The strips are the plain six degrees, halved at the equator: the widened zones of the military
    grid around Norway and Svalbard are not used, so that a place's zone follows from its
    longitude alone.
    """
    zone_name(epsg)
    west = (epsg % 100) * 6.0 - 186.0
    return (west, 0.0, west + 6, 84.0) if epsg // 100 == 326 else (west, -80.0, west + 6, 0.0)


def zone_of(lon: float, lat: float) -> int:
    """Return the EPSG code of the UTM zone whose strip holds a point (longitude 180 is in 60)."""
    return int(zones_of(np.array(lon), np.array(lat)))


def zones_of(lon: Float64Array, lat: Float64Array) -> Int32Array:
    """Return the EPSG codes of the UTM zones whose strips hold some points, as `zone_of`.

    Args:
        lon: Longitudes in degrees, -180 to 180, any shape.
        lat: Latitudes in degrees, of the same shape.

    Returns:
        int32, of the same shape.
    """
    zone = np.minimum(np.floor((lon + 180) / 6) + 1, 60)
    epsg: Int32Array = (np.where(lat >= 0, 32600, 32700) + zone).astype(np.int32)
    return epsg


def _anchor_suffix(anchor: tuple[float, float] | None) -> str:
    return (
        ""
        if anchor is None
        else f"_a{anchor[0]!r}_{anchor[1]!r}".replace(".0_", "_").removesuffix(".0")
    )


def _origin(epsg: int, anchor: tuple[float, float] | None) -> tuple[float, float]:
    if anchor is not None:
        return anchor
    return 0.0, 0.0 if epsg // 100 == 326 else SOUTH_FALSE_NORTHING


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A rectangle of pixels on a UTM grid.

    Attributes:
        epsg: EPSG code of the UTM zone.
        resolution: Pixel size in metres.
        left: Column of the left edge, pixels east of the anchor.
        top: Row of the upper edge, pixels north of the anchor.
        width: Columns.
        height: Rows.
        anchor: Where pixel (0, 0) is, metres; None for the equator and the false origin.
    """

    epsg: int
    resolution: int
    left: int
    top: int
    width: int
    height: int
    anchor: tuple[float, float] | None = None

    @staticmethod
    def covering(
        bounds: Bounds, *, epsg: int, resolution: int, anchor: tuple[float, float] | None = None
    ) -> Rect:
        """Return the smallest rectangle of whole pixels around bounds, at least one pixel a side.

        Args:
            bounds: Left, bottom, right, top in metres. An edge within `ON_GRID` of a pixel's edge
                is on it.
            epsg: EPSG code of the UTM zone.
            resolution: Pixel size in metres.
            anchor: Where pixel (0, 0) is, metres; None for the equator and the false origin.
        """
        x, y = _origin(epsg, anchor)
        left, bottom = (
            math.floor((edge - start) / resolution + ON_GRID)
            for edge, start in zip(bounds[:2], (x, y), strict=True)
        )
        right, top = (
            math.ceil((edge - start) / resolution - ON_GRID)
            for edge, start in zip(bounds[2:], (x, y), strict=True)
        )
        return Rect(
            epsg=epsg,
            resolution=resolution,
            left=left,
            top=top,
            width=max(right - left, 1),
            height=max(top - bottom, 1),
            anchor=anchor,
        )

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in metres."""
        x, y = _origin(self.epsg, self.anchor)
        return (
            x + self.left * self.resolution,
            y + (self.top - self.height) * self.resolution,
            x + (self.left + self.width) * self.resolution,
            y + self.top * self.resolution,
        )

    @property
    def transform(self) -> Transform:
        """Affine coefficients (a, b, c, d, e, f) of the north-up pixel grid, metres."""
        left, _, _, top = self.bounds
        return (float(self.resolution), 0.0, left, 0.0, -float(self.resolution), top)

    def overlap(self, other: Rect) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Return the pixels shared with a rectangle on the same pixel grid.

        Args:
            other: A rectangle of the same zone, resolution and anchor.

        Returns:
            (rows, columns) within this one and (rows, columns) within *other*, or None where they
            share no pixel.
        """
        left = max(self.left, other.left)
        right = min(self.left + self.width, other.left + other.width)
        top = min(self.top, other.top)
        bottom = max(self.top - self.height, other.top - other.height)
        if left >= right or bottom >= top:
            return None

        def window(rect: Rect) -> tuple[slice, slice]:
            return (
                slice(rect.top - top, rect.top - bottom),
                slice(left - rect.left, right - rect.left),
            )

        return window(self), window(other)


@dataclass(frozen=True, kw_only=True)
class Square(Rect):
    """A square of pixels on a UTM grid: the common part of tiles, shards and blocks.

    Attributes:
        size: Side in pixels.
    """

    size: int
    width: int = field(init=False, repr=False)
    height: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the rectangle square."""
        object.__setattr__(self, "width", self.size)
        object.__setattr__(self, "height", self.size)


@dataclass(frozen=True, kw_only=True)
class Block(Square):
    """A square of pixels fetched and cached as one; see `blocks_meeting`.

    Most lie on a lattice; one that is fetched for a single chip alone lies where the chip does.
    """

    @property
    def id(self) -> str:
        """Name of the block, e.g. ``utm32n_r10_b576_x104_y1150``.

        Off the lattice it is named for its corner in pixels: ``utm32n_r10_b288_px29954_py331202``.
        """
        on_lattice = self.left % self.size == self.top % self.size == 0
        where = (
            f"x{self.left // self.size}_y{self.top // self.size}"
            if on_lattice
            else f"px{self.left}_py{self.top}"
        )
        return (
            f"{zone_name(self.epsg)}_r{self.resolution}_b{self.size}_{where}"
            f"{_anchor_suffix(self.anchor)}"
        )


def blocks_meeting(rect: Rect, block_size: int) -> Iterator[Block]:
    """Yield the blocks that share a pixel with a rectangle, row by row from the north-west.

    Blocks lie on their own lattice, with the rectangle's zone, resolution and anchor; block
    ``(0, 1)`` hangs from the anchor's row ``block_size``.

    Args:
        rect: A tile, or any other rectangle.
        block_size: Side of a block in pixels.
    """
    first_row, last_row = -(-rect.top // block_size), (rect.top - rect.height) // block_size + 1
    for row in range(first_row, last_row - 1, -1):
        for col in range(rect.left // block_size, -(-(rect.left + rect.width) // block_size)):
            yield Block(
                epsg=rect.epsg,
                size=block_size,
                resolution=rect.resolution,
                left=col * block_size,
                top=row * block_size,
                anchor=rect.anchor,
            )


@dataclass(frozen=True, kw_only=True)
class Tile(Square):
    """One model input footprint; made by `Lattice.tile`.

    Attributes:
        id: Name of the tile.
        shard_id: Name of the shard that owns it.
        step: Distance of neighbouring tiles in pixels.
    """

    id: str
    shard_id: str
    step: int

    @property
    def centre(self) -> Square:
        """The pixels that are the tile's alone, `step` a side: the whole tile without overlap."""
        halo = (self.size - self.step) // 2
        return Square(
            epsg=self.epsg,
            size=self.step,
            resolution=self.resolution,
            left=self.left + halo,
            top=self.top - halo,
            anchor=self.anchor,
        )


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """The tiles and shards of one UTM zone.

    With a stride less than the tile size, tiles overlap, and each has a *centre*: the square of one
    stride in its middle. Centres cover the ground once. What is left on each side is the *halo*,
    `halo` pixels that the model sees as context; maps are trimmed to the centres, and a shard's
    square is that of its tiles' centres. A plan holds every tile whose footprint meets the area, so
    that every centre that meets it is among them: no cell of the area stays empty.

    Attributes:
        epsg: EPSG code of the UTM zone.
        tile_size: Side of a tile in pixels.
        stride: Distance of neighbouring tiles in pixels; None for the tile size.
        resolution: Pixel size in metres.
        shard_tiles: Side of a shard in tiles.
        anchor: Upper-left corner (x, y) of tile (0, 0) in metres, for data on an odd grid. Part
            of every id. None for the equator and the zone's false origin.

    Raises:
        ConfigError: If a value is out of range.
    """

    epsg: int
    tile_size: int = 288
    stride: int | None = None
    resolution: int = 10
    shard_tiles: int = 8
    anchor: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Validate."""
        zone_name(self.epsg)
        for name in ("tile_size", "resolution", "shard_tiles"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value > 0):
                raise ConfigError(name, value, "not a positive whole number", "Give 1 or more.")
        if self.stride is not None and not 0 < self.stride <= self.tile_size:
            raise ConfigError(
                "stride",
                self.stride,
                f"not between 1 and tile_size={self.tile_size}",
                "A larger stride would leave gaps; leave it out for tiles that only touch.",
            )
        if self.anchor is not None:
            if len(self.anchor) != 2 or not all(math.isfinite(v) for v in self.anchor):
                raise ConfigError(
                    "anchor", self.anchor, "not two finite numbers", "Give [x, y] in metres."
                )
            object.__setattr__(self, "anchor", (float(self.anchor[0]), float(self.anchor[1])))

    @property
    def step(self) -> int:
        """Distance of neighbouring tiles in pixels."""
        return self.tile_size if self.stride is None else self.stride

    @property
    def halo(self) -> int:
        """Pixels between a tile's upper-left corner and its centre's, in x and in y.

        Where tile size and stride differ by an odd number, the other side has one more; maps are
        refused then.
        """
        return (self.tile_size - self.step) // 2

    @cached_property
    def name(self) -> str:
        """Name of the lattice, e.g. ``utm32n_r10_t288``: every id begins with it."""
        stride = "" if self.step == self.tile_size else f"_s{self.step}"
        return (
            f"{zone_name(self.epsg)}_r{self.resolution}_t{self.tile_size}{stride}"
            f"{_anchor_suffix(self.anchor)}"
        )

    @property
    def origin(self) -> tuple[float, float]:
        """Position of the anchor in metres."""
        return _origin(self.epsg, self.anchor)

    def tile(self, col: int, row: int) -> Tile:
        """Return the tile whose upper-left corner is *col* steps east and *row* steps north."""
        return Tile(
            epsg=self.epsg,
            size=self.tile_size,
            resolution=self.resolution,
            left=col * self.step,
            top=row * self.step,
            anchor=self.anchor,
            id=f"{self.name}_x{col}_y{row}",
            shard_id=self.shard_id(*self.shard_of(col, row)),
            step=self.step,
        )

    def shard_of(self, col: int, row: int) -> tuple[int, int]:
        """Return column and row of the shard that owns a tile.

        Shards hang from their upper edge, as tiles and blocks do, so that a shard's edge is a
        block's edge wherever their sizes allow it.
        """
        return col // self.shard_tiles, -(-row // self.shard_tiles)

    def shard_square(self, col: int, row: int) -> Square:
        """Return the square of pixels that a shard's tiles own, `shard_tiles` steps a side.

        It is that of the tiles' centres: `halo` pixels inside the corner of its first tile.
        """
        side = self.shard_tiles * self.step
        return Square(
            epsg=self.epsg,
            size=side,
            resolution=self.resolution,
            left=col * side + self.halo,
            top=row * side - self.halo,
            anchor=self.anchor,
        )

    def shard_id(self, col: int, row: int) -> str:
        """Return the id of a shard, e.g. ``utm32n_r10_t288_k8_x26_y287``."""
        return f"{self.name}_k{self.shard_tiles}_x{col}_y{row}"

    def columns(self, left: float, right: float) -> range:
        """Return the columns of tiles whose interior meets ``left < x < right`` (metres)."""
        x = self.origin[0]
        scale = self.step * self.resolution
        first = math.floor((left - x - self.tile_size * self.resolution) / scale) + 1
        return range(first, math.ceil((right - x) / scale))

    def rows(self, bottom: float, top: float) -> range:
        """Return the rows of tiles whose interior meets ``bottom < y < top`` (metres)."""
        y = self.origin[1]
        scale = self.step * self.resolution
        first = math.floor((bottom - y) / scale) + 1
        return range(first, math.ceil((top - y + self.tile_size * self.resolution) / scale))
