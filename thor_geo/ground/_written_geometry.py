"""Geometry that a table writes in a column: WKT, WKB, or GeoJSON as Earth Engine exports it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import shapely

from thor_geo.support.arrays import ObjectArray

#: What WKT, WKB and GeoJSON are in that state no EPSG code.
WGS84 = "4326"
_WKT = re.compile(r"\s*(?:SRID=(?P<epsg>\d+);)?\s*(?P<wkt>(?:MULTI)?(?:POINT|POLYGON)\b.*)", re.I)
_GEOJSON = re.compile(r'\s*\{.*"coordinates"', re.S)


class WrittenGeometry(NamedTuple):
    """The geometries of a column.

    Attributes:
        shapes: None where a row has none, or none that can be read, (n,).
        epsg: The EPSG codes that the rows state.
        text: Whether they are text, which a message can quote.
    """

    shapes: ObjectArray
    epsg: Collection[str]
    text: bool


def parse_geometry(values: ObjectArray) -> WrittenGeometry | None:
    """Return geometries written as WKT, WKB or GeoJSON; None if the values are something else.

    Earth Engine writes an empty MultiPoint for each row of a table that it exports without
    geometries: such a column holds none.

    Args:
        values: Text or bytes, None where a row has none, (n,).
    """
    first = next((value for value in values if value is not None), None)
    if isinstance(first, bytes):
        shapes = shapely.from_wkb(values, on_invalid="ignore")
        known = shapes[~shapely.is_missing(shapes)]
        epsg = {str(code or WGS84) for code in np.unique(shapely.get_srid(known)).tolist()}
        return WrittenGeometry(shapes, epsg, False)
    if not isinstance(first, str):
        return None
    if _WKT.match(first):
        matches = [_WKT.match(value or "") for value in values]
        epsg = {m["epsg"] or WGS84 for m in matches if m}
        texts = [value if m is None else m["wkt"] for m, value in zip(matches, values, strict=True)]
        return WrittenGeometry(shapely.from_wkt(texts, on_invalid="ignore"), epsg, True)
    if _GEOJSON.match(first):
        shapes = shapely.from_geojson(values, on_invalid="ignore")
        present = ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
        return WrittenGeometry(shapes, {WGS84}, True) if present.any() else None
    return None
