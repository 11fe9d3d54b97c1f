"""Reads a scene's pixels onto a grid: nearest neighbour, from the scene's own CRS.

Each pixel takes the value of the scene pixel that its centre falls in. Overviews are not used: a
grid coarser than the scene picks single pixels, where the service would read a pyramid level.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from thor_geo.emulator._raster import Frame, Grid, MaskedRaster, Node
from thor_geo.support.arrays import AnyArray, BoolArray, Int64Array

#: Fraction of a pixel by which a centre on an edge may be off and still belong to the pixel right
#: and below: coordinates of 1e7 m carry errors of 1e-9 m.
EDGE_TOLERANCE = 1e-6


def scene_node(path: Path, number: int, dtype: npt.DTypeLike, grid: Grid, nodata: float) -> Node:
    """Return the node that samples one band of a raster file.

    Args:
        path: The file.
        number: Band number in it, from 1.
        dtype: Its pixel type.
        grid: Its grid, north-up.
        nodata: The value that means "no pixel".
    """

    def compute(frame: Frame) -> MaskedRaster:
        """Read the file's pixels that the frame's fall in, nearest neighbour."""
        rows, columns, inside = frame.remember(("indices", grid), lambda: _indices(frame, grid))
        if not inside.any():
            return MaskedRaster(np.zeros((), dtype=dtype), np.array(False))
        top, bottom = int(rows.min()), int(rows.max()) + 1
        left, right = int(columns.min()), int(columns.max()) + 1
        window = Window(left, top, right - left, bottom - top)
        block = frame.files.dataset(path).read(number, window=window)
        values = _take(block, rows - top, columns - left)
        mask = ~np.isnan(values) if np.isnan(nodata) else values != nodata
        if nodata == 0 and inside.all():
            return MaskedRaster(values, mask)
        mask &= inside
        # Values under the mask are zero, whatever the nodata value is.
        return MaskedRaster(np.where(mask, values, np.zeros((), dtype=dtype)), mask)

    return Node(dtype, compute)


def _take(block: AnyArray, rows: Int64Array, columns: Int64Array) -> AnyArray:
    """Pick pixels of a block; a view where the indices count up by one in both directions."""
    if rows.ndim == 2 and rows.shape[1] == 1:  # separable: (h, 1) and (1, w)
        if rows.shape[0] == block.shape[0] and columns.shape[1] == block.shape[1]:
            steps = np.diff(rows[:, 0]), np.diff(columns[0])
            if all((step == 1).all() for step in steps):
                return block
        return block[rows[:, 0]][:, columns[0]]
    picked: AnyArray = block[rows, columns]
    return picked


def _indices(frame: Frame, scene: Grid) -> tuple[Int64Array, Int64Array, BoolArray]:
    """Row and column in the scene of every pixel of the frame, clipped, and which lie inside.

    On grids of the same CRS, rows are (h, 1) and columns (1, w); otherwise both are (h, w).
    """
    axes = frame.grid.axes() if frame.grid.crs == scene.crs else None
    x: Any
    y: Any
    if axes is not None:
        x, y = axes[0][None, :], axes[1][:, None]
    else:
        x, y = frame.coordinates(scene.crs)
    a, _, c, _, e, f = scene.transform
    with np.errstate(invalid="ignore"):
        column = np.floor((x - c) / a + EDGE_TOLERANCE)
        row = np.floor((y - f) / e + EDGE_TOLERANCE)
    # Centres that the other CRS cannot express are infinite: outside.
    inside = (column >= 0) & (column < scene.width) & (row >= 0) & (row < scene.height)
    if axes is not None:
        columns = np.clip(column, 0, scene.width - 1).astype(np.int64)
        rows = np.clip(row, 0, scene.height - 1).astype(np.int64)
    else:
        columns = np.where(inside, column, column[inside][0] if inside.any() else 0)
        rows = np.where(inside, row, row[inside][0] if inside.any() else 0)
        columns, rows = columns.astype(np.int64), rows.astype(np.int64)
    return rows, columns, inside
