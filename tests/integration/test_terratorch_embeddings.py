"""`terratorch predict` with the shipped config: THOR's maps, written by TerraTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
import yaml

from thor_geo.ground.lattice import zone_name
from thor_geo.runs.opened_run import read_run
from thor_geo.support.processes import child_environment

pytest.importorskip("terratorch", reason="install it with: pip install 'thor-geo[terratorch]'")

CONFIG = "configs/terratorch/embeddings.yaml"

# The command itself, which has another name in each environment.
_TERRATORCH = "import sys; from terratorch.__main__ import main; sys.exit(main())"

DATA = {
    "area": {"bbox": [11.98, 59.985, 12.02, 60.005]},
    "sentinel2": {"cloudy_pct": 60},
    "tile_size": 96,
    "block_size": 192,
    "batch_size": 4,
    "num_workers": 0,
}


def run(root: Path, *command: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=root,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def settings(archive: Path, tmp_path: Path) -> dict[str, Any]:
    """Return settings of the data that both commands get."""
    source = {"emulator": {"archive": str(archive)}, "cache_dir": str(tmp_path / "cache")}
    return DATA | source


@pytest.fixture
def config(settings: dict[str, Any], tmp_path: Path, root: Path) -> Path:
    """Write the shipped config for a small area and model; everything else is as shipped."""
    content = yaml.safe_load((root / CONFIG).read_text())
    content["predict_output_dir"] = str(tmp_path / "out")
    content["trainer"] |= {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "default_root_dir": str(tmp_path / "out"),
    }
    content["model"]["init_args"]["output_dir"] = str(tmp_path / "out")
    content["model"]["init_args"]["model_args"] |= {
        "backbone": "thorgeo_thor_v1_tiny",
        "backbone_pretrained": False,
        "backbone_input_params": {"ground_covers": [960], "flexivit_patch_size_seqs": [16]},
    }
    del content["data"]["init_args"]["earthengine"]
    content["data"]["init_args"] |= settings
    path = tmp_path / "embeddings.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.long
def test_its_files_are_the_runs_maps_where_they_belong(
    config: Path, settings: dict[str, Any], tmp_path: Path, root: Path
) -> None:
    run(root, "-c", _TERRATORCH, "predict", "-c", config)
    own = tmp_path / "own.yaml"
    own.write_text(
        yaml.safe_dump(
            {
                "model": {"model_key": "thor_v1_tiny", "pretrained": False, "patch_size": 16},
                "data": settings | {"start": "2022-06-01", "end": "2022-09-01"},
                "output": {"dir": str(tmp_path / "run"), "grid": True},
                "trainer": {"accelerator": "cpu"},
            }
        )
    )
    run(root, "-m", "thor_geo", "predict", "-c", own)
    plan = read_run(tmp_path / "run").plan
    files = {path.name: path for path in (tmp_path / "out" / "layer_00").glob("*.tif")}
    assert set(files) == {f"{tile.id}_embedding.tif" for tile in plan.tiles(range(len(plan)))}
    for tile in plan.tiles(range(len(plan))):
        with rasterio.open(files[f"{tile.id}_embedding.tif"]) as file:
            assert (file.crs.to_epsg(), tuple(file.bounds)) == (tile.epsg, tile.bounds)
            assert file.res == (160, 160)
            values, x, y = file.read(), *file.xy(0, 0)
        left, bottom, right, top = tile.bounds
        zone = xarray.open_zarr(tmp_path / "run" / "grid.zarr", group=zone_name(tile.epsg))
        ours = zone.embeddings.sel(x=slice(left, right), y=slice(top, bottom))
        assert (float(ours.x[0]), float(ours.y[0])) == (x, y)
        assert np.abs(values - ours.values).max() < 1e-5 * np.abs(ours.values).max()
