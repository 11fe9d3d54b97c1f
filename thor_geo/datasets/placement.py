"""Whether a raster file lies north-up in a UTM zone, and the gdalwarp line for any other."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import numpy as np
import rasterio.warp
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT
from thor_geo.ground.lattice import Bounds, is_utm, zone_of


def check_placement(path: Path, file: DatasetReader, resolution: float) -> None:
    """Refuse a file whose rows and columns do not run south and east along a UTM zone's axes.

    Args:
        path: The file.
        file: The open file.
        resolution: Pixel size that the run wants, metres.

    Raises:
        ConfigError: With what is the matter, and a line for gdalwarp that mends it.
    """
    if file.transform.is_identity:
        raise _unplaced_refusal(path, file, resolution)
    if file.crs is None:
        raise ConfigError(
            "paths",
            str(path),
            "it has no CRS",
            f"Set the one it is in: gdal_edit.py -a_srs EPSG:CODE {shlex.quote(str(path))}",
        )
    a, b, _, d, e, _ = tuple(file.transform)[:6]
    epsg = file.crs.to_epsg()
    in_utm = epsg is not None and is_utm(epsg)
    problems = []
    if not in_utm:
        problems.append(f"its CRS is {file.crs.to_string()[:60]}, no WGS 84 / UTM zone")
    if b or d:
        problems.append("it is rotated")
    else:
        if e > 0:
            problems.append("its rows run from south to north (south-up)")
        if a < 0:
            problems.append("its columns run from east to west")
        if abs(abs(a) - abs(e)) > 1e-6 * abs(a):
            problems.append(f"its pixels are not square but {abs(a):g} x {abs(e):g}")
    if problems:
        moved = not in_utm or bool(b or d)
        # Pixels that only lie in another order keep their size, and so their values.
        side = resolution if moved or abs(a) != abs(e) else abs(a)
        zone = _zone_around(file.crs, tuple(file.bounds))
        raise _refusal(path, file, " and ".join(problems), zone, side, moved=moved)


def warp_line(path: Path, resolution: float, *options: str) -> str:
    """Return the gdalwarp line that brings a file onto the grid of whole pixels.

    Args:
        path: The file.
        resolution: Pixel size, metres.
        options: Further options.
    """
    side = f"{resolution:.12g}"
    return shlex.join(["gdalwarp", "-tr", side, side, "-tap", *options, str(path), "utm.tif"])


def _unplaced_refusal(path: Path, file: DatasetReader, resolution: float) -> ConfigError:
    """Return the refusal of a file without a grid of its own."""
    points, crs = file.gcps
    if points:
        problem = f"{len(points)} ground control points (GCPs) place it, no grid of pixels"
        if crs is None:
            return ConfigError(
                "paths",
                str(path),
                f"{problem}, and they have no CRS",
                f"Say theirs, and warp it: {warp_line(path, resolution, '-s_srs', 'EPSG:CODE')}",
            )
        x, y = [point.x for point in points], [point.y for point in points]
        zone = _zone_around(crs, (min(x), min(y), max(x), max(y)))
        return _refusal(path, file, problem, zone, resolution, moved=True)
    if file.rpcs is not None:
        west = file.rpcs.long_off, file.rpcs.lat_off
        zone = f"EPSG:{zone_of(*west)}"
        problem = "rational polynomials (RPCs) place it, no grid of pixels"
        return _refusal(path, file, problem, zone, resolution, "-rpc", moved=True)
    return ConfigError(
        "paths",
        str(path),
        "nothing says where it lies: it has neither a transform nor ground control points",
        "Set its CRS and edges, in metres: gdal_edit.py -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT "
        f"BOTTOM {shlex.quote(str(path))}",
    )


def _refusal(
    path: Path,
    file: DatasetReader,
    problem: str,
    zone: str,
    resolution: float,
    *options: str,
    moved: bool,
) -> ConfigError:
    # What gdalwarp adds around the pixels must not be taken for pixels.
    fill = ["-dstnodata", _no_value(file)] if moved and file.nodata is None else []
    return ConfigError(
        "paths",
        str(path),
        f"{problem}; tiles are squares of square pixels, north-up, in a WGS 84 / UTM zone",
        "Warp it, and give utm.tif in its place: "
        + warp_line(path, resolution, *options, "-t_srs", zone, *fill),
    )


def _no_value(file: DatasetReader) -> str:
    dtype = np.dtype(file.dtypes[0])
    return "nan" if dtype.kind == "f" else str(np.iinfo(dtype).min)


def _zone_around(crs: CRS, bounds: Bounds) -> str:
    """Return the UTM zone of the centre of bounds."""
    try:
        west, south, east, north = rasterio.warp.transform_bounds(crs, LONLAT, *bounds)
    except rasterio.errors.RasterioError:  # a local CRS: only the user knows where it is
        return "EPSG:326ZONE"
    lon, lat = (west + east) / 2, (south + north) / 2
    return f"EPSG:{zone_of(lon, lat)}" if math.isfinite(lon + lat) else "EPSG:326ZONE"
