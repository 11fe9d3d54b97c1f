"""A run in Python: its vectors beside what is known of each row, its maps, and its page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thor_geo.api._run_batches import stream_batches
from thor_geo.api._run_matrix import RunVectors, ShardVectors, read_matrix
from thor_geo.api._run_rows import RunRows, geo_table, numpy_column
from thor_geo.api._run_squares import ground_squares
from thor_geo.api._run_words import run_html, run_text
from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.specs import check_choice
from thor_geo.specs.choices import check_least
from thor_geo.storage import Location, StoreOptions
from thor_geo.support.arrays import AnyArray, BoolArray, Float32Array

if TYPE_CHECKING:
    import geopandas
    import xarray

    from thor_geo.checks.tally import Tally
    from thor_geo.explorer.inline import InlineExplorer


class Run:
    """The finished part of a run, as scikit-learn, pandas and xarray take it.

    `X`, `y` and `groups` have a row for each vector. Rows without one (no scene, failed, skipped)
    are in none of them: they are the rows of `table` where `embedded` is false. Rows are those of
    the table of places, in its order, or the tiles of an area, in the order of the plan. What has
    been read once is kept: open an unfinished run again to see what has been added.

    Attributes:
        path: The run's directory.
        kind: Which vectors `X` holds: ``pooled``, ``centre`` or ``both``.
        window: Which of several time windows the rows are of; None if none is chosen.
    """

    def __init__(self, opened: OpenedRun, *, kind: RunVectors, window: int | None) -> None:
        """Initialize a new Run instance; make it with `open_run`.

        Args:
            opened: The run.
            kind: See above.
            window: See above.

        Raises:
            ConfigError: If the run has no such vectors or window.
        """
        check_choice("vectors", kind, RunVectors)
        self.path: Location = opened.run.path
        self.kind, self.window = kind, window
        self._opened = opened
        if kind != "pooled":
            self._check_vectors()
        if window is not None:
            opened.time_index(window)  # refuses one that is not there
        self._rows = RunRows(opened, window)
        self._page: InlineExplorer | None = None

    @property
    def plan(self) -> Plan:
        """The plan: a tile for each place, or of an area."""
        return self._opened.plan

    @property
    def meta(self) -> dict[str, Any]:
        """The content of run.json: settings, model, weights, statistics, versions."""
        return dict(self._opened.document)

    def status(self) -> Tally:
        """Count what is done, failed and left; anew with each call.

        ``print(run.status())`` shows what `thor-geo status` does.

        Raises:
            RunDirectoryError: If a marker cannot be read.
        """
        from thor_geo.checks.tally import count_markers

        return count_markers(self._opened)

    @property
    def table(self) -> geopandas.GeoDataFrame:
        """All rows of finished shards without their vectors: ids, kept columns, geometry, status.

        The geometry is the tile's footprint in longitude and latitude. The columns `embedding`,
        `centre`, their scales, `bbox`, `transform` and `source_ids` are in the files alone. Each
        time it is a copy of its own, to which columns can be added.
        """
        return self._table.copy()

    @cached_property
    def _table(self) -> geopandas.GeoDataFrame:
        return geo_table(self._known.rows)

    @property
    def embedded(self) -> BoolArray:
        """Whether each row of `table` has a vector, and so a row in `X`; read-only."""
        return self._known.embedded

    @property
    def X(self) -> Float32Array:  # noqa: N802 -- as scikit-learn calls it
        """Vectors, float32 (n, D), whatever their type on disk; D + D' for ``both``.

        The array is read-only, since all that ask for it share it: ``run.X.copy()`` can be changed.
        They are read when they are first asked for, and then kept: in memory up to 2 GiB, and
        beyond that in a memory-mapped file in the folder for temporary files (TMPDIR), which is
        deleted when the matrix is, or when Python ends.

        Raises:
            ConfigError: If the run has no vectors, or several time windows and none is chosen.
            RunDirectoryError: If a file cannot be read, or the folder has no room.
        """
        return self._matrix

    @cached_property
    def _matrix(self) -> Float32Array:
        known = self._known
        matrix = read_matrix(known, ShardVectors(self._opened.run, self.kind, known.time))
        matrix.setflags(write=False)
        return matrix

    def vectors(self) -> geopandas.GeoDataFrame:
        """Return what is known of each row of `X`, as a table; the vectors themselves are `X`.

        Returns:
            The rows of `table` where `embedded` is true, counted from 0: row k has the vector
            ``X[k]``. Types are those of the files.

        Raises:
            ConfigError: If the run has no vectors, or several time windows and none is chosen.
            RunDirectoryError: If a file cannot be read, or no shard is finished yet.
        """
        import pyarrow as pa

        # Filtered first, so that the gaps of other rows change no type.
        return geo_table(self._known.rows.filter(pa.array(self.embedded)))

    def batches(self, rows: int = 16_384) -> Iterator[tuple[Float32Array, geopandas.GeoDataFrame]]:
        """Stream `X` and `vectors` part by part, for runs that are larger than memory.

        Args:
            rows: Rows of each part; the last may have fewer.

        Returns:
            Yields float32 (rows, D) and a table of as many rows. Tiles come in the order of `X`,
            and the table's index counts on from part to part. Places come in the order of the
            files, neighbours together: the column `place` is their row in your table.

        Raises:
            ConfigError: If *rows* is not positive, the run has no vectors, or it has several time
                windows and none is chosen.
            RunDirectoryError: If a file cannot be read, or no shard is finished yet.
        """
        check_least(1, rows=rows)
        known = self._known
        vectors = ShardVectors(self._opened.run, self.kind, known.time)
        return stream_batches(known, vectors, rows)

    def y(self, column: str) -> AnyArray:
        """Return a column for the rows of `X`, (n,), nulls as pandas has them, times in UTC.

        Args:
            column: A column of `table`.

        Raises:
            ConfigError: If there is no such column.
        """
        return numpy_column(self._known.column("column", column))

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
            return numpy_column(self._known.column("groups", column))
        known = self._known
        return ground_squares(self.plan, known.tiles[known.embedded], block_m)

    def samples(
        self, target: str, groups: str | None = None, *, block_m: float = 10_000
    ) -> tuple[Float32Array, AnyArray, AnyArray]:
        """Return `X`, `y` and `groups` of the rows that have a vector, a label and a group.

        Args:
            target: Column of `table` with the labels; rows without one are left out.
            groups: Column with the groups, likewise; None for squares on the ground.
            block_m: See `groups`.

        Returns:
            float32 (n, D), (n,) and (n,). If no row is left out, the first is `X` itself.

        Raises:
            ConfigError: If there is no such column, or no row has both.
        """
        import numpy as np
        import pyarrow.compute as pc

        labels = self._known.column("target", target)
        known = pc.invert(pc.is_null(labels, nan_is_null=True))
        members = None if groups is None else self._known.column("groups", groups)
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
            numpy_column(labels.filter(known)),
            self.groups(block_m=block_m)[chosen]
            if members is None
            else numpy_column(members.filter(known)),
        )

    def grid(self, zone: str | None = None, *, window: int | None = None) -> xarray.DataArray:
        """Return the map of a UTM zone, float32 (band, y, x), whatever its type on disk.

        Nothing is read before it is used, and then only the part that is used; ``.load()`` reads
        all. Cells without an embedding (outside the area, failed, not written yet) are NaN.

        Args:
            zone: Name of the zone, such as ``utm32n``; None if there is only one.
            window: Index of the time window; None for that of `open_run`, or if none was chosen
                there for all of several: then (time, band, y, x).

        Returns:
            The map with the coordinates `band`, `y` and `x` (metres, of cell centres), `time` and
            `time_end` (of the window, UTC), and `spatial_ref`, by which rioxarray knows the CRS.

        Raises:
            ConfigError: If the run has no maps, no such zone or window, or is one of places.
            RunDirectoryError: If the maps cannot be opened; or, when a part is used, be read.
        """
        from thor_geo.results.map_arrays import zone_array

        array = zone_array(self._opened, zone, self.window if window is None else window)
        _ = self._rows.done  # says if some are not
        return array

    def places(self) -> xarray.DataArray:
        """Return the maps of all places, float32 (place, band, y, x), read when they are used.

        Places are in the order of the plan; the coordinate `place` is their row in the table.
        Cells without an embedding are NaN.

        Raises:
            ConfigError: If the run has no maps, or is one of an area.
            RunDirectoryError: If the maps cannot be opened; or, when a part is used, be read.
        """
        from thor_geo.results.map_arrays import place_array

        array = place_array(self._opened)
        _ = self._rows.done  # says if some are not
        return array

    def explore(self, port: int | None = None, *, height: int = 640) -> InlineExplorer:
        """Show the run in a notebook: the page of `thor-geo view`, in the output of the cell.

        The page is served to this machine alone, under a secret path, by a thread that ends with
        the kernel or with ``close()``. Called again, the same server shows its page again.

        Args:
            port: Port to listen on, or the next free one if it is taken; None for any free port.
            height: Height of the page in the notebook, pixels.

        Returns:
            What shows the page in a notebook; elsewhere its `url` is for the browser.

        Raises:
            ConfigError: If no port is free, the height is too small, or the run has several time
                windows and none is chosen.
            RunDirectoryError: If the run has no embedding yet, or cannot be read.
        """
        from thor_geo.explorer.inline import InlineExplorer

        if self._page is None or self._page.closed:
            self._page = InlineExplorer(
                self._opened, window=self.window, port=port or 0, height=height
            )
            return self._page
        return self._page.resized(height)

    def __len__(self) -> int:
        """Return the number of rows of `X`."""
        return int(self.embedded.sum())

    def __bool__(self) -> bool:
        """Return True: ``if run`` need not count rows."""
        return True

    def __repr__(self) -> str:
        """Return the directory, what it holds, and how much of it is done, in a few lines."""
        return run_text(self._opened)

    def _repr_html_(self) -> str:
        """Return the same for a notebook, with the quicklook and where the files are."""
        return run_html(self._opened)

    @property
    def _known(self) -> RunRows:
        """The rows, if the run has vectors, and one of several windows is chosen."""
        self._check_vectors()
        _ = self._rows.time  # refuses several windows if none is chosen
        return self._rows

    def _check_vectors(self) -> None:
        if not self._opened.pooled:
            raise ConfigError(
                "dir",
                str(self.path),
                "this run has maps and no vectors",
                "Take its maps with `run.grid()`, or run it again into another directory with "
                "--output.pooled=true.",
            )
        if self.kind != "pooled" and not self._opened.centre:
            raise ConfigError(
                "vectors",
                self.kind,
                f"`{self.path}` has no vectors of its places' cells",
                "Take vectors='pooled', or run its table again into another directory with "
                "--output.centre=true.",
            )


def open_run(
    dir: str | Path,
    *,
    vectors: RunVectors = "pooled",
    window: int | None = None,
    store: StoreOptions | None = None,
) -> Run:
    """Open a run for scikit-learn, pandas, xarray and notebooks; nothing in it is written.

    Args:
        dir: The run's directory, finished or not; or its address in an object store
            (``s3://bucket/oslo``) or on a web server.
        vectors: ``pooled``, ``centre`` (of the map's cell that holds each place, where the run has
            been asked for it), or ``both`` side by side.
        window: Index of the time window, in a run that has several; without it such a run has
            maps, and no rows.
        store: How the object store of an address is reached.

    Returns:
        The run; its vectors and columns are read when they are asked for.

    Raises:
        RunDirectoryError: If it is not a run, or cannot be read.
        ConfigError: If it has no such vectors or window, or the address is none of a bucket.
        StoreError: If a store refuses a request, or keeps failing.
    """
    return Run(read_run(dir, store), kind=vectors, window=window)
