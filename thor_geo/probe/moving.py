"""Features of labels on their way into a UTM zone's metres: cut, repaired, and clipped to it."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.ground.area import LONLAT
from thor_geo.ground.lattice import Bounds, zone_strip
from thor_geo.support.antimeridian import cut_all_at_antimeridian
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array

# Degrees by which a zone's tiles may extend beyond its strip, even at a latitude of 84 degrees.
_STRIP_MARGIN = 3.0
# Degrees beyond the strip up to which a polygon is moved as a whole: a quarter of the world from
# its middle, a zone's metres mean nothing.
_FAR_DEGREES = 20.0
# Longest edge of a polygon when the CRS changes, degrees and metres (see ground.area).
_EDGE_DEGREES, _EDGE_METRES = 0.01, 500.0


def near_zone(bounds: Float64Array, epsg: int) -> BoolArray:
    """Return which features may lie under a zone's tiles, (n,).

    Args:
        bounds: West, south, east and north of each, degrees, (n, 4).
        epsg: EPSG code of the zone.
    """
    near = np.zeros(len(bounds), dtype=np.bool_)
    for west, south, east, north in _strips(epsg):
        near |= (
            (bounds[:, 2] >= west)
            & (bounds[:, 0] <= east)
            & (bounds[:, 3] >= south)
            & (bounds[:, 1] <= north)
        )
    near &= np.isfinite(bounds).all(axis=1)
    return near


def moved_polygons(polygons: Any, bounds: Float64Array, epsg: int) -> tuple[Any, BoolArray]:
    """Return valid polygons in a zone's metres, those that reach far beyond it clipped around it.

    Args:
        polygons: GeoSeries in their own CRS.
        bounds: West, south, east and north of each, degrees, (n, 4).
        epsg: EPSG code of the zone.

    Returns:
        The polygons, and which of them were found to lie elsewhere once they were clipped, (n,).
    """
    west, _, east, _ = zone_strip(epsg)
    far = (bounds[:, 0] < west - _FAR_DEGREES) | (bounds[:, 2] > east + _FAR_DEGREES)
    shapes = _moved(polygons, epsg).to_numpy().copy()
    elsewhere = np.zeros(len(shapes), dtype=np.bool_)
    if far.any():
        degrees, failed = cut_features(_moved(polygons[far], LONLAT))
        strips = shapely.union_all([shapely.box(*strip) for strip in _strips(epsg)])
        clipped = _moved(degrees.intersection(strips), epsg).to_numpy()
        # Those round a pole stay whole: a zone's metres go on beyond it.
        number = np.delete(np.flatnonzero(far), failed)
        shapes[number] = np.delete(clipped, failed)
        elsewhere[number] = shapely.is_empty(shapes[number])
    return gpd.GeoSeries(shapes, crs=epsg), elsewhere


def cut_features(geometry: Any) -> tuple[Any, Int64Array]:
    """Return features in degrees cut at the antimeridian, others as they are.

    Args:
        geometry: GeoSeries.

    Returns:
        The features, and the indices of those that cannot be cut, because they go round a pole or
        cross themselves: they are empty.
    """
    none = np.empty(0, dtype=np.int64)
    if not geometry.crs.is_geographic:
        return geometry, none
    shapes = geometry.to_numpy()
    try:
        parts, failed = cut_all_at_antimeridian(shapes), none
    except ValueError:
        parts, failed = _cut_one_by_one(shapes)
    return gpd.GeoSeries(parts, crs=geometry.crs), failed


def repaired_polygons(polygons: Any) -> tuple[Any, BoolArray]:
    """Return polygons with the invalid ones repaired, and which they are, (n,).

    By structure: the ground inside the outer ring and outside the others. The default method would
    add the ground of holes that leave the outer ring. What has no ground becomes empty.

    Args:
        polygons: GeoSeries.
    """
    shapes = polygons.to_numpy().copy()
    invalid: BoolArray = ~shapely.is_valid(shapes)
    shapes[invalid] = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
    return gpd.GeoSeries(shapes, crs=polygons.crs), invalid


def _strips(epsg: int) -> list[Bounds]:
    """Return where a zone's tiles may lie, degrees: zones 1 and 60 are neighbours."""
    west, south, east, north = zone_strip(epsg)
    south, north = south - _STRIP_MARGIN, north + _STRIP_MARGIN
    west, east = west - _STRIP_MARGIN, east + _STRIP_MARGIN
    return [(west + turn, south, east + turn, north) for turn in (0, -360, 360)]


def _moved(polygons: Any, crs: str | int) -> Any:
    """Return polygons in another CRS; short edges stay in place."""
    edge = _EDGE_DEGREES if polygons.crs.is_geographic else _EDGE_METRES
    return polygons.segmentize(edge).to_crs(crs)


def _cut_one_by_one(shapes: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Int64Array]:
    parts, failed = shapes.copy(), []
    for k in range(len(shapes)):
        try:
            parts[k : k + 1] = cut_all_at_antimeridian(shapes[k : k + 1])
        except ValueError:
            parts[k] = shapely.Polygon()
            failed.append(k)
    return parts, np.array(failed, dtype=np.int64)
