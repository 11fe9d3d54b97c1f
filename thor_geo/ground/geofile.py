"""Files of places that users bring: areas, points, labels; read by their content, not their name.

A file is Parquet if it begins with ``PAR1``, an archive if it begins with ``PK``, a table of text
if its name ends in ``.csv``, ``.tsv`` or ``.txt``, and otherwise what GDAL makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import geopandas as gpd
import numpy as np
import shapely

from thor_geo.errors import ConfigError, first_line
from thor_geo.ground._geolayers import archive_layers, choose_layer, file_layers
from thor_geo.ground._geotables import parse_table, read_parquet, with_geometry
from thor_geo.support.arrays import BoolArray

FileKind: TypeAlias = Literal["parquet", "archive", "table", "other"]

# Suffixes of tables of text. GDAL would read the first two as well, but all columns as text.
_TABLES = (".csv", ".tsv", ".txt")
# Archives that GDAL reads as a whole: spreadsheets, whose sheets are layers, and zipped KML.
_DOCUMENTS = (".xlsx", ".ods", ".kmz")
# Rasters of Esri's ASCII format, which are often named .txt, begin with their number of columns.
_ASCII_GRID = b"ncol"


@dataclass(frozen=True, kw_only=True)
class GeoFile:
    """A file of places, and what the user calls it.

    Attributes:
        path: The file; for a file geodatabase the folder.
        argument: Name of the argument that gave the file, for messages.
        layer: Layer to read; None for the only one.
        layer_argument: Name of the argument that gave the layer, for messages.
        error: Class of the errors.
    """

    path: Path
    argument: str
    layer: str | None = None
    layer_argument: str = "layer"
    error: type[ConfigError] = ConfigError

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

    Tables without geometry have it in columns (see `with_geometry`), in longitude and latitude. A
    MultiPoint of one point becomes that point, and a collection with polygons its polygons.

    Args:
        source: The file. Its rows keep their order, and are numbered from 0.

    Returns:
        The rows; their geometry is None where a row has none. At least one has one.

    Raises:
        ConfigError: Of the class that *source* names, if the file is missing or cannot be read, has
            several layers of which none was chosen, or holds no geometry or no CRS.
    """
    path = source.path
    if not path.exists():
        raise source.refusal("no such file", "Check the path.")
    try:
        frame = _read(source)
    except (ConfigError, MemoryError):
        raise
    except Exception as error:  # each reader has classes of its own
        raise source.refusal(
            f"not readable ({first_line(error)})", "Open it in QGIS to see what it holds."
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        frame = with_geometry(source, frame)
    frame = frame.reset_index(drop=True)
    frame = frame.set_geometry(_plain_geometry(frame.geometry))
    if without_geometry(frame).all():
        raise source.refusal("it holds no geometry", "Give points or polygons.")
    if frame.crs is None:
        raise source.refusal(
            "it has no CRS", "Set one, e.g. with QGIS 'Assign projection' or geopandas' set_crs."
        )
    return frame


def without_geometry(frame: gpd.GeoDataFrame) -> BoolArray:
    """Return which rows have no geometry, or an empty one, (N,)."""
    geometry = frame.geometry
    missing: BoolArray = (geometry.isna() | geometry.is_empty).to_numpy(dtype=np.bool_)
    return missing


def _read(source: GeoFile) -> Any:
    """Return the chosen layer of a file as a frame, with or without geometry."""
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
    return read_parquet(path) if kind == "parquet" else parse_table(source, path.read_bytes())


def _plain_geometry(geometry: gpd.GeoSeries) -> gpd.GeoSeries:
    """Return geometries without needless collections.

    A MultiPoint of one point is that point. Of a collection with polygons, such as programs make
    that repair polygons, or Google Earth with a point for the label, the polygons are left.
    """
    values = geometry.to_numpy().copy()
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
    return gpd.GeoSeries(values, index=geometry.index, crs=geometry.crs)
