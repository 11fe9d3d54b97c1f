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
from thor_geo.ground.lattice import Block

#: ``zstd``, or ``none``: no compression.
Compression = Literal["zstd", "none"]

# Blocks of 576 px with ten bands and observations, tiles of 288 px, one core, the checksum of every
# block included; share of the plain bytes, of a generated composite and of a Sentinel-2 scene:
#
#     none                 100 %, 100 %    609, 636 tiles/s
#     zstd 1                49 %,  48 %    451, 481
#     zstd 1, predictor     39 %,  36 %    369, 422
#     zstd 9, predictor     38 %,  34 %    341, 361; four times as long to write
#
# Deflate, lzw and lerc are larger than zstd with the predictor, and slower (read by GDAL). What the
# predictor saves, 3 TB for all land, costs two core-hours whenever all land is read: one worker in
# seven. (Measured on 2 cores.)
_PACKING: dict[Compression, dict[str, Any]] = {
    "zstd": {"compress": "zstd", "zstd_level": 1, "predictor": 2},
    "none": {"compress": "none"},
}


@lru_cache(maxsize=128)
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def geotiff(
    block: Block,
    planes: npt.NDArray[np.uint16 | np.int16],
    names: Sequence[str],
    *,
    compression: Compression = "zstd",
) -> bytes:
    """Return a block's planes as a GeoTIFF.

    Made in memory: what GDAL cannot write to a full disk when it closes a file, it only logs.

    Args:
        block: Their grid.
        planes: Pixels (bands, size, size), uint16 or int16.
        names: One description per plane.
        compression: How the pixels are packed.

    Raises:
        ValueError: If *names* are not one for each plane.
        rasterio.errors.RasterioError: If GDAL cannot write it, e.g. was built without zstd.
    """
    side = tile_side(block.size)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=block.size,
            height=block.size,
            count=len(planes),
            dtype=planes.dtype.name,
            crs=_crs(block.epsg),
            transform=Affine(*block.transform),
            tiled=True,
            blockxsize=side,
            blockysize=side,
            interleave="band",
            # Else an environment variable of GDAL's decides, and `_tiff` reads little-endian only.
            ENDIANNESS="LITTLE",
            **_PACKING[compression],
        ) as file:
            file.write(planes)
            file.descriptions = tuple(names)
        return bytes(memory.getbuffer())
