"""The part of a zone's map that its tiles cover, and a small copy of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from thor_geo.ground.lattice import Bounds
from thor_geo.ground.plan import Plan
from thor_geo.pictures.zone_pictures import MAX_SIDE, zone_bounds
from thor_geo.results.cells import ZoneCells
from thor_geo.results.cog import RasterExtent, RasterPart


@dataclass(frozen=True, kw_only=True)
class MapCut:
    """A rectangle of a zone's map; the map itself is rounded up to whole shards.

    Attributes:
        rows: Rows of the map.
        cols: Its columns.
        extent: The place of the rectangle.
    """

    rows: slice
    cols: slice
    extent: RasterExtent

    @classmethod
    def from_plan(cls, plan: Plan, zone: ZoneCells, within: Bounds | None = None) -> MapCut:
        """Return the rectangle of the plan's tiles, or of its cells that meet bounds.

        Args:
            plan: The plan.
            zone: A zone of its run.
            within: Left, bottom, right, top, metres; they meet the zone's tiles.
        """
        index = next(k for k, lattice in enumerate(plan.lattices) if lattice.epsg == zone.epsg)
        left, bottom, right, top = zone_bounds(plan, index)
        if within is not None:
            left, bottom = max(left, within[0]), max(bottom, within[1])
            right, top = min(right, within[2]), min(top, within[3])
        west, north, side = zone.bounds[0], zone.bounds[3], zone.cell
        # A tolerance of a hundredth of a cell: rounding of coordinates must not add a row.
        first_row, first_col = (math.floor(d / side + 0.01) for d in (north - top, left - west))
        last_row, last_col = (math.ceil(d / side - 0.01) for d in (north - bottom, right - west))
        bounds = (
            west + first_col * side,
            north - last_row * side,
            west + last_col * side,
            north - first_row * side,
        )
        shape = (last_row - first_row, last_col - first_col)
        return cls(
            rows=slice(first_row, last_row),
            cols=slice(first_col, last_col),
            extent=RasterExtent(epsg=zone.epsg, bounds=bounds, shape=shape),
        )

    def __call__(self, parts: Iterable[RasterPart]) -> Iterator[RasterPart]:
        """Yield the pixels of some parts in the rectangle, counted from its upper left corner.

        Args:
            parts: Parts of the zone's map.
        """
        for rows, cols, values in parts:
            r = slice(max(rows.start, self.rows.start), min(rows.stop, self.rows.stop))
            c = slice(max(cols.start, self.cols.start), min(cols.stop, self.cols.stop))
            if r.start < r.stop and c.start < c.stop:
                yield (
                    slice(r.start - self.rows.start, r.stop - self.rows.start),
                    slice(c.start - self.cols.start, c.stop - self.cols.start),
                    values[
                        r.start - rows.start : r.stop - rows.start,
                        c.start - cols.start : c.stop - cols.start,
                    ],
                )


class Thumbnail:
    """Every n-th value of a raster, at most `MAX_SIDE` a side, taken as its parts pass by.

    Attributes:
        values: (h, w) float32, NaN where there was no part.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        """Initialize a new Thumbnail instance.

        Args:
            shape: Rows and columns of the raster.
        """
        step = -(-max(shape) // MAX_SIDE)
        self._rows, self._cols = (np.arange(step // 2, side, step) for side in shape)
        self.values = np.full((len(self._rows), len(self._cols)), np.nan, dtype=np.float32)

    def copying(self, parts: Iterable[RasterPart]) -> Iterator[RasterPart]:
        """Yield the parts, (rows, columns) each, and keep the values that are shown."""
        for rows, cols, values in parts:
            to_rows = slice(*np.searchsorted(self._rows, (rows.start, rows.stop)).tolist())
            to_cols = slice(*np.searchsorted(self._cols, (cols.start, cols.stop)).tolist())
            index = np.ix_(self._rows[to_rows] - rows.start, self._cols[to_cols] - cols.start)
            self.values[to_rows, to_cols] = values[index]
            yield rows, cols, values
