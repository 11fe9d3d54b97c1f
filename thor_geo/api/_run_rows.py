"""The rows of a run: what is known of each, and where its vector lies in the files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.plan import Shard
from thor_geo.runs.opened_run import THREADS, OpenedRun
from thor_geo.runs.reading import read_markers, read_rows
from thor_geo.runs.vectors import SCALES
from thor_geo.storage.files import readable
from thor_geo.support.arrays import AnyArray, BoolArray, Int64Array

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa

_log = logging.getLogger(__name__)

# What tables leave out: vectors, and lists and structs that take more memory than all else.
_HEAVY = {*SCALES, *SCALES.values(), "bbox", "source_ids", "transform"}


class RunRows:
    """The rows of the finished shards of a run, in one time window."""

    def __init__(self, opened: OpenedRun, window: int | None) -> None:
        """Initialize a new RunRows instance; nothing is read yet.

        Args:
            opened: The run.
            window: Index of the time window; None if there is only one.
        """
        self._opened, self._window = opened, window

    @property
    def time(self) -> int | None:
        """Index of the window among a tile's rows; None if the run has no list of windows.

        Raises:
            ConfigError: If there are several windows and none is chosen.
        """
        windows = self._opened.windows
        if self._window is None and len(windows) > 1:
            spans = ", ".join(
                f"{k}: {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}"
                for k, span in enumerate(windows)
            )
            raise ConfigError(
                "window",
                None,
                f"`{self._opened.run.path}` has {len(windows)} time windows",
                f"Choose one with open_run(..., window=N) of {spans}.",
            )
        return self._opened.time_index(self._window)

    @cached_property
    def done(self) -> list[Shard]:
        """The shards that are done, in the order of the plan; a warning says if some are not."""
        opened = self._opened
        shards = opened.plan.shards
        pairs = read_markers(opened.run, opened.plan, range(len(shards)))
        done = [
            shard for shard, marker in pairs if marker is not None and opened.fits(marker, shard)
        ]
        if len(done) < len(shards):
            _log.warning(
                "%s is not finished: %d of %d shards are there.",
                opened.run.path,
                len(done),
                len(shards),
            )
        return done

    @property
    def finished(self) -> list[Shard]:
        """The same, and at least one.

        Raises:
            RunDirectoryError: If there is none yet.
        """
        if not self.done:
            path = self._opened.run.path
            raise RunDirectoryError(
                f"`{path}` has no finished shard yet: `thor-geo status {path}` says how far it is."
            )
        return self.done

    def read(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a shard's rows in the window, without their vectors.

        Args:
            shard: One of `finished`.
            columns: The columns to read; None for all.

        Raises:
            RunDirectoryError: If its file cannot be read.
        """
        table = read_rows(self._opened.run, shard, columns, without=_HEAVY)
        every = max(1, len(self._opened.windows))
        return table if self.time is None else table.take(np.arange(self.time, len(table), every))

    def _read_all(self, columns: Sequence[str] | None) -> pa.Table:
        """Return all rows in the order of the files: finished shards, then skipped rows."""
        import pyarrow as pa

        run = self._opened.run
        with ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-rows") as pool:
            tables = list(pool.map(lambda shard: self.read(shard, columns), self.finished))
        if self._opened.places and run.skipped.exists():
            import pyarrow.parquet as pq

            tables.append(pq.read_table(readable(run.skipped), columns=tables[0].column_names))
        return pa.concat_tables(tables).combine_chunks()

    @cached_property
    def _brief(self) -> pa.Table:
        """What `embedded` and `order` need of all rows: a hundredth of their memory."""
        return self._read_all(["status", "place"] if self._opened.places else ["status"])

    @cached_property
    def order(self) -> Int64Array | None:
        """For each of `rows` its position in the files; None if that is the same.

        A table of places has an order of its own.
        """
        if not self._opened.places:
            return None
        place = self._brief["place"].to_numpy()
        return np.argsort(place, kind="stable").astype(np.int64)

    @cached_property
    def rows(self) -> pa.Table:
        """All rows in the order of the plan, or of the table of places."""
        rows = self._read_all(None)
        return rows if self.order is None else rows.take(self.order)

    @cached_property
    def embedded(self) -> BoolArray:
        """Whether each of `rows` has a vector."""
        there = embedded(self._brief)
        there = there if self.order is None else there[self.order]
        there.setflags(write=False)  # all readers of `Run.embedded` share it
        return there

    @cached_property
    def tiles(self) -> Int64Array:
        """For each of `rows` its tile's index in the plan, -1 for skipped rows."""
        tiles = np.full(len(self.embedded), -1, dtype=np.int64)
        done = np.concatenate([np.arange(shard.start, shard.stop) for shard in self.finished])
        tiles[: len(done)] = done
        return tiles if self.order is None else tiles[self.order]

    @cached_property
    def targets(self) -> Int64Array:
        """For each row of the files its position among those with a vector, -1 without one."""
        position = np.where(self.embedded, np.cumsum(self.embedded) - 1, -1)
        if self.order is None:
            return position
        targets = np.empty(len(position), dtype=np.int64)
        targets[self.order] = position
        return targets

    def column(self, argument: str, name: str) -> pa.ChunkedArray:
        """Return a column for the rows that have a vector.

        Args:
            argument: Name of the argument, for the message.
            name: The column's name.

        Raises:
            ConfigError: If there is no such column.
        """
        import pyarrow as pa

        names = [each for each in self.rows.column_names if each != "geometry"]
        if name not in names:
            near = get_close_matches(name, names, 1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Choose from: {', '.join(names)}."
            path = self._opened.run.path
            raise ConfigError(argument, name, f"`{path}` has no such column", remedy)
        # Nulls of other rows must not change the type.
        return self.rows[name].filter(pa.array(self.embedded))


def embedded(rows: pa.Table) -> BoolArray:
    """Return which rows have a vector, (n,).

    Args:
        rows: Rows with their `status`.
    """
    status = rows["status"].combine_chunks()
    return np.asarray(status.to_numpy(zero_copy_only=False) == "ok")


def geo_table(rows: pa.Table) -> geopandas.GeoDataFrame:
    """Return rows as a GeoDataFrame, in longitude and latitude.

    Args:
        rows: Rows with their `geometry` as WKB.
    """
    import geopandas
    import shapely

    shapes = shapely.from_wkb(rows["geometry"].to_numpy(zero_copy_only=False))
    return geopandas.GeoDataFrame(
        rows.drop(["geometry"]).to_pandas(), geometry=list(shapes), crs="OGC:CRS84"
    )


def numpy_column(column: pa.ChunkedArray) -> AnyArray:
    """Return a column as pandas has its values, times in UTC.

    Args:
        column: Any column of `RunRows.rows`.
    """
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        # NumPy has no time zones; what is stored is UTC.
        column = column.cast(pa.timestamp(column.type.unit))
    return np.asarray(column.to_pandas().to_numpy())
