"""Where items lie: as they state it, and in another CRS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from thor_geo.errors import StacError
from thor_geo.ground.lattice import Bounds
from thor_geo.support.antimeridian import cut_at_antimeridian

#: Parts into which each edge is cut before it is brought to another CRS: on an edge of 110 km the
#: chord between two neighbours is within 2 cm of the curve.
EDGE_PARTS = 64


def stated_footprint(content: Mapping[str, Any]) -> tuple[int, BaseGeometry]:
    """Return EPSG code and polygon of where the item may have pixels.

    The rectangle of its rasters where the extension `projection` states it: the corners of its
    geometry are joined by lines that are straight in degrees, which miss the raster's edge by
    hundreds of metres.
    """
    listed = content.get("assets")
    listed = listed.values() if isinstance(listed, Mapping) else ()
    assets = [asset for asset in listed if isinstance(asset, Mapping)]
    for fields in (content["properties"], *assets):
        epsg = _epsg(fields) or _epsg(content["properties"])
        bounds = _bounds(fields)
        if epsg is not None and bounds is not None and _is_known(epsg):
            return epsg, shapely.box(*bounds)
    geometry = shape(content["geometry"])
    if geometry.is_empty:
        raise ValueError("an empty geometry")
    geometry = cut_at_antimeridian(geometry)  # many catalogues do not
    return 4326, geometry if geometry.is_valid else geometry.buffer(0)


def _epsg(fields: Mapping[str, Any]) -> int | None:
    code = str(fields.get("proj:code") or fields.get("proj:epsg") or "").removeprefix("EPSG:")
    return int(code) if code.isdecimal() else None


@cache
def _is_known(epsg: int) -> bool:
    try:
        CRS.from_epsg(epsg)
    except CRSError:
        return False
    return True


def _bounds(fields: Mapping[str, Any]) -> Bounds | None:
    box = fields.get("proj:bbox")
    if box is not None and len(box) == 4:
        return float(box[0]), float(box[1]), float(box[2]), float(box[3])
    size, transform = fields.get("proj:shape"), fields.get("proj:transform")
    if size is None or transform is None:
        return None
    a, b, left, d, e, top = map(float, transform[:6])
    if b or d:
        return None
    right, bottom = left + a * float(size[1]), top + e * float(size[0])
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)


def transformed(geometry: BaseGeometry, source: int, target: int) -> BaseGeometry:
    """Return a footprint in another CRS; empty where that cannot express it.

    Args:
        geometry: The footprint.
        source: EPSG code of its CRS.
        target: EPSG code of the other.

    Raises:
        StacError: If PROJ cannot transform it.
    """
    # Part by part: those of a footprint on both sides of the antimeridian lie 360 degrees apart.
    west, south, east, north = shapely.bounds(shapely.get_parts(geometry)).T
    longest = float(max((east - west).max(), (north - south).max())) / EDGE_PARTS
    dense = shapely.segmentize(geometry, longest) if longest > 0 else geometry
    transformer = Transformer.from_crs(source, target, always_xy=True)

    def moved(points: Any) -> Any:
        return np.column_stack(transformer.transform(*points.T))

    try:
        transformed = shapely.transform(dense, moved)
    except ProjError as error:
        raise StacError(
            f"A footprint in EPSG:{source} cannot be transformed to EPSG:{target} ({error})."
        ) from error
    if not np.isfinite(shapely.get_coordinates(transformed)).all():
        return shapely.Polygon()  # beyond what the block's zone can express: far from it
    return transformed if transformed.is_valid else transformed.buffer(0)
