"""``image:computePixels``: the requested grid, the service's limits, and the encoding."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._images import Image
from thor_geo.emulator._raster import Files, Frame, Grid, cast
from thor_geo.support.arrays import AnyArray

#: Limits of image.computePixels, from its REST reference.
MAX_REQUEST_BYTES = 48 * 2**20
MAX_SIDE = 32768
MAX_BANDS = 1024

#: Pixels of the strips in which a request is computed, which bounds its memory.
STRIP_PIXELS = 2**16

FIELDS = {"expression", "fileFormat", "grid", "bandIds", "workloadTag"}


def parse_grid(grid: Any) -> Grid:
    """Return the grid of a request.

    Args:
        grid: A PixelGrid of the REST API.

    Raises:
        RequestError: If it is incomplete, or its dimensions exceed the service's.
    """
    if not isinstance(grid, dict):
        raise RequestError("The emulator needs a 'grid': crsCode, affineTransform and dimensions.")
    unknown = set(grid) - {"crsCode", "crsWkt", "affineTransform", "dimensions"}
    if unknown:
        raise RequestError(f'Unknown name "{min(unknown)}" at "grid": Cannot find field.')
    code = grid.get("crsCode") or grid.get("crsWkt")
    size, affine = grid.get("dimensions"), grid.get("affineTransform")
    if not code or not isinstance(size, dict) or not isinstance(affine, dict):
        raise RequestError(
            "The emulator needs crsCode, affineTransform and dimensions in 'grid', "
            f"got {sorted(grid)}."
        )
    try:
        epsg = CRS.from_user_input(code).to_epsg()
    except CRSError:
        raise RequestError(f"The CRS of a map projection could not be parsed: '{code}'.") from None
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    unknown = (set(affine) - set(names)) | (set(size) - {"width", "height"})
    if unknown:
        raise RequestError(f'Unknown name "{min(unknown)}" at "grid": Cannot find field.')
    try:
        width, height = int(size.get("width", 0)), int(size.get("height", 0))
        # Fields that a message leaves out are zero.
        a, b, c, d, e, f = (float(affine.get(name, 0)) for name in names)
    except (TypeError, ValueError):
        raise RequestError(f"Invalid number in 'grid': {grid!r:.300}.") from None
    if width < 1 or height < 1:
        raise RequestError(f"Pixel grid dimensions ({width}x{height}) must be positive.")
    if max(width, height) > MAX_SIDE:
        raise RequestError(
            f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_SIDE}."
        )
    if not all(map(math.isfinite, (a, b, c, d, e, f))) or a * e == b * d:
        raise RequestError(f"The affine transform {affine} cannot be inverted.")
    return Grid(
        crs=f"EPSG:{epsg}" if epsg else code,
        transform=(a, b, c, d, e, f),
        width=width,
        height=height,
    )


def request_pixels(body: Mapping[str, Any]) -> int:
    """Return width x height of a request, 0 if it states none."""
    grid = body.get("grid")
    size = grid.get("dimensions") if isinstance(grid, dict) else None
    if not isinstance(size, dict):
        return 0
    width, height = size.get("width", 0), size.get("height", 0)
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


def check_limits(image: Image, grid: Grid) -> None:
    """Refuse what the service would refuse for its size.

    Raises:
        RequestError: If the image has more than 1024 bands, none at all, or the pixels, with one
            mask byte per band and pixel, come to more than 48 MB.
    """
    if not image.bands:
        raise RequestError("Image.computePixels: The image has no bands.")
    if len(image.bands) > MAX_BANDS:
        raise RequestError(
            f"Number of bands ({len(image.bands)}) must be less than or equal to {MAX_BANDS}."
        )
    per_pixel = sum(band.node.dtype.itemsize + 1 for band in image.bands)
    total = per_pixel * grid.width * grid.height
    if total > MAX_REQUEST_BYTES:
        raise RequestError(
            f"Total request size ({total} bytes) must be less than or equal to "
            f"{MAX_REQUEST_BYTES} bytes."
        )


def render(image: Image, grid: Grid) -> AnyArray:
    """Compute an image on a grid.

    Args:
        image: The image.
        grid: The grid.

    Returns:
        Structured array (height, width) with a field per band; masked pixels are 0.
    """
    dtype = np.dtype([(band.name, band.node.dtype) for band in image.bands])
    pixels = np.zeros(grid.shape, dtype=dtype)
    rows = max(1, STRIP_PIXELS // grid.width)
    with Files() as files:
        for start in range(0, grid.height, rows):
            stop = min(start + rows, grid.height)
            frame = Frame(grid.rows(start, stop), files)
            for band in image.bands:
                values, mask = frame.get(band.node)
                pixels[band.name][start:stop] = np.where(mask, values, 0)
    return pixels


def encode(pixels: AnyArray, grid: Grid, file_format: str) -> tuple[bytes, str]:
    """Return pixels in a file format, with its content type.

    Args:
        pixels: Structured array (height, width).
        grid: Their grid.
        file_format: ``NPY``, or ``GEO_TIFF`` (all bands in their common type).

    Raises:
        RequestError: If the format is not supported.
    """
    if file_format == "NPY":
        buffer = io.BytesIO()
        np.save(buffer, pixels, allow_pickle=False)
        return buffer.getvalue(), "application/octet-stream"
    if file_format == "GEO_TIFF":
        names = pixels.dtype.names or ()
        common = np.result_type(*(pixels.dtype[name] for name in names))
        a, b, c, d, e, f = grid.transform
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff",
                width=grid.width,
                height=grid.height,
                count=len(names),
                dtype=common,
                crs=grid.crs,
                transform=Affine(a, b, c, d, e, f),
                compress="deflate",
            ) as target:
                for number, name in enumerate(names, 1):
                    target.write(cast(pixels[name], common), number)
                    target.set_band_description(number, name)
            return bytes(memory.read()), "image/tiff"
    raise RequestError(
        f"File format '{file_format}' is not supported by the emulator (NPY, GEO_TIFF)."
    )


def compute_pixels(image: Any, body: Mapping[str, Any]) -> tuple[bytes, str]:
    """Answer a request for pixels.

    Args:
        image: Value of the request's expression.
        body: The request.

    Returns:
        The body of the answer and its content type.

    Raises:
        RequestError: If the expression is not an image, a field is unknown or a limit is exceeded.
    """
    unknown = set(body) - FIELDS
    if unknown:
        raise RequestError(f"Request field '{min(unknown)}' is not supported by the emulator.")
    if not isinstance(image, Image):
        raise RequestError(f"Expression does not evaluate to an Image: {type(image).__name__}.")
    grid = parse_grid(body.get("grid"))
    if body.get("bandIds"):
        image = image.select(body["bandIds"])
    check_limits(image, grid)
    file_format = body.get("fileFormat", "AUTO_JPEG_PNG")
    if file_format not in ("NPY", "GEO_TIFF"):
        raise RequestError(
            f"File format '{file_format}' is not supported by the emulator (NPY, GEO_TIFF)."
        )
    return encode(render(image, grid), grid, file_format)
