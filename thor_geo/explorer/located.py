"""What the explorer compares: a run's tiles, or the cells of its maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from thor_geo.checks.overlap import redundant_tiles
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Bounds
from thor_geo.ground.plan import Plan, Shards
from thor_geo.results import zone_cells
from thor_geo.results.tiles import no_embedding_error, tile_ground, tile_parts
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import BoolArray, Float32Array, Int64Array, UInt8Array

#: Most bytes of the cells' vectors in memory: 699,050 cells of 192 dimensions. From larger runs,
#: every second, third, ... cell is taken; likewise of tiles, if an index finds the others.
MOST_BYTES = 512 * 1024**2

#: What the page compares; of a table of places the vectors of their chips, or of the cells that
#: hold them.
ExplorerUnit = Literal["tiles", "cells", "chips", "centres"]
#: Called with the number of shards that have been read, and of all shards.
ProgressCallback = Callable[[int, int], None]


class VectorSource(Protocol):
    """Where vectors come from: memory, or files that are read when they are asked for."""

    @property
    def dimension(self) -> int:
        """D."""

    def read(self) -> Float32Array:
        """Return the vectors, (N, D), finite.

        Raises:
            RunDirectoryError: If they cannot be read.
        """


class HeldVectors(NamedTuple):
    """Vectors in memory, (N, D)."""

    vectors: Float32Array

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.vectors.shape[1])

    def read(self) -> Float32Array:
        """Return them."""
        return self.vectors


class DrawnColours(NamedTuple):
    """Colours of vectors, (N, 3), and the share of the variance in red, green and blue."""

    rgb: UInt8Array
    share: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedVectors(ABC):
    """Vectors of tiles, cells or places of a table, and where on the Earth they are.

    Attributes:
        unit: What has a vector.
        source: Where the vectors come from.
        searched: Whether searches consider the place, (N,) bool.
        lonlat: Longitude and latitude, degrees, (N, 2) float64.
        tile: Index in the plan of each place's tile or chip, (N,) int64; None for cells.
        missing: Shards that are not done yet.
        colours: Their colours, where they need not be computed.
    """

    unit: ExplorerUnit
    source: VectorSource
    searched: npt.NDArray[np.bool_]
    lonlat: npt.NDArray[np.float64]
    tile: npt.NDArray[np.int64] | None
    missing: int
    colours: DrawnColours | None = None

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.lonlat)

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self.source.dimension

    @cached_property
    def vectors(self) -> Float32Array:
        """Vectors, (N, D) float32, finite; read when they are first asked for.

        Raises:
            RunDirectoryError: If they cannot be read.
        """
        return self.source.read()

    @abstractmethod
    def bounds(self, place: int) -> Bounds:
        """Return left, bottom, right, top of a place's ground, metres in its zone."""

    @abstractmethod
    def epsg(self, place: int) -> int:
        """Return the EPSG code of a place's zone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RasterVectors(LocatedVectors):
    """Vectors of tiles or cells: those of a shard are pixels of a square raster.

    Searches consider main places, and tiles whose ground is in no main tile.

    Attributes:
        shards: The plan's shards.
        shard: Index in `shards` of each place, (N,) int64.
        row: Row in the shard's raster, 0 = north, (N,) int64.
        col: Column in the shard's raster, (N,) int64.
        side: Rows and columns of a shard's raster.
        main: Whether the centre lies in the zone's own strip, (N,) bool: ground on a zone's edge
            is in both zones. These are drawn on top.
        step: Distance, in tiles or cells, between those that are compared.
        observations: Mean clear observations of each place's tile, (N,); None if only markers know.
    """

    shards: Shards
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    col: npt.NDArray[np.int64]
    side: int
    main: npt.NDArray[np.bool_]
    step: int
    observations: Float32Array | None = None

    def bounds(self, place: int) -> Bounds:
        """Return left, bottom, right, top of a place, metres in its zone.

        For overlapping tiles it is the centre, which belongs to one tile.
        """
        left, _, right, top = self.shards[int(self.shard[place])].square.bounds
        size = (right - left) / self.side
        x, y = left + int(self.col[place]) * size, top - int(self.row[place]) * size
        return x, y - size, x + size, y

    def epsg(self, place: int) -> int:
        """Return the EPSG code of a place's zone."""
        return self.shards[int(self.shard[place])].epsg

    @property
    def km2(self) -> float:
        """Area of a place, km²."""
        left, _, right, _ = self.shards[0].square.bounds
        return ((right - left) / self.side / 1000) ** 2


def tile_pixels(plan: Plan, tiles: slice | Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return row and column of tiles in the rasters of their shards, which have a pixel per tile.

    Args:
        plan: The plan.
        tiles: Tiles of it.
    """
    k = plan.lattices[0].shard_tiles
    col, row = plan.col[tiles].astype(np.int64), plan.row[tiles].astype(np.int64)
    # A shard hangs from its upper edge (`Lattice.shard_of`).
    return -(-row // k) * k - row, col % k


def tile_places(
    opened: OpenedRun, *, window: int | None = None, progress: bool = False, step: int = 1
) -> RasterVectors:
    """Read the vectors of a run's tiles.

    Args:
        opened: A run with pooled files; it may be unfinished.
        window: Which time window; needed only if there are several.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.
        step: Keep every *step*-th tile along each side of a shard; divides the shard's side.

    Raises:
        ConfigError: If there are several windows and none is named, or there is no such window.
        RunDirectoryError: If no tile has an embedding yet, or a file cannot be read.
    """
    plan, time = opened.plan, opened.time_index(window)
    produced = np.zeros(len(plan), dtype=np.bool_)
    indices, vectors, missing, undone = [], [], 0, 0
    for shard, part in tile_parts(opened, window=window, progress=progress):
        if part is None:
            undone += len(shard)
        missing += part is None or not len(part[0])
        if part is not None:
            produced[part[0]] = True
            row, col = tile_pixels(plan, part[0])
            kept = (row % step == step // 2) & (col % step == step // 2)
            indices.append(part[0][kept])
            vectors.append(part[1][kept])
    if not sum(map(len, indices)):
        raise no_embedding_error(opened, time, undone)
    source = HeldVectors(np.concatenate(vectors))
    return raster_of_tiles(
        plan,
        np.concatenate(indices),
        produced,
        source,
        step=step,
        missing=missing if undone else 0,
    )


def raster_of_tiles(
    plan: Plan,
    index: Int64Array,
    produced: BoolArray,
    source: VectorSource,
    *,
    step: int = 1,
    missing: int = 0,
    colours: DrawnColours | None = None,
    observations: Float32Array | None = None,
) -> RasterVectors:
    """Return some tiles of a plan as pixels of rasters.

    Args:
        plan: The plan.
        index: Their indices in it, (N,), ascending.
        produced: Which tiles of the plan have an embedding.
        source: Where their vectors come from.
        step: Every which of them is among them, along each side of a shard.
        missing: Shards that are not done yet.
        colours: Their colours, where they need not be computed.
        observations: Their mean clear observations, (N,), where they are known.
    """
    row, col = tile_pixels(plan, index)
    return RasterVectors(
        unit="tiles",
        source=source,
        shards=plan.shards,
        shard=np.searchsorted(plan.shards.starts, index, side="right") - 1,
        row=row // step,
        col=col // step,
        side=plan.lattices[0].shard_tiles // step,
        main=plan.primary[index],
        searched=~redundant_tiles(plan, produced)[index],
        lonlat=tile_ground(plan, index).lonlat,
        tile=index,
        step=step,
        missing=missing,
        colours=colours,
        observations=observations,
    )


def cell_places(
    opened: OpenedRun, *, window: int | None = None, report: ProgressCallback | None = None
) -> RasterVectors:
    """Read the cells of a run's maps, as many as `MOST_BYTES` allow, evenly spread.

    Args:
        opened: A run with maps; it may be unfinished.
        window: Which time window; needed only if there are several.
        report: Called after each shard.

    Raises:
        ConfigError: If there are several windows and none is named, or there is no such window.
        RunDirectoryError: If no cell has an embedding yet, or a file cannot be read.
    """
    shards, zones = opened.plan.shards, zone_cells(opened, window=window)
    first = next(iter(zones.values()))
    rows, _ = first.shard_cells(first.shards[0])
    side = rows.stop - rows.start
    step = thinning(side, len(shards), first.dimension)
    vectors, shard, row, col, main, lonlat, missing, k = [], [], [], [], [], [], 0, 0
    for epsg, zone in zones.items():
        to_lonlat = transformer(f"EPSG:{epsg}", LONLAT).transform
        for ground in zone.shards:
            rows, cols = (
                slice(part.start + step // 2, part.stop, step) for part in zone.shard_cells(ground)
            )
            values = zone.read(ground, rows, cols)
            embedded = np.isfinite(values).all(axis=-1)
            r, c = np.nonzero(embedded)
            x, y = zone.centres(rows, cols)
            vectors.append(values[embedded])
            shard.append(np.full(len(r), k))
            row.append(r)
            col.append(c)
            main.append(zone.in_strip(rows, cols)[embedded])
            lonlat.append(np.stack(to_lonlat(x[embedded], y[embedded]), axis=1))
            missing += not len(r)
            k += 1
            if report is not None:
                report(k, len(shards))
    if missing == k:
        raise RunDirectoryError(
            f"`{opened.run.path}` has no cell with an embedding yet. "
            f"`thor-geo status {opened.run.path}` says more."
        )
    in_strip = np.concatenate(main)
    return RasterVectors(
        unit="cells",
        source=HeldVectors(np.concatenate(vectors)),
        shards=shards,
        shard=np.concatenate(shard),
        row=np.concatenate(row),
        col=np.concatenate(col),
        side=side // step,
        main=in_strip,
        searched=in_strip,
        lonlat=np.concatenate(lonlat),
        tile=None,
        step=step,
        missing=missing,
    )


def thinning(side: int, shards: int, dimension: int) -> int:
    """Return the smallest divisor of a shard's side for which the vectors fit in `MOST_BYTES`.

    Args:
        side: Tiles or cells on a shard's side.
        shards: Number of shards.
        dimension: Length of a vector.
    """
    most = MOST_BYTES / (4 * dimension * shards)
    return next(
        d for d in range(1, side + 1) if (side % d == 0 and (side // d) ** 2 <= most) or d == side
    )
