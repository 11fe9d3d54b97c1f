"""Tables with places: their columns as they are, and their geometry, wherever it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyproj
import shapely

from thor_geo.ground._coordinate_names import DEGREES, PLANAR, renaming_hint
from thor_geo.ground._row_faults import ColumnValues, Lines, RowFault
from thor_geo.ground._text_tables import numbers_in, parse_text, text_lines
from thor_geo.ground._written_geometry import WGS84, parse_geometry
from thor_geo.ground.area import LONLAT
from thor_geo.support.arrays import BoolArray, Float64Array, ObjectArray

if TYPE_CHECKING:
    from thor_geo.ground.geofile import GeoFile

# `.geo` is Earth Engine's.
_GEOMETRIES = ("geometry", "geom", "the_geom", "wkt", "wkt_geom", "wkb", "wkb_geometry", ".geo")
_LOOKED_FOR = "lon and lat (or longitude and latitude, th_long and th_lat) and no WKT (wkt)"
# The index of a pandas table that has no name.
_INDEX = re.compile(r"__index_level_\d+__")
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
_DECIMAL_COMMAS = r"^\s*(?:[+-]?\d+(?:,\d+)?)?\s*$"
_DEGREES = "Give decimal degrees. Decimal commas need semicolons between columns."
_METRES = "Give decimal numbers. Decimal commas need semicolons between columns."


@dataclass(frozen=True, kw_only=True, eq=False)
class GeoTable:
    """The n rows of a file of places, in the file's order.

    Attributes:
        columns: pyarrow Table of n rows, all but the geometry; columns of coordinates are in it.
        geometry: Shapes, None where a row has none (n,); None where coordinates stand in columns,
            or the table has none of either (`GeoFile.needs_geometry`).
        x: Longitudes or eastings from columns, NaN where a row has none (n,); None otherwise.
        y: Latitudes or northings from columns (n,).
        crs: CRS of geometry or coordinates; None if nothing states it.
        stated: Whether the file states the CRS, or the user; otherwise degrees are assumed.
        faults: What is wrong with rows.
        lines: Lines of a text file for rows; None for other files.
    """

    columns: Any
    geometry: ObjectArray | None = None
    x: Float64Array | None = None
    y: Float64Array | None = None
    crs: pyproj.CRS | None
    stated: bool
    faults: tuple[RowFault, ...] = ()
    lines: Lines | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns if self.geometry is None else self.geometry)


def parse_table(source: GeoFile, content: bytes) -> GeoTable:
    """Return a table of text.

    Args:
        source: The file, for messages.
        content: Its bytes.

    Raises:
        ConfigError: If it is not such a table, or `with_geometry` refuses it.
    """
    table = with_geometry(source, parse_text(source, content))
    return replace(table, lines=text_lines(content))


def read_parquet(source: GeoFile, file: Path | BytesIO) -> GeoTable:
    """Return a Parquet table, with geometry if it is GeoParquet or has Parquet's own GEOMETRY type.

    Args:
        source: The file, for messages.
        file: The file, or its content.

    Raises:
        ConfigError: If it is a plain table, and `with_geometry` refuses it.
    """
    opened = pq.ParquetFile(file)
    metadata = opened.schema_arrow.metadata or {}
    columns = [opened.schema.column(k) for k in range(len(opened.schema))]
    kinds = {column.path: json.loads(column.logical_type.to_json()) for column in columns}
    crs = {n: str(kind.get("crs") or LONLAT) for n, kind in kinds.items() if "crs" in kind}
    unknown = {name for name, kind in kinds.items() if kind["Type"] == "Undefined"}
    geo = json.loads(metadata.get(b"geo", b"null"))
    # pyarrow keeps the metadata of a column that was not selected.
    if geo is not None and geo["primary_column"] in opened.schema_arrow.names:
        name = geo["primary_column"]
        # Without a CRS there GeoParquet means CRS84, but DuckDB may write one to the type alone.
        stated = "crs" in geo["columns"][name]
        if name in unknown and not stated:
            raise _unknown_type(name)
        # A box of each row, by which readers skip rows, is part of the geometry.
        box = geo["columns"][name].get("covering", {}).get("bbox", {})
        beside = {name, *(path[0] for path in box.values())}
        names = [n for n in dict.fromkeys(opened.schema_arrow.names) if n not in beside]
        rest = _without(opened.read(columns=names), beside)
        if isinstance(file, BytesIO):
            file.seek(0)
        geometry = gpd.read_parquet(file, columns=[name]).geometry
        if name in crs and not stated:
            geometry = geometry.set_crs(_parquet_crs(crs[name], metadata), allow_override=True)
        return _of_geometry(source, rest, geometry.to_numpy(), geometry.crs)
    for name in unknown & set(_GEOMETRIES):
        raise _unknown_type(name)
    plain = _without(opened.read(), ())
    shape = next((n for n in _GEOMETRIES if n in crs), next(iter(crs), None))
    if shape is None:
        return with_geometry(source, plain)
    values = shapely.from_wkb(plain[shape].to_numpy(zero_copy_only=False))
    return _of_geometry(
        source, _without(plain, {shape}), values, _parquet_crs(crs[shape], metadata)
    )


def layer_table(source: GeoFile, columns: Any, wkb: Any, crs: str | None) -> GeoTable:
    """Return a layer that GDAL has read.

    Args:
        source: The file, for messages.
        columns: pyarrow Table of its attributes.
        wkb: Its geometry as WKB, None where a row has none; None for a plain table.
        crs: CRS of its geometry.

    Raises:
        ConfigError: If it is a plain table, and `with_geometry` refuses it.
    """
    columns = _plain_types(columns)
    if wkb is None:
        return with_geometry(source, columns)
    known = None if crs is None else pyproj.CRS.from_user_input(crs)
    return _of_geometry(source, columns, shapely.from_wkb(wkb), known)


def with_geometry(source: GeoFile, table: Any) -> GeoTable:
    """Return a table with the geometry that stands in its columns.

    WKT or WKB in a column `geometry`, `geom` or `wkt`, and the GeoJSON that Earth Engine writes in
    `.geo`, go before columns of coordinates; names are compared without case. Where neither the
    table nor the user names a CRS, coordinates are longitude and latitude. Where the user does,
    columns `x` and `y` have it.

    Args:
        source: The file, for messages.
        table: pyarrow Table.

    Raises:
        ConfigError: If there are no such columns, or their types are not those of coordinates.
    """
    if not len(table):
        raise source.refusal("the table is empty", "Give at least one row.")
    names: dict[str, list[int]] = {}
    for k, column in enumerate(table.column_names):
        names.setdefault(column.lower(), []).append(k)
    for name in _GEOMETRIES:
        for k in names.get(name, []):
            written = _written_geometry(source, table, k)
            if written is not None:
                return written
    for pairs, planar in ((PLANAR, True), (DEGREES, False)):
        if planar and source.crs is None:
            continue
        for pair in pairs:
            x, y = ([k for name in axis for k in names.get(name, [])] for axis in pair)
            if len(x) > 1 or len(y) > 1:
                several = [table.column_names[k] for k in x + y]
                raise source.refusal(
                    f"several of its columns are coordinates: {', '.join(several)}",
                    f"Keep one of each, named {'x and y' if planar else 'lon and lat'}.",
                )
            if x and y:
                return _coordinates(source, table, x[0], y[0], planar)
    if source.crs is None and source.crs_argument and "x" in names and "y" in names:
        raise source.error(
            source.crs_argument,
            None,
            f"{source.path} has the columns x and y, and nothing states their CRS",
            f"Give it, e.g. {source.crs_argument}: EPSG:25832; EPSG:4326 if they are degrees.",
        )
    if not source.needs_geometry:
        return GeoTable(columns=table, crs=None, stated=False)
    raise source.refusal(
        f"it holds no geometry: no {_LOOKED_FOR} among its columns {', '.join(table.column_names)}",
        renaming_hint(table.column_names)
        + "Name the columns of degrees `lon` and `lat`. "
        + (
            f"Coordinates in another CRS: name them `x` and `y`, and give `{source.crs_argument}`."
            if source.crs_argument
            else "Coordinates in another CRS need a file that states it, such as a GeoPackage."
        ),
    )


def _unknown_type(name: str) -> ValueError:
    # pyarrow knows GEOMETRY from 21 on (tried: 20 reads bytes, 17 refuses the file).
    return ValueError(f"the type of `{name}` is newer than pyarrow {pa.__version__}")


def _parquet_crs(text: str, metadata: Mapping[bytes, bytes]) -> pyproj.CRS:
    """Return the CRS of a GEOMETRY column: `srid:` and `projjson:` are the Parquet format's own."""
    kind, _, value = text.partition(":")
    if kind == "projjson":
        return pyproj.CRS.from_user_input(metadata[value.encode()].decode())
    return pyproj.CRS.from_user_input(f"EPSG:{value}" if kind == "srid" else text)


def _of_geometry(
    source: GeoFile, columns: Any, geometry: Any, crs: pyproj.CRS | None, **others: Any
) -> GeoTable:
    """Return a table whose geometry may have a CRS; the user's is for those that have none."""
    if source.crs is not None:
        given = pyproj.CRS.from_user_input(source.crs)
        if crs is not None and crs != given:
            raise source.error(
                source.crs_argument,
                source.crs,
                f"{source.path} states another CRS, {crs.to_string()[:80]}",
                "Leave it out: it is for files that state none.",
            )
        crs = given
    stated = others.pop("stated", True)
    return GeoTable(columns=columns, geometry=geometry, crs=crs, stated=stated, **others)


def _written_geometry(source: GeoFile, table: Any, k: int) -> GeoTable | None:
    """Return the geometries that a column writes; None if it holds something else."""
    column = table.column(k)
    if not (_is_text(column.type) or _is_binary(column.type)):
        return None
    values = column.to_numpy(zero_copy_only=False).astype(object)
    values[np.asarray(column.is_null())] = None
    written = parse_geometry(values)
    if written is None:
        return None
    epsg = set(written.epsg)
    if len(epsg) > 1:
        raise source.refusal(
            f"`{table.column_names[k]}` mixes EPSG:{' and EPSG:'.join(sorted(epsg))}",
            "Bring all rows to one CRS.",
        )
    unreadable = np.flatnonzero(
        shapely.is_missing(written.shapes) & (values != None)  # noqa: E711
    )
    fault = RowFault(
        problem=f"`{table.column_names[k]}` is not a geometry",
        rows=unreadable,
        values=values[unreadable] if written.text else None,
        remedy="Give points or polygons as WKT or WKB.",
    )
    found = _of_geometry(
        source,
        table.remove_column(k),
        written.shapes,
        None if epsg <= {WGS84} else pyproj.CRS.from_epsg(int(epsg.pop())),
        faults=(fault,) if len(unreadable) else (),
    )
    if found.crs is None:
        return replace(found, crs=pyproj.CRS.from_user_input(LONLAT), stated=False)
    return found


def _coordinates(source: GeoFile, table: Any, x: int, y: int, planar: bool) -> GeoTable:
    crs = pyproj.CRS.from_user_input(source.crs or LONLAT)
    if not planar and not crs.is_geographic:
        raise source.error(
            source.crs_argument,
            source.crs,
            f"its columns {table.column_names[x]} and {table.column_names[y]} are degrees",
            "Leave it out, or name columns in metres x and y.",
        )
    values = []
    faults = []
    for k in (x, y):
        numbers, wrong = _numbers(source, table.column_names[k], table.column(k), planar)
        values.append(numbers)
        if wrong.any():
            rows = np.flatnonzero(wrong)
            faults.append(
                RowFault(
                    problem=f"`{table.column_names[k]}` is not a number",
                    rows=rows,
                    values=ColumnValues(table.column(k), rows),
                    remedy=_METRES if planar else _DEGREES,
                )
            )
    unknown = ~(np.isfinite(values[0]) & np.isfinite(values[1]))
    for numbers in values:
        numbers[unknown] = np.nan
    return GeoTable(
        columns=table,
        x=values[0],
        y=values[1],
        crs=crs,
        stated=source.crs is not None,
        faults=tuple(faults),
    )


def _numbers(
    source: GeoFile, name: str, column: Any, planar: bool
) -> tuple[Float64Array, BoolArray]:
    """Return a column as numbers, NaN where it is blank, and which values are none."""
    kind = column.type
    if _is_text(kind):
        numbers, wrong = numbers_in(column)
        # In quotes, or in a spreadsheet's text, commas may be decimal: then all values have them.
        if pc.all(pc.match_substring_regex(column, _DECIMAL_COMMAS)).as_py():
            numbers, wrong = numbers_in(column, decimal_comma=True)
        mask = np.asarray(wrong)
    elif any(is_kind(kind) for is_kind in _NUMERIC):
        numbers = pc.cast(column, pa.float64(), safe=False)
        mask = np.zeros(len(column), dtype=np.bool_)
    else:
        raise source.refusal(
            f"`{name}` holds not all numbers but {kind}", _METRES if planar else _DEGREES
        )
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64), mask


def _without(table: Any, names: Collection[str]) -> Any:
    """Return a table without some columns, and without a pandas index that has no name."""
    chosen = [
        k
        for k, name in enumerate(table.column_names)
        if name not in names and not _INDEX.fullmatch(name)
    ]
    return _plain_types(table.select(chosen))


def _plain_types(table: Any) -> Any:
    """Return a table with values in place of dictionaries, and one type of text."""
    for k, field in enumerate(table.schema):
        kind = field.type
        if isinstance(kind, pa.BaseExtensionType) and _is_text(kind.storage_type):  # JSON
            kind = kind.storage_type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if _is_text(kind) or str(kind) == "string_view":
            kind = pa.string()
        if kind != field.type:
            table = table.set_column(k, field.name, pc.cast(table.column(k), kind))
    return table


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
