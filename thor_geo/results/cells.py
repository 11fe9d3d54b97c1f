"""The cells of a run's embedding maps, zone by zone and window by window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Bounds, zone_name, zone_strip
from thor_geo.ground.plan import Shard, Shards
from thor_geo.runs import reading
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import MapReader
from thor_geo.support.progress import PATIENCE_S, track


@dataclass(frozen=True, kw_only=True, eq=False)
class ZoneCells:
    """The map of one UTM zone.

    Attributes:
        epsg: EPSG code.
        bounds: Left, bottom, right, top of the whole map, metres.
        cell: Side of a cell, metres.
        shape: Rows and columns; row 0 = north.
        dimension: D.
        shards: The zone's shards.
    """

    epsg: int
    bounds: Bounds
    cell: float
    shape: tuple[int, int]
    dimension: int
    shards: Shards
    _opened: OpenedRun
    _reader: MapReader
    _arrays: tuple[Any, Any]
    _time: int | None

    def shard_cells(self, shard: Shard) -> tuple[slice, slice]:
        """Return the rows and columns of a shard's cells."""
        top, bottom, left, right = reading.cell_window(self._arrays[0], shard.square.bounds)
        return slice(top, bottom), slice(left, right)

    def read(
        self, shard: Shard, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[np.float32]:
        """Return embeddings of a shard's cells, (rows, columns, D) float32, NaN without one.

        Args:
            shard: One of `shards`.
            rows: Rows of the map, within the shard's; None for all of them.
            cols: Columns of the map, likewise.

        Raises:
            RunDirectoryError: If the shard's file cannot be read.
        """
        shard_rows, shard_cols = self.shard_cells(shard)
        rows, cols = rows or shard_rows, cols or shard_cols
        if self._opened.marker(shard) is None:
            # Its file is ignored: it may be half written, or from an earlier run.
            sides = [len(range(part.start, part.stop, part.step or 1)) for part in (rows, cols)]
            return np.full((*sides, self.dimension), np.nan, dtype=np.float32)
        return self._reader.read(shard, self._arrays, rows, cols, self._time)

    def parts(
        self, rows: slice | None = None, cols: slice | None = None, *, progress: bool = False
    ) -> Iterator[tuple[slice, slice, npt.NDArray[np.float32]]]:
        """Yield rows, columns and embeddings of one shard after the other.

        Args:
            rows: Rows of the map that are wanted; None for all of them. Only these are read, and
                shards without any are skipped.
            cols: Columns, likewise.
            progress: Whether to show progress on standard error.

        Raises:
            RunDirectoryError: If a shard's file cannot be read.
        """
        for shard in with_progress(self.shards, self.epsg, progress):
            shard_rows, shard_cols = self.shard_cells(shard)
            r, c = _shared(shard_rows, rows), _shared(shard_cols, cols)
            if r.start < r.stop and c.start < c.stop:
                yield r, c, self.read(shard, r, c)

    def slabs(self, shard: Shard, most: int) -> Iterator[slice]:
        """Yield a shard's rows in slabs of whole chunks, from north to south.

        Args:
            shard: One of `shards`.
            most: Most rows of a slab, if a chunk does not have more.
        """
        rows, _ = self.shard_cells(shard)
        chunk = self._arrays[0].chunks[-2]
        step = max(1, most // chunk) * chunk
        for start in range(rows.start, rows.stop, step):
            yield slice(start, min(start + step, rows.stop))

    def centres(self, rows: slice, cols: slice) -> tuple[Any, Any]:
        """Return eastings and northings of cell centres, metres, each (rows, columns) float64.

        Args:
            rows: Rows of the map.
            cols: Its columns.
        """
        x = self.bounds[0] + (np.arange(*cols.indices(self.shape[1])) + 0.5) * self.cell
        y = self.bounds[3] - (np.arange(*rows.indices(self.shape[0])) + 0.5) * self.cell
        return tuple(np.meshgrid(x, y))

    def in_strip(self, rows: slice, cols: slice) -> npt.NDArray[np.bool_]:
        """Return which cells have their centre in the zone's own strip, (rows, columns).

        Ground on a zone's edge is in the maps of both zones, but only in one strip.

        Args:
            rows: Rows of the map.
            cols: Its columns.
        """
        lon, lat = transformer(f"EPSG:{self.epsg}", LONLAT).transform(*self.centres(rows, cols))
        west, south, east, north = zone_strip(self.epsg)
        inside: npt.NDArray[np.bool_] = (
            (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
        )
        return inside


def with_progress(shards: Shards, epsg: int, progress: bool) -> Iterable[Shard]:
    """Return the shards of a zone, and show progress on standard error.

    Args:
        shards: The shards.
        epsg: The zone.
        progress: Whether to show progress.
    """
    return track(shards, "shards", label=zone_name(epsg), shown=progress, delay=PATIENCE_S)


def _shared(part: slice, wanted: slice | None) -> slice:
    if wanted is None:
        return part
    return slice(max(part.start, wanted.start), min(part.stop, wanted.stop))


def zone_cells(opened: OpenedRun, *, window: int | None = None) -> dict[int, ZoneCells]:
    """Open the maps of a run, by EPSG code in ascending order.

    Args:
        opened: A run with maps; cells of shards that are not done yet read as NaN.
        window: Which time window, 0 for the first; may be left out if there is only one.

    Raises:
        RunDirectoryError: If the run has no maps, or one cannot be opened.
        ConfigError: If there are several windows and none is chosen, or there is no such window.
    """
    run, plan = opened.run, opened.plan
    if not opened.grid:
        raise RunDirectoryError(
            f"`{run.path}` has no embedding maps (output.grid=false). Use a run with "
            "output.grid=true."
        )
    reader, zones, time = MapReader(run, plan), {}, opened.time_index(window)
    shards = plan.shards
    for k, lattice in enumerate(plan.lattices):
        first, last = np.searchsorted(shards.zone, (k, k + 1)).tolist()
        if first == last:
            continue
        try:
            arrays = reader.open(lattice.epsg)
            bands, height, width = arrays[0].shape[-3:]
            bounds = tuple(arrays[0].attrs["spatial:bbox"])
            cell = float(arrays[0].attrs["spatial:transform"][0])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"`{run.grid}` cannot be opened ({error!r:.200}). `thor-geo validate {run.path}` "
                "shows what is wrong."
            ) from error
        zones[lattice.epsg] = ZoneCells(
            epsg=lattice.epsg,
            bounds=bounds,
            cell=cell,
            shape=(height, width),
            dimension=bands,
            shards=shards[first:last],
            _opened=opened,
            _reader=reader,
            _arrays=arrays,
            _time=time,
        )
    return zones
