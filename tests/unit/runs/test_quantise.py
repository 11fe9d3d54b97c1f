"""If one of these fails, int8 embeddings cannot be turned back, or a reader cannot open them."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from tests.support.synthetic_run import CELLS, DIMENSION, embed, write_run
from thor_geo.ground.lattice import zone_name
from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import _cells
from thor_geo.pictures.zone_pictures import read_pictures
from thor_geo.runs import RunDirectory
from thor_geo.runs.quantise import (
    DESCRIPTION,
    NODATA,
    dequantise,
    is_scale,
    is_scale_of,
    quantise,
)
from thor_geo.runs.reading import VectorReader
from thor_geo.runs.summary import summarise

FAILED, EMPTY = 1, 2


@pytest.fixture(scope="module")
def coded(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return a finished int8 run: tile 1 failed, tile 2 is empty."""
    path = tmp_path_factory.mktemp("int8") / "run"
    return write_run(path, plan, failed={FAILED: "no such block"}, empty=(EMPTY,), dtype="int8").run


def outputs(run: RunDirectory) -> dict[str, str]:
    return {
        path.relative_to(run.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (run.pooled, run.grid)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("size", [1e-35, 1e-30, 1.0, 1e30, 5e37])
def test_a_value_comes_back_within_half_a_scale(size: float) -> None:
    values = np.random.default_rng(0).normal(scale=size, size=(50, 40)).astype(np.float32)
    codes, scale = quantise(values, axis=1)
    assert (codes.dtype, scale.dtype, scale.shape) == (np.int8, np.float32, (50,))
    assert (np.abs(codes.astype(int)).max(axis=1) == 127).all()
    error = np.abs(dequantise(codes, scale[:, None]).astype(np.float64) - values)
    # and the rounding of the product
    assert (error <= scale[:, None] / 2 + 1e-6 * np.abs(values)).all()


@pytest.mark.parametrize("below", range(12))
def test_the_largest_float32_comes_back_finite(below: int) -> None:
    largest = np.finfo(np.float32).max
    for _ in range(below):
        largest = np.nextafter(largest, np.float32(0))
    values = np.array([[largest, -largest / 4, 0]], np.float32)
    codes, scale = quantise(values, axis=1)
    assert codes.tolist() == [[127, -32, 0]]
    back = dequantise(codes, scale[:, None]).astype(np.float64)
    assert (np.abs(back - values) <= scale[:, None].astype(np.float64) / 2 + 1e-6 * largest).all()
    assert is_scale(scale).all()
    assert is_scale_of(np.array([127]), scale).all()


def test_the_smallest_float32_come_back_as_near_as_told() -> None:
    smallest = np.float64(2.0**-149)
    # Every largest magnitude that has a coarse scale, with all that a tile of it may hold.
    for largest in (*range(1, 600), *range(127 * 120, 127 * 132), 2**24 + 1):
        values = (np.linspace(0, largest, 50).round() * smallest).astype(np.float32)[None]
        codes, scale = quantise(values, axis=1)
        assert (codes >= 0).all()
        error = np.abs(codes * scale.astype(np.float64) - values).max()
        assert error <= max(float(scale[0]) / 2, 64 * smallest)
        assert is_scale(scale).all()
        assert is_scale_of(codes.max(axis=1), scale).all(), largest


@pytest.mark.parametrize(
    ("largest", "scale", "fits"),
    [
        (127, 0.5, True),
        (126, 0.5, False),
        (0, 0.5, False),
        (0, 0.0, True),
        (1, 0.0, False),
        (127, 0.0, False),
        (60, 1e-45, False),
        (100, 1e-45, True),
    ],
)
def test_codes_and_scales_of_different_tiles_do_not_fit(
    largest: int, scale: float, fits: bool
) -> None:
    found = is_scale_of(np.array([largest], np.int16), np.array([scale], np.float32))
    assert found.tolist() == [fits]


def test_what_no_scale_is() -> None:
    scales = np.array([3e38, -0.5, np.nan, np.inf, 0.0, 2.6e36], np.float32)
    assert is_scale(scales).tolist() == [False, False, False, False, True, True]


def test_zeros_stay_zeros_and_what_has_no_embedding_has_neither_code_nor_scale() -> None:
    values = np.array([[0.0, 0.0], [np.nan, np.nan], [1e-45, -2e-45], [-3.0, 1.5]], np.float32)
    codes, scale = quantise(values, axis=1)
    assert codes[0].tolist() == [0, 0]
    assert scale[0] == 0
    assert codes[1].tolist() == [NODATA, NODATA]
    assert np.isnan(scale[1])
    assert NODATA not in codes[2]
    assert codes[3].tolist() == [-127, 64]
    back = dequantise(codes, scale[:, None])
    assert back[0].tolist() == [0, 0]
    assert np.isnan(back[1]).all()
    np.testing.assert_allclose(back[2], values[2], atol=1e-44)


def test_maps_have_a_scale_for_each_cell() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 8)).astype(np.float32)
    values[:, 1, 4:] = np.nan
    codes, scale = quantise(values, axis=0)
    assert scale.shape == (4, 8)
    assert np.isnan(scale).sum() == 4
    assert (codes[:, 1, 4:] == NODATA).all()
    np.testing.assert_allclose(scale[0], np.abs(values[:, 0]).max(axis=0) / 127, rtol=1e-6)


def test_vectors_have_their_scale_beside_them(coded: RunDirectory, plan: Plan) -> None:
    schema = pq.read_schema(next(coded.pooled.glob("*.parquet")))
    assert schema.field("embedding").type == pa.list_(pa.int8())
    assert schema.names.index("scale") == schema.names.index("embedding") + 1
    about = json.loads(schema.metadata[b"thor_geo"])
    assert about["settings"]["output"]["dtype"] == "int8"
    assert about["quantisation"] == coded.document()["info"]["quantisation"] == DESCRIPTION
    tiles = gpd.read_parquet(coded.pooled).set_index("tile_id")
    for k, tile in enumerate(plan.tiles(range(len(plan)))):
        row = tiles.loc[tile.id]
        if k in (FAILED, EMPTY):
            assert row.embedding is None
            assert np.isnan(row["scale"])
            continue
        expected = embed(tile)[0]
        assert np.abs(row.embedding * row["scale"] - expected).max() <= row["scale"] * 0.501
    rows = duckdb.sql(
        "select tile_id, list_transform(embedding, lambda v: v * scale) from "
        f"'{coded.pooled}/*.parquet' where scale is not null"
    ).fetchall()
    assert len(rows) == len(plan) - 2
    for name, vector in rows:
        np.testing.assert_allclose(vector, tiles.embedding[name] * tiles["scale"][name], rtol=1e-6)


def test_xarray_gives_codes_scales_and_embeddings_in_two_lines(
    coded: RunDirectory, plan: Plan
) -> None:
    for epsg in (32632, 32633):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zone = xr.open_zarr(coded.grid, group=zone_name(epsg))
            values = zone.embeddings * zone.scale
        assert values.dims == ("band", "y", "x")
        assert values.dtype == np.float32
        assert "spatial_ref" in values.coords
        raw = xr.open_zarr(coded.grid, group=zone_name(epsg), mask_and_scale=False)
        assert raw.embeddings.dtype == np.int8
        planned = np.zeros(values.shape[1:], bool)
        for k in range(len(plan)):
            tile = plan.tile(k)
            if tile.epsg != epsg:
                continue
            left, bottom, right, top = tile.bounds
            cells = {"x": slice(left, right), "y": slice(top, bottom)}
            found = values.sel(cells)
            assert found.shape == (DIMENSION, CELLS, CELLS)
            if k in (FAILED, EMPTY):
                assert bool(found.isnull().all())
                assert (raw.embeddings.sel(cells) == NODATA).all()
                continue
            steps = zone.scale.sel(cells).values
            assert (np.abs(found.values - embed(tile)[1]) <= steps * 0.501).all()
            y, x = values.y.values[:, None], values.x.values
            planned |= (x > left) & (x < right) & (y > bottom) & (y < top)
        assert (np.isfinite(values).all("band").values == planned).all()


def test_the_summary_says_what_the_codes_are(coded: RunDirectory, plan: Plan) -> None:
    assert "embedding * scale" in str(summarise(coded, plan))


def test_a_shard_has_files_of_its_own_which_its_marker_names(
    coded: RunDirectory, plan: Plan
) -> None:
    names = []
    for shard in plan.shards:
        marker = json.loads(coded.marker_path(shard).read_text())
        names += list(marker["outputs"])
        zone = zone_name(shard.epsg)
        assert {name.rsplit("/c/")[0] for name in marker["outputs"] if "zarr" in name} == {
            f"grid.zarr/{zone}/embeddings",
            f"grid.zarr/{zone}/scale",
        }
    assert len(set(names)) == len(names) == 3 * len(plan.shards)


def test_equal_runs_give_equal_bytes_and_a_retry_only_adds_what_failed(
    coded: RunDirectory, plan: Plan, tmp_path: Path
) -> None:
    failed = {FAILED: "no such block"}
    again = write_run(tmp_path / "run", plan, failed=failed, empty=(EMPTY,), dtype="int8").run
    assert outputs(again) == outputs(coded)
    stopped = write_run(tmp_path / "two", plan, only=2, dtype="int8").run
    write_run(stopped.path, plan, dtype="int8")
    write_run(again.path, plan, empty=(EMPTY,), dtype="int8")
    whole = write_run(tmp_path / "one", plan, dtype="int8").run
    assert outputs(stopped) == outputs(whole)
    shard = next(shard for shard in plan.shards if shard.start <= FAILED < shard.stop)
    before = outputs(coded)
    others = {name for name, digest in outputs(again).items() if before[name] != digest}
    # Previews are of the whole run: another tile changes what its colours mean.
    others = {name for name in others if "/preview/" not in name}
    assert others == set(json.loads(again.marker_path(shard).read_text())["outputs"])


@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_the_picture_is_drawn_of_values_not_of_codes(plan: Plan, tmp_path: Path, kind: str) -> None:
    only = {"pooled": kind == "pooled", "grid": kind == "grid"}
    runs = [
        write_run(tmp_path / dtype, plan, dtype=dtype, empty=(EMPTY,), **only).run
        for dtype in ("int8", "float32")
    ]
    images = [[p.embeddings for p in read_pictures(run, plan)[0]] for run in runs]
    for ours, theirs in zip(*images, strict=True):
        np.testing.assert_array_equal(ours[..., 3], theirs[..., 3])
    sources = [_cells(run, plan) if kind == "grid" else VectorReader(run).read for run in runs]
    for shard in plan.shards:
        ours, theirs = (source(shard, None) for source in sources)
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        # The largest values are northings of about 6650 km.
        assert np.nanmax(np.abs(ours - theirs)) <= 6660 / 127 * 0.501
