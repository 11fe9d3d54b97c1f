"""Writing rows to one GeoParquet file, or to a folder of several."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.checks._gather import RowIndices
from thor_geo.ground.plan import Plan
from thor_geo.runs.geoparquet import geo_metadata
from thor_geo.runs.pooled import pooled_writer
from thor_geo.support.jsontext import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a row group, which readers skip by its bounds: a square of about 90 km of default tiles.
#: With 4,096 a query for a town reads 2.5 times as much; with 256 the footer takes 0.4 % of the
#: file.
GROUP_ROWS = 1024
# Tiles whose footprints are in memory at once.
_AT_ONCE = 65_536


def part_bounds(
    plan: Plan, order: RowIndices, part_rows: int, windows: int = 1
) -> npt.NDArray[np.float64]:
    """Return the box around the footprints of every part's tiles.

    Args:
        plan: The plan.
        order: Rows to be written, in order, see `Gatherer`; -1 for one without a footprint.
        part_rows: Rows of a part; the last part has the rest.
        windows: Number of time windows.

    Returns:
        (parts, 4) west, south, east, north, degrees; infinite for a part without a footprint.
    """
    parts = -(-len(order) // part_rows)
    boxes = np.full((parts, 4), np.inf)
    boxes[:, 2:] = -np.inf
    # The rows of a tile may lie in two parts.
    part = np.full((len(plan), windows), -1, dtype=np.int32)
    has = order >= 0
    part.reshape(-1)[order[has]] = (np.arange(len(order)) // part_rows)[has]
    for start in range(0, len(plan), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(plan))
        if not (part[start:stop] >= 0).any():
            continue
        all_rings = plan.rings(start, stop)
        for window_parts in part[start:stop].T:
            chosen = window_parts >= 0
            rings, into = all_rings[chosen], window_parts[chosen]
            low, high = rings.min(axis=1), rings.max(axis=1)
            # The covering of a footprint that the antimeridian cuts.
            across = (low[:, 0] < -180) | (high[:, 0] > 180)
            low[across, 0], high[across, 0] = -180, 180
            np.minimum.at(boxes[:, :2], into, low)
            np.maximum.at(boxes[:, 2:], into, high)
    return boxes


class PartWriter:
    """Writes row groups into one file, or into a folder of parts.

    Attributes:
        rows: Rows written.
        files: Files written.
        bytes: Their size.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        boxes: npt.NDArray[np.float64],
        *,
        part_rows: int,
        folder: bool,
        multi: bool,
    ) -> None:
        """Initialize a new PartWriter instance.

        Args:
            path: The file, or the folder of parts.
            schema: Columns and footer metadata.
            boxes: From `part_bounds`.
            part_rows: Rows of a part, a multiple of the rows of a batch.
            folder: Whether *path* is a folder.
            multi: Whether tiles lie on both sides of the antimeridian.
        """
        self._multi = multi
        self._path, self._schema, self._boxes = path, schema, boxes
        self._part_rows, self._folder = part_rows, folder
        self.rows = self.files = self.bytes = 0

    def write(self, batches: Iterable[pa.Table]) -> Iterator[int]:
        """Write batches, each as one row group; yield the rows of each when it is written."""
        batches = iter(batches)
        while (table := next(batches, None)) is not None:
            path = self._path / f"part-{self.files:05d}.parquet" if self._folder else self._path
            # The page index lets readers also skip within a row group.
            with pooled_writer(path, self._schema_of(self.files), write_page_index=True) as out:
                rows = 0
                while table is not None:
                    out.write_table(table, row_group_size=len(table))
                    rows, self.rows = rows + len(table), self.rows + len(table)
                    yield len(table)
                    table = next(batches, None) if rows < self._part_rows else None
            self.files, self.bytes = self.files + 1, self.bytes + path.stat().st_size

    def _schema_of(self, part: int) -> pa.Schema:
        about = json.loads(geo_metadata(None, multi=self._multi))
        if np.isfinite(self._boxes[part]).all():
            about["columns"]["geometry"]["bbox"] = self._boxes[part].tolist()
        geo = canonical_json(about)
        return self._schema.with_metadata({**self._schema.metadata, b"geo": geo})
