"""The finished part of one UTM zone's map: any rectangle of its cells, whatever shards it meets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.ground.plan import Shard
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import MapReader, read_markers
from thor_geo.runs.zone_grid import zone_grids
from thor_geo.support.arrays import ObjectArray


class ZoneMap:
    """The embeddings of one UTM zone, without the shards that have no marker.

    It can be pickled, and used in a forked process: files are opened where they are read.

    Attributes:
        opened: The run, with maps.
        epsg: EPSG code.
        bounds: Left, bottom, right, top of the whole map, metres.
        cell: Side of a cell, metres.
        shape: Rows and columns; row 0 = north.
        dimension: D.
    """

    def __init__(self, opened: OpenedRun, epsg: int) -> None:
        """Initialize a new ZoneMap instance.

        Args:
            opened: The run, of an area and with maps.
            epsg: EPSG code of one of its zones.

        Raises:
            RunDirectoryError: If no shard of the zone is finished, or the map cannot be opened.
        """
        self.opened, self.epsg = opened, epsg
        # For the places of shards, which do not depend on the number of cells in a tile.
        self._layout = zone_grids(opened.plan, 1)[epsg]
        self._reader = MapReader(opened.run, opened.plan)
        self._arrays: tuple[Any, Any] | None = None
        self._done = self._finished()
        try:
            array, _ = self._open()
            self.dimension, *sides = map(int, array.shape[-3:])
            self.shape = (sides[0], sides[1])
            left, bottom, right, top = map(float, array.attrs["spatial:bbox"])
            self.cell = float(array.attrs["spatial:transform"][0])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"`{opened.run.grid}` cannot be opened ({error!r:.200}). `thor-geo validate "
                f"{opened.run.path}` shows what is wrong."
            ) from error
        self.bounds: Bounds = (left, bottom, right, top)

    def _finished(self) -> dict[tuple[int, int], int]:
        """Return the indices in the plan of the finished shards, by row and column."""
        opened, shards = self.opened, self.opened.plan.shards
        zone = [lattice.epsg for lattice in opened.plan.lattices].index(self.epsg)
        ours = np.flatnonzero(shards.zone == zone).tolist()
        done = {}
        for k, (shard, marker) in zip(
            ours, read_markers(opened.run, opened.plan, ours), strict=True
        ):
            if marker is not None and opened.fits(marker, shard):
                done[self._layout.shard_position(shard)] = k
        self.unfinished = len(ours) - len(done)
        if not done:
            raise RunDirectoryError(
                f"`{opened.run.path}` has no finished shard in {zone_name(self.epsg)} yet: "
                f"`thor-geo status {opened.run.path}` says how far it is."
            )
        return done

    def _open(self) -> tuple[Any, Any]:
        if self._arrays is None:
            self._arrays = self._reader.open(self.epsg)
        return self._arrays

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without open files."""
        return {**self.__dict__, "_arrays": None}

    def tiles(self) -> ObjectArray:
        """Return the ground of every tile in finished shards as a box in metres, (n,)."""
        plan, shards = self.opened.plan, self.opened.plan.shards
        edges = [
            plan.tile(index).centre.bounds
            for k in self._done.values()
            for index in range(shards[k].start, shards[k].stop)
        ]
        return np.asarray(shapely.box(*np.array(edges, dtype=np.float64).T))

    def read(self, rows: slice, cols: slice, time: int | None) -> npt.NDArray[np.float32]:
        """Return the embeddings of a rectangle of cells, (D, rows, columns) float32.

        Only the chunks under it are read. Cells without an embedding, of unfinished shards, and
        beyond the map are NaN.

        Args:
            rows: Rows of the map, row 0 = north; they may lie beyond it.
            cols: Its columns, likewise.
            time: Index on the time axis; None for a run without a list of windows.

        Raises:
            RunDirectoryError: If a shard's file cannot be read.
        """
        sides = (rows.stop - rows.start, cols.stop - cols.start)
        out = np.full((self.dimension, *sides), np.nan, dtype=np.float32)
        for shard, r, c in self._shards_meeting(rows, cols):
            cells = self._reader.read(shard, self._open(), r, c, time)
            out[
                :,
                r.start - rows.start : r.stop - rows.start,
                c.start - cols.start : c.stop - cols.start,
            ] = np.moveaxis(cells, -1, 0)
        return out

    def _shards_meeting(self, rows: slice, cols: slice) -> list[tuple[Shard, slice, slice]]:
        """Return the finished shards that meet a rectangle, and what they share with it."""
        side = self.shape[0] // self._layout.rows
        found = []
        for row in range(max(rows.start, 0) // side, -(-min(rows.stop, self.shape[0]) // side)):
            for col in range(max(cols.start, 0) // side, -(-min(cols.stop, self.shape[1]) // side)):
                if (row, col) in self._done:
                    shard = self.opened.plan.shards[self._done[row, col]]
                    found.append(
                        (shard, _shared(rows, row * side, side), _shared(cols, col * side, side))
                    )
        return found


def _shared(wanted: slice, start: int, side: int) -> slice:
    return slice(max(wanted.start, start), min(wanted.stop, start + side))
