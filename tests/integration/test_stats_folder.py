"""A folder's statistics: if these fail, a run over GeoTIFFs is normalised by wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

CORNER = (600_960.0, 6_700_800.0)


@pytest.fixture
def config(tmp_path: Path, write_tif: Any) -> tuple[Path, np.ndarray[Any, Any]]:
    """Write two files side by side, and a config; return it and their pixels (red, VV)."""
    rng = np.random.default_rng(5)
    pixels = rng.normal([[[0.6]], [[-12.0]]], [[[0.3]], [[4.0]]], (2, 96, 192)).astype(np.float32)
    pixels[0, :10, :30] = np.nan  # no data of the one sensor, and of the other
    pixels[1, 50:, 100:120] = np.nan
    pixels[0, 90:, 60:120] = 1.7  # brighter than what the model is shown
    write_tif(tmp_path / "tif" / "a.tif", pixels[:, :, :96], CORNER)
    write_tif(tmp_path / "tif" / "b.tif", pixels[:, :, 96:], (CORNER[0] + 960, CORNER[1]))
    path = tmp_path / "run.yaml"
    content = {
        "trainer": {"accelerator": "cpu", "devices": 1},
        "model": {"model_key": "thor_v1_tiny", "pretrained": False, "threads": 1},
        "data": {
            "class_path": "thor_geo.datamodules.FolderDataModule",
            "init_args": {
                "paths": str(tmp_path / "tif"),
                "bands": ["RED", "VV"],
                "scale": 1,
                "start": "2022-06-01",
                "end": "2022-06-02",
                "tile_size": 96,
                "num_workers": 0,
                "normalize": "dataset",
                "statistics": str(tmp_path / "own.json"),
            },
        },
        "output": {"dir": str(tmp_path / "run"), "grid": False, "quicklook": False},
    }
    path.write_text(yaml.safe_dump(content))
    return path, pixels


def test_a_folder_is_measured_as_numpy_does_and_a_run_is_normalised_by_it(
    thor_geo: Any, config: tuple[Path, np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    path, pixels = config
    # The file goes where the config will read it.
    done = thor_geo("stats", "-c", path)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "own.json").read_text())
    assert list(content["channels"]) == ["S2:Red", "S1:IW-VV"]
    red, vv = (plane[np.isfinite(plane)].astype(np.float64) for plane in pixels)
    assert red.max() > 1 > 0 > red.min()
    for row, values in zip(content["channels"].values(), (red.clip(0, 1), vv), strict=True):
        assert row["pixels"] == len(values)
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-6)
        assert row["std"] == pytest.approx(values.std(), rel=1e-6)
    provenance = content["provenance"]
    assert provenance["area"] is None
    assert len(provenance["settings"]["files_sha256"]) == 64
    assert not (tmp_path / "run").exists()

    run = thor_geo("predict", "-c", path)
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    wanted = [row["mean"] for row in content["channels"].values()]
    assert record["settings"]["data"]["mean"] == wanted


def test_a_damaged_file_leaves_no_statistics(
    thor_geo: Any, config: tuple[Path, np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    path, _ = config
    damaged = tmp_path / "tif" / "b.tif"
    damaged.write_bytes(damaged.read_bytes()[:-30_000])
    done = thor_geo("stats", "-c", path, "--to", tmp_path / "here.json")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "b.tif" in done.stdout
    assert "nothing was written" in " ".join(done.stdout.split())
    assert not (tmp_path / "here.json").exists()
