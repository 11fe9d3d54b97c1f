"""GeoParquet 1.1: what the pooled files and the plan's table share.

Source: GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/. A geometry column without `crs`
is in OGC:CRS84, longitude before latitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import shapely

from thor_geo.ground.lattice import Tile
from thor_geo.support.arrays import ObjectArray
from thor_geo.support.jsontext import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

_EDGES = ("xmin", "ymin", "xmax", "ymax")
# GeoParquet's names of shapely's types of footprints and places.
_TYPES = {
    shapely.GeometryType.POINT.value: "Point",
    shapely.GeometryType.POLYGON.value: "Polygon",
    shapely.GeometryType.MULTIPOLYGON.value: "MultiPolygon",
}
# zstd's default; higher levels save less than 1 % on embeddings.
_ZSTD_LEVEL = 3


def bbox_type() -> pa.StructType:
    """Return the type of the covering: a struct of four doubles, degrees."""
    import pyarrow as pa

    return pa.struct([(edge, pa.float64()) for edge in _EDGES])


def bbox_column(polygons: ObjectArray) -> pa.StructArray:
    """Return the covering of (n,) polygons or points in longitude and latitude."""
    import pyarrow as pa

    edges = shapely.bounds(polygons)
    return pa.StructArray.from_arrays(
        [pa.array(np.ascontiguousarray(edges[:, k])) for k in range(4)], fields=list(bbox_type())
    )


def geo_metadata(polygons: ObjectArray | None, *, multi: bool = False) -> bytes:
    """Return the file's `geo` metadata.

    Args:
        polygons: All polygons or points of the file, for its bounding box; None leaves it out.
        multi: Whether there are multipolygons, of tiles across the antimeridian. Their covering is
            that of both parts, -180 to 180, so that no reader's filter misses one.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "orientation": "counterclockwise",
        "covering": {"bbox": {edge: ["bbox", edge] for edge in _EDGES}},
    }
    if polygons is not None:
        column["bbox"] = [float(edge) for edge in shapely.total_bounds(polygons)]
        types = np.unique(shapely.get_type_id(polygons)).tolist()
        column["geometry_types"] = [_TYPES[number] for number in types]
    elif multi:
        column["geometry_types"] = ["Polygon", "MultiPolygon"]
    content = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return canonical_json(content)


def transforms_column(tiles: Sequence[Tile]) -> pa.FixedSizeListArray:
    """Return the affine coefficients (a, b, c, d, e, f) of tiles, metres."""
    import pyarrow as pa

    values = np.array([tile.transform for tile in tiles], dtype=np.float64)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 6)


def parquet_writer(path: Path | BinaryIO, schema: pa.Schema, **options: Any) -> Any:
    """Return a `pyarrow.parquet.ParquetWriter` with zstd and this project's settings."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=_ZSTD_LEVEL, version="2.6", **options
    )
