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

from thor_geo.area import LONLAT, AreaSpec, transformer
from thor_geo.cli import main
from thor_geo.composites import BlockStore, DirectSource
from thor_geo.datasets import CompositeDataset
from thor_geo.earthengine.session import SessionSpec
from thor_geo.emulator import Archive, EmulatorProcess, EmulatorServer, FaultPlan, FaultRule
from thor_geo.grid import Lattice
from thor_geo.models import build_thor, merge_groups, pool_tokens
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
    thor_geo: Any, quickstart: list[object], tmp_path: Path, archive: Path
) -> None:
    run = tmp_path / "run"
    first = thor_geo(*quickstart)
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

    other = thor_geo(*quickstart, "--data.mask=none")
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
    thor_geo: Any, quickstart: list[object], archive: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # The first two pixel requests fail for good (a permanent refusal to compute that block).
    faults = FaultPlan(
        rules=(
            FaultRule(
                kind="image:computePixels",
                probability=0.3,
                seed=1,
                status=400,
                message="User memory limit exceeded.",
            ),
        )
    )
    with EmulatorProcess(archive, faults=faults) as emulator:
        broken = thor_geo(*quickstart, env={"THOR_GEO_EMULATOR_URL": emulator.url})
    assert broken.returncode == 3, broken.stderr + broken.stdout
    tiles = gpd.read_parquet(run / "pooled")
    failed = tiles[tiles.status == "failed"]
    assert 0 < len(failed) < len(tiles)
    assert failed.embedding.isna().all()
    assert failed.error.str.contains("memory").all()
    assert list((run / "failures").glob("*.jsonl"))

    mended = thor_geo(*quickstart)
    assert mended.returncode == 0, mended.stderr
    assert set(gpd.read_parquet(run / "pooled").status) == {"ok"}
    assert not list((run / "failures").glob("*.jsonl"))

    undisturbed = tmp_path / "undisturbed"
    assert thor_geo(*quickstart, f"--output.dir={undisturbed}").returncode == 0
    assert outputs(run) == outputs(undisturbed)


def test_an_area_without_scenes_gives_empty_tiles(
    thor_geo: Any, quickstart: list[object], tmp_path: Path
) -> None:
    done = thor_geo(*quickstart, "--data.start=2019-01-01", "--data.end=2019-02-01")
    assert done.returncode == 0, done.stderr
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert set(tiles.status) == {"empty"}
    assert tiles.embedding.isna().all()
    assert (tiles.n_scenes == 0).all()
    grid = xr.open_zarr(tmp_path / "run" / "grid.zarr", group="utm32n").embeddings
    assert bool(grid.isnull().all())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--data.end=2022-05-01"], "not after"),
        (["--data.area.bbox=[12,60,11,61]"], "west"),
        (["--data.area.bbox=[12,84.5,13,85]"], "84 N"),
        (["--data.bands=[B2,B10]"], "B10"),
        (["--data.normalize=zscore"], "normalize"),
        (["--model.group_merge=max"], "group_merge"),
        (["--model.model_key=thor_v1_huge"], "thor_v1_huge"),
        (["--model.patch_size=17"], "17"),
        (["--model.ckpt=missing.pt"], "missing.pt"),
        (["--data.colour=red"], "colour"),
        (["--trainer.use_distributed_sampler=true"], "use_distributed_sampler"),
        (["--output.dir=README.md/run"], "README.md"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_fails_before_work_starts_and_says_what_to_do(
    quickstart: list[object],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    says: str,
) -> None:
    # in this process: importing Lightning anew for each would take minutes
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["thor-geo"])
    try:
        code = main([*map(str, quickstart), *args])
    except SystemExit as exit_of_the_parser:
        code = exit_of_the_parser.code
    assert code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run" / "pooled").exists()
    assert not (tmp_path / "cache" / "blocks").exists()


def test_missing_credentials_are_told_before_work_starts(thor_geo: Any, tmp_path: Path) -> None:
    done = thor_geo(
        "predict",
        "-c",
        "configs/gee.yaml",
        "--model.pretrained=false",
        "--model.model_key=thor_v1_tiny",
        "--trainer.accelerator=cpu",
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--output.dir={tmp_path / 'run'}",
        env={"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"},
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "earthengine authenticate" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "pooled").exists()
