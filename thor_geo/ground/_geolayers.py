"""Layers of a file that GDAL reads, and the files in an archive."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyogrio

from thor_geo.ground._dates import times_of_text
from thor_geo.ground._geotables import GeoTable, layer_table, parse_table, read_parquet
from thor_geo.support.words import counted

if TYPE_CHECKING:
    from thor_geo.ground.geofile import GeoFile

_PARQUET = (".parquet", ".geoparquet", ".gpq")
_TABLES = (".csv", ".tsv")
# What in an archive is a file of places, by its suffix. Text and JSON often lie beside one as its
# description, so they count where there is nothing else.
_PLACES = (".shp", ".gpkg", ".geojson", ".kml", ".gml", ".gpx", ".fgb", ".sqlite", ".tab", ".mif")
_BESIDE = (".json", *_TABLES)
# A file geodatabase is a folder of this suffix.
_DATABASE = ".gdb"
# Layers that a message names.
_NAMED_LAYERS = 20


@dataclass(frozen=True, kw_only=True)
class GeoLayer:
    """A layer, or a file in an archive.

    Attributes:
        name: What the user calls it.
        data: Path for GDAL; in an archive the member's name if GDAL does not read it.
        number: Number of the layer in *data*; None if GDAL does not read it.
        geometry: Type of geometry; None for a plain table.
    """

    name: str
    data: str
    number: int | None
    geometry: str | None

    def read(self, source: GeoFile) -> GeoTable:
        """Return the layer's rows."""
        if self.number is not None:
            return self._read_gdal(source)
        with zipfile.ZipFile(source.path) as archive:
            content = archive.read(self.data)
        if self.data.lower().endswith(_TABLES):
            return parse_table(source, content)
        return read_parquet(source, BytesIO(content))

    def _read_gdal(self, source: GeoFile) -> GeoTable:
        # Times as text: as Arrow's they have one zone for a whole column, and from FlatGeobuf none.
        meta, columns = pyogrio.read_arrow(
            self.data, layer=self.number, read_geometry=False, datetime_as_string=True
        )
        if meta["encoding"] not in (None, "UTF-8"):
            columns = _decoded(columns, meta["encoding"])
        for name, kind in zip(meta["fields"], meta["ogr_types"], strict=True):
            if kind == "OFTDateTime":
                k = columns.column_names.index(name)
                columns = columns.set_column(k, name, times_of_text(columns.column(k)))
        # Geometry by the other way, which makes lines of the arcs of curves.
        meta, _, wkb, _ = pyogrio.raw.read(self.data, layer=self.number, columns=[])
        return layer_table(source, columns, wkb, meta["crs"])

    def features(self) -> int:
        """Return the number of features; 1 for what GDAL does not read."""
        if self.number is None:
            return 1
        count: int = pyogrio.read_info(self.data, layer=self.number, force_feature_count=True)[
            "features"
        ]
        return count


def file_layers(data: str) -> list[GeoLayer]:
    """Return the layers of what GDAL reads.

    Args:
        data: Path for GDAL.
    """
    return [
        GeoLayer(name=str(name), data=data, number=number, geometry=geometry)
        for number, (name, geometry) in enumerate(pyogrio.list_layers(data).tolist())
    ]


def archive_layers(source: GeoFile) -> list[GeoLayer]:
    """Return the layers of all files of places in an archive, in whatever folder they lie.

    Args:
        source: The archive.
    """
    with zipfile.ZipFile(source.path) as archive:
        names = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
    # macOS adds a folder of its own, whose files have the names of the others.
    names = [n for n in names if not any(part.startswith((".", "__MACOSX")) for part in n.parts)]
    databases = {parent for n in names for parent in n.parents if _suffix(parent) == _DATABASE}
    names = [n for n in names if not databases & set(n.parents)]
    places = [n for n in names if _suffix(n) in (*_PLACES, *_PARQUET)]
    members = sorted([*databases, *places] or [n for n in names if _suffix(n) in _BESIDE])
    if not members:
        shown = ", ".join(map(str, names[:_NAMED_LAYERS])) or "nothing"
        raise source.refusal(
            f"the archive holds {shown}",
            "Give one with a shapefile, GeoPackage, GeoJSON, KML, Parquet or CSV in it.",
        )
    layers = [(member, layer) for member in members for layer in _member_layers(source, member)]
    names_only = [layer.name for _, layer in layers]
    return [
        layer
        if names_only.count(layer.name) == 1
        else replace(layer, name=f"{member}:{layer.name}")
        for member, layer in layers
    ]


def choose_layer(source: GeoFile, layers: Sequence[GeoLayer]) -> GeoLayer:
    """Return the layer that the user named, or the only one that has features.

    Plain tables, such as those in which QGIS keeps its styles, count only where nothing else is.

    Args:
        source: The file.
        layers: Its layers.

    Raises:
        ConfigError: If there is no layer of that name, or none is named and several have features.
    """
    if source.layer is not None:
        for layer in layers:
            if layer.name == source.layer:
                return layer
        raise source.error(
            source.layer_argument,
            source.layer,
            f"{source.path} has no such layer",
            f"Choose one of {_names(layers)}.",
        )
    candidates = [layer for layer in layers if layer.geometry is not None] or list(layers)
    if len(candidates) > 1:
        counts = {layer.name: layer.features() for layer in candidates}
        filled = [layer for layer in candidates if counts[layer.name]]
        if len(filled) > 1:
            shown = [
                f"{layer.name!r} ({counted(counts[layer.name], 'feature')})"
                for layer in filled[:_NAMED_LAYERS]
            ]
            raise source.refusal(
                f"it has {len(filled)} layers: {', '.join(shown)}"
                + (", ..." if len(filled) > _NAMED_LAYERS else ""),
                f"Name one with `{source.layer_argument}`.",
            )
        candidates = filled or candidates
    if not candidates:
        raise source.refusal("it has no layer", "Open it in QGIS to see what it holds.")
    return candidates[0]


def _decoded(table: Any, encoding: str) -> Any:
    """Return a table whose text GDAL has left in the encoding of the file."""
    for k, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            values = table.column(k).cast(pa.binary()).to_pylist()
            texts = [None if value is None else value.decode(encoding) for value in values]
            table = table.set_column(k, field.name, pa.array(texts, pa.string()))
    return table


def _names(layers: Sequence[GeoLayer]) -> str:
    shown = [repr(layer.name) for layer in layers[:_NAMED_LAYERS]]
    return ", ".join(shown) + (", ..." if len(layers) > _NAMED_LAYERS else "")


def _member_layers(source: GeoFile, member: PurePosixPath) -> list[GeoLayer]:
    if _suffix(member) in (*_PARQUET, *_TABLES):
        return [GeoLayer(name=member.stem, data=str(member), number=None, geometry="Unknown")]
    # Braces keep GDAL from looking for the archive's end by its suffix.
    return file_layers(f"/vsizip/{{{source.path.absolute()}}}/{member}")


def _suffix(member: PurePosixPath) -> str:
    return member.suffix.lower()
