"""The vectors of a run as one matrix: in memory, or in a temporary file that is mapped."""

from __future__ import annotations

import os
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from thor_geo.api._run_rows import RunRows
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Shard
from thor_geo.runs.opened_run import THREADS
from thor_geo.runs.reading import VectorReader
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.vectors import CENTRE, EMBEDDING
from thor_geo.support.arrays import Float32Array
from thor_geo.support.words import size_of

#: Which vectors: of the whole tile, of the map's cell that holds the place, or both side by side.
RunVectors: TypeAlias = Literal["pooled", "centre", "both"]

#: A matrix of more bytes is mapped from a file.
MEMORY_BYTES = 2 * 1024**3

_COLUMNS = {"pooled": (EMBEDDING,), "centre": (CENTRE,), "both": (EMBEDDING, CENTRE)}


class ShardVectors:
    """Reads the vectors of one shard after another."""

    def __init__(self, run: RunDirectory, kind: RunVectors, time: int | None) -> None:
        """Initialize a new ShardVectors instance.

        Args:
            run: The run directory.
            kind: Which vectors.
            time: Index of the time window; None for a run without a list of windows.
        """
        self._reader, self._time, self._columns = VectorReader(run), time, _COLUMNS[kind]

    def read(self, shard: Shard) -> Float32Array:
        """Return a shard's vectors, float32 (n, D), NaN where a tile has none.

        Args:
            shard: A shard that is done.

        Raises:
            RunDirectoryError: If its file cannot be read.
        """
        parts = [self._reader.read(shard, self._time, name) for name in self._columns]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def read_matrix(rows: RunRows, vectors: ShardVectors) -> Float32Array:
    """Return the vectors of all rows that have one, in their order, float32 (n, D).

    Args:
        rows: The rows.
        vectors: Reads their vectors.

    Raises:
        RunDirectoryError: If a file cannot be read, or there is no room for a matrix of more than
            `MEMORY_BYTES`.
    """
    finished = rows.finished
    ends = np.cumsum([len(shard) for shard in finished])
    out = _empty_matrix(int(rows.embedded.sum()), vectors.read(finished[0]).shape[1])

    def fill(number: int) -> None:
        shard = finished[number]
        into = rows.targets[ends[number] - len(shard) : ends[number]]
        out[into[into >= 0]] = vectors.read(shard)[into >= 0]

    with ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-vectors") as pool:
        list(pool.map(fill, range(len(ends))))  # raises what a thread has raised
    return out


def _empty_matrix(rows: int, columns: int) -> Float32Array:
    """Return a matrix to be filled; beyond `MEMORY_BYTES` it lies in a file that ends with it."""
    shape, size = (rows, columns), rows * columns * np.dtype(np.float32).itemsize
    if size <= MEMORY_BYTES:
        return np.empty(shape, dtype=np.float32)
    # In a folder with a name: processes of joblib open the file themselves.
    folder = tempfile.TemporaryDirectory(prefix="thor-geo-vectors-", ignore_cleanup_errors=True)
    file = Path(folder.name) / "vectors.float32"
    try:
        _reserve(file, size)
    except OSError as error:
        folder.cleanup()
        raise RunDirectoryError(
            f"The vectors take {size_of(size)}, and `{file.parent.parent}` has no room for them "
            f"({error.strerror or error}). Set TMPDIR to a folder with more, or stream them with "
            "`run.batches()`."
        ) from error
    matrix = np.memmap(file, dtype=np.float32, mode="r+", shape=shape)
    weakref.finalize(matrix, folder.cleanup)
    return matrix


def _reserve(file: Path, size: int) -> None:
    """Make a file of a size, on the disk: writing into a mapped gap of a full one kills Python."""
    with file.open("wb") as out:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(out.fileno(), 0, size)
            return
        zeros = bytes(1024**2)
        for start in range(0, size, len(zeros)):
            out.write(zeros[: size - start])
