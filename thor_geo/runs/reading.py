"""Reading embeddings back from a run's files, shard by shard, as float32."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError, StoreError, first_line
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.grid_layout import ARRAY, SCALE, array_file
from thor_geo.runs.markers import Marker
from thor_geo.runs.place_layout import place_file, shard_number
from thor_geo.runs.quantise import dequantise
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.vectors import EMBEDDING, SCALES, stack_vectors, vector_length
from thor_geo.runs.zone_grid import zone_grids
from thor_geo.storage import Location
from thor_geo.storage.files import readable, readers_of
from thor_geo.storage.zarr_stores import zarr_store

if TYPE_CHECKING:
    import pyarrow as pa


class VectorReader:
    """Reads pooled embeddings, whatever their type on disk."""

    def __init__(self, run: RunDirectory) -> None:
        """Initialize a new VectorReader instance.

        Args:
            run: The run directory.
        """
        self._run = run

    def read(
        self, shard: Shard, time: int | None, column: str = EMBEDDING
    ) -> npt.NDArray[np.float32]:
        """Return a shard's embeddings (n, D), NaN where a tile has none.

        Args:
            shard: A shard whose file exists.
            time: Index of the time window; None for a run without a list of windows.
            column: Which vectors: `EMBEDDING`, or `CENTRE` in a run of places that has them.

        Raises:
            RunDirectoryError: If its file cannot be read.
        """
        import pyarrow.parquet as pq

        # Only int8 has scales; `read` leaves missing columns out.
        with _readable(self._run, shard, self._run.pooled_path(shard)) as path:
            with pq.ParquetFile(readable(path)) as file:
                length = vector_length(file.schema_arrow, column)
                table = file.read(columns=[column, SCALES[column]])
            rows = table[column].combine_chunks()
            vectors = stack_vectors(rows, length)
        out = np.full((len(rows), length), np.nan, dtype=np.float32)
        out[rows.is_valid().to_numpy(zero_copy_only=False)] = vectors
        if SCALES[column] in table.column_names:
            out = dequantise(out, table[SCALES[column]].to_numpy()[:, None])
        return out if time is None else out[time :: max(1, len(out) // len(shard))]


def read_rows(
    run: RunDirectory,
    shard: Shard,
    columns: Sequence[str] | None = None,
    *,
    without: Collection[str] = (),
) -> pa.Table:
    """Return columns of a shard's pooled file.

    Args:
        run: The run directory.
        shard: A shard whose file exists.
        columns: The columns to read, in this order; None for all.
        without: Columns to leave out of all.

    Raises:
        RunDirectoryError: If its file cannot be read.
    """
    import pyarrow.parquet as pq

    path = run.pooled_path(shard)
    with _readable(run, shard, path), pq.ParquetFile(readable(path)) as file:
        names = [name for name in file.schema_arrow.names if name not in without]
        wanted = names if columns is None else list(columns)
        # Files are read side by side.
        table = file.read(columns=wanted, use_threads=False).replace_schema_metadata()
        return table if columns is None else table.select(wanted)


class MapReader:
    """Reads embedding maps, whatever their type on disk."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        """Initialize a new MapReader instance.

        Args:
            run: The run directory.
            plan: Its plan.
        """
        self._run = run
        # For the places of shards, which do not depend on the number of cells in a tile.
        self._zones = zone_grids(plan, 1)
        self._opened: dict[int, tuple[Any, Any]] = {}

    def open(self, epsg: int) -> tuple[Any, Any]:
        """Return the zone's array of embeddings (D, y, x) and, for int8, its array of scales.

        With a list of time windows, both have a time axis in front.

        Args:
            epsg: EPSG code of the zone.
        """
        import zarr

        if epsg not in self._opened:
            # Without its number zarr looks for older formats, too: requests, in a store.
            zone = zarr.open_group(
                zarr_store(self._run.grid), path=zone_name(epsg), mode="r", zarr_format=3
            )
            self._opened[epsg] = zone[ARRAY], zone.get(SCALE)
        return self._opened[epsg]

    def read(
        self,
        shard: Shard,
        arrays: tuple[Any, Any],
        rows: slice,
        cols: slice,
        time: int | None,
    ) -> npt.NDArray[np.float32]:
        """Return the embeddings of some of a shard's cells, (rows, columns, D), NaN without one.

        Args:
            shard: The shard that holds the cells.
            arrays: From `open`.
            rows: Rows of the zone's array.
            cols: Its columns.
            time: Index of the time window; None for a run without a list of windows.

        Raises:
            RunDirectoryError: If the shard's file cannot be read.
        """
        array, scales = arrays
        first = () if time is None else (time,)
        values: npt.NDArray[np.float32]
        with self._file(shard, ARRAY, time):
            values = array[*first, :, rows, cols].astype(np.float32)
        if scales is not None:
            with self._file(shard, SCALE, time):
                values = dequantise(values, scales[*first, rows, cols])
        return np.moveaxis(values, 0, -1)

    def _file(self, shard: Shard, name: str, time: int | None) -> AbstractContextManager[Location]:
        place = array_file(self._zones[shard.epsg], shard, name, time)
        return _readable(self._run, shard, self._run.grid / place)


class PlaceMapReader:
    """Reads the maps of a run of places, whatever their type on disk."""

    def __init__(self, run: RunDirectory) -> None:
        """Initialize a new PlaceMapReader instance.

        Args:
            run: The run directory, with ``places.zarr``.
        """
        import zarr

        self._run = run
        store: Any = zarr.open_group(zarr_store(run.place_store), mode="r")
        self._array, self._scales = store[ARRAY], store.get(SCALE)

    def read(self, shard: Shard, chosen: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Return the maps of a shard's places, (n, D', h, w), NaN where a chip has none.

        Args:
            shard: A shard whose file exists.
            chosen: Which of its places, counted from its first.

        Raises:
            RunDirectoryError: If its file cannot be read.
        """
        first = shard_number(shard) * self._array.shards[0]
        start, stop, step = chosen.indices(len(shard))
        rows = slice(first + start, first + stop, step)
        values: npt.NDArray[np.float32]
        with self._file(shard, ARRAY):
            values = self._array[rows].astype(np.float32)
        if self._scales is not None:
            with self._file(shard, SCALE):
                values = dequantise(values, self._scales[rows][:, None])
        return values

    def _file(self, shard: Shard, name: str) -> AbstractContextManager[Location]:
        return _readable(self._run, shard, self._run.place_store / place_file(shard, name))


def cell_window(array: Any, bounds: Bounds) -> tuple[int, int, int, int]:
    """Return first row, end row, first column and end column of bounds in a zone's array.

    Args:
        array: From `MapReader.open`.
        bounds: Left, bottom, right, top in metres.
    """
    left, _, _, top = array.attrs["spatial:bbox"]
    cell = array.attrs["spatial:transform"][0]
    return (
        round((top - bounds[3]) / cell),
        round((top - bounds[1]) / cell),
        round((bounds[0] - left) / cell),
        round((bounds[2] - left) / cell),
    )


@contextmanager
def _readable(run: RunDirectory, shard: Shard, path: Location) -> Iterator[Location]:
    """Yield the path of a shard's file; an error while it is read names the file and the remedy."""
    try:
        yield path
    except (MemoryError, StoreError):  # not damage
        raise
    except Exception as error:  # zarr, numcodecs and pyarrow have no common error for damage
        raise RunDirectoryError(
            f"`{path}` cannot be read ({first_line(error)}). Delete `{run.marker_path(shard)}`, "
            "then run the same `thor-geo predict` command, which computes the shard again; "
            f"`thor-geo validate {run.path}` looks for more damage."
        ) from error


# Markers are read together: small files on a shared file system are slow one by one.
_THREADS, _AT_ONCE = 16, 1024


def read_markers(
    run: RunDirectory, plan: Plan, indices: Sequence[int] | range
) -> Iterator[tuple[Shard, Marker | None]]:
    """Yield shards with their markers, None without one; only some are in memory at a time.

    Args:
        run: The run directory.
        plan: Its plan.
        indices: Which of the plan's shards.
    """

    def read(batch: list[Shard]) -> list[tuple[Shard, Marker | None]]:
        return [(shard, Marker.read(run.marker_path(shard))) for shard in batch]

    shards = plan.shards
    remaining, threads = iter(indices), max(_THREADS, readers_of(run.path))
    with ThreadPoolExecutor(threads, thread_name_prefix="thor-geo-markers") as pool:
        while batch := [shards[k] for k in islice(remaining, _AT_ONCE)]:
            # One task for each thread: tasks themselves cost time.
            count = -(-len(batch) // threads)
            shares = [batch[k : k + count] for k in range(0, len(batch), count)]
            for pairs in pool.map(read, shares):
                yield from pairs
