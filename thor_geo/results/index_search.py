"""Answers from an index: the lists near the question are read, and nothing else."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from thor_geo.errors import InputError
from thor_geo.results.cosine import unit_vectors
from thor_geo.results.nearness import Nearness
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.similar_index import (
    LISTS,
    ROWS,
    IndexAbout,
    IndexUnit,
    current_index,
    damaged_index,
    row_type,
)
from thor_geo.support.arrays import Float32Array, Int64Array
from thor_geo.support.processes import usable_cores

# The nearest lists are read until they have so many bytes and rows, and so many rows for each
# answer: fewer find too little among the vectors of a real encoder, more take too long.
_BYTES, _ROWS, _ROWS_PER_ANSWER = 48 * 1024**2, 65_536, 64
# Bytes of rows that are compared at once; they and their float32 fit in a processor's cache.
_AT_ONCE = 1024**2
# Threads that read and compare.
_THREADS = 4
# Answers beyond those asked for whose cosines are computed again, as a scan computes them.
_SPARE = 32


class Neighbours(NamedTuple):
    """Places (n,), the most similar first, and their cosines (n,) float32."""

    place: Int64Array
    cosine: Float32Array


class NeighbourIndex:
    """An open index; safe to use from several threads.

    Attributes:
        about: What it says of itself.
    """

    def __init__(self, path: Path, about: IndexAbout) -> None:
        """Initialize a new NeighbourIndex instance.

        Args:
            path: Its folder.
            about: What it says of itself.

        Raises:
            RunDirectoryError: If it is damaged.
        """
        self.about, self._path = about, path
        self._type = row_type(about.dtype, about.dimension)
        try:
            with np.load(path / LISTS) as file:
                self._nearness = Nearness(*(file[name] for name in Nearness._fields))
                names = ("block_list", "block_start", "block_rows")
                self._list, self._start, self._rows = (file[name] for name in names)
                self._left_out: Int64Array = np.sort(file["left_out"])
            self._descriptor = os.open(path / ROWS, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError, KeyError) as error:
            raise damaged_index(path, error) from error
        weakref.finalize(self, os.close, self._descriptor)
        self._sizes = np.bincount(self._list, self._rows, about.lists).astype(np.int64)
        self._squares = (self._nearness.centres**2).sum(axis=1)

    @classmethod
    def of_run(cls, opened: OpenedRun, unit: IndexUnit, time: int | None) -> Self | None:
        """Open the index of a run; None if there is none.

        Args:
            opened: The run.
            unit: Which of its vectors.
            time: Index of the time window; None for a run without a list of windows.

        Raises:
            RunDirectoryError: If it was made of other vectors than the run has now, or is damaged.
        """
        found = current_index(opened, unit, time)
        return None if found is None else cls(*found)

    @property
    def searched(self) -> int:
        """Number of vectors that answers are chosen from."""
        return self.about.rows - len(self._left_out)

    def holds(self, place: int) -> bool:
        """Return whether an answer can be this place, if it is one with a vector."""
        at = int(np.searchsorted(self._left_out, place))
        return at == len(self._left_out) or int(self._left_out[at]) != place

    def nearest(self, query: Float32Array, k: int, without: Collection[int] = ()) -> Neighbours:
        """Return the most similar places to a direction, among those in the lists near it.

        Their cosines are exact. Equally similar ones keep the order in which a scan meets them.

        Args:
            query: (D,), finite.
            k: How many; all if there are fewer.
            without: Places to leave out.

        Raises:
            InputError: If the query has another length.
            RunDirectoryError: If the rows cannot be read.
        """
        if query.shape != (self.about.dimension,):
            raise InputError(
                f"`query` has shape {query.shape}, the embeddings have {self.about.dimension} "
                "dimensions. Compare embeddings of the same model and settings."
            )
        direction = unit_vectors(query[None])[0]
        hidden = np.union1d(self._left_out, np.array(sorted(without), dtype=np.int64))

        def best_of(blocks: Int64Array) -> npt.NDArray[Any]:
            return self._best_of(blocks, direction, hidden, k + _SPARE)

        with ThreadPoolExecutor(min(_THREADS, usable_cores())) as pool:
            best = np.concatenate(list(pool.map(best_of, self._near(direction, k + len(without)))))
        exact = unit_vectors(best["vector"].astype(np.float32)) @ direction
        np.clip(exact, -1, 1, out=exact)
        order = np.lexsort((best["number"], -exact))[:k]
        return Neighbours(best["place"][order].astype(np.int64), exact[order])

    def _near(self, direction: Float32Array, answers: int) -> list[Int64Array]:
        """Return the blocks of the lists that are nearest to a direction, some at a time."""
        along = self._nearness.project(direction[None])[0]
        order = np.argsort(self._squares - 2 * (self._nearness.centres @ along), kind="stable")
        wanted = max(_BYTES // self._type.itemsize, _ROWS, _ROWS_PER_ANSWER * answers)
        enough = np.searchsorted(np.cumsum(self._sizes[order]), wanted)
        chosen = np.zeros(self.about.lists, dtype=np.bool_)
        chosen[order[: int(enough) + 1]] = True
        # In the order of the file: it is read from its start to its end.
        blocks = np.flatnonzero(chosen[self._list])
        parts = np.cumsum(self._rows[blocks]) * self._type.itemsize // _AT_ONCE
        return np.split(blocks, np.flatnonzero(np.diff(parts)) + 1)

    def _best_of(
        self, blocks: Int64Array, direction: Float32Array, hidden: Int64Array, most: int
    ) -> npt.NDArray[Any]:
        """Return the rows of some blocks that are most similar to a direction, in any order."""
        each = zip(self._start[blocks].tolist(), self._rows[blocks].tolist(), strict=True)
        rows = np.concatenate([self._read(start, count) for start, count in each])
        rows = rows[~np.isin(rows["place"], hidden)]
        values = rows["vector"].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
        # Not by BLAS, whose threads would wait for each other more than they multiply.
        cosine = np.einsum("ij,j->i", values, direction)
        np.divide(cosine, lengths, out=cosine, where=lengths > 0)
        # Of equal ones, the first in the order of a scan.
        return rows[np.lexsort((rows["number"], -cosine))[:most]]

    def _read(self, start: int, rows: int) -> npt.NDArray[Any]:
        size = self._type.itemsize
        try:
            content = os.pread(self._descriptor, rows * size, start * size)
            if len(content) != rows * size:
                raise OSError(f"{ROWS} ends before row {start + rows:,}")
        except OSError as error:
            raise damaged_index(self._path, error) from error
        return np.frombuffer(content, dtype=self._type)
