"""Answers from an index: the lists near the question are read, and nothing else."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection, Iterator
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

# Lists that are read, and rows in them for each answer, at least.
_LISTS, _ROWS_PER_ANSWER = 32, 64
# Bytes of rows that are compared at once; they and their float32 fit in a processor's cache.
_AT_ONCE = 1024**2
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
        self.about = about
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
        best = np.empty(0, dtype=self._type)
        score = np.empty(0, dtype=np.float32)
        for rows in self._near(direction, k + len(without)):
            values = rows["vector"].astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
            # Not by BLAS, whose threads would wait for each other more than they multiply.
            cosine = np.einsum("ij,j->i", values, direction)
            np.divide(cosine, lengths, out=cosine, where=lengths > 0)
            found = np.flatnonzero(cosine >= _least(score, k + _SPARE))
            found = found[~np.isin(rows["place"][found], hidden)]
            best = np.concatenate([best, rows[found]])
            score = np.concatenate([score, cosine[found]])
            if len(score) > k + _SPARE:
                kept = np.lexsort((best["number"], -score))[: k + _SPARE]
                best, score = best[kept], score[kept]
        exact = unit_vectors(best["vector"].astype(np.float32)) @ direction
        np.clip(exact, -1, 1, out=exact)
        order = np.lexsort((best["number"], -exact))[:k]
        return Neighbours(best["place"][order].astype(np.int64), exact[order])

    def _near(self, direction: Float32Array, answers: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows of the lists that are nearest to a direction, some at a time."""
        along = self._nearness.project(direction[None])[0]
        order = np.argsort(self._squares - 2 * (self._nearness.centres @ along), kind="stable")
        enough = np.searchsorted(np.cumsum(self._sizes[order]), _ROWS_PER_ANSWER * answers)
        chosen = np.zeros(self.about.lists, dtype=np.bool_)
        chosen[order[: max(_LISTS, int(enough) + 1)]] = True
        step = max(1, _AT_ONCE // self._type.itemsize)
        # In the order of the file: it is read from its start to its end.
        blocks = np.flatnonzero(chosen[self._list])
        waiting: list[npt.NDArray[Any]] = []
        count = 0
        for start, rows in zip(self._start[blocks], self._rows[blocks], strict=True):
            waiting.append(self._read(int(start), int(rows)))
            count += int(rows)
            if count >= step:
                yield np.concatenate(waiting)
                waiting, count = [], 0
        if waiting:
            yield np.concatenate(waiting)

    def _read(self, start: int, rows: int) -> npt.NDArray[Any]:
        size = self._type.itemsize
        content = os.pread(self._descriptor, rows * size, start * size)
        return np.frombuffer(content, dtype=self._type)


def _least(score: Float32Array, most: int) -> float:
    """Return the cosine below which a further answer is not among the best."""
    return float(score.min()) if len(score) >= most else -np.inf
