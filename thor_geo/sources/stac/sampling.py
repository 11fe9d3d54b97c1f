"""Reads a file's pixels onto a block: nearest neighbour, from the file's own CRS and resolution.

Each pixel takes the value of the file's pixel that its centre falls in, as on Earth Engine and in
its emulator. GDAL's warper would do so too, but for its approximate transformer, which may be off
by an eighth of a pixel between zones. Overviews are not used: a block coarser than the file picks
single pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import Transformer
from rasterio.windows import Window

from thor_geo.errors import StacError
from thor_geo.ground.lattice import Block
from thor_geo.support.arrays import BoolArray

#: Fraction of a pixel by which a centre on an edge may be off and still belong to the pixel right
#: and below: coordinates of 1e7 m carry errors of 1e-9 m.
EDGE_TOLERANCE = 1e-6

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
        read: Bytes of pixels read.
    """

    values: npt.NDArray[Any]
    seen: BoolArray
    read: int


def sample(
    href: str,
    number: int,
    block: Block,
    what: str,
    dtypes: tuple[str, ...] = DTYPES,
    *,
    again: bool = False,
) -> Sample:
    """Return one band of a file on a block's grid.

    Args:
        href: Path or address.
        number: Number of the band, from 1.
        block: The block.
        what: What is read, for messages.
        dtypes: Data types that are taken.
        again: Whether it could not be read before.

    Raises:
        StacError: If the file is no raster on an upright grid, or has not that band or data type.
        rasterio.errors.RasterioError: If it cannot be read.
    """
    options = {**GDAL_OPTIONS, **FORGETFUL} if again else GDAL_OPTIONS
    with rasterio.Env(**options), rasterio.open(href) as source:
        _check(source, number, what, dtypes)
        rows, columns, inside = _indices(block, source)
        shape = (block.size, block.size)
        if not inside.any():
            return Sample(values=np.zeros(shape, np.uint16), seen=np.zeros(shape, bool), read=0)
        top, bottom = int(rows.min()), int(rows.max()) + 1
        left, right = int(columns.min()), int(columns.max()) + 1
        part = source.read(number, window=Window(left, top, right - left, bottom - top))
        nodata = 0 if source.nodata is None else source.nodata
    values = part[rows - top, columns - left]
    seen = inside & (values != nodata)
    return Sample(values=np.where(seen, values, 0), seen=seen, read=part.nbytes)


def _check(source: Any, number: int, what: str, dtypes: tuple[str, ...]) -> None:
    transform = source.transform
    if number > source.count:
        raise StacError(
            f"{what} should be band {number} of its file, which has {source.count}. Correct "
            "`data.stac_assets`, or have the catalogue corrected."
        )
    if source.crs is None or transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise StacError(
            f"{what} is on no upright grid with a CRS ({source.crs}, {tuple(transform)[:6]}): not "
            "a Sentinel-2 tile. Choose another `data.stac_collection` or `data.stac_assets`."
        )
    dtype = source.dtypes[number - 1]
    if dtype not in dtypes:
        raise StacError(
            f"{what} holds {dtype}; Sentinel-2 values are {' or '.join(dtypes)}: "
            "reflectance x 10000. Choose another `data.stac_collection` or `data.stac_assets`."
        )


def _indices(
    block: Block, source: Any
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], BoolArray]:
    """Return row and column in the file of each pixel of a block, and which lie inside it.

    In one CRS rows are (size, 1) and columns (1, size), else both are (size, size).
    """
    left, _, _, top = block.bounds
    steps = (np.arange(block.size) + 0.5) * block.resolution
    x: Any = (left + steps)[None, :]
    y: Any = (top - steps)[:, None]
    if source.crs.to_epsg() != block.epsg:
        transformer = Transformer.from_crs(block.epsg, source.crs.to_wkt(), always_xy=True)
        x, y = np.broadcast_arrays(x, y)
        x, y = transformer.transform(x, y)
    transform = source.transform
    with np.errstate(invalid="ignore"):
        column = np.floor((x - transform.c) / transform.a + EDGE_TOLERANCE)
        row = np.floor((y - transform.f) / transform.e + EDGE_TOLERANCE)
        # Centres that the file's CRS cannot express are infinite: outside.
        columns_in = (column >= 0) & (column < source.width)
        rows_in = (row >= 0) & (row < source.height)
    inside = rows_in & columns_in
    # What is outside reads a pixel that is read anyway.
    columns = np.where(columns_in, column, column[columns_in].min(initial=source.width - 1))
    rows = np.where(rows_in, row, row[rows_in].min(initial=source.height - 1))
    return rows.astype(np.int64), columns.astype(np.int64), inside
