"""If this fails, a run across 180 degrees misses ground, or its files put it round the world."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import xarray

from thor_geo import BBox, EmulatorSpec, SensorSpec, TemporalSpec, get_embedding
from thor_geo.emulator import generate_archive
from thor_geo.emulator.generate import Acquisition
from thor_geo.runs.plan_file import read_plan

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def fiji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_archive(
        tmp_path_factory.mktemp("fiji") / "scenes",
        size_m=4800,
        center=(180.0, -17.0),
        zones=(32760, 32701),
        acquisitions=(
            Acquisition(date="2022-06-05", cloud_cover=0.1),
            Acquisition(date="2022-07-05", cloud_cover=0.2),
        ),
    )


def test_a_run_across_is_whole_and_both_sides_show_the_same_ground(
    thor_geo: Run, fiji: Path, tmp_path: Path
) -> None:
    out, cache = tmp_path / "run", tmp_path / "cache"
    done = thor_geo(
        "predict",
        "-c",
        "configs/quickstart.yaml",
        f"--data.emulator.archive={fiji}",
        f"--data.cache_dir={cache}",
        "--data.area.bbox=[179.985,-17.008,-179.985,-16.992]",
        "--data.tile_size=96",
        "--data.block_size=192",
        "--model.threads=1",
        "--data.num_workers=0",
        f"--output.dir={out}",
        env={"THOR_GEO_EMULATOR_URL": ""},
    )
    assert done.returncode == 0, done.stderr
    for command in (["validate", out], ["status", out], ["merge", out, "--to", tmp_path / "m.pq"]):
        told = thor_geo(*command)
        assert told.returncode == 0, told.stdout + told.stderr
    frame = geopandas.read_parquet(tmp_path / "m.pq")
    assert set(frame.epsg) == {32701, 32760}
    assert (frame.status == "ok").all()
    assert frame.geometry.is_valid.all()
    assert max(part.bounds[2] - part.bounds[0] for part in shapely.get_parts(frame.geometry)) < 0.02
    for side in ((179.99, -17, 180, -16.99), (-180, -17, -179.99, -16.99)):
        near = geopandas.read_parquet(tmp_path / "m.pq", bbox=side)
        assert len(near) == frame.geometry.intersects(shapely.box(*side)).sum() > 0
    assert read_plan(out / "plan.parquet").crosses_antimeridian
    maps = [
        xarray.open_zarr(out / "grid.zarr", group=zone).embeddings for zone in ("utm60s", "utm01s")
    ]
    assert all(np.isfinite(each.values).any() for each in maps)
    similar = thor_geo("similar", out, "--at", "-179.9999,-17.0", "-k", "3")
    assert similar.returncode == 0, similar.stderr
    part = thor_geo(
        "view", out, "--png", tmp_path / "p.png", "--bbox", "179.99,-17.005,-179.99,-16.995"
    )
    assert part.returncode == 0, part.stderr
    # A place from Python shares the run's cache.
    before = sorted(cache.rglob("*.tif"))
    found = get_embedding(
        "thor_v1_tiny",
        spatial=BBox(west=179.995, south=-17.003, east=-179.996, north=-16.997),
        temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
        sensor=SensorSpec(cloudy_pct=60, mask="scl"),
        backend=EmulatorSpec(archive=fiji),
        cache_dir=cache,
        pretrained=False,
    )
    assert found.meta["crs"] == "EPSG:32760"
    assert found.meta["valid_fraction"] > 0.9
    assert np.isfinite(found.data).all()
    assert set(before) <= set(cache.rglob("*.tif"))
