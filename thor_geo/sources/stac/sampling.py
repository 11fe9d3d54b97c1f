"""Reads a file's pixels onto a block: nearest neighbour, from the file's full resolution.

Each pixel takes the value of the file's pixel that its centre falls in, as on Earth Engine and in
its emulator. Between zones GDAL's warper finds that pixel, with a tolerance small enough that at
most one pixel in 100,000 differs from an exact look-up (its default, an eighth of a pixel, moves
whole rows). Overviews are not used: a block coarser than the file picks single pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from thor_geo.errors import SceneError
from thor_geo.ground.lattice import Block
from thor_geo.support.arrays import BoolArray

#: Fraction of a pixel by which a centre on an edge may be off and still belong to the pixel right
#: and below: coordinates of 1e7 m carry errors of 1e-9 m.
EDGE_TOLERANCE = 1e-6

#: Fraction of a pixel by which GDAL may misplace a pixel's centre between zones. 0 is refused.
WARP_TOLERANCE = 1e-6

#: How GDAL reads files over HTTP: no look at the folder around them, and no retries of its own, as
#: there is one layer of those.
GDAL_OPTIONS: Mapping[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 0,
    "GDAL_HTTP_CONNECTTIMEOUT": 30,
    "GDAL_HTTP_TIMEOUT": 120,
}

#: Without this GDAL remembers for a file that it could not be read.
FORGETFUL: Mapping[str, Any] = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"}

#: Data types of reflectance, and of the scene classification besides.
DTYPES: tuple[str, ...] = ("uint16", "int16")
CLASS_DTYPES: tuple[str, ...] = (*DTYPES, "uint8")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One band of one scene on a block's grid.

    Attributes:
        values: Values as they are in the file (rows, columns); 0 where there are none.
        seen: Where there are any.
        read: Bytes of pixels read; between zones of those that were used.
    """

    values: npt.NDArray[Any]
    seen: BoolArray
    read: int


def sample(
    href: str,
    number: int,
    block: Block,
    band: str,
    dtypes: tuple[str, ...] = DTYPES,
    *,
    scene: str,
    again: bool = False,
) -> Sample:
    """Return one band of a file on a block's grid.

    Args:
        href: Path or address.
        number: Number of the band, from 1.
        block: The block.
        band: Earth Engine's name of the band.
        dtypes: Data types that are accepted.
        scene: Id of the item.
        again: Whether an earlier attempt to read it failed.

    Raises:
        SceneError: If the file is not a raster on an upright grid, or lacks the band, or its data
            type is not accepted.
        rasterio.errors.RasterioError: If it cannot be read.
    """
    options = {**GDAL_OPTIONS, **FORGETFUL} if again else GDAL_OPTIONS
    with rasterio.Env(**options), rasterio.open(href, OVERVIEW_LEVEL="NONE") as source:
        problem = _problem(source, number, dtypes)
        if problem is not None:
            raise SceneError(
                scene,
                f"has a file for {band} that {problem}",
                "Choose another `data.stac.collection` or `data.stac.assets`, or have the "
                "catalogue corrected.",
            )
        read = _read if source.crs.to_epsg() == block.epsg else _warp
        values, inside, size = read(source, number, block)
        nodata = 0 if source.nodata is None else source.nodata
    seen = inside & (values != nodata)
    return Sample(values=np.where(seen, values, 0), seen=seen, read=size)


def _problem(source: Any, number: int, dtypes: tuple[str, ...]) -> str | None:
    """Return what is wrong with a file, as a clause; None if nothing is."""
    transform = source.transform
    if number > source.count:
        return f"should hold it as band {number}, and has {source.count}"
    if source.crs is None or transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        return (
            "is not on an upright grid with a CRS, as a Sentinel-2 tile is "
            f"({source.crs}, {tuple(transform)[:6]})"
        )
    dtype = source.dtypes[number - 1]
    if dtype not in dtypes:
        return f"holds {dtype}; Sentinel-2 values are {' or '.join(dtypes)}: reflectance x 10000"
    return None


def _read(source: Any, number: int, block: Block) -> tuple[npt.NDArray[Any], BoolArray, int]:
    """Return a block's values from a file in its zone, which lie inside the file, bytes read."""
    left, _, _, top = block.bounds
    steps = (np.arange(block.size) + 0.5) * block.resolution
    grid = source.transform
    columns = np.floor((left - grid.c + steps) / grid.a + EDGE_TOLERANCE).astype(np.int64)
    rows = np.floor((top - grid.f - steps) / grid.e + EDGE_TOLERANCE).astype(np.int64)
    columns_in = (columns >= 0) & (columns < source.width)
    rows_in = (rows >= 0) & (rows < source.height)
    inside = rows_in[:, None] & columns_in
    values = np.zeros(inside.shape, source.dtypes[number - 1])
    size = 0
    if inside.any():
        rows, columns = rows[rows_in], columns[columns_in]
        window = Window.from_slices((rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1))
        part = source.read(number, window=window)
        values[inside] = part[rows[:, None] - rows[0], columns - columns[0]].ravel()
        size = part.nbytes
    return values, inside, size


def _warp(source: Any, number: int, block: Block) -> tuple[npt.NDArray[Any], BoolArray, int]:
    """Return the same from a file in another zone; counts the bytes of the pixels inside it."""
    with WarpedVRT(
        source,
        crs=f"EPSG:{block.epsg}",
        transform=rasterio.Affine(*block.transform),
        width=block.size,
        height=block.size,
        resampling=Resampling.nearest,
        tolerance=WARP_TOLERANCE,
        # The alpha band says what lies inside: a value of "no data" need not fit the data type.
        add_alpha=True,
        src_nodata=None,
        nodata=None,
    ) as warped:
        values, alpha = warped.read([number, warped.count])
    inside = alpha > 0
    return values, inside, int(inside.sum()) * values.itemsize
