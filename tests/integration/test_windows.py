"""If one of these fails, a run in several time windows gives other numbers than a run of each."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from thor_geo.cli.stats import _measure
from thor_geo.datamodules import CompositeDataModule
from thor_geo.datamodules.reopened import pixels_of
from thor_geo.emulator import (
    EmulatorProcess,
    EmulatorServer,
    FaultPlan,
    FaultRule,
    write_catalogue,
)
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.results import read_tiles
from thor_geo.runs.opened_run import read_run

S2, S1 = "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S1_GRD"
JUNE, LATER = ("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-09-01")
#: No scene is of this one.
WINTER = ("2023-01-01", "2023-02-01")
LISTED = f"--data.windows=[[{','.join(JUNE)}],[{','.join(LATER)}],[{','.join(WINTER)}]]"
ONE_PROCESS = ("--trainer.devices=1", "--data.num_workers=0")


def bytes_of(run: Path) -> dict[str, str]:
    files = [*run.glob("*.parquet"), *run.glob("pooled/*.parquet"), *run.rglob("grid.zarr/**/*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(thor_geo: Any, quick_arguments: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run in three windows over two zones; with its cache."""
    folder = tmp_path_factory.mktemp("windows")
    done = thor_geo(*quick_arguments(folder), LISTED, *ONE_PROCESS, "--output.quicklook=true")
    assert done.returncode == 0, done.stderr
    assert "57 of 57 (19 in each of 3 windows): 38 ok, 19 empty" in done.stdout
    return folder


@pytest.mark.parametrize(("place", "window"), [(0, JUNE), (1, LATER)])
def test_each_window_is_bit_by_bit_a_run_of_that_window_alone(
    thor_geo: Any,
    quickstart: list[str],
    folder: Path,
    tmp_path: Path,
    place: int,
    window: tuple[str, str],
) -> None:
    alone = thor_geo(
        *quickstart,
        f"--data.start={window[0]}",
        f"--data.end={window[1]}",
        f"--data.cache_dir={folder / 'cache'}",
        "--data.num_workers=1",
    )
    assert alone.returncode == 0, alone.stderr
    assert "requests" not in alone.stdout, "its composites are those that are in the cache"
    ours, theirs = (
        gpd.read_parquet(run / "pooled").set_index("id")
        for run in (folder / "run", tmp_path / "run")
    )
    assert len(theirs) == 19
    ours = ours.loc[theirs.index]
    assert set(ours.status) == {"ok"}
    for one, other in zip(ours.embedding, theirs.embedding, strict=True):
        assert one.tobytes() == other.tobytes()
    same = [name for name in theirs.columns if name not in ("embedding", "bbox", "transform")]
    pd.testing.assert_frame_equal(ours[same], theirs[same])
    for zone in ("utm32n", "utm33n"):
        listed, lone = (
            xr.open_zarr(run / "grid.zarr", group=zone).embeddings
            for run in (folder / "run", tmp_path / "run")
        )
        assert listed.dims == ("time", *lone.dims)
        start = pd.Timestamp(window[0])
        assert listed.time.to_index()[place] == start
        assert listed.sel(time=start).values.tobytes() == lone.values.tobytes()
        assert np.isfinite(lone.values).any()
    # Probes, the explorer and other readers of one window get its vectors and its pixels.
    every, one = read_run(folder / "run"), read_run(tmp_path / "run")
    tiles = read_tiles(every, window=place)
    names = [every.plan.tile(index).id for index in tiles.index]
    wanted = np.stack(list(theirs.set_index("tile_id").embedding[names]))
    np.testing.assert_array_equal(tiles.vectors, wanted)
    pixels = []
    for run, which in ((every, place), (one, None)):
        with pixels_of(run, window=which, num_workers=0) as composites:
            parts = list(composites.tiles(np.arange(19)))
            pixels.append(np.concatenate([part.image for part in parts]))
    assert pixels[0].shape[0] == 19
    np.testing.assert_array_equal(*pixels)


def test_a_window_without_scenes_is_empty_in_its_own_rows_alone(folder: Path) -> None:
    rows = gpd.read_parquet(folder / "run" / "pooled")
    winter = rows[rows.datetime_start == pd.Timestamp(WINTER[0], tz="UTC")]
    assert set(winter.status) == {"empty"}
    assert winter.embedding.isna().all()
    assert (winter.n_scenes == 0).all()
    zone = xr.open_zarr(folder / "run" / "grid.zarr", group="utm33n")
    assert zone.embeddings.isel(time=2).isnull().all()
    edges = [zone[name].values[2].astype("datetime64[D]") for name in ("time", "time_end")]
    assert [str(edge) for edge in edges] == list(WINTER)


def test_the_other_commands_know_such_a_run(thor_geo: Any, folder: Path, tmp_path: Path) -> None:
    run = folder / "run"
    checked = thor_geo("validate", run, "--workers=1")
    assert checked.returncode == 0, checked.stdout
    assert "38 ok, 19 empty" in checked.stdout
    status = json.loads(thor_geo("status", run, "--json").stdout)
    assert status["complete"]
    assert (status["tiles"]["total"], status["windows"]) == (57, 3)
    target = tmp_path / "all.parquet"
    merged = thor_geo("merge", run, "--to", target)
    assert merged.returncode == 0, merged.stderr
    rows = gpd.read_parquet(target)
    assert rows.id.is_unique
    assert rows.tile_id.value_counts().eq(3).all()
    assert (run / "quicklook.png").stat().st_size > 10_000
    settings = json.loads((run / "run.json").read_text())["settings"]["data"]
    assert len(settings["windows"]) == 3
    assert "start" not in settings


def test_two_ranks_or_a_stopped_run_give_the_same_bytes(
    thor_geo: Any, quickstart: list[str], folder: Path, tmp_path: Path
) -> None:
    here = [*quickstart, LISTED, f"--data.cache_dir={folder / 'cache'}"]
    half = thor_geo(*here, *ONE_PROCESS, "--job=2/2")
    assert half.returncode == 0, half.stderr
    assert len(list((tmp_path / "run" / "markers").iterdir())) == 3
    rest = thor_geo(*here, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=0")
    assert rest.returncode == 0, rest.stderr
    assert bytes_of(tmp_path / "run") == bytes_of(folder / "run")

    other = thor_geo(*quickstart, f"{LISTED.rpartition(',[')[0]}]", *ONE_PROCESS)
    assert other.returncode == 2
    assert "belongs to another run: data.windows is" in other.stderr


def test_failures_in_one_window_are_told_and_made_again_to_the_same_bytes(
    thor_geo: Any, quickstart: list[str], folder: Path, archive: Path, tmp_path: Path
) -> None:
    dates = (f"--data.start={JUNE[0]}", f"--data.end={JUNE[1]}")
    fetched = thor_geo("fetch", *quickstart[1:], *dates)
    assert fetched.returncode == 0, fetched.stderr
    # June is in the cache, and no other pixels come.
    refused = FaultRule(
        kind="image:computePixels", nth=tuple(range(1, 1000)), status=400, message="Out of memory."
    )
    with EmulatorProcess(archive, faults=FaultPlan(rules=(refused,))) as emulator:
        env = {"THOR_GEO_EMULATOR_URL": emulator.url}
        broken = thor_geo(*quickstart, LISTED, *ONE_PROCESS, env=env)
    assert broken.returncode == 3, broken.stderr + broken.stdout
    rows = gpd.read_parquet(tmp_path / "run" / "pooled")
    states = rows.groupby(rows.datetime_start.dt.strftime("%Y-%m-%d")).status.unique()
    assert {start: list(found) for start, found in states.items()} == {
        JUNE[0]: ["ok"],
        LATER[0]: ["failed"],
        WINTER[0]: ["empty"],
    }
    again = thor_geo(*quickstart, LISTED, *ONE_PROCESS)
    assert again.returncode == 0, again.stderr
    assert bytes_of(tmp_path / "run") == bytes_of(folder / "run")


Data = Callable[..., CompositeDataModule]


@pytest.fixture
def data(both: Path, tmp_path: Path) -> Data:
    def make(**kwargs: Any) -> CompositeDataModule:
        settings: dict[str, Any] = {
            "area": AreaSpec(bbox=(11.98, 59.985, 12.02, 60.005)),
            "windows": [JUNE, LATER],
            "emulator": {"archive": both},
            "sentinel2": {"cloudy_pct": 60},
            "tile_size": 96,
            "shard_tiles": 2,
            "block_size": 192,
            "batch_size": 4,
            "num_workers": 0,
            "cache_dir": tmp_path / "cache",
        }
        return CompositeDataModule(**{**settings, **kwargs})

    return make


def alone(window: tuple[str, str]) -> dict[str, Any]:
    return {"windows": None, "start": window[0], "end": window[1]}


@pytest.fixture
def served(both: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    with EmulatorServer({S2: both, S1: both / "S1_GRD"}) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        yield server


def batches(data: CompositeDataModule) -> list[dict[str, Any]]:
    data.setup("predict")
    try:
        return list(data.predict_dataloader())
    finally:
        data.teardown("predict")


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs) > 1
    for one, other in zip(ours, theirs, strict=True):
        for key in ("image", "observations", "tile"):
            assert torch.equal(one[key], other[key]), key
        assert one["scenes"] == other["scenes"]


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("workers", [0, 2])
def test_both_sensors_get_all_windows(data: Data, workers: int) -> None:
    listed = batches(data(sentinel1={}, num_workers=workers))
    assert [batch["window"][0] for batch in listed] == [0, 1] * (len(listed) // 2)
    assert listed[0]["image"].shape[1:] == (12, 96, 96)
    for place, window in enumerate((JUNE, LATER)):
        ours = [batch for batch in listed if batch["window"][0] == place]
        assert_same(ours, batches(data(sentinel1={}, **alone(window))))


@pytest.mark.usefixtures("served")
def test_a_stac_catalogue_gives_the_same_windows(data: Data, both: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(both, tmp_path / "catalogue", ignore=shutil.ignore_patterns("S1_GRD"))
    write_catalogue(folder)
    stac = {"stac": {"url": str(folder)}, "emulator": None}
    assert_same(batches(data(**stac)), batches(data()))


def test_what_cannot_be_fetched_of_one_window_fails_in_that_window_alone(
    data: Data, both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = FaultRule(
        kind="image:computePixels", nth=tuple(range(1, 500)), status=400, message="Out of memory."
    )
    with EmulatorServer({S2: both}) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        whole = batches(data(**alone(JUNE)))
    with EmulatorServer({S2: both}, faults=FaultPlan(rules=(refused,))) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        listed = batches(data())
    assert_same([batch for batch in listed if batch["window"][0] == 0], whole)
    for batch in listed:
        failed = batch["window"][0] == 1
        assert all(("Out of memory" in (error or "")) == failed for error in batch["error"])


@pytest.mark.usefixtures("served")
def test_statistics_are_of_all_windows(data: Data) -> None:
    def measured(**kwargs: Any) -> dict[str, tuple[float, int]]:
        made = data(**kwargs)
        made.setup("predict")
        try:
            found = _measure(made, shown=False)
            rows = found.statistics({}).channels
            return {name: (row.mean * row.pixels, row.pixels) for name, row in rows.items()}
        finally:
            made.teardown("predict")

    parts = [measured(**alone(window)) for window in (JUNE, LATER)]
    for name, (total, pixels) in measured().items():
        assert pixels == sum(part[name][1] for part in parts)
        assert total == pytest.approx(sum(part[name][0] for part in parts), rel=1e-9)


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"labels": Path("labels.tif")}, r"windows=.*`labels` is for training.*start and end"),
        (
            {"sentinel2": {"scenes": ["20220605T100601_20220605T100600_T32VPM"]}},
            r"scenes=.*`windows` is a list",
        ),
        ({"start": "2022-06-01"}, "`windows` is given too"),
        ({"windows": None}, "data.start and data.end required"),
    ],
)
def test_what_does_not_go_with_windows_is_refused(data: Data, kwargs: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        data(**kwargs)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_training_takes_one_window(data: Data, stage: str) -> None:
    with pytest.raises(ConfigError, match=rf"windows=.*`{stage}` is for training"):
        data().setup(stage)
