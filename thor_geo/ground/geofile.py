"""Files of places that users bring: areas, points, labels; read by their content, not their name.

A file is Parquet if it begins with ``PAR1``, an archive if it begins with ``PK``, a table of text
if its name ends in ``.csv``, ``.tsv`` or ``.txt``, and otherwise what GDAL makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from thor_geo.errors import ConfigError, first_line
from thor_geo.ground._geolayers import archive_layers, choose_layer, file_layers
from thor_geo.ground._geotables import GeoTable, parse_table, read_parquet
from thor_geo.support.antimeridian import continuous_longitudes
from thor_geo.support.arrays import BoolArray, Float64Array, ObjectArray
from thor_geo.support.words import rows_text

FileKind: TypeAlias = Literal["parquet", "archive", "table", "other"]

# Suffixes of tables of text. GDAL would read the first two as well, but all columns as text.
_TABLES = (".csv", ".tsv", ".txt")
# Archives that GDAL reads as a whole: spreadsheets, whose sheets are layers, and zipped KML.
_DOCUMENTS = (".xlsx", ".ods", ".kmz")
# Rasters of Esri's ASCII format, which are often named .txt, begin with their number of columns.
_ASCII_GRID = b"ncol"

# Whole numbers up to here are exact as floats.
_EXACT = 2**53


@dataclass(frozen=True, kw_only=True)
class GeoFile:
    """A file of places, and what the user calls it.

    Attributes:
        path: The file; for a file geodatabase the folder.
        argument: Name of the argument that gave the file, for messages.
        layer: Layer to read; None for the only one.
        layer_argument: Name of the argument that gave the layer, for messages.
        crs: CRS of coordinates where the file states none; None if the user gives none.
        crs_argument: Name of the argument that gives it, for messages; empty if there is none.
        error: Class of the errors.
        content: A Parquet file in memory, in place of the file; `path` is its name in messages.
        needs_geometry: Whether a table without geometry is refused; `read_geofile` needs it.
    """

    path: Path
    argument: str
    layer: str | None = None
    layer_argument: str = "layer"
    crs: str | None = None
    crs_argument: str = ""
    error: type[ConfigError] = ConfigError
    content: bytes | None = None
    needs_geometry: bool = True

    def refusal(self, problem: str, remedy: str) -> ConfigError:
        """Return an error about this file."""
        return self.error(self.argument, str(self.path), problem, remedy)


def file_kind(path: Path) -> FileKind:
    """Return what a file is by its first bytes, or by its name if it is a table of text.

    Args:
        path: A file that exists, or a folder.
    """
    if path.is_dir():
        return "other"
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return "parquet"
    if start == b"PK\x03\x04":
        return "other" if path.suffix.lower() in _DOCUMENTS else "archive"
    is_table = path.suffix.lower() in _TABLES and start.lower() != _ASCII_GRID
    return "table" if is_table else "other"


def read_geofile(source: GeoFile) -> gpd.GeoDataFrame:
    """Return the rows of a file, with their columns, geometry and CRS.

    They are those of `read_geotable`, for pandas: integers with gaps become floats. Points at
    longitudes beyond 180 are turned by 360 degrees.

    Args:
        source: The file. Its rows keep their order, and are numbered from 0.

    Returns:
        The rows; their geometry is None where a row has none. At least one has one.

    Raises:
        ConfigError: As `read_geotable` does, or if a row is bad, or none has geometry.
    """
    table = read_geotable(source)
    geometry = checked_geometry(source, table)
    if geometry is None:
        raise source.refusal("it holds no geometry", "Give points or polygons.")
    frame = gpd.GeoDataFrame(_pandas_frame(table.columns), geometry=geometry, crs=table.crs)
    if frame.crs is None:
        raise source.refusal(
            "it has no CRS", "Set one, e.g. with QGIS 'Assign projection' or geopandas' set_crs."
        )
    return frame


def checked_geometry(source: GeoFile, table: GeoTable) -> ObjectArray | None:
    """Return the geometry of a table's rows, wherever it stands; refuse what is wrong with it.

    Points at longitudes beyond 180 are turned by 360 degrees.

    Args:
        source: The file, for messages.
        table: Its rows.

    Returns:
        Shapes in the table's CRS, None where a row has none, (n,); None if no row has one.

    Raises:
        ConfigError: If a row is bad, or coordinates that should be degrees are none.
    """
    for fault in table.faults:
        rows = fault.rows.tolist()
        values = None if fault.values is None else dict(zip(rows, fault.values, strict=True))
        raise source.refusal(f"{fault.problem} in {rows_text(rows, values)}", fault.remedy)
    geometry = table.geometry
    if geometry is None:
        if table.x is None or table.y is None:
            return None
        _check_degrees(source, table, table.x, table.y)
        known = np.isfinite(table.x)
        geometry = np.full(len(table), None, dtype=object)
        geometry[known] = shapely.points(table.x[known], table.y[known])
    elif not table.stated:
        bounds = np.abs(shapely.bounds(geometry))
        _check_degrees(source, table, bounds[:, [0, 2]].max(1), bounds[:, [1, 3]].max(1))
    if table.crs is not None and table.crs.is_geographic:
        geometry = _turned_points(geometry)
    present = ~shapely.is_missing(geometry) & ~shapely.is_empty(geometry)
    return geometry if present.any() else None


def read_geotable(source: GeoFile) -> GeoTable:
    """Return the rows of a file as it holds them, also those that are bad.

    Plain tables have geometry in columns, in longitude and latitude unless the table or
    *source* gives a CRS. A MultiPoint of one point becomes that point, and a collection with
    polygons its polygons.

    Args:
        source: The file.

    Raises:
        ConfigError: Of the class that *source* names, if the file is missing or cannot be read, has
            several layers of which none was chosen, or holds no geometry.
    """
    if source.content is None and not source.path.exists():
        raise source.refusal("no such file", "Check the path.")
    try:
        table = _read(source)
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # each reader has classes of its own
        raise source.refusal(
            f"not readable ({first_line(error)})", "Open it in QGIS to see what it holds."
        ) from error
    if table.geometry is None:
        return table
    return replace(table, geometry=_plain_geometry(table.geometry))


def without_geometry(frame: gpd.GeoDataFrame) -> BoolArray:
    """Return which rows have no geometry, or an empty one, (N,)."""
    geometry = frame.geometry
    missing: BoolArray = (geometry.isna() | geometry.is_empty).to_numpy(dtype=np.bool_)
    return missing


def _read(source: GeoFile) -> GeoTable:
    """Return the chosen layer of a file."""
    if source.content is not None:
        return read_parquet(source, BytesIO(source.content))
    path = source.path
    kind = file_kind(path)
    if kind == "archive":
        return choose_layer(source, archive_layers(source)).read(source)
    if kind == "other":
        return choose_layer(source, file_layers(str(path))).read(source)
    if source.layer is not None:
        raise source.error(
            source.layer_argument, source.layer, f"{path} has no layers", "Leave it out."
        )
    if kind == "parquet":
        return read_parquet(source, path)
    return parse_table(source, path.read_bytes())


def _pandas_frame(columns: Any) -> pd.DataFrame:
    """Return columns for pandas; whole numbers that floats cannot hold as text."""
    for k, field in enumerate(columns.schema):
        column = columns.column(k)
        if pa.types.is_integer(field.type) and column.null_count:
            ends = pc.min_max(column).as_py()
            if max(abs(ends["min"] or 0), abs(ends["max"] or 0)) > _EXACT:
                columns = columns.set_column(k, field.name, column.cast(pa.string()))
    frame: pd.DataFrame = columns.to_pandas(ignore_metadata=True)
    return frame


def _check_degrees(source: GeoFile, table: GeoTable, x: Float64Array, y: Float64Array) -> None:
    """Refuse what are no longitudes, even if counted to 360, or no latitudes; NaN is neither."""
    if table.stated:
        return
    east, north = np.abs(x) > 360, np.abs(y) > 90
    wrong = np.flatnonzero(east | north).tolist()
    if not wrong:
        return
    values = {k: f"{x[k]:g}, {y[k]:g}" for k in wrong}
    exchanged = not (np.abs(x) > 90).any() and not (np.abs(y) > 180).any()
    raise source.refusal(
        f"longitude, latitude outside -180..180, -90..90 in {rows_text(wrong, values)}",
        "They would be inside if exchanged: give the two columns each other's names."
        if exchanged
        else "Give degrees (WGS 84), or a file that states its CRS, such as a GeoPackage.",
    )


def _turned_points(geometry: ObjectArray) -> ObjectArray:
    """Return shapes in degrees, points beyond 180 among them turned; polygons are cut later."""
    x = shapely.get_x(geometry)
    beyond = (np.abs(x) > 180) & (np.abs(x) <= 360)
    if not beyond.any():
        return geometry
    turned = geometry.copy()
    longitudes = continuous_longitudes(x[beyond], 0.0)
    turned[beyond] = shapely.points(longitudes, shapely.get_y(geometry[beyond]))
    return turned


def _plain_geometry(geometry: ObjectArray) -> ObjectArray:
    """Return geometries without needless collections.

    A MultiPoint of one point is that point. Of a collection with polygons, such as programs make
    that repair polygons, or Google Earth with a point for the label, the polygons are left.
    """
    values = geometry.copy()
    kinds = shapely.get_type_id(values)
    multiple = (kinds == shapely.GeometryType.MULTIPOINT) & (
        shapely.get_num_geometries(values) == 1
    )
    values[multiple] = shapely.get_geometry(values[multiple], 0)
    for k in np.flatnonzero(kinds == shapely.GeometryType.GEOMETRYCOLLECTION):
        parts = shapely.get_parts(values[k])
        polygons = parts[shapely.get_dimensions(parts) == 2]
        if not len(polygons):
            continue
        # Parts that share an edge are no valid MultiPolygon until they are united.
        whole = shapely.is_valid(polygons).all()
        values[k] = shapely.union_all(polygons) if whole else shapely.multipolygons(polygons)
    return values
