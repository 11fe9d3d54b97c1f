"""Where places lie: the points of a table, or a point inside each of its polygons."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely

from thor_geo.errors import ConfigError
from thor_geo.ground._geotables import GeoTable
from thor_geo.ground._place_degrees import degrees, is_lonlat
from thor_geo.ground._row_faults import RowFault
from thor_geo.ground.area import CUT, EDGE_DEGREES, EDGE_METRES, LONLAT, REPAIR
from thor_geo.ground.geofile import GeoFile
from thor_geo.support.antimeridian import (
    cut_at_antimeridian,
    may_cross_antimeridian,
)
from thor_geo.support.arrays import BoolArray, Float64Array, ObjectArray
from thor_geo.support.words import counted, rows_text

if TYPE_CHECKING:
    from thor_geo.ground.places import PlacesSpec

_log = logging.getLogger(__name__)

_POINT = shapely.GeometryType.POINT
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
# Polygons whose coordinates are in memory at once beside the polygons.
_AT_ONCE = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacePoints:
    """Where the n rows of a table lie.

    Attributes:
        lon: Longitudes, degrees (n,); NaN in bad rows.
        lat: Latitudes, degrees (n,); NaN in bad rows.
        polygons: (Multi)polygons in longitude and latitude (n,), None in bad rows; None without.
        faults: What is wrong with rows.
    """

    lon: Float64Array
    lat: Float64Array
    polygons: ObjectArray | None
    faults: list[RowFault]


def locate(spec: PlacesSpec, source: GeoFile, table: GeoTable) -> PlacePoints:
    """Return where the rows of a table lie.

    Args:
        spec: What the user says about the table.
        source: Its file, for messages.
        table: Its rows.

    Raises:
        ConfigError: If the table as a whole is at fault: it has no CRS, points and polygons, or
            latitudes for longitudes.
    """
    faults = list(table.faults)
    crs = table.crs
    if crs is None:
        raise source.refusal(
            "it has no CRS",
            f"Give it with `{source.crs_argument}`, or set it with QGIS 'Assign projection'.",
        )
    shapes: ObjectArray | None = None
    if table.geometry is None:
        assert table.x is not None
        assert table.y is not None
        x, y = table.x, table.y
    else:
        shapes = _one_kind(source, table.geometry, faults)
        if np.isin(shapely.get_type_id(shapes), _POLYGONS).any():
            shapes = _sound(shapes, crs, faults)
            points = shapely.point_on_surface(shapes)
        else:
            points, shapes = shapes, None
        x, y = shapely.get_x(points), shapely.get_y(points)
    if spec.within and shapes is None:
        raise ConfigError(
            "data.places.within",
            spec.within,
            f"{source.path} holds points",
            "Give polygons, or leave it out.",
        )
    known = np.isfinite(x) & np.isfinite(y)
    missing = ~known
    for fault in faults:
        missing[fault.rows] = False
    if missing.any():
        faults.append(
            RowFault(
                problem="no coordinates",
                rows=np.flatnonzero(missing),
                remedy="Fill in what is missing, or remove the rows.",
            )
        )
    lon, lat = degrees(source, table, crs, x, y, known, faults)
    polygons = None
    if spec.within and shapes is not None:
        polygons = _lonlat_polygons(shapes, crs, np.isfinite(lon), faults)
    return PlacePoints(lon=lon, lat=lat, polygons=polygons, faults=faults)


def _one_kind(source: GeoFile, shapes: ObjectArray, faults: list[RowFault]) -> ObjectArray:
    """Return points or polygons, None in rows that hold something else, or nothing."""
    kinds = shapely.get_type_id(shapes)
    empty = shapely.is_empty(shapes)
    points, polygons = kinds == _POINT, np.isin(kinds, _POLYGONS)
    others = np.flatnonzero((kinds >= 0) & ~empty & ~points & ~polygons)
    if len(others):
        faults.append(
            RowFault(
                problem="neither a point nor a polygon",
                rows=others,
                values=[shape.geom_type for shape in shapes[others]],
                remedy="Give one point or polygon in each row.",
            )
        )
    points, polygons = points & ~empty, polygons & ~empty
    if points.any() and polygons.any():
        raise source.refusal(
            f"it mixes {counted(points.sum(), 'point')} (first in row {points.argmax() + 1:,}) and "
            f"{counted(polygons.sum(), 'polygon')} (first in row {polygons.argmax() + 1:,}; rows "
            "are counted from 1, without a header)",
            "Give only points, or only polygons.",
        )
    out = np.full(len(shapes), None, dtype=object)
    good = points | polygons
    out[good] = shapes[good]
    high = shapely.has_z(out)
    out[high] = shapely.force_2d(out[high])
    return out


def _sound(shapes: ObjectArray, crs: pyproj.CRS, faults: list[RowFault]) -> ObjectArray:
    """Return polygons that are cut at the antimeridian and valid, None where that cannot be."""
    shapes = shapes.copy()
    if crs.is_geographic:
        _cut(shapes, faults)
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if broken.any():
        shapes[broken] = shapely.make_valid(shapes[broken], method="structure")
        _log.warning(
            "data.places.file: %s repaired, such as %s.",
            counted(broken.sum(), "invalid polygon is", "invalid polygons are"),
            rows_text([int(broken.argmax())]),
        )
    flat = (shapely.area(shapes) == 0) & ~shapely.is_missing(shapes)
    if flat.any():
        faults.append(
            RowFault(problem="a polygon without area", rows=np.flatnonzero(flat), remedy=REPAIR)
        )
        shapes[flat] = None
    return shapes


def _cut(shapes: ObjectArray, faults: list[RowFault]) -> None:
    """Cut polygons in degrees at the antimeridian, in place."""
    rows, why = [], []
    for k in np.flatnonzero(may_cross_antimeridian(shapes)).tolist():
        try:
            shapes[k] = cut_at_antimeridian(shapes[k])
        except ValueError as error:
            rows.append(k)
            why.append(str(error))
            shapes[k] = None
    if rows:
        faults.append(
            RowFault(
                problem="a polygon across the antimeridian",
                rows=np.array(rows),
                values=why,
                remedy=CUT,
            )
        )


def _lonlat_polygons(
    shapes: ObjectArray, crs: pyproj.CRS, good: BoolArray, faults: list[RowFault]
) -> ObjectArray:
    polygons = np.full(len(shapes), None, dtype=object)
    polygons[good] = shapes[good]
    if is_lonlat(crs):
        return polygons
    change = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
    edge = EDGE_DEGREES if crs.is_geographic else EDGE_METRES
    rows = np.flatnonzero(good)
    for some in np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE)):
        part = shapes[some]
        # Straight edges of one CRS are curves of the other.
        long = shapely.length(part) > edge
        part[long] = shapely.segmentize(part[long], edge)
        polygons[some] = shapely.transform(
            part, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1]))
        )
    _cut(polygons, faults)
    return polygons
