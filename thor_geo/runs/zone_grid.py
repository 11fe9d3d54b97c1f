"""The geometry of embedding maps: which cells, chunks and shards a zone's array has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Bounds, Lattice, Rect, zone_name
from thor_geo.ground.plan import Plan, Shard

#: Largest side of a chunk in cells, if the shard's side has a suitable divisor. In a shard of 144
#: cells, reading a point from chunks of 36 takes two thirds of the time of 48 and a third of that
#: of 72; areas and the whole take about as long as with 48, for 0.0 % (float32) to 1.5 % (int8)
#: more bytes. With 24 a point costs another third less, for up to 4 % more bytes
#:.
CHUNK_CELLS = 40
# Below this side a chunk is mostly overhead.
_CHUNK_FLOOR = 16


def chunk_side(shard_side: int) -> int:
    """Return the side of a chunk in cells.

    It is the largest divisor of the shard's side within 16 to 40 (36 for 8 tiles of 18 cells), or
    if there is none the smallest divisor from 40 on.

    Args:
        shard_side: Side of a shard in cells.
    """
    divisors = [d for d in range(1, shard_side + 1) if shard_side % d == 0]
    fitting = [d for d in divisors if _CHUNK_FLOOR <= d <= CHUNK_CELLS]
    return fitting[-1] if fitting else next((d for d in divisors if d >= CHUNK_CELLS), shard_side)


@dataclass(frozen=True, kw_only=True)
class ZoneGrid:
    """Geometry of one zone's array: the rectangle of all its shards.

    Attributes:
        epsg: EPSG code.
        bounds: Left, bottom, right, top in metres.
        rows: Shards from north to south.
        cols: Shards from west to east.
        shard_side: Cells of a shard's side.
        shard_tiles: Tiles of a shard's side.
        left: Column of the left edge, pixels east of the lattice's anchor.
        top: Row of the upper edge, pixels north of it.
    """

    epsg: int
    bounds: Bounds
    rows: int
    cols: int
    shard_side: int
    shard_tiles: int
    left: int
    top: int

    @property
    def name(self) -> str:
        """Name of the group, e.g. ``utm32n``."""
        return zone_name(self.epsg)

    @property
    def cell(self) -> float:
        """Side of a cell in metres."""
        return (self.bounds[2] - self.bounds[0]) / (self.cols * self.shard_side)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.rows * self.shard_side, self.cols * self.shard_side

    @property
    def x(self) -> npt.NDArray[np.float64]:
        """Eastings of the cell centres, metres, ascending."""
        return np.float64(self.bounds[0]) + (np.arange(self.shape[1]) + 0.5) * self.cell

    @property
    def y(self) -> npt.NDArray[np.float64]:
        """Northings of the cell centres, metres, descending."""
        return np.float64(self.bounds[3]) - (np.arange(self.shape[0]) + 0.5) * self.cell

    def shard_position(self, shard: Shard) -> tuple[int, int]:
        """Return row and column of a shard, in shards from the upper left."""
        square = shard.square
        return (self.top - square.top) // square.size, (square.left - self.left) // square.size


@dataclass(frozen=True, kw_only=True)
class Trim:
    """The part of a tile's map that is written: its centre.

    Attributes:
        margin: Cells of the halo, left out on each side; 0 without overlap.
        side: Side of the centre in cells.
    """

    margin: int
    side: int

    @property
    def kept(self) -> slice:
        """The centre's rows, and columns, in a tile's map."""
        return slice(self.margin, self.margin + self.side)


def centre_trim(lattice: Lattice, tile_cells: tuple[int, int]) -> Trim:
    """Return which cells of tiles' maps are written: every cell of the ground belongs to one tile.

    Args:
        lattice: The plan's lattice.
        tile_cells: Rows and columns of cells in a whole tile.

    Raises:
        ConfigError: If the halo of overlapping tiles is not a whole number of cells, or cells are
            not square.
    """
    if tile_cells[0] != tile_cells[1]:
        raise ConfigError(
            "output.grid", tile_cells, "the map's cells are not square", "Use output.grid=false."
        )
    size, cells = lattice.tile_size, tile_cells[0]
    # Both halos together in pixels; each must be whole pixels, and whole cells.
    fitting = [both for both in range(0, size, 2) if both * cells % (2 * size) == 0]
    both = size - lattice.step
    if both not in fitting:
        near = sorted(fitting, key=lambda halos: (abs(halos - both), halos))[:2]
        strides = " or ".join(str(size - halos) for halos in sorted(near))
        raise ConfigError(
            "stride",
            lattice.step,
            f"maps are trimmed to the tiles' centres, and the {both / 2:g} px on each side "
            f"(tile_size={size}) are not a whole number of cells of {size / cells:g} px",
            f"Use stride={strides}, or output.grid=false for pooled vectors only.",
        )
    margin = both * cells // (2 * size)
    return Trim(margin=margin, side=cells - 2 * margin)


def zone_grids(plan: Plan, cells: int) -> dict[int, ZoneGrid]:
    """Lay out the arrays of a plan, by EPSG code.

    Args:
        plan: The plan.
        cells: Side of a tile's centre in cells (`Trim.side`). The places of shards do not depend
            on it.
    """
    lattice = plan.lattices[0]
    side = lattice.shard_tiles * lattice.step
    shards, grids = plan.shards, {}
    for index, zone in enumerate(plan.lattices):
        in_zone = shards.zone == index
        if not in_zone.any():
            continue
        cols, rows = shards.col[in_zone], shards.row[in_zone]
        left, right, bottom, top = map(int, (cols.min(), cols.max(), rows.min(), rows.max()))
        corner = zone.shard_square(left, top)
        whole = Rect(
            epsg=zone.epsg,
            resolution=zone.resolution,
            left=corner.left,
            top=corner.top,
            width=(right - left + 1) * side,
            height=(top - bottom + 1) * side,
            anchor=zone.anchor,
        )
        grids[zone.epsg] = ZoneGrid(
            epsg=zone.epsg,
            bounds=whole.bounds,
            rows=top - bottom + 1,
            cols=right - left + 1,
            shard_side=lattice.shard_tiles * cells,
            shard_tiles=lattice.shard_tiles,
            left=whole.left,
            top=whole.top,
        )
    return grids
