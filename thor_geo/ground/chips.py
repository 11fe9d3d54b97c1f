"""Chips: tiles that are centred on places, on the corners of the coarsest band's pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Lattice, Tile, zone_of
from thor_geo.specs.bands import BandSelection
from thor_geo.support.arrays import Float64Array, Int64Array


@dataclass(frozen=True, kw_only=True)
class Chip(Tile):
    """The tile that is centred on a place; made by `PlacePlan.tile` and `chip_around`.

    Attributes:
        place: Row of the table.
        alone: Whether its pixels are fetched as one block of their own, and not as blocks of the
            lattice that it shares with its neighbours.
    """

    place: int
    alone: bool


def chip_unit(selection: BandSelection, resolution: int) -> int:
    """Return the side in pixels of the coarsest band's pixel, on whose corners chips lie.

    Args:
        selection: The bands in use.
        resolution: Pixel size in metres.
    """
    return math.lcm(*selection.gsds, resolution) // resolution


def chip_lattice(lattice: Lattice, unit: int) -> Lattice:
    """Return a lattice of which every corner of the coarsest band's pixels is a tile.

    Args:
        lattice: Tile size, resolution, zone and anchor.
        unit: See `chip_unit`.

    Raises:
        ConfigError: If a chip is not a whole number of the coarsest band's pixels.
    """
    size = lattice.tile_size
    if size % unit:
        below = size // unit * unit
        near = " or ".join(str(side) for side in (below, below + unit) if side)
        raise ConfigError(
            "data.tile_size",
            size,
            f"the coarsest band has pixels of {unit * lattice.resolution} m, of which "
            f"{size} px of {lattice.resolution} m are no whole number",
            f"Take {near}.",
        )
    return replace(lattice, stride=unit, shard_tiles=1)


def chips_at(lattice: Lattice, x: Float64Array, y: Float64Array) -> tuple[Int64Array, Int64Array]:
    """Return the chips whose centres are nearest to some places.

    A centre is at most half the coarsest band's pixel from its place, in x and in y.

    Args:
        lattice: From `chip_lattice`, in the places' zone.
        x: Eastings in metres, (n,).
        y: Northings in metres, (n,).

    Returns:
        Columns and rows of the chips on the lattice, (n,) each.
    """
    left, top = lattice.origin
    half, step = lattice.tile_size * lattice.resolution / 2, lattice.step * lattice.resolution
    col = np.floor((x - half - left) / step + 0.5).astype(np.int64)
    row = np.floor((y + half - top) / step + 0.5).astype(np.int64)
    return col, row


def chip_around(lon: float, lat: float, *, size: int, resolution: int, unit: int) -> Chip:
    """Return the chip that a plan has for a place by itself.

    Args:
        lon: Longitude in degrees.
        lat: Latitude in degrees.
        size: Side of the chip in pixels.
        resolution: Pixel size in metres.
        unit: See `chip_unit`.

    Raises:
        ConfigError: If the side is not a whole number of the coarsest band's pixels.
    """
    epsg = zone_of(lon, lat)
    lattice = chip_lattice(Lattice(epsg=epsg, tile_size=size, resolution=resolution), unit)
    x, y = transformer(LONLAT, f"EPSG:{epsg}").transform(np.array([lon]), np.array([lat]))
    col, row = (int(number[0]) for number in chips_at(lattice, x, y))
    return chip_of(lattice, col, row, shard_id="", place=0, alone=True)


def chip_of(
    lattice: Lattice, col: int, row: int, *, shard_id: str, place: int, alone: bool
) -> Chip:
    """Return a chip of a lattice.

    Args:
        lattice: From `chip_lattice`.
        col: Column on the lattice.
        row: Row on the lattice.
        shard_id: Shard that it is a part of; empty for none.
        place: See `Chip`.
        alone: See `Chip`.
    """
    return Chip(
        epsg=lattice.epsg,
        size=lattice.tile_size,
        resolution=lattice.resolution,
        left=col * lattice.step,
        top=row * lattice.step,
        anchor=lattice.anchor,
        id=f"{lattice.name}_x{col}_y{row}",
        shard_id=shard_id,
        step=lattice.tile_size,
        place=place,
        alone=alone,
    )
