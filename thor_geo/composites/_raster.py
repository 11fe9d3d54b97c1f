"""Blocks as GeoTIFF files: writing them. `_tiff` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from thor_geo.composites._tiff import tile_side
from thor_geo.grid import Block

#: ``zstd``, or ``none``: no compression.
Compression = Literal["zstd", "none"]

_PACKING: dict[Compression, dict[str, Any]] = {
    "zstd": {"compress": "zstd", "zstd_level": 1, "predictor": 2},
    "none": {"compress": "none"},
}


@lru_cache(maxsize=128)
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def geotiff(
    block: Block,
    planes: npt.NDArray[np.uint16],
    names: Sequence[str],
    *,
    compression: Compression = "zstd",
) -> bytes:
    """Return a block's planes as a GeoTIFF.

    Made in memory: what GDAL cannot write to a full disk when it closes a file, it only logs.

    Args:
        block: Their grid.
        planes: Pixels (bands, size, size), uint16.
        names: One description per plane.
        compression: How the pixels are packed.
    """
    side = tile_side(block.size)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=block.size,
            height=block.size,
            count=len(planes),
            dtype="uint16",
            crs=_crs(block.epsg),
            transform=Affine(*block.transform),
            tiled=True,
            blockxsize=side,
            blockysize=side,
            interleave="band",
            **_PACKING[compression],
        ) as file:
            file.write(planes)
            file.descriptions = tuple(names)
        return bytes(memory.getbuffer())
