"""If one of these fails, a run with Sentinel-1 embeds something else than its settings say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import torch
import xarray as xr
from lightning.pytorch import Trainer

from tests.support.small_data import small_data
from thor_geo.cli.predict import make_cli
from thor_geo.composites import BlockStore, DirectSource
from thor_geo.datamodules import CompositeDataModule
from thor_geo.datasets import CompositeDataset, SensorStack
from thor_geo.emulator import Archive, EmulatorServer
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.models import build_thor, merge_groups, pool_tokens
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, channels_of
from thor_geo.tasks import RunWriter, THOREmbeddingTask
from thor_geo.transforms import THORNormalize

WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
S2, S1 = "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S1_GRD"
ALL_BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"]


@pytest.fixture
def served(both: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    with EmulatorServer({S2: both, S1: both / "S1_GRD"}) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        yield server


Data = Callable[..., CompositeDataModule]


@pytest.fixture
def data(both: Path, tmp_path: Path) -> Data:
    return partial(small_data, both, tmp_path)


def batches(data: CompositeDataModule) -> list[dict[str, Any]]:
    data.setup("predict")
    try:
        return list(data.predict_dataloader())
    finally:
        data.teardown("predict")


@pytest.mark.usefixtures("served")
def test_the_joint_image_is_the_two_single_sensor_images_stacked(data: Data) -> None:
    radar = {"orbit": "ascending", "polarisations": ["VV", "VH"]}
    joint = batches(data(sentinel1=radar))
    optical, alone = batches(data()), batches(data(sentinel2=None, sentinel1=radar))
    assert joint[0]["image"].shape[1:] == (12, 96, 96)
    assert len(joint) == len(optical) == len(alone) > 1
    for three in zip(joint, optical, alone, strict=True):
        for key in ("image", "observations"):
            assert torch.equal(three[0][key], torch.cat([one[key] for one in three[1:]], dim=1))
        assert three[0]["image"].dtype == torch.int16
        for names in zip(*(one["scenes"] for one in three), strict=True):
            assert set(names[0]) == {*names[1], *names[2]}
    # One of the passes leaves the east unseen; Sentinel-2's third date the west.
    seen = torch.cat([batch["observations"] for batch in joint])
    assert set(seen[:, 1].flatten().tolist()) <= {0, 1, 2, 3, 4}
    assert int(seen[:, 1].min()) < int(seen[:, 1].max())


@pytest.mark.usefixtures("served")
def test_the_orbit_filter_and_its_fallback_reach_the_tiles(data: Data) -> None:
    def scenes(**radar: Any) -> set[str]:
        # In June there are ascending passes only.
        made = data(sentinel2=None, sentinel1=radar, end="2022-07-01")
        return {name for batch in batches(made) for names in batch["scenes"] for name in names}

    june = scenes()
    assert {name[17:25] for name in june} == {"20220603", "20220627"}
    assert scenes(orbit="ascending") == june
    assert scenes(orbit="descending") == set()
    assert scenes(orbit="descending", orbit_fallback=True) == june


def test_a_joint_run_writes_what_it_says_and_resumes(
    thor_geo: Any, quick_arguments: Any, both: Path, tmp_path: Path
) -> None:
    arguments = [
        *quick_arguments(tmp_path),
        f"--data.emulator.archive={both}",
        "--data.sentinel1.orbit=ascending",
    ]
    arguments[2] = "configs/quickstart_s1s2.yaml"
    fetched = thor_geo("fetch", *arguments[1:])
    assert fetched.returncode == 0, fetched.stderr
    assert "Fetched 12 blocks" in fetched.stdout, "six blocks of two sensors"
    first = thor_geo(*arguments, "--output.quicklook=true")
    assert first.returncode == 0, first.stderr
    assert "requests" not in first.stdout, "nothing was left to fetch"

    run = tmp_path / "run"
    tiles = gpd.read_parquet(run / "pooled")
    assert set(tiles.status) == {"ok"}
    row = tiles[tiles.epsg == 32633].iloc[0]
    assert {name[:3] for name in row.source_ids} == {"S1A", "202"}
    assert (tiles.n_scenes == tiles.source_ids.map(len)).all()
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert settings["data"]["bands"][-2:] == ["VV", "VH"]
    assert settings["data"]["sentinel1"]["orbit"] == "ascending"
    assert settings["model"]["bands"][-2:] == ["S1:IW-VV", "S1:IW-VH"]
    assert settings["data"]["mean"][-2:] == [-12.985, -20.6958]
    assert (run / "quicklook.png").stat().st_size > 10_000
    check_against_the_parts(run, row, both, tmp_path / "cache")

    checked = thor_geo("validate", run)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    again = thor_geo(*arguments)
    assert again.returncode == 0, again.stderr
    other = thor_geo(*arguments, "--data.sentinel1.orbit=both")
    assert other.returncode == 2
    assert "sentinel1.orbit" in other.stderr


def check_against_the_parts(run: Path, row: Any, both: Path, cache: Path) -> None:
    """Recompute one tile from datasets, normalisation and model, without the command."""
    sensors: list[tuple[AnySensor, Path]] = [
        (SensorSpec(cloudy_pct=60, mask="scl"), both),
        (Sentinel1Spec(orbit="ascending"), both / "S1_GRD"),
    ]
    _, _, left, _, _, top = row["transform"]
    area = AreaSpec(bbox=(left, top - 960, left + 960, top), crs="EPSG:32633").load()
    datasets = []
    for sensor, folder in sensors:
        catalogue = f"emulator-{Archive.open(folder).fingerprint()}"
        store = BlockStore(cache, sensor=sensor, window=WINDOW, catalogue=catalogue)
        datasets.append(
            CompositeDataset(
                DirectSource(store, SessionSpec(project="not asked: all is in the cache")),
                area.geometry,
                lattice=Lattice(epsg=32633, tile_size=96),
                sensor=sensor,
                window=WINDOW,
                block_size=192,
            )
        )
    sample = SensorStack(datasets)[left : left + 960, top - 960 : top]
    names = channels_of([sensor for sensor, _ in sensors])
    model = build_thor("thor_v1_tiny", bands=names, image_size=96, patch_size=16)
    tokens = model.embed(THORNormalize(names)(sample["image"][None])).tokens
    expected = pool_tokens(tokens)[0].detach().numpy()
    np.testing.assert_allclose(row.embedding, expected, rtol=0, atol=1e-5 * abs(expected).max())
    grid = xr.open_zarr(run / "grid.zarr", group="utm33n").embeddings
    cells = merge_groups(tokens, model.layout, "mean")[0].detach().numpy()
    x, y = left + (np.arange(6) + 0.5) * 160, top - (np.arange(6) + 0.5) * 160
    found = grid.sel(x=x, y=y, method="nearest", tolerance=1).values
    np.testing.assert_allclose(found, cells, rtol=0, atol=1e-5 * abs(cells).max())


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("bands", [[], ALL_BANDS], ids=["alone", "14 channels"])
def test_other_numbers_of_channels_are_embedded(data: Data, tmp_path: Path, bands: Any) -> None:
    made = data(sentinel2={"bands": bands} if bands else None, sentinel1={})
    names = channels_of(made.sensors.by_kind.values())
    assert len(names) == len(bands) + 2
    task = THOREmbeddingTask("thor_v1_tiny", pretrained=False, image_size=96, bands=names)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[RunWriter(tmp_path / "run")],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.predict(task, datamodule=made, return_predictions=False)
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert set(tiles.status) == {"ok"}
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["data"]["bands"] == [*bands, "VV", "VH"]
    # Alone nothing of Sentinel-2 decides about the numbers, and the picture says what it shows.
    assert ("sentinel2" in record["settings"]["data"]) == bool(bands)
    picture = record["info"]["data"].get("picture")
    assert picture == (None if bands else "VV, VH, VV - VH")


@pytest.mark.usefixtures("served")
def test_without_sentinel_1_the_settings_say_nothing_of_it(data: Data, both: Path) -> None:
    made = data(sentinel2={"bands": ["B4", "B8"]})
    try:
        settings = made.settings()
        info = made.info()
    finally:
        made.teardown("predict")
    assert settings == {
        "bands": ["B4", "B8"],
        "sentinel2": {
            "collection": S2,
            "bands": ["B4", "B8"],
            "scale_m": 10,
            "cloudy_pct": 60,
            "composite": "median",
            "mask": "none",
            "fill_value": 0,
            "catalogue": f"emulator-{Archive.open(both).fingerprint()}",
        },
        "start": "2022-06-01T00:00:00+00:00",
        "end": "2022-09-01T00:00:00+00:00",
        "normalize": "thor_stats",
        "mean": [0.213948, 0.308133],
        "std": [0.25918, 0.226434],
        "clamp_z": False,
        "nodata_fill": "value",
        "tile_size": 96,
        "stride": 96,
        "resolution": 10,
        "batch_size": 4,
        "recipe_version": 1,
        "block_size": 192,
    }
    assert info["collections"] == [S2]
    assert "picture" not in info


def test_the_command_line_reaches_every_key_of_sentinel_1(root: Path) -> None:
    gee = [
        "-c",
        str(root / "configs" / "gee.yaml"),
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
    ]
    cli = make_cli([*gee, "--data.sentinel1={}", "--data.sentinel2.bands=[B4]"], run=False)
    assert cli.datamodule.sensors.sentinel1 == Sentinel1Spec(scale_m=10)
    assert cli.model.bands == ("S2:Red", "S1:IW-VV", "S1:IW-VH")
    alone = make_cli(
        [*gee, "--data.sentinel1={mode: EW, polarisations: [HH]}", "--data.sentinel2=null"],
        run=False,
    )
    assert alone.model.bands == ("S1:EW-HH",)
    assert alone.datamodule.sensors.sentinel2 is None
    none = make_cli(gee, run=False)
    assert none.datamodule.sensors.sentinel1 is None


def test_an_archive_without_radar_is_named_before_anything_starts(
    data: Data, archive: Path
) -> None:
    made = data(sentinel1={}, emulator={"archive": archive})
    with pytest.raises(ConfigError, match=r"emulator\.archive.*no folder S1_GRD"):
        made.connect()


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"sentinel2": None}, r"sentinel2=None.*no sensor is left"),
        ({"sentinel1": {"orbits": "both"}}, r"no such field: orbits.*polarisations"),
        ({"sentinel1": {"orbit": "up"}}, "ascending"),
        (
            {"sentinel1": {"scale_m": 10}, "resolution": 20},
            r"sentinel1\.scale_m=10.*Leave sentinel1\.scale_m out",
        ),
        ({"sentinel2": {"scale_m": 10}, "resolution": 20}, r"sentinel2\.scale_m=10.*of 20 m"),
        ({"sentinel1": {}, "normalize": "unit_scale"}, "S1:IW-VV has no fixed range"),
        ({"normalize": "log1p_p99"}, "log1p_p99"),
        ({"sentinel1": {"polarisations": []}}, "no polarisation"),
    ],
)
def test_bad_settings_fail_in_the_constructor(data: Data, kwargs: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        data(**kwargs)


def test_a_misspelt_key_of_sentinel_1_is_named_with_the_one_meant(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(root / "configs" / "quickstart_s1s2.yaml")
    with pytest.raises(SystemExit):
        make_cli(["-c", config, "--data.sentinel1.orbits=up"], run=False)
    assert "Did you mean `data.sentinel1.orbit`?" in capsys.readouterr().err
