"""Rasters of labels on the ground of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio

from thor_geo.results.cells import zone_cells
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import AnyArray


def write_labels(
    opened: OpenedRun, path: Path, values: Callable[[AnyArray, AnyArray], AnyArray]
) -> Path:
    """Write classes on the ground of a run of one zone, in squares of 120 m.

    Args:
        opened: The run.
        path: The GeoTIFF.
        values: Classes of positions x (1, n) and y (n, 1) in metres, (n, n).
    """
    (zone,) = zone_cells(opened).values()
    left, _, _, top = zone.bounds
    n = zone.shape[0] * 4
    x, y = left + (np.arange(n) + 0.5) * 120, top - (np.arange(n) + 0.5) * 120
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=n,
        height=n,
        count=1,
        dtype="uint8",
        crs="EPSG:32632",
        transform=rasterio.Affine(120, 0, left, 0, -120, top),
    ) as file:
        file.write(values(x[None], y[:, None]).astype(np.uint8), 1)
    return path
