"""A table of somebody's vectors, with the ids and the ground of its rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely

from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.geofile import GeoFile, checked_geometry, read_geotable
from thor_geo.probe.beside import ARGUMENT
from thor_geo.probe.beside_columns import TableVectors, table_vectors
from thor_geo.storage import Location
from thor_geo.support.arrays import BoolArray, Float64Array, ObjectArray
from thor_geo.support.words import rows_text

if TYPE_CHECKING:
    import pyarrow as pa

# Metres of a degree of latitude, for the size of outlines: a rough number is enough.
_DEGREE_M = 111_320.0
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedVectors:
    """R vectors, and what says to which samples they belong.

    Attributes:
        path: Where they are from, for messages.
        found: The vectors.
        ids: Columns of ids, as text, None where a row has none, each (R,).
        lon: Longitudes of points, or of the middles of polygons, degrees, NaN where a row has none,
            (R,); None if no row has a position.
        lat: Their latitudes.
        polygons: Outlines in degrees, (R,); None for points.
        side_m: Typical side of an outline, metres; 0 for points.
    """

    path: Location
    found: TableVectors
    ids: Mapping[str, ObjectArray]
    lon: Float64Array | None = None
    lat: Float64Array | None = None
    polygons: ObjectArray | None = None
    side_m: float = 0.0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.found.usable)

    @property
    def placed(self) -> BoolArray:
        """Which rows have both a vector and a position, (R,)."""
        if self.lon is None:
            return np.zeros(len(self), dtype=np.bool_)
        both: BoolArray = self.found.usable & np.isfinite(self.lon)
        return both


def read_placed_vectors(path: Path, id_columns: Collection[str]) -> PlacedVectors:
    """Read a table of vectors.

    Args:
        path: A file that `read_geotable` reads; it needs no geometry if it has ids.
        id_columns: Names of the columns in which ids may stand.

    Raises:
        ConfigError: If it cannot be read, its vectors are not clear (`table_vectors`), a row's
            geometry is bad, or it has neither ids nor geometry.
    """
    source = GeoFile(path=path, argument=ARGUMENT, needs_geometry=False)
    if path.suffix.lower() in (".npz", ".npy", ".nc", ".zarr", ".h5", ".tif", ".tiff"):
        raise source.refusal(
            "it is an array, not a table",
            "Write a row for each place, with lon and lat or an id: docs/probe.md shows how.",
        )
    table = read_geotable(source)
    if not len(table):
        raise source.refusal("the table is empty", "Give at least one row.")
    columns: pa.Table = table.columns
    ids = {name: texts_of(columns[name]) for name in columns.column_names if name in id_columns}
    found = table_vectors(source, columns.drop_columns(list(ids)))
    geometry = checked_geometry(source, table)
    if geometry is None:
        if not ids:
            raise source.refusal(
                "its rows have neither an id nor a place",
                f"Give {_or([*id_columns, 'lon and lat (degrees)', 'a geometry'])}.",
            )
        return PlacedVectors(path=path, found=found, ids=ids)
    return _with_places(source, table.crs, geometry, found, ids)


def _with_places(
    source: GeoFile,
    crs: pyproj.CRS | None,
    geometry: ObjectArray,
    found: TableVectors,
    ids: Mapping[str, ObjectArray],
) -> PlacedVectors:
    if crs is None:
        raise source.refusal(
            "it has no CRS", "Set one, e.g. with QGIS 'Assign projection' or geopandas' set_crs."
        )
    kinds = shapely.get_type_id(geometry)
    outlined = bool(np.isin(kinds, _POLYGONS).any())
    usual = _POLYGONS if outlined else (shapely.GeometryType.POINT,)
    other = np.flatnonzero(~np.isin(kinds, (*usual, -1)) & ~shapely.is_empty(geometry))
    if len(other):
        named = {k: shapely.geometry.base.GEOMETRY_TYPES[kinds[k]] for k in other.tolist()}
        raise source.refusal(
            f"it has {'polygons' if outlined else 'points'}, and others in "
            f"{rows_text(other.tolist(), named)}",
            "Give points alone, or polygons alone.",
        )
    to_degrees = transformer(crs.to_wkt(), LONLAT)
    polygons = None
    if outlined:

        def turned(xy: Float64Array) -> Float64Array:
            return np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), axis=1)

        polygons = shapely.transform(geometry, turned)
        middles = shapely.centroid(polygons)
        lon, lat = shapely.get_x(middles), shapely.get_y(middles)
    else:
        middles = shapely.centroid(geometry)
        lon, lat = to_degrees.transform(shapely.get_x(middles), shapely.get_y(middles))
    side = 0.0
    if polygons is not None:
        metres = np.sqrt(shapely.area(polygons) * np.cos(np.radians(lat))) * _DEGREE_M
        side = float(np.nanmedian(metres))
    return PlacedVectors(
        path=source.path,
        found=found,
        ids=ids,
        lon=np.asarray(lon, dtype=np.float64),
        lat=np.asarray(lat, dtype=np.float64),
        polygons=polygons,
        side_m=side,
    )


def texts_of(column: pa.ChunkedArray) -> ObjectArray:
    """Return ids as text; whole numbers that a reader made floats are whole again."""
    texts = np.full(len(column), None, dtype=object)
    for k, value in enumerate(column.to_pylist()):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        texts[k] = None if value is None else str(value)
    return texts


def _or(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
