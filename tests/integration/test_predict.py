"""The command itself, from configuration to files, through the unmodified Earth Engine client."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from thor_geo.cli.main import main
from thor_geo.composites import BlockStore, DirectSource
from thor_geo.datasets import CompositeDataset
from thor_geo.emulator import Archive, EmulatorProcess, EmulatorServer, FaultPlan, FaultRule
from thor_geo.emulator._faults import NO_PERMISSION
from thor_geo.ground.area import LONLAT, AreaSpec, transformer
from thor_geo.ground.lattice import Lattice
from thor_geo.models import build_thor, merge_groups, pool_tokens
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.transforms import THORNormalize


def outputs(run: Path) -> dict[str, str]:
    """Return the sha256 of every file that holds embeddings."""
    files = [*run.glob("pooled/*.parquet"), *run.glob("grid.zarr/**/c/**/*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


def test_a_run_writes_what_it_says_and_resumes(
    thor_geo: Any, thor_geo_process: Any, quickstart: list[str], tmp_path: Path, archive: Path
) -> None:
    run = tmp_path / "run"
    first = thor_geo_process(*quickstart, "--output.quicklook=true")
    assert first.returncode == 0, first.stderr
    for word in ("tiles/s", "km2", "geopandas.read_parquet", "xarray.open_zarr"):
        assert word in first.stdout

    plan = gpd.read_parquet(run / "plan.parquet")
    tiles = gpd.read_parquet(run / "pooled")
    assert sorted(tiles.tile_id) == sorted(plan.tile_id)
    assert set(tiles.epsg) == {32632, 32633}
    assert set(tiles.status) == {"ok"}
    assert tiles.valid_fraction.between(0, 1).all()
    assert (tiles.n_scenes == tiles.source_ids.map(len)).all()
    assert tiles.n_scenes.max() >= 3
    box = shapely.box(11.98, 59.985, 12.02, 60.005)
    assert tiles.union_all().covers(box)
    few = gpd.read_parquet(run / "pooled", bbox=(11.98, 59.985, 11.985, 59.99))
    assert 0 < len(few) < len(tiles)
    assert (run / "quicklook.png").stat().st_size > 10_000

    record = json.loads((run / "run.json").read_text())
    text = json.dumps(record)
    for key in ("model_key", "weights_sha256", "normaliz", "group_merge", "ground_cover_m"):
        assert key in text
    assert "random weights (seed 0)" in text
    assert str(tmp_path) not in json.dumps(record["settings"])

    check_against_the_parts(run, tiles, archive, tmp_path / "cache")

    before = outputs(run)
    second = thor_geo(*quickstart)
    assert second.returncode == 0, second.stderr
    assert outputs(run) == before

    other = thor_geo(*quickstart, "--data.sentinel2.mask=none")
    assert other.returncode == 2
    assert "mask" in other.stderr
    assert "output.dir" in other.stderr
    assert "Traceback" not in other.stderr
    assert outputs(run) == before


def check_against_the_parts(run: Path, tiles: gpd.GeoDataFrame, archive: Path, cache: Path) -> None:
    """Recompute one tile from dataset, normalisation and model, without the command."""
    sensor = SensorSpec(cloudy_pct=60, mask="scl")
    window = TemporalSpec.range("2022-06-01", "2022-09-01")
    catalogue = f"emulator-{Archive.open(archive).fingerprint()}"
    store = BlockStore(cache, sensor=sensor, window=window, catalogue=catalogue)
    with EmulatorServer(archive) as server:
        source = DirectSource(store, SessionSpec(credentials="anonymous", url=server.url))
        row = tiles[tiles.epsg == 32633].iloc[0]
        _, _, left, _, _, top = row["transform"]
        area = AreaSpec(bbox=(left, top - 960, left + 960, top), crs="EPSG:32633").load()
        dataset = CompositeDataset(
            source,
            area.geometry,
            lattice=Lattice(epsg=32633, tile_size=96),
            sensor=sensor,
            window=window,
            block_size=192,
        )
        sample = dataset[left : left + 960, top - 960 : top]
    model = build_thor(
        "thor_v1_tiny", bands=[b.channel for b in sensor.thor_bands], image_size=96, patch_size=16
    )
    image = THORNormalize(sensor.selection)(sample["image"][None])
    tokens = model.embed(image).tokens
    expected = pool_tokens(tokens)[0].detach().numpy()
    np.testing.assert_allclose(row.embedding, expected, rtol=0, atol=1e-5 * abs(expected).max())

    grid = xr.open_zarr(run / "grid.zarr", group="utm33n").embeddings
    cells = merge_groups(tokens, model.layout, "mean")[0].detach().numpy()
    side = cells.shape[-1]
    assert side == 6
    # every cell's centre: found by coordinates, not by index
    x = left + (np.arange(side) + 0.5) * 160
    y = top - (np.arange(side) + 0.5) * 160
    found = grid.sel(x=x, y=y, method="nearest", tolerance=1).values
    np.testing.assert_allclose(found, cells, rtol=0, atol=1e-5 * abs(cells).max())
    lon, lat = transformer("EPSG:32633", LONLAT).transform(left + 480, top - 480)
    assert row.geometry.contains(shapely.Point(lon, lat))


def test_failed_tiles_keep_a_row_and_the_next_run_makes_them(
    thor_geo: Any, quickstart: list[str], archive: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # Three of the six blocks come, the others are refused in any size.
    refused = FaultRule(
        kind="image:computePixels",
        nth=tuple(range(4, 1000)),
        status=400,
        message="User memory limit exceeded.",
    )
    with EmulatorProcess(archive, faults=FaultPlan(rules=(refused,))) as emulator:
        broken = thor_geo(*quickstart, env={"THOR_GEO_EMULATOR_URL": emulator.url})
    assert broken.returncode == 3, broken.stderr + broken.stdout
    tiles = gpd.read_parquet(run / "pooled")
    failed = tiles[tiles.status == "failed"]
    assert 0 < len(failed) < len(tiles)
    assert failed.embedding.isna().all()
    assert failed.error.str.contains("memory").all()
    assert list((run / "failures").glob("*.jsonl"))
    done = set(tiles.tile_id[tiles.status == "ok"])

    never = FaultPlan(
        rules=(FaultRule(kind="image:computePixels", status=400, message="Out of memory"),)
    )
    with EmulatorProcess(archive, faults=never) as emulator:
        strict = thor_geo(*quickstart, "--strict", env={"THOR_GEO_EMULATOR_URL": emulator.url})
    assert strict.returncode == 75, strict.stderr
    assert "BlockError" in strict.stderr
    assert "Out of memory" in strict.stderr
    assert "Traceback" not in strict.stderr
    tiles = gpd.read_parquet(run / "pooled")
    assert done <= set(tiles.tile_id[tiles.status == "ok"]), "nothing written is lost"

    mended = thor_geo(*quickstart)
    assert mended.returncode == 0, mended.stderr
    assert set(gpd.read_parquet(run / "pooled").status) == {"ok"}
    assert not list((run / "failures").glob("*.jsonl"))

    undisturbed = tmp_path / "undisturbed"
    assert thor_geo(*quickstart, f"--output.dir={undisturbed}").returncode == 0
    assert outputs(run) == outputs(undisturbed)


def test_an_area_without_scenes_gives_empty_tiles(
    thor_geo: Any, quickstart: list[str], tmp_path: Path
) -> None:
    done = thor_geo(*quickstart, "--data.start=2019-01-01", "--data.end=2019-02-01")
    assert done.returncode == 0, done.stderr
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert set(tiles.status) == {"empty"}
    assert tiles.embedding.isna().all()
    assert (tiles.n_scenes == 0).all()
    grid = xr.open_zarr(tmp_path / "run" / "grid.zarr", group="utm32n").embeddings
    assert bool(grid.isnull().all())


#: Arguments, the error's class, and words that the message must have: the argument, its value, and
#: what to do instead.
BAD: list[tuple[list[str], str, list[str]]] = [
    (
        ["--data.end=2022-05-01"],
        "ConfigError",
        ["end='2022-05-01'", "not after start=2022-06-01", "give an end date at least one day"],
    ),
    (["--data.start=yesterday"], "ConfigError", ["start='yesterday'", "YYYY-MM-DD"]),
    (
        ["--data.area.bbox=[12,60,11,61]"],
        "AreaError",
        ["bbox=(12.0, 60.0, 11.0, 61.0)", "west, south, east, north"],
    ),
    (
        ["--data.area.bbox=[12,84.5,13,85]"],
        "AreaError",
        ["84.5", "Cut the area at 80 S and 84 N"],
    ),
    (
        ["--data.area={}"],
        "AreaError",
        ["exactly one area is needed", "bbox, point with buffer_m, file, or points"],
    ),
    (
        ["--data.area={bbox: [11.98,59.985,12.02,60.005], point: [12, 60], buffer_m: 500}"],
        "AreaError",
        ["['bbox', 'point']", "exactly one area is needed"],
    ),
    (["--data.area={point: [12.0, 60.0]}"], "AreaError", ["buffer_m", "Give metres"]),
    (
        ["--data.area={point: [12.0, 60.0], radius: 500}"],
        "ConfigError",
        ["data.area.radius=500", "there is no such key"],
    ),
    (["--data.area={file: nowhere.geojson}"], "AreaError", ["nowhere.geojson", "no such file"]),
    (
        ["--data.area={points: TMP/points.csv}"],
        "AreaError",
        ["points.csv", "twelve", "Give decimal degrees"],
    ),
    (
        ["--data.sentinel2.bands=[B2,B10]"],
        "BandError",
        ["bands='B10'", "without B10", "Choose from: B4, B3"],
    ),
    (["--model.bands=[RED]"], "ConfigError", ["model.bands", "RED", "Set data.sentinel2.bands"]),
    (
        ["--data.normalize=zscore"],
        "ConfigError",
        ["data.normalize='zscore'", "Choose thor_stats, unit_scale, none, dataset or log1p_p99."],
    ),
    (
        ["--data.sentinel2.mask=clouds"],
        "ConfigError",
        ["data.sentinel2.mask='clouds'", "Choose none, scl or cloud_score_plus."],
    ),
    (
        ["--model.group_merge=max"],
        "ConfigError",
        ["model.group_merge='max'", "Choose mean, sum or concat."],
    ),
    (
        ["--model.model_key=thor_v1_huge"],
        "ConfigError",
        ["model_key='thor_v1_huge'", "Choose from: thor_v1_tiny, thor_v1_small"],
    ),
    (
        ["--model.patch_size=17"],
        "LayoutError",
        ["17 x 10 = 170 m", "96 px x 10 m = 960 m", "68 or 102 px", "take a patch_size of 4, 6, 8"],
    ),
    (["--model.ckpt=missing.pt"], "CheckpointError", ["ckpt='missing.pt'", "Give the path"]),
    (["--data.tile_size=big"], "ConfigError", ["data.tile_size='big'", "Give an integer"]),
    (
        ["--data.tile_size=192", "--data.stride=100", "--output.grid=false"],
        "ConfigError",
        ["stride=100", "patch_size=16", "take a multiple"],
    ),
    (["--data.stride=100"], "ConfigError", ["stride=100", "tile_size=96", "leave gaps"]),
    (
        ["--data.stride=48"],
        "ConfigError",
        [
            "stride=48",
            "24 px on each side",
            "cells of 16 px",
            "stride=64 or 32",
            "output.grid=false",
        ],
    ),
    (
        ["--data.colour=red"],
        "ConfigError",
        ["data.colour='red'", "there is no such key", "thor-geo predict --help"],
    ),
    (["--data.tile_sise=96"], "ConfigError", ["data.tile_sise=96", "mean `data.tile_size`"]),
    (
        ["--trainer.use_distributed_sampler=true"],
        "ConfigError",
        ["use_distributed_sampler=True", "Set trainer.use_distributed_sampler to false"],
    ),
    (
        ["--trainer.devices=0"],
        "ConfigError",
        ["'devices': '0'", "not a valid input", "Correct the key"],
    ),
    (
        ["--output.dir=README.md/run"],
        "RunDirectoryError",
        ["output.dir='README.md/run'", "README.md is a file", "Choose another output.dir"],
    ),
    (
        ["--output.pooled=false", "--output.grid=false"],
        "ConfigError",
        ["'pooled': False, 'grid': False", "Set one of them to true"],
    ),
    (
        ["--data.cache_dir=README.md/cache"],
        "ConfigError",
        ["cache_dir='README.md/cache'", "Choose a folder where you may write"],
    ),
]


@pytest.fixture(scope="module")
def _loaded() -> None:
    """Load Lightning before a test captures its output: its log handlers keep that stream."""
    import thor_geo.cli.predict  # noqa: F401


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize(("args", "error", "says"), BAD, ids=[" ".join(args) for args, *_ in BAD])
def test_bad_input_fails_before_work_starts_and_says_what_to_do(
    quickstart: list[str],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    error: str,
    says: list[str],
) -> None:
    (tmp_path / "points.csv").write_text("lon,lat\n12.0,60.0\ntwelve,60.001\n")
    emulators: list[EmulatorProcess] = []
    start = EmulatorProcess.start

    def recorded(emulator: EmulatorProcess) -> EmulatorProcess:
        emulators.append(emulator)
        return start(emulator)

    monkeypatch.setattr(EmulatorProcess, "start", recorded)
    # in this process: importing Lightning anew for each would take minutes
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["thor-geo"])
    given = [arg.replace("TMP", str(tmp_path)) for arg in args]
    code: object
    try:
        code = main([*quickstart, *given])
    except SystemExit as exit_of_the_parser:
        code = exit_of_the_parser.code
    assert code == 2
    stderr = capsys.readouterr().err
    assert f"thor-geo: {error}: " in stderr
    message = stderr[stderr.index("thor-geo: ") :]
    for words in says:
        assert words in message
    assert "usage:" not in stderr, "it would bury the message"
    assert "Traceback" not in stderr
    assert not emulators, "it can be seen without a service"
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "pooled").exists()
    assert not (tmp_path / "cache" / "blocks").exists()


def test_an_area_on_the_command_line_replaces_that_of_the_config(
    thor_geo: Any, quickstart: list[str], tmp_path: Path
) -> None:
    whole = "--data.area={point: [12.0, 60.0], buffer_m: 500}"
    # the quick run's arguments name a box, as the config does; both must give way
    done = thor_geo(*quickstart, whole, "--data.num_workers=0")
    assert done.returncode == 0, done.stderr
    tiles = gpd.read_parquet(tmp_path / "run" / "plan.parquet")
    x, y = transformer(LONLAT, "EPSG:32633").transform(12.0, 60.0)
    square = gpd.GeoSeries([shapely.box(x - 500, y - 500, x + 500, y + 500)], crs="EPSG:32633")
    assert tiles.geometry.intersects(square.to_crs(tiles.crs).iloc[0].buffer(1e-6)).all()
    assert tiles.union_all().buffer(1e-6).covers(square.to_crs(tiles.crs).iloc[0])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["plan"]["area_km2"] > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_refused_project_ends_the_run_and_names_the_roles(
    thor_geo: Any, quickstart: list[str], archive: Path, workers: int
) -> None:
    refusal = FaultRule(kind="image:computePixels", status=403, message=NO_PERMISSION)
    with EmulatorProcess(archive, faults=FaultPlan(rules=(refusal,))) as emulator:
        done = thor_geo(
            *quickstart,
            f"--data.num_workers={workers}",
            env={"THOR_GEO_EMULATOR_URL": emulator.url},
        )
    assert done.returncode == 2, done.stdout + done.stderr
    message = done.stderr[done.stderr.index("thor-geo: ProjectError: ") :]
    assert "data.earthengine.project" in message
    assert "gcloud projects add-iam-policy-binding" in message
    assert "roles/serviceusage.serviceUsageConsumer" in message
    assert "Traceback" not in done.stderr


def test_missing_credentials_are_told_before_work_starts_and_bind_nothing(
    thor_geo: Any, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
    arguments = (
        "predict",
        "-c",
        "configs/gee.yaml",
        "--model.pretrained=false",
        "--model.model_key=thor_v1_tiny",
        "--trainer.accelerator=cpu",
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--output.dir={tmp_path / 'run'}",
    )
    # with the window corrected the second time: nothing of the first try may stand against it
    for start in ("2022-05-01", "2022-06-01"):
        done = thor_geo(*arguments, f"--data.start={start}", env=home)
        assert done.returncode == 2, done.stdout + done.stderr
        message = done.stderr[done.stderr.index("thor-geo: AuthenticationError: ") :]
        assert "earthengine authenticate" in message
        assert "data.earthengine.service_account_file" in message
        assert "Traceback" not in done.stderr
        assert not any((tmp_path / "run" / name).exists() for name in ("run.json", "pooled"))
