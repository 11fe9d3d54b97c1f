"""Writes the rows of an index in one pass: blocks of one list each, when they are full."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from thor_geo.runs.shard import Dtype
from thor_geo.runs.similar_index import index_written, row_type
from thor_geo.support.arrays import Float32Array, Int64Array

# Bytes of blocks that are not full yet, at most: on average, half of it.
_MOST_BYTES = 512 * 1024**2
_LEAST_ROWS, _MOST_ROWS = 16, 4096
_LARGEST_CODE = np.float32(127)


class RowWriter:
    """The file of rows. Use it as a context manager: at its end, blocks that are not full follow.

    Attributes:
        rows: Number of rows so far.
        places: Their places, in the order in which they came.
    """

    def __init__(
        self, path: Path, dtype: Dtype, dimension: int, *, lists: int, index: Path
    ) -> None:
        """Initialize a new RowWriter instance.

        Args:
            path: The file.
            dtype: Type of the vectors' elements on disk.
            dimension: Number of them.
            lists: Number of lists.
            index: Folder of the index, as errors name it.
        """
        self.rows, self.places = 0, list[Int64Array]()
        self._path, self._dtype, self._index = path, dtype, index
        self._type = row_type(dtype, dimension)
        most = _MOST_BYTES // (lists * self._type.itemsize)
        self._length = min(max(most, _LEAST_ROWS), _MOST_ROWS)
        self._open: dict[int, npt.NDArray[Any]] = {}
        self._filled = np.zeros(lists, dtype=np.int64)
        self._blocks: list[tuple[int, int, int]] = []
        self._written = 0

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            RunDirectoryError: If that fails.
        """
        with index_written(self._index):
            self._file = self._path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the blocks that are not full, unless there was an error.

        Raises:
            RunDirectoryError: If they cannot be written.
        """
        try:
            if kind is None:
                for each in sorted(self._open):
                    self._flush(each)
        finally:
            with index_written(self._index):
                self._file.close()

    def add(self, lists: Int64Array, places: Int64Array, vectors: Float32Array) -> None:
        """Add rows.

        Args:
            lists: The list of each, (n,).
            places: Their places, (n,).
            vectors: As the run's readers return them, (n, D).

        Raises:
            RunDirectoryError: If they cannot be written.
        """
        rows = np.empty(len(lists), dtype=self._type)
        rows["number"] = np.arange(self.rows, self.rows + len(lists))
        rows["place"] = places
        rows["vector"] = stored(vectors, self._dtype)
        self.rows += len(lists)
        self.places.append(places)
        order = np.argsort(lists, kind="stable")
        ends = np.flatnonzero(np.diff(lists[order], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            self._append(int(lists[order[start]]), rows[order[start:end]])
            start = end

    def blocks(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the list, first row in the file, and number of rows of each block."""
        columns = np.array(self._blocks, dtype=np.int64).reshape(-1, 3).T
        return dict(zip(("block_list", "block_start", "block_rows"), columns, strict=True))

    def _append(self, each: int, rows: npt.NDArray[Any]) -> None:
        while len(rows):
            if each not in self._open:
                self._open[each] = np.empty(self._length, dtype=self._type)
            filled = int(self._filled[each])
            taken = rows[: self._length - filled]
            self._open[each][filled : filled + len(taken)] = taken
            self._filled[each] += len(taken)
            rows = rows[len(taken) :]
            if self._filled[each] == self._length:
                self._flush(each)

    def _flush(self, each: int) -> None:
        count = int(self._filled[each])
        with index_written(self._index):
            self._file.write(self._open.pop(each)[:count].data)
        self._blocks.append((each, self._written, count))
        self._written += count
        self._filled[each] = 0


def stored(vectors: Float32Array, dtype: Dtype) -> npt.NDArray[Any]:
    """Return vectors as the run has them on disk; of int8, the codes.

    Args:
        vectors: As the run's readers return them, (n, D).
        dtype: Type on disk.
    """
    if dtype != "int8":
        return vectors.astype(dtype)
    # A vector's largest code is 127 (`thor_geo.runs.quantise`), so these are its codes again.
    largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))
    factor = np.divide(_LARGEST_CODE, largest, out=np.zeros_like(largest), where=largest > 0)
    codes = vectors * factor[:, None]
    np.rint(codes, out=codes)
    out: npt.NDArray[np.int8] = codes.astype(np.int8)
    return out
