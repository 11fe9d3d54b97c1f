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
from thor_geo.ground._row_faults import RowFault, faults_error
from thor_geo.ground.area import CUT, EDGE_DEGREES, EDGE_METRES, LONLAT, REPAIR
from thor_geo.ground.geofile import GeoFile
from thor_geo.specs import UTM_NORTH, UTM_SOUTH
from thor_geo.support.antimeridian import (
    continuous_longitudes,
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
# From so many rows on, and this share of them, what rows have wrong the whole table has wrong.
_MANY, _SHARE = 3, 0.1
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
    lon, lat = _degrees(source, table, crs, x, y, known, faults)
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


def _degrees(
    source: GeoFile,
    table: GeoTable,
    crs: pyproj.CRS,
    x: Float64Array,
    y: Float64Array,
    known: BoolArray,
    faults: list[RowFault],
) -> tuple[Float64Array, Float64Array]:
    """Return longitude and latitude of points in any CRS, NaN where they have none."""
    lon, lat = np.where(known, x, np.nan), np.where(known, y, np.nan)
    if crs.is_geographic:
        outside = known & ((np.abs(x) > 360) | (np.abs(y) > 90))
        if outside.any():
            faults.append(_outside(source, table, x, y, known, outside))
        turned = known & ~outside & (np.abs(x) > 180)
        if turned.any():
            lon = continuous_longitudes(lon, 0.0)
            _log.warning(
                "data.places.file: the longitudes of %s are turned by 360 degrees, such as %s.",
                counted(turned.sum(), "row"),
                rows_text([int(turned.argmax())]),
            )
        known = known & ~outside
    if not _is_lonlat(crs):
        change = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
        lon, lat = change.transform(np.where(known, lon, 0.0), np.where(known, lat, 0.0))
        unfit = known & ~(np.isfinite(lon) & np.isfinite(lat))
        if unfit.any():
            faults.append(
                RowFault(
                    problem=f"coordinates do not fit the CRS {crs.to_string()[:80]}",
                    rows=np.flatnonzero(unfit),
                    values=_pairs(x, y, unfit),
                    remedy="Check the CRS and the order of the axes.",
                )
            )
        known = known & ~unfit
    beyond = known & ((lat < UTM_SOUTH) | (lat > UTM_NORTH))
    if beyond.any():
        faults.append(
            RowFault(
                problem="beyond 80 S or 84 N, where UTM tiles end",
                rows=np.flatnonzero(beyond),
                values=_pairs(x, y, beyond),
                remedy="Leave them out; polar grids are not supported.",
            )
        )
    known = known & ~beyond
    return np.where(known, lon, np.nan), np.where(known, lat, np.nan)


def _outside(
    source: GeoFile,
    table: GeoTable,
    x: Float64Array,
    y: Float64Array,
    known: BoolArray,
    outside: BoolArray,
) -> RowFault:
    """Return what is wrong with rows whose coordinates are no degrees.

    Raises:
        ConfigError: If longitude and latitude are exchanged in the table as a whole.
    """
    exchanged = bool(((np.abs(x) <= 90) & (np.abs(y) <= 360))[known].all())
    fault = RowFault(
        problem="longitude, latitude outside -180..180, -90..90",
        rows=np.flatnonzero(outside),
        values=_pairs(x, y, outside),
        remedy=(
            "Longitude and latitude look exchanged: give the two columns each other's names."
            if exchanged and table.geometry is None
            else "Longitude and latitude look exchanged: write longitude first."
            if exchanged
            else "Give degrees (WGS 84). Name columns of metres x and y, and give "
            f"`{source.crs_argument}`."
        ),
    )
    # Rows that lie inside either way would be embedded in another country.
    few, share = outside.sum() < _MANY, outside.sum() / known.sum()
    if exchanged and (share > 0.5 or (not few and share > _SHARE)):
        raise faults_error(source, [fault], len(table), table.lines)
    return fault


def _pairs(x: Float64Array, y: Float64Array, chosen: BoolArray) -> list[str]:
    pairs = zip(x[chosen].tolist(), y[chosen].tolist(), strict=True)
    return [f"{a:g}, {b:g}" for a, b in pairs]


def _lonlat_polygons(
    shapes: ObjectArray, crs: pyproj.CRS, good: BoolArray, faults: list[RowFault]
) -> ObjectArray:
    polygons = np.full(len(shapes), None, dtype=object)
    polygons[good] = shapes[good]
    if _is_lonlat(crs):
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


def _is_lonlat(crs: pyproj.CRS) -> bool:
    return bool(crs.to_authority() in (("EPSG", "4326"), ("OGC", "CRS84")))
