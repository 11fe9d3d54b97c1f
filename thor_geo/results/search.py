"""The most similar cells of a run, read shard by shard."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from thor_geo.results.cells import ZoneCells
from thor_geo.results.cosine import Cosine

#: A cell: EPSG code, row and column in its zone's map.
Cell = tuple[int, int, int]


class CellSearch:
    """The cells most similar to a vector, among all that were searched so far.

    Memory holds one shard's cells at a time. Ground on a zone's edge counts only in its own strip;
    equally similar cells keep the order in which they were searched.

    Attributes:
        cells: EPSG code, row and column, the most similar first, (n, 3) int64.
        cosine: Their cosines, (n,) float32.
        seen: Number of cells that were compared.
    """

    def __init__(
        self, query: npt.NDArray[np.float32], k: int, without: Collection[Cell] = ()
    ) -> None:
        """Initialize a new CellSearch instance.

        Args:
            query: (D,), finite.
            k: How many to find; all if there are fewer.
            without: Cells to leave out.
        """
        self._query, self._k, self._without = query, k, without
        self.cells = np.empty((0, 3), dtype=np.int64)
        self.cosine = np.empty(0, dtype=np.float32)
        self.seen = 0

    def search(self, zone: ZoneCells) -> Iterator[tuple[slice, slice, npt.NDArray[np.float32]]]:
        """Search a zone; yield rows, columns and cosines (rows, columns) of one shard at a time.

        Cosines are float32, NaN without an embedding, and include cells in other strips.

        Args:
            zone: Its map.

        Raises:
            InputError: If the vector has another length.
            RunDirectoryError: If a shard cannot be read.
        """
        hidden = [(row, col) for epsg, row, col in self._without if epsg == zone.epsg]
        for rows, cols, values in zone.parts(progress=True):
            valid = np.isfinite(values).all(axis=-1)
            cosine = np.full(valid.shape, np.nan, dtype=np.float32)
            cosine[valid] = Cosine(values[valid]).similarity(self._query)
            valid &= zone.in_strip(rows, cols)
            for row, col in hidden:
                if rows.start <= row < rows.stop and cols.start <= col < cols.stop:
                    valid[row - rows.start, col - cols.start] = False
            self._add(zone.epsg, rows, cols, cosine, valid)
            yield rows, cols, cosine

    def _add(
        self,
        epsg: int,
        rows: slice,
        cols: slice,
        cosine: npt.NDArray[np.float32],
        valid: npt.NDArray[np.bool_],
    ) -> None:
        self.seen += int(valid.sum())
        if len(self.cosine) == self._k:
            valid = valid & (cosine > self.cosine[-1])
        row, col = np.nonzero(valid)
        added = np.stack([np.full(len(row), epsg), row + rows.start, col + cols.start], axis=1)
        cells = np.concatenate([self.cells, added])
        best = np.concatenate([self.cosine, cosine[valid]])
        order = np.argsort(-best, kind="stable")[: self._k]
        self.cells, self.cosine = cells[order], best[order]
