"""The vectors of a run, part by part, as an index holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from thor_geo.checks.overlap import redundant_tiles
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Shard
from thor_geo.results.cells import ZoneCells, zone_cells
from thor_geo.results.similar_places import VECTORS, PlaceUnit
from thor_geo.results.tiles import check_pooled, tile_vectors
from thor_geo.runs.opened_run import THREADS, OpenedRun
from thor_geo.runs.place_reading import read_place_rows
from thor_geo.runs.similar_index import IndexUnit, pack_cells
from thor_geo.support.arrays import Float32Array, Int64Array

# Shards of tiles and places, of some 64 vectors each, that are read together.
_TOGETHER = 64
# Most values of cells in memory at once: 64 MiB.
_MOST_VALUES = 16 * 1024**2


class IndexPart(NamedTuple):
    """Vectors (n, D) float32, finite, and their places (n,), as `row_type` has them."""

    place: Int64Array
    vectors: Float32Array


class IndexParts(ABC):
    """The vectors of one kind, in the order in which a scan reads them.

    Attributes:
        most: Number of vectors, or more.
    """

    most: int

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of parts."""

    @abstractmethod
    def read(self, part: int) -> IndexPart:
        """Return the vectors of a part; there may be none.

        Raises:
            RunDirectoryError: If a file cannot be read.
        """

    def left_out(self, seen: Int64Array) -> Int64Array:
        """Return the places that searches leave out, among all that were read.

        Args:
            seen: The places that were read.
        """
        return seen[:0]


def index_parts(opened: OpenedRun, unit: IndexUnit, window: int | None) -> IndexParts:
    """Return the vectors of a run.

    Args:
        opened: The run; it may be unfinished.
        unit: Which of its vectors.
        window: Which time window; may be left out if there is only one.

    Raises:
        RunDirectoryError: If the run has no such vectors.
        ConfigError: If there are several windows and none is chosen, or there is no such window.
    """
    if unit == "cells":
        return CellParts(opened, window)
    check_pooled(opened)
    if unit == "tiles":
        return TileParts(opened, opened.time_index(window))
    return PlaceParts(opened, unit)


class TileParts(IndexParts):
    """Vectors of tiles; places are indices in the plan."""

    def __init__(self, opened: OpenedRun, time: int | None) -> None:
        """Initialize a new TileParts instance.

        Args:
            opened: The run.
            time: Index of the time window.
        """
        self._opened, self._time = opened, time
        self.most = len(opened.plan)

    def __len__(self) -> int:
        """Return the number of parts."""
        return -(-len(self._opened.plan.shards) // _TOGETHER)

    def read(self, part: int) -> IndexPart:
        """Return the vectors of some shards."""
        shards = self._opened.plan.shards[part * _TOGETHER : (part + 1) * _TOGETHER]

        def read(shard: Shard) -> IndexPart | None:
            values = tile_vectors(self._opened, shard, self._time)
            if values is None:
                return None
            valid = np.flatnonzero(np.isfinite(values).all(axis=1))
            return IndexPart(valid + shard.start, values[valid])

        with ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-vectors") as pool:
            return _joined([one for one in pool.map(read, shards) if one is not None])

    def left_out(self, seen: Int64Array) -> Int64Array:
        """Return the tiles whose ground lies wholly in another zone's primary tiles."""
        produced = np.zeros(len(self._opened.plan), dtype=np.bool_)
        produced[seen] = True
        return seen[redundant_tiles(self._opened.plan, produced)[seen]]


class CellParts(IndexParts):
    """Vectors of cells in their zone's own strip; places are packed (`pack_cells`)."""

    def __init__(self, opened: OpenedRun, window: int | None) -> None:
        """Initialize a new CellParts instance.

        Args:
            opened: The run.
            window: Which time window.
        """
        zones = list(zone_cells(opened, window=window).values())
        self._parts: list[tuple[ZoneCells, Shard, slice]] = []
        self.most = 0
        for zone in zones:
            for shard in zone.shards:
                rows, cols = zone.shard_cells(shard)
                self.most += (rows.stop - rows.start) * (cols.stop - cols.start)
                most = _MOST_VALUES // ((cols.stop - cols.start) * zone.dimension)
                self._parts += [(zone, shard, slab) for slab in zone.slabs(shard, most)]

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self._parts)

    def read(self, part: int) -> IndexPart:
        """Return the vectors of some rows of a shard."""
        zone, shard, rows = self._parts[part]
        _, cols = zone.shard_cells(shard)
        values = zone.read(shard, rows, cols)
        valid = np.isfinite(values).all(axis=-1) & zone.in_strip(rows, cols)
        row, col = np.nonzero(valid)
        return IndexPart(pack_cells(zone.epsg, row + rows.start, col + cols.start), values[valid])


class PlaceParts(IndexParts):
    """Vectors of places; places are indices in the plan."""

    def __init__(self, opened: OpenedRun, unit: PlaceUnit) -> None:
        """Initialize a new PlaceParts instance.

        Args:
            opened: A run of places.
            unit: Which of its vectors.
        """
        self._opened, self._unit = opened, unit
        self.most = len(opened.plan)

    def __len__(self) -> int:
        """Return the number of parts."""
        return -(-len(self._opened.plan.shards) // _TOGETHER)

    def read(self, part: int) -> IndexPart:
        """Return the vectors of some shards."""
        plan = self._opened.plan
        assert isinstance(plan, PlacePlan)
        shards = range(part * _TOGETHER, min((part + 1) * _TOGETHER, len(plan.shards)))
        rows = read_place_rows(self._opened.run, plan, vectors=VECTORS[self._unit], shards=shards)
        if not rows.embedded.any():
            return _joined([])
        assert rows.vectors is not None
        return IndexPart(rows.index[rows.embedded], rows.vectors[rows.embedded])


def _joined(parts: list[IndexPart]) -> IndexPart:
    if not parts:
        return IndexPart(np.empty(0, np.int64), np.empty((0, 0), np.float32))
    return IndexPart(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
