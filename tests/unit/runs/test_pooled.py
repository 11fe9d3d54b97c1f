"""If one of these fails, a GIS tool, DuckDB or scikit-learn no longer opens the vectors."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.synthetic_run import DIMENSION, embed, plan_of, write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.pooled import pooled_schema, window_name
from thor_geo.specs import TemporalSpec

COLUMNS = [
    *("id", "tile_id", "shard_id", "embedding", "geometry", "primary", "bbox"),
    *("datetime_start", "datetime_end", "epsg", "transform", "valid_fraction"),
    *("observations_mean", "n_scenes", "source_ids", "status", "error"),
]


def test_geopandas_reads_the_folder_in_lon_lat(written: RunDirectory, plan: Plan) -> None:
    tiles = gpd.read_parquet(written.pooled)
    assert len(tiles) == len(plan)
    assert tiles.crs.to_string() == "OGC:CRS84"
    assert set(tiles.tile_id) == {tile.id for tile in plan.tiles(range(len(plan)))}
    by_id = tiles.set_index("tile_id")
    for k, (tile, footprint) in enumerate(
        zip(plan.tiles(range(len(plan))), plan.footprints(), strict=True)
    ):
        row = by_id.loc[tile.id]
        assert row.geometry.equals(footprint)
        assert row.epsg == tile.epsg
        assert tuple(row["transform"]) == tile.transform
        assert row.primary == plan.primary[k]
        if row.status == "ok":
            np.testing.assert_array_equal(row.embedding, embed(tile)[0])


def test_a_bbox_filter_reads_only_the_tiles_that_meet_it(written: RunDirectory) -> None:
    tiles = gpd.read_parquet(written.pooled)
    box = (11.95, 59.97, 11.98, 59.99)
    few = gpd.read_parquet(written.pooled, bbox=box)
    expected = tiles.cx[box[0] : box[2], box[1] : box[3]]
    assert 0 < len(few) < len(tiles)
    assert set(few.tile_id) >= set(expected.tile_id)
    for row in few.geometry.bounds.itertuples():
        assert row.minx <= box[2]
        assert row.maxx >= box[0]
        assert row.miny <= box[3]
        assert row.maxy >= box[1]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_duckdb_reads_vectors_and_filters_by_bbox(tmp_path: Path, dtype: str) -> None:
    plan = plan_of()
    run = write_run(tmp_path / "run", plan, dtype=dtype, grid=False).run
    rows = duckdb.sql(
        f"select tile_id, embedding, source_ids from '{run.pooled}/*.parquet' "
        "where bbox.xmax > 10.7 and status = 'ok'"
    ).fetchall()
    tiles = {tile.id: tile for tile in plan.tiles(range(len(plan)))}
    assert 0 < len(rows) < len(plan)
    for tile_id, embedding, scenes in rows:
        expected = embed(tiles[tile_id])[0].astype(dtype).astype(np.float64)
        np.testing.assert_array_equal(np.array(embedding), expected)
        assert len(scenes) == 2


def test_the_schema_is_the_documented_one(written: RunDirectory) -> None:
    path = sorted(written.pooled.glob("*.parquet"))[0]
    schema = pq.read_schema(path)
    assert schema.names == COLUMNS
    # A plain list: pyarrow before 26 and R refuse the file if one of a fixed size is null.
    assert schema.field("embedding").type == pa.list_(pa.float32())
    assert schema.field("transform").type == pa.list_(pa.float64(), 6)
    assert schema.field("datetime_start").type == pa.timestamp("us", tz="UTC")
    assert schema.field("n_scenes").type == pa.int16()
    assert schema.field("epsg").type == pa.int32()
    assert [field.name for field in schema.field("bbox").type] == ["xmin", "ymin", "xmax", "ymax"]
    assert pooled_schema("float16").field("embedding").type == pa.list_(pa.float16())

    geo = json.loads(schema.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    west, south, east, north = column["bbox"]
    assert 11.8 < west < east < 12.2
    assert 59.9 < south < north < 60.1

    facts = json.loads(schema.metadata[b"geoemb"])
    assert facts["type"] == "chip"
    assert facts["dimensions"] == DIMENSION
    assert facts["data_type"] == "float32"
    assert facts["gsd"] == 10
    assert facts["chip_layout"]["chip_size"] == [288, 288]
    assert "quantization" not in facts

    about = json.loads(schema.metadata[b"thor_geo"])
    assert about["fingerprint"] == written.fingerprint
    assert about["model"]["model_key"] == "thor_v1_tiny"
    assert about["settings"]["data"]["start"] == "2022-06-01"
    # Bytes of outputs must not depend on what is installed where.
    assert "packages" not in about
    assert "config" not in about


@pytest.mark.parametrize(("dtype", "split"), [("float32", True), ("float16", False)])
def test_only_float32_vectors_are_byte_stream_split(
    tmp_path: Path, dtype: str, split: bool
) -> None:
    run = write_run(tmp_path / "run", plan_of(), dtype=dtype, grid=False).run
    group = pq.ParquetFile(next(run.pooled.glob("*.parquet"))).metadata.row_group(0)
    columns = [group.column(k) for k in range(group.num_columns)]
    encodings = {column.path_in_schema: column.encodings for column in columns}
    for name, encoding in encodings.items():
        expected = split and name == "embedding.list.element"
        assert ("BYTE_STREAM_SPLIT" in encoding) == expected, name
    assert {column.compression for column in columns} == {"ZSTD"}


def test_failed_and_empty_tiles_keep_a_row_without_a_vector(
    written: RunDirectory, plan: Plan
) -> None:
    tiles = gpd.read_parquet(written.pooled).set_index("tile_id")
    failed, empty = tiles.loc[plan.tile(1).id], tiles.loc[plan.tile(2).id]
    assert (failed.status, failed.error) == ("failed", "no such block")
    assert failed.embedding is None
    assert np.isnan(failed.valid_fraction)
    assert np.isnan(failed.n_scenes)
    assert empty.status == "empty"
    assert pd.isna(empty.error)
    assert empty.embedding is None
    assert empty.valid_fraction == 0
    assert empty.n_scenes == 0
    rest = tiles.drop([failed.name, empty.name])
    assert set(rest.status) == {"ok"}
    assert rest.embedding.notna().all()


def test_ids_differ_between_windows(written: RunDirectory) -> None:
    tiles = gpd.read_parquet(written.pooled)
    assert tiles.id.is_unique
    assert tiles.id.str.endswith("_20220601_20220901").all()
    assert tiles.datetime_end.dt.tz is not None
    assert set(tiles.datetime_end) == {dt.datetime(2022, 9, 1, tzinfo=dt.UTC)}
    noon = TemporalSpec(start=dt.datetime(2022, 6, 1, 12), end=dt.datetime(2022, 6, 2))
    assert window_name(noon) == "20220601T120000_20220602T000000"
