"""The pixels behind a run can be had again: a baseline on raw bands compares like with like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from thor_geo.cli.main import main
from thor_geo.datamodules.reopened import pixels_of
from thor_geo.errors import RunDirectoryError
from thor_geo.runs.opened_run import read_run

_BANDS = ["S2:Red", "S2:NIR"]


@pytest.fixture(scope="module")
def run(write_tif: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run over a GeoTIFF of 2 x 2 tiles of 64 px whose pixels are drawn at random."""
    folder = tmp_path_factory.mktemp("pixels")
    values = np.random.default_rng(0).integers(1, 9000, (2, 128, 128), dtype=np.uint16)
    write_tif(folder / "scene.tif", values, (600_000, 6_640_000), nodata=0)
    (folder / "run.yaml").write_text(
        json.dumps(
            {
                "trainer": {"accelerator": "cpu", "devices": 1},
                "model": {"model_key": "thor_v1_tiny", "pretrained": False, "patch_size": 16},
                "data": {
                    "class_path": "thor_geo.datamodules.FolderDataModule",
                    "init_args": {
                        "paths": str(folder / "scene.tif"),
                        "bands": _BANDS,
                        "start": "2022-06-01",
                        "end": "2022-07-01",
                        "tile_size": 64,
                        "batch_size": 3,
                        "num_workers": 0,
                    },
                },
                "output": {"dir": str(folder / "out"), "quicklook": False},
            }
        )
    )
    assert main(["predict", "-c", str(folder / "run.yaml")]) == 0
    return folder


def test_the_pixels_are_those_of_the_file_where_the_tile_lies(run: Path) -> None:
    opened = read_run(run / "out")
    wanted = np.arange(1, len(opened.plan))
    seen = []
    with pixels_of(opened) as pixels, rasterio.open(run / "scene.tif") as file:
        assert list(pixels.bands) == _BANDS
        for part in pixels.tiles(wanted):
            for tile, image in zip(part.tile.tolist(), part.image, strict=True):
                window = file.window(*opened.plan.tile(tile).bounds)
                true = file.read(window=window, boundless=True, fill_value=0)
                np.testing.assert_array_equal(np.nan_to_num(image), true)
                seen.append(tile)
    assert seen == wanted.tolist()


def test_pixels_that_have_changed_since_are_refused(run: Path, tmp_path: Path) -> None:
    """A baseline on other pixels would say nothing about the run's embeddings."""
    opened = read_run(run / "out")
    with rasterio.open(run / "scene.tif") as file:
        profile, values = file.profile, file.read()
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as out:
        out.write(values[:, ::-1])
    with (
        pytest.raises(RunDirectoryError, match="can no longer be read as they were"),
        pixels_of(opened, paths=str(tmp_path / "scene.tif")),
    ):
        pass
