"""Pooled embeddings: one GeoParquet 1.1 file per shard, one row per tile and time window."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import shapely

from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import RESERVED, Places
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.conventions import FOOTER_KEY
from thor_geo.runs.geoparquet import (
    bbox_column,
    bbox_type,
    geo_metadata,
    parquet_writer,
    transforms_column,
)
from thor_geo.runs.place_rows import PlaceFields, place_columns, row_windows
from thor_geo.runs.quantise import quantise
from thor_geo.runs.shard import Dtype, ShardResult
from thor_geo.runs.vectors import (
    CENTRE,
    EMBEDDING,
    as_column,
    centre_facts,
    vector_column,
    vector_facts,
)
from thor_geo.specs import TemporalSpec, Windows

if TYPE_CHECKING:
    import pyarrow as pa

# Columns with few distinct values, or one value per file. Embeddings and coordinates would only
# fill the dictionary; a column with another encoding must not be in this list.
_DICTIONARY = ("tile_id", "shard_id", "status", "error", "source_ids.list.element")
_ELEMENTS = tuple(f"{column}.list.element" for column in (EMBEDDING, CENTRE))


def window_name(window: TemporalSpec) -> str:
    """Return a time window as part of an id, e.g. ``20220601_20220901`` (the end is exclusive)."""
    times = (window.start, window.end)
    whole_days = all(time.time().isoformat() == "00:00:00" for time in times)
    return "_".join(time.strftime("%Y%m%d" if whole_days else "%Y%m%dT%H%M%S") for time in times)


def row_ids(plan: Plan, shard: Shard, windows: Windows) -> list[str]:
    """Return the names of a shard's rows in markers, in the order of all lists of rows.

    Without a time axis a row is a tile, and its name is the tile's id. With one, rows are
    tile-major: the windows of the first tile, then those of the next; the name of a row is the
    pooled file's `id`. A place's row is named by its chip, its window and its row in the table,
    since places may share a chip.

    Args:
        plan: The plan.
        shard: One of its shards.
        windows: The time windows.
    """
    indices = range(shard.start, shard.stop)
    if isinstance(plan, PlacePlan):
        window = plan.window[shard.start : shard.stop].tolist()
        spans = {k: window_name(plan.windows[k]) for k in set(window)}
        return [
            f"{plan.tile(index).id}_{spans[k]}_p{plan.place[index]}"
            for index, k in zip(indices, window, strict=True)
        ]
    ids = [tile.id for tile in plan.tiles(indices)]
    if not windows.listed:
        return ids
    names = [window_name(window) for window in windows]
    return [f"{tile}_{name}" for tile in ids for name in names]


def pooled_schema(dtype: Dtype, places: PlaceFields | None = None) -> pa.Schema:
    """Return the columns of a pooled file.

    `embedding` is a plain list, although all have the same length: pyarrow before 26 and R refuse a
    whole file in which one list of a fixed size is null. In Parquet both have the same bytes.

    `id` is the tile id and the window, so that files of several windows can be put together;
    `embedding` is null unless `status` is ``ok``; the numbers of a failed tile are null. int8
    embeddings have a column `scale` beside them, null likewise: a vector is embedding * scale.

    Rows of places have more columns, see `PlaceFields`; their `id` names the place, too, unless the
    table has a column of ids with this name, which then is the output's.

    Args:
        dtype: Type of the embedding's elements.
        places: The further columns of a run of places.
    """
    import pyarrow as pa

    element = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}[dtype]
    vector = pa.list_(element)
    scale = [("scale", pa.float32())] if dtype == "int8" else []
    return pa.schema(
        [
            ("id", pa.string() if places is None else places.id_type),
            ("tile_id", pa.string()),
            ("shard_id", pa.string()),
            ("embedding", vector),
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
            *([] if places is None else places.added(vector, coded=dtype == "int8")),
        ]
    )


def pooled_table(
    result: ShardResult,
    plan: Plan,
    window: TemporalSpec,
    dtype: Dtype,
    metadata: str,
    places: Places | None = None,
) -> pa.Table:
    """Return a shard's rows in one time window, or of places each in its own.

    Args:
        result: The complete shard, with vectors.
        plan: The plan.
        window: Time window of the composites.
        dtype: Type of the embedding's elements.
        metadata: JSON text for the footer's key ``thor_geo``.
        places: The table of a plan of places.

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
    failed = np.array([status == "failed" for status in result.status])
    null = np.array([status != "ok" for status in result.status])
    windows = row_windows(plan, start, stop, window)
    epsg = np.array([lattice.epsg for lattice in plan.lattices], dtype=np.int32)
    scenes = [
        None if bad else list(ids) for bad, ids in zip(failed.tolist(), result.scenes, strict=True)
    ]
    vectors, scale = result.pooled, {}
    if dtype == "int8":
        vectors, scales = quantise(vectors, axis=1)
        scale = {"scale": pa.array(scales, mask=null)}
    columns: dict[str, Any] = {
        "tile_id": [tile.id for tile in tiles],
        "shard_id": [shard.id] * n,
        "embedding": vector_column(vectors, null),
        **scale,
        "geometry": shapely.to_wkb(polygons, byte_order=1),
        "primary": plan.primary[start:stop],
        "bbox": bbox_column(polygons),
        "datetime_start": [each.start for each in windows],
        "datetime_end": [each.end for each in windows],
        "epsg": epsg[plan.zone[start:stop]],
        "transform": transforms_column(tiles),
        "valid_fraction": pa.array(result.valid_fraction, mask=failed),
        "observations_mean": pa.array(result.observations_mean, mask=failed),
        "n_scenes": [None if ids is None else len(ids) for ids in scenes],
        "source_ids": scenes,
        "status": result.status,
        "error": result.error,
    }
    fields = None
    if places is not None and isinstance(plan, PlacePlan):
        fields = PlaceFields.of(places.columns.schema, centre=result.centre is not None)
        columns |= place_columns(plan, shard, places, result, null, coded=dtype == "int8")
        columns.setdefault("id", row_ids(plan, shard, Windows(spans=(window,))))
    else:
        columns["id"] = [f"{tile.id}_{window_name(window)}" for tile in tiles]
    schema = pooled_schema(dtype, fields)
    footer = {
        "geo": geo_metadata(polygons),
        **footer_facts(
            metadata,
            plan,
            dtype,
            dimension=result.pooled.shape[1],
            centre=None if result.centre is None else result.centre.shape[1],
        ),
    }
    arrays = [as_column(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema.with_metadata(footer))


def footer_facts(
    metadata: str, plan: Plan, dtype: Dtype, *, dimension: int, centre: int | None
) -> dict[str, str | bytes]:
    """Return what all pooled files of a run have in their footers.

    Args:
        metadata: JSON text for the key ``thor_geo``.
        plan: The plan.
        dtype: Type of the embedding's elements.
        dimension: D, the length of an embedding.
        centre: D', the length of the vectors of the cells that hold places; None without any.

    Raises:
        ValueError: If *metadata* is not JSON, which must not reach a reader.
    """
    return {
        "thor_geo": metadata,
        FOOTER_KEY: vector_facts(metadata, plan, dimension, dtype),
        **({} if centre is None else {CENTRE: centre_facts(centre)}),
    }


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


def pooled_bytes(table: pa.Table) -> bytes:
    """Return the content of a shard's file of rows; equal tables give equal bytes.

    Args:
        table: From `pooled_table`.
    """
    content = io.BytesIO()
    with pooled_writer(content, table.schema) as out:
        out.write_table(table)
    return content.getvalue()


def pooled_writer(where: Path | BinaryIO, schema: pa.Schema, **options: Any) -> Any:
    """Return a `pyarrow.parquet.ParquetWriter` for rows of `pooled_schema`.

    Args:
        where: A path or an open file.
        schema: The columns.
        **options: Further options of the writer.
    """
    import pyarrow as pa

    element = schema.field(EMBEDDING).type.value_type
    vectors = [name for name in _ELEMENTS if name.split(".")[0] in schema.names]
    # Columns of a user's table that repeat few values; others leave the dictionary by themselves.
    dictionary = [*_DICTIONARY, *(name for name in schema.names if name not in RESERVED)]
    # Parquet has no integers below 32 bits: int8 takes 1.4 bytes after zstd when plain, and 0.9 in
    # a dictionary of its 255 values.
    if element == pa.int8():
        dictionary += vectors
    return parquet_writer(
        where,
        schema,
        use_dictionary=dictionary,
        # DuckDB cannot read byte-stream-split half floats, so they stay plain.
        use_byte_stream_split=vectors if element == pa.float32() else False,
        **options,
    )
