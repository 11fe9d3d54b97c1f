"""Pooled embeddings: one GeoParquet 1.1 file per shard, one row per tile and time window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.conventions import FOOTER_KEY, EmbeddingFacts
from thor_geo.runs.geoparquet import (
    bbox_column,
    bbox_type,
    geo_metadata,
    parquet_writer,
    transforms_column,
)
from thor_geo.runs.quantise import quantise
from thor_geo.runs.shard import Dtype, ShardResult
from thor_geo.specs import TemporalSpec, Windows
from thor_geo.support.files import atomic_path
from thor_geo.support.jsontext import canonical_json, parse_json

if TYPE_CHECKING:
    import pyarrow as pa

# Columns with few distinct values, or one value per file. Embeddings and coordinates would only
# fill the dictionary; a column with another encoding must not be in this list.
_DICTIONARY = ("tile_id", "shard_id", "status", "error", "source_ids.list.element")
_ELEMENTS = "embedding.list.element"


def window_name(window: TemporalSpec) -> str:
    """Return a time window as part of an id, e.g. ``20220601_20220901`` (the end is exclusive)."""
    times = (window.start, window.end)
    whole_days = all(time.time().isoformat() == "00:00:00" for time in times)
    return "_".join(time.strftime("%Y%m%d" if whole_days else "%Y%m%dT%H%M%S") for time in times)


def row_ids(plan: Plan, shard: Shard, windows: Windows) -> list[str]:
    """Return the names of a shard's rows in markers, in the order of all lists of rows.

    Without a time axis a row is a tile, and its name is the tile's id. With one, rows are
    tile-major: the windows of the first tile, then those of the next; the name of a row is the
    pooled file's `id`.

    Args:
        plan: The plan.
        shard: One of its shards.
        windows: The time windows.
    """
    ids = [tile.id for tile in plan.tiles(range(shard.start, shard.stop))]
    if not windows.listed:
        return ids
    names = [window_name(window) for window in windows]
    return [f"{tile}_{name}" for tile in ids for name in names]


def pooled_schema(dtype: Dtype) -> pa.Schema:
    """Return the columns of a pooled file.

    `embedding` is a plain list, although all have the same length: pyarrow before 26 and R refuse a
    whole file in which one list of a fixed size is null. In Parquet both have the same bytes.

    `id` is the tile id and the window, so that files of several windows can be put together;
    `embedding` is null unless `status` is ``ok``; the numbers of a failed tile are null. int8
    embeddings have a column `scale` beside them, null likewise: a vector is embedding * scale.

    Args:
        dtype: Type of the embedding's elements.
    """
    import pyarrow as pa

    element = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}[dtype]
    scale = [("scale", pa.float32())] if dtype == "int8" else []
    return pa.schema(
        [
            ("id", pa.string()),
            ("tile_id", pa.string()),
            ("shard_id", pa.string()),
            ("embedding", pa.list_(element)),
            *scale,
            ("geometry", pa.binary()),
            ("primary", pa.bool_()),
            ("bbox", bbox_type()),
            ("datetime_start", pa.timestamp("us", tz="UTC")),
            ("datetime_end", pa.timestamp("us", tz="UTC")),
            ("epsg", pa.int32()),
            ("transform", pa.list_(pa.float64(), 6)),
            ("valid_fraction", pa.float32()),
            ("observations_mean", pa.float32()),
            ("n_scenes", pa.int16()),
            ("source_ids", pa.list_(pa.string())),
            ("status", pa.string()),
            ("error", pa.string()),
        ]
    )


def pooled_table(
    result: ShardResult, plan: Plan, window: TemporalSpec, dtype: Dtype, metadata: str
) -> pa.Table:
    """Return a shard's rows in one time window.

    Args:
        result: The complete shard, with vectors.
        plan: The plan.
        window: Time window of the composites.
        dtype: Type of the embedding's elements.
        metadata: JSON text for the footer's key ``thor_geo``.

    Raises:
        ValueError: If *result* has no vectors, or *metadata* is not JSON.
    """
    import pyarrow as pa

    if result.pooled is None:
        raise ValueError(f"shard {result.shard.id} was collected without `pooled`")
    shard, n = result.shard, len(result.shard)
    start, stop = shard.start, shard.stop
    tiles = list(plan.tiles(range(start, stop)))
    polygons = plan.footprints(start, stop)
    status = np.array(result.status)
    failed = status == "failed"
    name = window_name(window)
    schema = pooled_schema(dtype)
    scenes = [
        None if bad else list(ids) for bad, ids in zip(failed.tolist(), result.scenes, strict=True)
    ]
    null = status != "ok"
    vectors, scale = result.pooled, {}
    if dtype == "int8":
        vectors, scales = quantise(vectors, axis=1)
        scale = {"scale": pa.array(scales, mask=null)}
    columns: dict[str, Any] = {
        "id": [f"{tile.id}_{name}" for tile in tiles],
        "tile_id": [tile.id for tile in tiles],
        "shard_id": [shard.id] * n,
        "embedding": _vectors(vectors, null),
        **scale,
        "geometry": shapely.to_wkb(polygons, byte_order=1),
        "primary": plan.primary[start:stop],
        "bbox": bbox_column(polygons),
        "datetime_start": [window.start] * n,
        "datetime_end": [window.end] * n,
        "epsg": np.full(n, shard.epsg, dtype=np.int32),
        "transform": transforms_column(tiles),
        "valid_fraction": pa.array(result.valid_fraction, mask=failed),
        "observations_mean": pa.array(result.observations_mean, mask=failed),
        "n_scenes": [None if ids is None else len(ids) for ids in scenes],
        "source_ids": scenes,
        "status": result.status,
        "error": result.error,
    }
    arrays = [
        value if isinstance(value, pa.Array) else pa.array(value, schema.field(column).type)
        for column, value in columns.items()
    ]
    lattice = plan.lattices[0]
    # A footer that is not JSON must fail here, not in a reader.
    facts = vector_facts(metadata, lattice, result.pooled.shape[1], dtype)
    footer = {"geo": geo_metadata(polygons), "thor_geo": metadata, FOOTER_KEY: facts}
    return pa.Table.from_arrays(arrays, schema=schema.with_metadata(footer))


def interleave_windows(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of a shard in several windows, tile-major.

    Args:
        tables: From `pooled_table`, one for each window in order, with rows for the same tiles.
    """
    import pyarrow as pa

    if len(tables) == 1:
        return tables[0]
    tiles = len(tables[0])
    order = np.arange(tiles * len(tables)).reshape(len(tables), tiles).T.ravel()
    # One chunk per column, for `take` and for the writer.
    return pa.concat_tables(tables).combine_chunks().take(pa.array(order))


def write_pooled(path: Path, table: pa.Table) -> None:
    """Write a shard's rows; equal tables give equal bytes.

    Args:
        path: ``pooled/<shard_id>.parquet``.
        table: From `pooled_table`.
    """
    with atomic_path(path) as temporary, pooled_writer(temporary, table.schema) as out:
        out.write_table(table)


def pooled_writer(where: Path | BinaryIO, schema: pa.Schema, **options: Any) -> Any:
    """Return a `pyarrow.parquet.ParquetWriter` for rows of `pooled_schema`.

    Args:
        where: A path or an open file.
        schema: The columns.
        **options: Further options of the writer.
    """
    import pyarrow as pa

    element = schema.field("embedding").type.value_type
    # Parquet has no integers below 32 bits: int8 takes 1.4 bytes after zstd when plain, and 0.9 in
    # a dictionary of its 255 values.
    dictionary = [*_DICTIONARY, _ELEMENTS] if element == pa.int8() else list(_DICTIONARY)
    return parquet_writer(
        where,
        schema,
        use_dictionary=dictionary,
        # DuckDB cannot read byte-stream-split half floats, so they stay plain.
        use_byte_stream_split=[_ELEMENTS] if element == pa.float32() else False,
        **options,
    )


def vector_facts(metadata: str, lattice: Lattice, dimension: int, dtype: Dtype) -> bytes:
    """Return what the footer says about the vectors, as JSON.

    Args:
        metadata: `RunDirectory.metadata`.
        lattice: A lattice of the plan.
        dimension: D, the length of an embedding.
        dtype: Type of the embedding's elements.

    Raises:
        ValueError: If *metadata* is not JSON.
    """
    facts = EmbeddingFacts.from_metadata(
        metadata,
        dimensions=dimension,
        dtype=dtype,
        gsd=lattice.resolution,
        side=lattice.tile_size,
        stride=lattice.step,
    )
    return canonical_json(facts.geoemb())


def vector_length(schema: pa.Schema) -> int:
    """Return the length of an embedding, as the footer of a pooled file states it.

    Args:
        schema: Schema of the file, with its metadata.

    Raises:
        ValueError: If it states no such number.
    """
    try:
        length = parse_json((schema.metadata or {})[FOOTER_KEY.encode()])["dimensions"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the footer's `{FOOTER_KEY}` is missing or damaged") from error
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"the footer's `{FOOTER_KEY}` has dimensions {length!r:.50}")
    return length


def stack_vectors(column: pa.Array, length: int) -> npt.NDArray[Any]:
    """Return the embeddings of the rows that have one, (m, D), with the column's type.

    Args:
        column: `embedding` in one piece.
        length: D.

    Raises:
        ValueError: If a row has another length, or an integer in it is null.
    """
    import pyarrow as pa

    rows = column.drop_null()
    lengths = rows.value_lengths().unique().to_pylist()
    if lengths not in ([], [length]):
        raise ValueError(f"embeddings of {length} elements have a length of {lengths!s:.100}")
    elements = rows.flatten()
    if elements.null_count and pa.types.is_integer(elements.type):
        raise ValueError(f"{elements.null_count} codes of embeddings are null")
    # Nulls among floats become NaN.
    values: npt.NDArray[Any] = elements.to_numpy(zero_copy_only=False)
    return values.reshape(-1, length)


def _vectors(values: npt.NDArray[Any], null: npt.NDArray[np.bool_]) -> pa.ListArray:
    import pyarrow as pa

    ends = np.cumsum(~null, dtype=np.int64) * values.shape[1]
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values[~null].ravel()), mask=pa.array(null)
    )
