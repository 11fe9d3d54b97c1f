"""If this fails, a Python call gives other numbers than a run, or says wrongly what it did."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch
import xarray
import yaml

from thor_geo import (
    Area,
    BBox,
    Embedding,
    EmulatorSpec,
    InputPrep,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    TemporalSpec,
    get_embedding,
    get_embeddings_batch,
)
from thor_geo.errors import ConfigError, InputError
from thor_geo.specs.sentinel1 import Sentinel1Spec

SENSOR = SensorSpec(cloudy_pct=60, mask="scl")
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
CENTRE = PointBuffer(lon=11.99, lat=59.995, buffer_m=480)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def options(quick_run: Path, archive: Path) -> dict[str, Any]:
    return {
        "temporal": WINDOW,
        "sensor": SENSOR,
        "backend": EmulatorSpec(archive=archive),
        "cache_dir": quick_run / "cache",
        "pretrained": False,
        "image_size": 96,
    }


def _tiles(folder: Path) -> list[geopandas.GeoDataFrame]:
    """Return the run's rows, one frame for each shard, in plan order."""
    return [
        geopandas.read_parquet(file)
        for file in sorted((folder / "run" / "pooled").glob("*.parquet"))
    ]


def _footprint(row: Any) -> Area:
    _, _, left, _, _, top = row.transform
    box = shapely.box(left, top - 960, left + 960, top)
    return Area(geometry=box, crs=f"EPSG:{row.epsg}")


def test_vectors_and_maps_are_those_of_a_run_bit_for_bit(
    quick_run: Path, options: dict[str, Any]
) -> None:
    shards = _tiles(quick_run)
    assert sum(map(len, shards)) >= 12
    for shard in shards:
        # The run's batches: four tiles, or what the shard has.
        rows = list(shard.itertuples())
        areas = [_footprint(row) for row in rows]
        vectors = get_embeddings_batch("thor_v1_tiny", spatials=areas, batch_size=4, **options)
        maps = get_embeddings_batch(
            "thor_v1_tiny", spatials=areas, batch_size=4, output=OutputSpec.grid(), **options
        )
        for row, vector, grid in zip(rows, vectors, maps, strict=True):
            np.testing.assert_array_equal(vector.data, row.embedding)
            assert vector.meta["scenes"] == list(row.source_ids)
            assert vector.meta["valid_fraction"] == pytest.approx(row.valid_fraction, abs=1e-6)
            zone = f"utm{row.epsg % 100}n"
            store = xarray.open_zarr(quick_run / "run" / "grid.zarr", group=zone).embeddings
            there = store.sel(x=grid.data.x, y=grid.data.y)
            np.testing.assert_array_equal(grid.data.values, there.values)


def test_one_at_a_time_is_near_and_maps_of_larger_areas_are_the_runs(
    quick_run: Path, options: dict[str, Any]
) -> None:
    shard = max(_tiles(quick_run), key=len)
    areas = [_footprint(row) for row in shard.itertuples()]
    together = get_embeddings_batch("thor_v1_tiny", spatials=areas, **options)
    for area, one in zip(areas, together, strict=True):
        alone = get_embedding("thor_1_0_tiny", spatial=area, **options)
        np.testing.assert_allclose(alone.data, one.data, atol=1e-5)
    whole = shapely.union_all([area.geometry for area in areas]).buffer(-100, join_style="mitre")
    large = get_embedding(
        "thor_v1_tiny",
        spatial=Area(geometry=whole, crs=areas[0].crs),
        output=OutputSpec.grid(),
        input_prep="tile",
        **options,
    )
    assert large.meta["input_prep"] == "tile"
    assert large.meta["n_inputs"] == len(areas)
    zone = f"utm{int(areas[0].crs[-2:])}n"
    store = xarray.open_zarr(quick_run / "run" / "grid.zarr", group=zone).embeddings
    assert isinstance(large.data, xarray.DataArray)
    there = store.sel(x=large.data.x, y=large.data.y)
    np.testing.assert_allclose(large.data.values, there.values, atol=1e-5)


def test_metadata_says_what_was_done(options: dict[str, Any]) -> None:
    found = get_embedding("thor_v1_tiny", spatial=CENTRE, inspect="report", **options)
    assert isinstance(found, Embedding)
    assert found.data.shape == (192,)
    meta = found.meta
    for key, value in {
        "model_key": "thor_v1_tiny",
        "pretrained": False,
        "ckpt_path": None,
        "normalization": "thor_stats",
        "group_merge": "mean",
        "patch_size": 16,
        "image_size": 96,
        "ground_cover_m": 960,
        "pooling": "mean",
        "cls_removed": False,
        "grid_kind": "thor_group_grid",
        "group_patch_px": {"group0": 16, "group1": 16},
        "group_grid_side": {"group0": 6, "group1": 3},
        "groups_used": ["group0", "group1"],
        "expected_patch_tokens": 45,
        "tokens_shape": [1, 45, 192],
        "input_prep": "native",
        "temporal": {"start": "2022-06-01T00:00:00+00:00", "end": "2022-09-01T00:00:00+00:00"},
        "crs": "EPSG:32632",
    }.items():
        assert meta[key] == value, key
    assert len(meta["weights_sha256"]) == 64
    assert len(meta["scenes"]) >= 2
    assert meta["sensor"][0]["collection"] == SENSOR.collection
    assert meta["provider"]["backend"] == "emulator"
    assert meta["packages"]["torch"] == version("torch")
    assert meta["input"]["expected_channels"] == 10
    assert meta["origins"]["image_size"] == "input"
    assert meta["origins"]["patch_size"] == "default"
    assert (meta["threads"], meta["float32_matmul"]) == (1, "highest")


def test_the_environment_sets_what_the_call_leaves_out(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RS_EMBED_THOR_MODEL_KEY", "thor_v1_tiny")
    monkeypatch.setenv("RS_EMBED_THOR_PATCH_SIZE", "8")
    monkeypatch.setenv("RS_EMBED_THOR_NORMALIZE", "unit_scale")
    monkeypatch.setenv("RS_EMBED_THOR_GROUP_MERGE", "concat")
    monkeypatch.setenv("RS_EMBED_THOR_IMG", "192")
    found = get_embedding(spatial=CENTRE, output=OutputSpec.grid(), **options)
    assert found.data.shape == (2 * 192, 12, 12)
    meta = found.meta
    assert (meta["model_key"], meta["patch_size"]) == ("thor_v1_tiny", 8)
    assert (meta["normalization"], meta["group_merge"]) == ("unit_scale", "concat")
    assert meta["origins"]["patch_size"] == "environment"
    assert meta["origins"]["image_size"] == "input"


def _pixels(height: int = 96, width: int = 96, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 10_000, (10, height, width), dtype=np.uint16)


def test_pixels_that_the_caller_has_need_no_source() -> None:
    pixels = _pixels()
    one = get_embedding("thor_v1_tiny", input_chw=pixels, pretrained=False)
    assert one.meta["scenes"] is None
    assert one.meta["provider"] is None
    floats = get_embedding("thor_v1_tiny", input_chw=pixels.astype("float64"), pretrained=False)
    np.testing.assert_array_equal(one.data, floats.data)
    dirty = pixels.astype("float32")
    dirty[0, 0, 0], dirty[1, 0, 0], dirty[2, 0, 0] = np.nan, np.inf, 20_000
    clean = pixels.copy()
    clean[0, 0, 0], clean[1, 0, 0], clean[2, 0, 0] = 0, 0, 10_000
    found, wanted = get_embeddings_batch(
        "thor_v1_tiny", input_chw=[dirty, clean.astype("float32")], pretrained=False
    )
    np.testing.assert_array_equal(found.data, wanted.data)
    with pytest.raises(InputError, match=r"1 values are NaN.*1 values are infinite"):
        get_embedding("thor_v1_tiny", input_chw=dirty, pretrained=False, inspect="error")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((9, 96, 96), np.uint16), "9 channels, expected 10"),
        (np.zeros((96, 96), np.uint16), "expected \\(channel, height, width\\)"),
        (np.zeros((10, 96, 96), np.uint8), "dtype uint8"),
        (np.zeros((10, 96, 96), bool), "dtype bool"),
        (np.zeros((10, 0, 96), np.uint16), "expected"),
    ],
)
def test_pixels_of_the_wrong_kind_are_refused(pixels: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=f"input_chw.*{words}"):
        get_embedding("thor_v1_tiny", input_chw=pixels, pretrained=False)


def test_images_that_are_not_square_are_padded_and_maps_cut_back() -> None:
    pixels = _pixels(70, 150)
    found = get_embedding(
        "thor_v1_tiny", input_chw=pixels, pretrained=False, output=OutputSpec.grid()
    )
    assert found.data.shape == (192, 10, 10)
    assert found.meta["valid_fraction"] == pytest.approx(70 * 150 / 160**2)
    valid = found.data.valid_fraction.values
    assert valid[0, 0] == 1
    assert valid[-1, 0] == 0
    assert valid[4, 0] == pytest.approx(6 / 16)
    cut = get_embedding(
        "thor_v1_tiny", input_chw=pixels, pretrained=False, output=OutputSpec.grid(), crop=True
    )
    # Cells whose centre lies in the image: 70 px hold four centres, 150 px nine.
    assert cut.data.shape == (192, 4, 9)
    np.testing.assert_array_equal(cut.data.values, found.data.values[:, :4, :9])


def test_resizing_is_a_bilinear_one_of_normalised_pixels() -> None:
    pixels = _pixels(128, 128)
    whole = get_embedding("thor_v1_tiny", input_chw=pixels, pretrained=False, input_prep="native")
    same = get_embedding(
        "thor_v1_tiny", input_chw=pixels, pretrained=False, input_prep="resize", image_size=128
    )
    np.testing.assert_array_equal(whole.data, same.data)
    small = get_embedding(
        "thor_v1_tiny", input_chw=pixels, pretrained=False, input_prep="resize", image_size=64
    )
    assert small.meta["ground_cover_m"] == 1280
    assert small.meta["expected_patch_tokens"] == 80
    nominal = get_embedding(
        "thor_v1_tiny",
        input_chw=pixels,
        pretrained=False,
        input_prep=InputPrep.resize(ground_cover="nominal"),
        image_size=64,
    )
    assert nominal.meta["ground_cover_m"] == 640
    assert nominal.meta["ground_cover"] == "nominal"
    # The same by hand: bilinear, half-pixel centres, of pixels in THOR's units.
    by_hand = torch.nn.functional.interpolate(
        torch.from_numpy(pixels.astype("float32"))[None], size=(64, 64), mode="bilinear"
    )[0].numpy()
    wanted = get_embedding("thor_v1_tiny", input_chw=by_hand, pretrained=False)
    np.testing.assert_allclose(nominal.data, wanted.data, atol=1e-5)


def test_a_polygon_is_cut_out_of_its_map(options: dict[str, Any]) -> None:
    triangle = shapely.Polygon([(11.98, 59.99), (12.0, 59.99), (11.99, 60.0)])
    found = get_embedding(
        "thor_v1_tiny", spatial=triangle, output=OutputSpec.grid(), crop=True, **options
    )
    data = found.data
    assert isinstance(data, xarray.DataArray)
    outside = np.isnan(data.values[0])
    assert 0.3 < outside.mean() < 0.7
    assert data.attrs["crs"] == "EPSG:32632"
    left, cell, _, top, _, down = map(float, data.spatial_ref.attrs["GeoTransform"].split())
    assert (cell, down) == (160, -160)
    assert (left, top) == (float(data.x[0]) - 80, float(data.y[0]) + 80)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temporal": None}, "temporal"),
        ({"spatial": None}, "nothing to embed"),
        ({"normalize": "zscore"}, "normalize"),
        ({"patch_size": 0}, "patch_size"),
        ({"backend": "aws"}, "backend"),
        ({"device": "quantum"}, "device"),
        ({"input_prep": "stretch"}, "input_prep"),
        ({"inspect": "look"}, "inspect"),
        ({"ckpt": "nowhere.pt"}, "no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(
    options: dict[str, Any], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    from thor_geo.errors import ThorGeoError

    given = {"spatial": CENTRE, **options, "cache_dir": tmp_path / "cache", **changes}
    with pytest.raises(ThorGeoError, match=words):
        get_embedding("thor_v1_tiny", **given)
    assert not (tmp_path / "cache").exists()


def test_a_place_must_be_of_the_size_of_its_pixels() -> None:
    with pytest.raises(ConfigError, match="input_chw has 96 x 96"):
        get_embedding(
            "thor_v1_tiny",
            input_chw=_pixels(),
            spatial=BBox(west=11.9, south=59.9, east=12, north=60),
            pretrained=False,
        )


def test_channels_that_earth_engine_does_not_have_can_be_given() -> None:
    bands = [f"S3:Oa{k:02d}_reflectance" for k in range(1, 22)]
    pixels = np.random.default_rng(1).random((21, 16, 16), dtype=np.float32)
    found = get_embedding(
        "thor_v1_tiny",
        input_chw=pixels,
        bands=bands,
        resolution=240,
        patch_size=4,
        output=OutputSpec.grid(),
        pretrained=False,
    )
    assert found.data.shape == (192, 4, 4)
    assert found.meta["ground_cover_m"] == 3840
    assert found.meta["groups_used"] == ["group5", "group6", "group7"]
    with pytest.raises(ConfigError, match=r"bands=.*it describes the pixels of input_chw"):
        get_embedding("thor_v1_tiny", spatial=CENTRE, temporal=WINDOW, bands=bands)


def test_two_sensors_go_through_the_model_together(options: dict[str, Any], both: Path) -> None:
    given = {**options, "backend": EmulatorSpec(archive=both), "sensor": [SENSOR, Sentinel1Spec()]}
    joint = get_embedding("thor_v1_tiny", spatial=CENTRE, output=OutputSpec.grid(), **given)
    assert joint.meta["groups_used"] == ["group0", "group1", "group3"]
    assert len(joint.meta["bands"]) == 12
    assert {one["collection"] for one in joint.meta["sensor"]} == {
        "COPERNICUS/S2_SR_HARMONIZED",
        "COPERNICUS/S1_GRD",
    }
    alone = get_embedding("thor_v1_tiny", spatial=CENTRE, **{**given, "sensor": Sentinel1Spec()})
    assert alone.meta["groups_used"] == ["group3"]
    assert set(alone.meta["scenes"]) < set(joint.meta["scenes"])
    with pytest.raises(ConfigError, match="one of each kind"):
        get_embedding("thor_v1_tiny", spatial=CENTRE, **{**given, "sensor": [SENSOR, SENSOR]})


@pytest.mark.long
def test_scenes_of_both_sensors_are_generated_where_no_archive_is_given(
    options: dict[str, Any],
) -> None:
    given = {**options, "backend": "emulator", "sensor": [SENSOR, Sentinel1Spec()]}
    joint = get_embedding("thor_v1_tiny", spatial=CENTRE, **given)
    assert joint.meta["groups_used"] == ["group0", "group1", "group3"]
    assert np.isfinite(joint.data).all()


def test_the_environment_sets_what_a_config_leaves_out(
    thor_geo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    said = {
        "RS_EMBED_THOR_MODEL_KEY": "thor_v1_small",
        "RS_EMBED_THOR_PRETRAINED": "0",
        "RS_EMBED_THOR_IMG": "192",
        "RS_EMBED_THOR_NORMALIZE": "unit_scale",
        "RS_EMBED_THOR_FETCH_WORKERS": "3",
        "RS_EMBED_THOR_PATCH_SIZE": "8",
    }
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: {patch_size: 16}\n"
        "data: {area: {bbox: [11.98, 59.985, 12.02, 60.005]}, start: 2022-06-01, end: 2022-09-01}\n"
        f"output: {{dir: {tmp_path / 'run'}}}\n"
    )
    shown = thor_geo("predict", "-c", config, "--print_config", env=said)
    assert shown.returncode == 0, shown.stderr
    found = yaml.safe_load(shown.stdout)
    model, data = found["model"]["init_args"], found["data"]["init_args"]
    assert (model["model_key"], model["pretrained"]) == ("thor_v1_small", False)
    assert (data["tile_size"], data["normalize"], data["fetch_workers"]) == (192, "unit_scale", 3)
    assert model["patch_size"] == 16
    again = thor_geo("predict", "-c", config, "--data.tile_size=96", "--print_config", env=said)
    assert yaml.safe_load(again.stdout)["data"]["init_args"]["tile_size"] == 96
    wrong = thor_geo("predict", "-c", config, env={"RS_EMBED_THOR_IMG": "big"})
    assert wrong.returncode == 2
    assert "RS_EMBED_THOR_IMG='big'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_where_no_scene_shows_anything_there_is_no_embedding(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = PointBuffer(lon=10.6, lat=59.0, buffer_m=480)
    pooled, grid = (
        get_embeddings_batch("thor_v1_tiny", spatials=[CENTRE, nowhere], output=kind, **options)
        for kind in (OutputSpec.pooled(), OutputSpec.grid())
    )
    for found in (pooled, grid):
        assert np.isfinite(np.asarray(found[0].data)).all()
        assert np.isnan(np.asarray(found[1].data)).all()
        assert found[1].meta["scenes"] == []
        assert found[1].meta["valid_fraction"] == 0
    assert "No scene passes" in caplog.text


def test_tiles_count_by_what_is_asked_of_them() -> None:
    pixels = _pixels(96, 192)
    tiles = get_embeddings_batch(
        "thor_v1_tiny", input_chw=[pixels[:, :, :96], pixels[:, :, 96:]], pretrained=False
    )
    whole = get_embedding(
        "thor_v1_tiny", input_chw=pixels, pretrained=False, input_prep="tile", image_size=96
    )
    mean = (tiles[0].data + tiles[1].data) / 2
    np.testing.assert_allclose(whole.data, mean, atol=1e-5)


def test_pixels_of_two_sensors_may_be_filled_by_the_mean() -> None:
    radar = np.full((1, 64, 96), -1200, np.int16)
    optical = _pixels(64, 96)[:2].astype(np.int16)
    found = get_embedding(
        "thor_v1_tiny",
        input_chw=np.concatenate([optical, radar]),
        bands=["RED", "GREEN", "VV"],
        nodata_fill="mean",
        pretrained=False,
    )
    assert found.meta["groups_used"] == ["group0", "group3"]
    assert np.isfinite(found.data).all()


def test_an_error_says_which_of_several_it_is_about(options: dict[str, Any]) -> None:
    wrong = BBox(west=11.9, south=59.9, east=60.0, north=60.0)
    with pytest.raises(ConfigError, match=r"spatials\[1\]: .*thor-geo predict"):
        get_embeddings_batch("thor_v1_tiny", spatials=[CENTRE, wrong], **options)
    with pytest.raises(InputError, match=r"input_chw\[1\]: .*9 channels"):
        get_embeddings_batch("thor_v1_tiny", input_chw=[_pixels(), _pixels()[:9]], pretrained=False)


def test_weights_that_are_asked_for_come_before_a_checkpoint_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "w.pt").write_bytes(b"no checkpoint")
    monkeypatch.setenv("RS_EMBED_THOR_CKPT", str(tmp_path / "w.pt"))
    found = get_embedding("thor_v1_tiny", input_chw=_pixels(), pretrained=False)
    assert found.meta["ckpt_path"] is None
    assert found.meta["weights"].startswith("random weights")
