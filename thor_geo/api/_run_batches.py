"""The vectors of a run part by part, for runs that are larger than memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.api._run_matrix import ShardVectors
from thor_geo.api._run_rows import RunRows, embedded, geo_table
from thor_geo.ground.plan import Shard
from thor_geo.support.arrays import Float32Array

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa

# Threads that read, and shards that are read ahead of the caller.
_THREADS, _AHEAD = 4, 8


def stream_batches(
    rows: RunRows, vectors: ShardVectors, size: int
) -> Iterator[tuple[Float32Array, geopandas.GeoDataFrame]]:
    """Yield the vectors of rows that have one, and these rows, in the order of the files.

    Args:
        rows: The rows of a run.
        vectors: Reads their vectors.
        size: Rows of each part; the last may have fewer.

    Yields:
        float32 (size, D), and a table of as many rows.

    Raises:
        RunDirectoryError: If a file cannot be read.
    """
    batch: Float32Array | None = None
    tables: list[pa.Table] = []
    filled = start = 0
    for matrix, table in _parts(rows, vectors):
        taken = 0
        while taken < len(table):
            if batch is None:  # filled as parts come: there is never a second copy
                batch = np.empty((size, matrix.shape[1]), dtype=np.float32)
            end = min(len(table), taken + size - filled)
            batch[filled : filled + end - taken] = matrix[taken:end]
            tables.append(table[taken:end])
            filled, taken = filled + end - taken, end
            if filled == size:
                yield batch, _frame(tables, start)
                batch, tables, filled, start = None, [], 0, start + size
    if batch is not None:
        yield batch[:filled], _frame(tables, start)


def _frame(tables: list[pa.Table], start: int) -> geopandas.GeoDataFrame:
    """Return parts of a table as one whose index begins at *start*."""
    import pyarrow as pa

    frame = geo_table(pa.concat_tables(tables))
    frame.index = frame.index + start
    return frame


def _parts(rows: RunRows, vectors: ShardVectors) -> Iterator[tuple[Float32Array, pa.Table]]:
    """Yield the rows of shards that have a vector; few shards are in memory at a time."""
    import pyarrow as pa

    def read(shard: Shard) -> tuple[Float32Array, pa.Table]:
        table = rows.read(shard)
        there = embedded(table)
        return vectors.read(shard)[there], table.filter(pa.array(there))

    ahead: deque[Future[tuple[Float32Array, pa.Table]]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="thor-geo-batches") as pool:
        try:
            for shard in rows.finished:
                ahead.append(pool.submit(read, shard))
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # a caller that has seen enough waits for no more files
            for future in ahead:
                future.cancel()
