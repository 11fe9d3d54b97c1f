"""Tables whose geometry stands in plain columns: CSV, and Parquet without GeoParquet's metadata."""

from __future__ import annotations

import codecs
import json
import re
import warnings
from collections.abc import Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq
import pyproj
import shapely

from thor_geo.errors import first_line
from thor_geo.ground.area import LONLAT
from thor_geo.support.arrays import Float64Array
from thor_geo.support.words import rows_text

if TYPE_CHECKING:
    from thor_geo.ground.geofile import GeoFile

# Names of columns of coordinates, in lower case, in the order in which they are looked for: plain
# ones, Darwin Core's (GBIF), and those of the points that LUCAS planned (TH, theoretical, to 2018;
# POINT in 2022; its GPS columns keep the sign of the longitude in a column of its own).
_COORDINATES = (
    (("lon", "long", "lng", "longitude"), ("lat", "latitude")),
    (("decimallongitude",), ("decimallatitude",)),
    (("th_long",), ("th_lat",)),
    (("point_long",), ("point_lat",)),
)
_GEOMETRIES = ("geometry", "geom", "the_geom", "wkt", "wkt_geom", "wkb", "wkb_geometry")
_LOOKED_FOR = "lon and lat (or longitude and latitude, th_long and th_lat) and no WKT (wkt)"
_WKT = re.compile(r"\s*(?:SRID=(?P<epsg>\d+);)?\s*(?P<wkt>(?:MULTI)?(?:POINT|POLYGON)\b.*)", re.I)
_SEPARATORS = (",", ";", "\t", "|")
# The first line by which spreadsheets tell each other the separator.
_STATED = re.compile(r'"?sep=(.)"?', re.I)
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def parse_table(source: GeoFile, content: bytes) -> pd.DataFrame:
    """Return a table of text, its columns with types of their own.

    Whichever of comma, semicolon, tab and bar is most frequent in the header separates columns, or
    what a line ``sep=;`` before it says.
    Blanks around names and before values do not count. Where commas do not separate columns, they
    may be decimal.

    Args:
        source: The file, for messages.
        content: Its bytes: UTF-8, or UTF-16 with a byte-order mark.

    Raises:
        ConfigError: If it is not such a table, or a row is longer than the header.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise source.refusal(
            f"not readable: it is not {encoding.upper()} text ({first_line(error)})",
            "Save it as UTF-8 ('CSV UTF-8' in a spreadsheet, or iconv -f WINDOWS-1252 -t UTF-8).",
        ) from error
    first, _, rest = text.lstrip().partition("\n")
    if stated := _STATED.fullmatch(first.strip("\r\n ")):
        separator, text = stated[1], rest
    else:
        separator = max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", first).count)
    try:
        frame = _parse(text, separator)
    except pd.errors.ParserWarning as error:
        raise source.refusal(
            "not readable: its rows have more values than its header has names",
            "Give each value a column. Decimal commas need semicolons between columns.",
        ) from error
    except ValueError as error:  # pandas' own classes among them
        raise source.refusal(
            f"not readable ({first_line(error)})",
            "Give a table with a header and a row for each place.",
        ) from error
    frame = frame.apply(_typed_column, decimal_comma=separator != ",")
    return frame.rename(columns=lambda name: str(name).strip())


def read_parquet(file: Path | BytesIO) -> Any:
    """Return a Parquet table, with geometry if it is GeoParquet or has Parquet's own GEOMETRY type.

    Args:
        file: The file, or its content.
    """
    opened = pq.ParquetFile(file)
    metadata = opened.schema_arrow.metadata or {}
    columns = [opened.schema.column(k) for k in range(len(opened.schema))]
    kinds = {column.path: json.loads(column.logical_type.to_json()) for column in columns}
    crs = {n: str(kind.get("crs") or LONLAT) for n, kind in kinds.items() if "crs" in kind}
    unknown = {name for name, kind in kinds.items() if kind["Type"] == "Undefined"}
    if isinstance(file, BytesIO):
        file.seek(0)
    if b"geo" in metadata:
        frame = gpd.read_parquet(file)
        name = frame.geometry.name
        # Without a CRS there GeoParquet means CRS84, but DuckDB may write one to the type alone.
        stated = "crs" in json.loads(metadata[b"geo"])["columns"][name]
        if name in unknown and not stated:
            raise _unknown_type(name)
        if name in crs and not stated:
            frame = frame.set_crs(_parquet_crs(crs[name], metadata), allow_override=True)
        return frame
    for name in unknown & set(_GEOMETRIES):
        raise _unknown_type(name)
    plain = pd.read_parquet(file)
    name = next((n for n in _GEOMETRIES if n in crs), next(iter(crs), None))
    if name is None:
        return plain
    return gpd.GeoDataFrame(
        plain.drop(columns=name),
        geometry=gpd.GeoSeries.from_wkb(plain[name], crs=_parquet_crs(crs[name], metadata)),
    )


def _unknown_type(name: str) -> ValueError:
    # pyarrow knows GEOMETRY from 21 on (tried: 20 reads bytes, 17 refuses the file).
    return ValueError(f"the type of `{name}` is newer than pyarrow {pyarrow.__version__}")


def _parquet_crs(text: str, metadata: Mapping[bytes, bytes]) -> pyproj.CRS:
    """Return the CRS of a GEOMETRY column: `srid:` and `projjson:` are the Parquet format's own."""
    kind, _, value = text.partition(":")
    if kind == "projjson":
        return pyproj.CRS.from_user_input(metadata[value.encode()].decode())
    return pyproj.CRS.from_user_input(f"EPSG:{value}" if kind == "srid" else text)


def with_geometry(source: GeoFile, frame: pd.DataFrame) -> gpd.GeoDataFrame:
    """Return a table with the geometry that stands in its columns.

    WKT or WKB in a column `geometry`, `geom` or `wkt` goes before columns of coordinates; names are
    compared without case. Where the table names no CRS, coordinates are longitude and latitude.

    Args:
        source: The file, for messages.
        frame: The table.

    Returns:
        The table; geometry is None in rows without coordinates.

    Raises:
        ConfigError: If there are no such columns, or their values are not coordinates.
    """
    if frame.empty:
        raise source.refusal("the table is empty", "Give at least one row.")
    names: dict[str, list[Any]] = {}
    for column in frame.columns:
        names.setdefault(str(column).lower(), []).append(column)
    for name in _GEOMETRIES:
        for column in names.get(name, []):
            written = _written_geometry(source, frame[column])
            if written is not None:
                return gpd.GeoDataFrame(frame.drop(columns=column), geometry=written)
    for pair in _COORDINATES:
        lon, lat = ([c for name in axis for c in names.get(name, [])] for axis in pair)
        if len(lon) > 1 or len(lat) > 1:
            raise source.refusal(
                f"several of its columns are coordinates: {', '.join(map(str, lon + lat))}",
                "Keep one of each, named lon and lat.",
            )
        if lon and lat:
            return _points_at_coordinates(source, frame, lon[0], lat[0])
    raise source.refusal(
        f"it holds no geometry: no {_LOOKED_FOR} among its columns "
        f"{', '.join(map(str, frame.columns))}",
        "Name the columns of degrees `lon` and `lat`. Coordinates in another CRS need a file that "
        "states it, such as a GeoPackage.",
    )


def _parse(text: str, separator: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Longer rows than the header would lose their ends, or move by a column.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            StringIO(text), sep=separator, dtype=str, skipinitialspace=True, index_col=False
        )


def _typed_column(column: pd.Series[Any], decimal_comma: bool) -> pd.Series[Any]:
    """Return a column of text as numbers, if all its texts are and none loses a digit by it."""
    if column.isna().all():  # before pandas 3 no text, but floats
        return column
    texts = column.str.strip()
    if decimal_comma:
        texts = texts.str.replace(",", ".", regex=False)
    texts = texts.where(texts != "")
    numbers = pd.to_numeric(texts, errors="coerce")
    # 007 is a code, and float64 holds 15 digits of any whole number.
    code = texts.str.fullmatch(r"[+-]?0\d+", na=False)
    if pd.api.types.is_float_dtype(numbers):
        code |= texts.str.fullmatch(r"[+-]?\d{16,}", na=False)
    return column if code.any() or (numbers.isna() & texts.notna()).any() else numbers


def _is_numeric(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _written_geometry(source: GeoFile, column: pd.Series[Any]) -> gpd.GeoSeries | None:
    """Return geometries written as WKT or WKB; None if the column holds something else."""
    values = column.astype(object).where(column.notna(), None).to_numpy()
    first = next((value for value in values if value is not None), None)
    crs = LONLAT
    if isinstance(first, str) and (match := _WKT.match(first)):
        crs = f"EPSG:{match['epsg']}" if match["epsg"] else crs
        texts = [m["wkt"] if (m := _WKT.match(str(v or ""))) else v for v in values]
        geometry = shapely.from_wkt(texts, on_invalid="ignore")
    elif isinstance(first, bytes):
        geometry = shapely.from_wkb(values, on_invalid="ignore")
    else:
        return None
    unreadable = np.flatnonzero(shapely.is_missing(geometry) & (values != None))  # noqa: E711
    if len(unreadable):
        raise source.refusal(
            f"`{column.name}` is not a geometry in {rows_text(unreadable.tolist())}",
            "Give points or polygons as WKT or WKB.",
        )
    if crs == LONLAT:
        bounds = shapely.bounds(geometry)
        _check_degrees(source, np.abs(bounds[:, [0, 2]]).max(1), np.abs(bounds[:, [1, 3]]).max(1))
    return gpd.GeoSeries(geometry, index=column.index, crs=crs)


def _points_at_coordinates(
    source: GeoFile, frame: pd.DataFrame, lon: Any, lat: Any
) -> gpd.GeoDataFrame:
    x, y = _numbers(source, frame[lon]), _numbers(source, frame[lat])
    _check_degrees(source, x, y)
    known = np.isfinite(x) & np.isfinite(y)
    points = np.full(len(x), None, dtype=object)
    points[known] = shapely.points(x[known], y[known])
    return gpd.GeoDataFrame(frame, geometry=points, crs=LONLAT)


def _numbers(source: GeoFile, column: pd.Series[Any]) -> Float64Array:
    """Return a column as numbers, NaN where it is blank."""
    if _is_numeric(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if not (pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column)):
        raise source.refusal(
            f"`{column.name}` holds not all numbers but {column.dtype}", "Give decimal degrees."
        )
    texts = [str(v).strip() for v in column.where(column.notna(), "")]
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(np.isnan(numbers) & (np.array(texts) != ""))
    if len(wrong):
        raise source.refusal(
            f"`{column.name}` holds not all numbers: {rows_text(wrong.tolist(), texts)}",
            "Give decimal degrees. Decimal commas need semicolons between columns.",
        )
    return numbers


def _check_degrees(source: GeoFile, x: Float64Array, y: Float64Array) -> None:
    """Refuse longitudes outside -180..180 and latitudes outside -90..90; NaN is neither."""
    east, north = np.abs(x) > 180, np.abs(y) > 90
    wrong = np.flatnonzero(east | north)
    if not len(wrong):
        return
    values = [f"{a:g}, {b:g}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    exchanged = not (np.abs(x) > 90).any() and not (np.abs(y) > 180).any()
    raise source.refusal(
        f"longitude, latitude outside -180..180, -90..90 in {rows_text(wrong.tolist(), values)}",
        "They would be inside if exchanged: give the two columns each other's names."
        if exchanged
        else "Give degrees (WGS 84), or a file that states its CRS, such as a GeoPackage.",
    )
