"""Longitudes and latitudes of places, and what tells that their coordinates are something else."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyproj

from thor_geo.ground._geotables import GeoTable
from thor_geo.ground._row_faults import RowFault, faults_error
from thor_geo.ground.area import LONLAT
from thor_geo.ground.geofile import GeoFile
from thor_geo.specs import UTM_NORTH, UTM_SOUTH
from thor_geo.support.antimeridian import continuous_longitudes
from thor_geo.support.arrays import BoolArray, Float64Array
from thor_geo.support.words import counted, rows_text

_log = logging.getLogger(__name__)

# From so many rows on, and this share of them, what rows have wrong the whole table has wrong.
_MANY, _SHARE = 3, 0.1
# Degrees by which coordinates of a CRS are used beyond the area that it is meant for.
_MARGIN = 3.0


def is_lonlat(crs: pyproj.CRS) -> bool:
    """Return whether a CRS has the longitudes and latitudes that outputs have."""
    return bool(crs.to_authority() in (("EPSG", "4326"), ("OGC", "CRS84")))


def degrees(
    source: GeoFile,
    table: GeoTable,
    crs: pyproj.CRS,
    x: Float64Array,
    y: Float64Array,
    known: BoolArray,
    faults: list[RowFault],
) -> tuple[Float64Array, Float64Array]:
    """Return longitude and latitude of points in any CRS, NaN where they have none.

    Args:
        source: The file, for messages.
        table: Its rows.
        crs: CRS of the points.
        x: Their first coordinate, east (n,).
        y: Their second, north (n,).
        known: Which rows have both (n,).
        faults: What is wrong with rows, to which more is added.

    Raises:
        ConfigError: If longitude and latitude, or x and y, are exchanged in the table as a whole,
            or its coordinates are degrees where its CRS has metres.
    """
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
    if not is_lonlat(crs):
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
        if not crs.is_geographic and known.any():
            _check_metres(source, table, crs, x, y, lon, lat, known)
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


def _check_metres(
    source: GeoFile,
    table: GeoTable,
    crs: pyproj.CRS,
    x: Float64Array,
    y: Float64Array,
    lon: Float64Array,
    lat: Float64Array,
    known: BoolArray,
) -> None:
    """Refuse a table of which no place lies where its CRS is used, if it is clear why."""
    area = crs.area_of_use
    if area is None or _inside(area, lon[known], lat[known], 0.0).any():
        return
    columns = table.geometry is None
    change = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
    if (np.abs(x[known]) <= 180).all() and (np.abs(y[known]) <= 90).all():
        problem = "coordinates look like degrees"
        remedy = (
            f"Name the columns lon and lat, and leave `{source.crs_argument}` out."
            if columns
            else "Set the CRS of the layer, with QGIS 'Assign projection', to EPSG:4326."
        )
    elif (
        not _inside(area, lon[known], lat[known], _MARGIN).any()
        and _inside(area, *change.transform(y[known], x[known]), _MARGIN).all()
    ):
        problem = "x and y look exchanged"
        remedy = "Give the two columns each other's names." if columns else "Write x (east) first."
    else:
        return
    rows = np.flatnonzero(known)
    fault = RowFault(
        problem=f"{problem}, and lie beyond the area of {crs.to_string()[:80]}, longitude "
        f"{area.west:g} to {area.east:g} and latitude {area.south:g} to {area.north:g},",
        rows=rows,
        values=_pairs(x, y, known),
        remedy=remedy,
    )
    raise faults_error(source, [fault], len(table), table.lines)


def _inside(area: Any, lon: Float64Array, lat: Float64Array, margin: float) -> BoolArray:
    """Return which points lie in pyproj's area of a CRS, or a margin of degrees beyond it."""
    width = (area.east - area.west) % 360 or 360.0
    east = (lon - area.west + margin) % 360
    inside: BoolArray = np.isfinite(lon) & (east <= width + 2 * margin)
    inside &= (lat >= area.south - margin) & (lat <= area.north + margin)
    return inside
