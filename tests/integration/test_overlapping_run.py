"""Overlapping tiles through the command: one map, of the same bytes by every path."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr

from thor_geo.composites import BlockStore, DirectSource
from thor_geo.datasets import CompositeDataset
from thor_geo.emulator import Archive, EmulatorServer
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.models import build_thor, merge_groups
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.transforms import THORNormalize

# Tiles of 6 cells of 16 pixels: a halo of one cell.
TILE, HALO, CELL = 960, 160, 160


def contents(run: Path) -> dict[str, str]:
    files = [*run.glob("pooled/*.parquet"), *(run / "grid.zarr").rglob("*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


@pytest.fixture(scope="module")
def overlapping(
    thor_geo: Any, quick_arguments: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a finished run with a halo, in one process."""
    folder = tmp_path_factory.mktemp("overlap")
    arguments = ("--data.stride=64", "--data.num_workers=0", "--output.quicklook=true")
    done = thor_geo(*quick_arguments(folder), *arguments)
    assert done.returncode == 0, done.stderr
    return folder


def test_ranks_workers_and_stops_do_not_change_the_bytes(
    thor_geo: Any, quick_arguments: Any, overlapping: Path, tmp_path: Path
) -> None:
    """Ranks that write one map must never touch the same cells."""
    arguments = [
        *quick_arguments(tmp_path),
        "--data.stride=64",
        "--data.num_workers=1",
        f"--data.cache_dir={overlapping / 'cache'}",
    ]
    for job in ("1/2", "2/2"):
        done = thor_geo(*arguments, f"--job={job}")
        assert done.returncode in (0, 3), done.stderr
    run = tmp_path / "run"
    assert contents(run) == contents(overlapping / "run")
    # What is lost is made again, and nothing else.
    lost = sorted((run / "markers").iterdir())[1]
    lost.unlink()
    done = thor_geo(*arguments, "--trainer.devices=2", "--trainer.strategy=ddp")
    assert done.returncode == 0, done.stderr
    assert lost.is_file()
    assert contents(run) == contents(overlapping / "run")


def test_the_map_is_of_the_tiles_centres(overlapping: Path, archive: Path) -> None:
    """Recomputed from the composite: a cell of a halo, or of another place, would be far off."""
    run = overlapping / "run"
    sensor = SensorSpec(cloudy_pct=60, mask="scl")
    window = TemporalSpec.range("2022-06-01", "2022-09-01")
    catalogue = f"emulator-{Archive.open(archive).fingerprint()}"
    store = BlockStore(overlapping / "cache", sensor=sensor, window=window, catalogue=catalogue)
    plan = gpd.read_parquet(run / "plan.parquet")
    row = plan[plan.epsg == 32632].iloc[7]
    _, _, left, _, _, top = row["transform"]
    with EmulatorServer(archive) as server:
        area = AreaSpec(bbox=(left, top - TILE, left + TILE, top), crs="EPSG:32632").load()
        dataset = CompositeDataset(
            DirectSource(store, SessionSpec(credentials="anonymous", url=server.url)),
            area.geometry,
            lattice=Lattice(epsg=32632, tile_size=96, stride=64),
            sensor=sensor,
            window=window,
            block_size=192,
        )
        sample = dataset[left : left + TILE, top - TILE : top]
    model = build_thor(
        "thor_v1_tiny", bands=[b.channel for b in sensor.thor_bands], image_size=96, patch_size=16
    )
    tokens = model.embed(THORNormalize(sensor.selection)(sample["image"][None])).tokens
    cells = merge_groups(tokens, model.layout, "mean")[0].detach().numpy()
    assert cells.shape[1:] == (6, 6)
    grid = xr.open_zarr(run / "grid.zarr", group="utm32n").embeddings
    at = HALO + (np.arange(4) + 0.5) * CELL
    found = grid.sel(x=left + at, y=top - at, method="nearest", tolerance=1).values
    np.testing.assert_allclose(
        found, cells[:, 1:5, 1:5], rtol=0, atol=1e-5 * float(np.abs(cells).max())
    )
    # The halo's cells are those of the tiles beside it, which see other ground.
    beside = grid.sel(x=left + CELL / 2, y=top - at, method="nearest", tolerance=1).values
    assert np.abs(beside - cells[:, 1:5, 0]).max() > 1e-3


def test_a_halo_makes_tile_borders_fade(thor_geo: Any, quick_run: Path, overlapping: Path) -> None:
    """If this fails, overlap costs tiles and buys nothing, or the seam ratio does not show it."""
    ratios = [
        json.loads(thor_geo("validate", run, "--json").stdout)["seams"]["ratio"]
        for run in (quick_run / "run", overlapping / "run")
    ]
    assert ratios[1] < 0.9 * ratios[0]


def test_the_other_commands_know_it(thor_geo: Any, overlapping: Path) -> None:
    """A run that validate or merge cannot read is of no use."""
    run = overlapping / "run"
    done = thor_geo("validate", run, "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["tiles"]["ok"] == told["tiles"]["total"] >= 30
    assert 0 < told["seams"]["ratio"] < 10
    assert len(told["seams"]["profile"]) == 4
    done = thor_geo("merge", run)
    assert done.returncode == 0, done.stderr
    assert (run / "quicklook.png").stat().st_size > 10_000
    assert f"{told['tiles']['total']} of {told['tiles']['total']}" in thor_geo("status", run).stdout


def test_cropping_leaves_the_area(
    thor_geo: Any, quick_arguments: Any, overlapping: Path, tmp_path: Path
) -> None:
    """The command must hand the area to whoever crops, and keep every vector."""
    done = thor_geo(
        *quick_arguments(tmp_path),
        "--data.stride=64",
        "--data.num_workers=0",
        f"--data.cache_dir={overlapping / 'cache'}",
        "--output.crop=true",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    for zone, epsg in (("utm32n", 32632), ("utm33n", 32633)):
        whole, cropped = (
            xr.open_zarr(path / "grid.zarr", group=zone).embeddings.compute()
            for path in (overlapping / "run", run)
        )
        x, y = (a.ravel() for a in np.meshgrid(cropped.x, cropped.y))
        places = gpd.GeoSeries.from_xy(x, y, crs=epsg).to_crs(4326)
        strip = places.x < 12 if epsg == 32632 else places.x >= 12
        inside = places.x.between(11.98, 12.02) & places.y.between(59.985, 60.005) & strip
        values = cropped.values.reshape(len(cropped.band), -1)
        there = np.isfinite(values).all(axis=0)
        # A parallel is drawn with a point every 0.01 degrees: it is off by less than a metre.
        assert (there != inside.to_numpy()).sum() <= 1
        assert np.array_equal(values[:, there], whole.values.reshape(len(whole.band), -1)[:, there])
    vectors = [gpd.read_parquet(path / "pooled") for path in (overlapping / "run", run)]
    one, other = (np.stack(table.embedding) for table in vectors)
    assert np.array_equal(one, other)
    done = thor_geo("validate", run)
    assert done.returncode == 0, done.stdout
