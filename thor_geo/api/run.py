"""A run in Python: its vectors beside what is known of each row."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.lattice import zone_name
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.opened_run import THREADS, OpenedRun, read_run
from thor_geo.runs.reading import VectorReader, read_markers, read_rows
from thor_geo.runs.vectors import CENTRE, EMBEDDING, SCALES
from thor_geo.specs import check_choice
from thor_geo.support.arrays import AnyArray, BoolArray, Float32Array, Int64Array
from thor_geo.support.words import counted

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa

_log = logging.getLogger(__name__)

#: Which vectors: of the whole tile, of the map's cell that holds the place, or both side by side.
RunVectors: TypeAlias = Literal["pooled", "centre", "both"]

_COLUMNS = {"pooled": (EMBEDDING,), "centre": (CENTRE,), "both": (EMBEDDING, CENTRE)}
# What `Run.table` leaves out: vectors, and lists and structs that take more memory than all else.
_HEAVY = {*SCALES, *SCALES.values(), "bbox", "source_ids", "transform"}


class Run:
    """The finished part of a run, as scikit-learn takes it.

    `X`, `y` and `groups` have a row for each vector. Rows without one (no scene, failed, skipped)
    are in none of them: they are the rows of `table` where `embedded` is false. Rows are those of
    the table of places, in its order, or the tiles of an area, in the order of the plan.

    Attributes:
        path: The run's directory.
        vectors: Which vectors `X` holds.
        window: Which of several time windows the rows are of; None if there is only one.
    """

    def __init__(self, opened: OpenedRun, *, vectors: RunVectors, window: int | None) -> None:
        """Initialize a new Run instance; make it with `open_run`.

        Args:
            opened: The run.
            vectors: See above.
            window: See above.

        Raises:
            ConfigError: If the run has no such vectors or window, or several windows and none is
                chosen.
        """
        check_choice("vectors", vectors, RunVectors)
        self.path: Path = opened.run.path
        self.vectors, self.window = vectors, window
        self._opened = opened
        self._check_vectors()
        self._check_window()

    def _check_vectors(self) -> None:
        if not self._opened.pooled:
            raise ConfigError(
                "dir",
                str(self.path),
                "this run has maps and no vectors",
                "Run it again into another directory with --output.pooled=true.",
            )
        if self.vectors != "pooled" and not self._opened.centre:
            raise ConfigError(
                "vectors",
                self.vectors,
                f"`{self.path}` has no vectors of its places' cells",
                "Take vectors='pooled', or run its table again into another directory with "
                "--output.centre=true.",
            )

    def _check_window(self) -> None:
        windows, window = self._opened.windows, self.window
        if window is None and len(windows) > 1:
            spans = ", ".join(
                f"{k}: {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}"
                for k, span in enumerate(windows)
            )
            raise ConfigError(
                "window",
                None,
                f"`{self.path}` has {len(windows)} time windows",
                f"Choose one with open_run(..., window=N) of {spans}.",
            )
        # Refuses a window that is not there.
        self._time = self._opened.time_index(window)

    @property
    def plan(self) -> Plan:
        """The plan: a tile for each place, or of an area."""
        return self._opened.plan

    @property
    def meta(self) -> dict[str, Any]:
        """The content of run.json: settings, model, weights, statistics, versions."""
        return dict(self._opened.document)

    @cached_property
    def table(self) -> geopandas.GeoDataFrame:
        """All rows without their vectors: ids, kept columns, geometry, window, status.

        The geometry is the tile's footprint in longitude and latitude. The columns `embedding`,
        `centre`, their scales, `bbox`, `transform` and `source_ids` are in the files alone.
        """
        import geopandas
        import shapely

        frame = self._rows.drop(["geometry"]).to_pandas()
        shapes = shapely.from_wkb(self._rows["geometry"].to_pylist())
        return geopandas.GeoDataFrame(frame, geometry=list(shapes), crs="OGC:CRS84")

    @cached_property
    def embedded(self) -> BoolArray:
        """Whether each row of `table` has a vector, and so a row in `X`."""
        status = self._rows["status"].combine_chunks()
        return np.asarray(status.to_numpy(zero_copy_only=False) == "ok")

    @cached_property
    def X(self) -> Float32Array:  # noqa: N802 -- as scikit-learn calls it
        """Vectors, float32 (n, D), whatever their type on disk; D + D' for ``both``.

        They are read when they are first asked for, and then kept.

        Raises:
            RunDirectoryError: If a file cannot be read.
        """
        columns = _COLUMNS[self.vectors]
        reader = VectorReader(self._opened.run)
        # Where each row of the files goes, in the order of the files.
        goal = np.empty(len(self._order), dtype=np.int64)
        goal[self._order] = np.where(self.embedded, np.cumsum(self.embedded) - 1, -1)
        ends = np.cumsum([len(shard) for shard in self._finished])

        def read(number: int) -> Float32Array:
            parts = [reader.read(self._finished[number], self._time, name) for name in columns]
            return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

        out = np.empty((len(self), read(0).shape[1]), dtype=np.float32)

        def fill(number: int) -> None:
            end = ends[number]
            into = goal[end - len(self._finished[number]) : end]
            out[into[into >= 0]] = read(number)[into >= 0]

        with ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-vectors") as pool:
            list(pool.map(fill, range(len(ends))))  # raises what a thread has raised
        return out

    def y(self, column: str) -> AnyArray:
        """Return a column for the rows of `X`, (n,), nulls as pandas has them, times in UTC.

        Args:
            column: A column of `table`.

        Raises:
            ConfigError: If there is no such column.
        """
        return _numpy(self._column("column", column))

    def groups(self, column: str | None = None, *, block_m: float = 10_000) -> AnyArray:
        """Return a group for each row of `X`, (n,), for GroupKFold and the like.

        Args:
            column: A column of `table`; rows of equal values are one group. None for squares on the
                ground, so that neighbours are not in training and test both.
            block_m: Side of these squares in metres, in each UTM zone.

        Raises:
            ConfigError: If there is no such column, or the side is not positive.
        """
        if column is not None:
            return _numpy(self._column("groups", column))
        if not block_m > 0:
            raise ConfigError("block_m", block_m, "not a positive length", "Give metres.")
        plan = self.plan
        rows = self._tiles[self.embedded]
        squares = np.empty((len(rows), 3), dtype=np.int64)
        for k, lattice in enumerate(plan.lattices):
            here = plan.zone[rows] == k
            tiles = rows[here]
            (left, top), half = lattice.origin, lattice.tile_size * lattice.resolution / 2
            step = lattice.step * lattice.resolution
            x = left + plan.col[tiles] * np.float64(step) + half
            y = top + plan.row[tiles] * np.float64(step) - half
            squares[here] = np.stack(
                [np.full(len(tiles), k), np.floor(x / block_m), np.floor(y / block_m)], axis=1
            )
        return np.unique(squares, axis=0, return_inverse=True)[1].ravel()

    def samples(
        self, target: str, groups: str | None = None, *, block_m: float = 10_000
    ) -> tuple[Float32Array, AnyArray, AnyArray]:
        """Return `X`, `y` and `groups` of the rows that have a vector, a label and a group.

        Args:
            target: Column of `table` with the labels; rows without one are left out.
            groups: Column with the groups, likewise; None for squares on the ground.
            block_m: See `groups`.

        Returns:
            float32 (n, D), (n,) and (n,).

        Raises:
            ConfigError: If there is no such column, or no row has both.
        """
        import pyarrow.compute as pc

        labels = self._column("target", target)
        known = pc.invert(pc.is_null(labels, nan_is_null=True))
        members = None if groups is None else self._column("groups", groups)
        if members is not None:
            known = pc.and_(known, pc.invert(pc.is_null(members, nan_is_null=True)))
        chosen = known.to_numpy().astype(np.bool_)
        if not chosen.any():
            raise ConfigError(
                "target", target, f"no row of `{self.path}` has a label", "Choose another column."
            )
        # Filtered first, so that gaps change no type.
        return (
            self.X if chosen.all() else self.X[chosen],
            _numpy(labels.filter(known)),
            self.groups(block_m=block_m)[chosen]
            if members is None
            else _numpy(members.filter(known)),
        )

    def __len__(self) -> int:
        """Return the number of rows of `X`."""
        return int(self.embedded.sum())

    def __repr__(self) -> str:
        """Return the directory and what it holds."""
        zones = ", ".join(zone_name(lattice.epsg) for lattice in self.plan.lattices[:4])
        more = ", ..." if len(self.plan.lattices) > 4 else ""
        what = counted(len(self.plan), "place" if self._opened.places else "tile")
        return f"<thor_geo.Run {str(self.path)!r}: {what} in {zones}{more}>"

    def _column(self, argument: str, column: str) -> pa.ChunkedArray:
        """Return a column for the rows of `X`."""
        import pyarrow as pa

        names = [name for name in self._rows.column_names if name != "geometry"]
        if column not in names:
            near = get_close_matches(column, names, 1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Choose from: {', '.join(names)}."
            raise ConfigError(argument, column, f"`{self.path}` has no such column", remedy)
        # Nulls of other rows must not change the type.
        return self._rows[column].filter(pa.array(self.embedded))

    @cached_property
    def _finished(self) -> list[Shard]:
        shards = self.plan.shards
        pairs = read_markers(self._opened.run, self.plan, range(len(shards)))
        done = [
            shard
            for shard, marker in pairs
            if marker is not None and self._opened.fits(marker, shard)
        ]
        if not done:
            raise RunDirectoryError(
                f"`{self.path}` has no finished shard yet: `thor-geo status {self.path}` says how "
                "far it is."
            )
        if len(done) < len(shards):
            _log.warning(
                "%s is not finished: %d of %d shards are there.", self.path, len(done), len(shards)
            )
        return done

    @cached_property
    def _stored(self) -> pa.Table:
        """The columns of all rows in the order of the files: finished shards, then skipped rows."""
        import pyarrow as pa

        run, time = self._opened.run, self._time
        every = max(1, len(self._opened.windows))

        def read(shard: Shard) -> pa.Table:
            table = read_rows(run, shard, without=_HEAVY)
            return table if time is None else table.take(np.arange(time, len(table), every))

        with ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-rows") as pool:
            tables = list(pool.map(read, self._finished))
        if self._opened.places and run.skipped.exists():
            import pyarrow.parquet as pq

            tables.append(pq.read_table(run.skipped, columns=tables[0].column_names))
        return pa.concat_tables(tables).combine_chunks()

    @cached_property
    def _order(self) -> Int64Array:
        """For each row of `table` the row of `_stored`."""
        if not self._opened.places:
            return np.arange(len(self._stored), dtype=np.int64)
        place = self._stored["place"].to_numpy()
        return np.argsort(place, kind="stable").astype(np.int64)

    @cached_property
    def _rows(self) -> pa.Table:
        return self._stored.take(self._order)

    @cached_property
    def _tiles(self) -> Int64Array:
        """For each row of `table` its tile's index in the plan, -1 for skipped rows."""
        tiles = np.full(len(self._stored), -1, dtype=np.int64)
        spans = [np.arange(shard.start, shard.stop) for shard in self._finished]
        done = np.concatenate(spans)
        tiles[: len(done)] = done
        return tiles[self._order]


def open_run(dir: str | Path, *, vectors: RunVectors = "pooled", window: int | None = None) -> Run:
    """Open a run for scikit-learn and pandas; nothing in it is written.

    Args:
        dir: The run's directory, finished or not.
        vectors: ``pooled``, ``centre`` (of the map's cell that holds each place, where the run has
            been asked for it), or ``both`` side by side.
        window: Index of the time window, in a run that has several.

    Returns:
        The run; its vectors and columns are read when they are asked for.

    Raises:
        RunDirectoryError: If it is not a run, or cannot be read.
        ConfigError: If it has no such vectors or window, or several windows and none is chosen.
    """
    return Run(read_run(dir), vectors=vectors, window=window)


def _numpy(column: pa.ChunkedArray) -> AnyArray:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        # NumPy has no time zones; what is stored is UTC.
        column = column.cast(pa.timestamp(column.type.unit))
    return np.asarray(column.to_pandas().to_numpy())
