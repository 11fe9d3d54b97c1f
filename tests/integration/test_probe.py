"""Probes of whole runs: the baseline sees a sample's own pixels, real labels lie in place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.support.raw_bands import check_bands
from thor_geo.cli.main import main
from thor_geo.probe import ProbeSpec, open_labels, probe_run
from thor_geo.probe.baseline import band_features
from thor_geo.probe.blocks import make_folds
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.curve import Problem
from thor_geo.probe.growing import evaluate
from thor_geo.probe.samples import Samples
from thor_geo.runs.opened_run import OpenedRun, read_run

_CORNER = (600_000, 6_640_000)


@pytest.fixture(scope="module")
def run(write_tif: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of patch 16 over a GeoTIFF of 256 x 256 px with random pixels and a gap."""
    folder = tmp_path_factory.mktemp("probe")
    values = np.random.default_rng(0).integers(1, 9000, (2, 256, 256), dtype=np.uint16)
    values[:, 40:60, 100:140] = 0
    write_tif(folder / "scene.tif", values, _CORNER, nodata=0)
    config = {
        "trainer": {"accelerator": "cpu", "devices": 1},
        "model": {"model_key": "thor_v1_tiny", "pretrained": False, "patch_size": 16},
        "data": {
            "class_path": "thor_geo.datamodules.FolderDataModule",
            "init_args": {
                "paths": str(folder / "scene.tif"),
                "bands": ["S2:Red", "S2:NIR"],
                "start": "2022-06-01",
                "end": "2022-07-01",
                "tile_size": 64,
                "num_workers": 0,
            },
        },
        "output": {"dir": str(folder / "out"), "quicklook": False},
    }
    (folder / "run.yaml").write_text(json.dumps(config))
    assert main(["predict", "-c", str(folder / "run.yaml")]) == 0
    return folder


@pytest.mark.parametrize("unit", ["cells", "tiles"])
def test_the_baseline_is_mean_and_deviation_of_the_pixels_under_a_sample(
    run: Path, write_tif: Any, unit: str
) -> None:
    """A baseline on other ground than the embeddings would make any model look good."""
    opened = read_run(run / "out")
    spec = ProbeSpec(on=unit, min_cover=0)  # type: ignore[arg-type]
    kind = np.random.default_rng(1).integers(0, 3, (1, 256, 256), dtype=np.uint8)
    samples = collect_samples(opened, open_labels(write_tif(run / "kind.tif", kind, _CORNER)), spec)
    features = band_features(opened, samples)
    check_bands(run / "scene.tif", samples, features)


def test_a_probe_compares_embeddings_and_bands_on_the_same_samples(
    run: Path, write_tif: Any
) -> None:
    opened = read_run(run / "out")
    with rasterio.open(run / "scene.tif") as file:
        bright = file.read(1).reshape(16, 16, 16, 16).mean(axis=(1, 3))
    kind = np.kron(bright > np.median(bright), np.ones((16, 16))).astype(np.uint8)[None]
    labels = open_labels(write_tif(run / "bright.tif", kind, _CORNER))
    found = probe_run(opened, labels, ProbeSpec(block_m=640, fractions=(1.0,)))
    assert found.sides.without_pixels > 0 or len(found.samples) == 256
    bands = next(e for e in found.evaluations if e.features == "bands" and e.model == "linear")
    assert bands.scores["accuracy"].value > 0.85
    assert {e.features for e in found.evaluations} == {"embeddings", "bands", "none"}
    assert all(len(e.predictions) == len(found.samples) for e in found.evaluations)


@pytest.fixture(scope="module")
def flanders(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, root: Path) -> OpenedRun:
    """Return a run of 16 x 16 cells of 40 m over real scenes, random weights."""
    folder = tmp_path_factory.mktemp("flanders")
    command = ["predict", "-c", str(root / "configs" / "quickstart.yaml")]
    command += [
        f"--data.emulator.archive={shared_data / 'scenes' / 'wc_be_31UDS'}",
        '--data.area={bbox: [501360, 5629040, 502000, 5629680], crs: "EPSG:32631"}',
        "--data.anchor=[501360, 5629680]",
        "--data.tile_size=64",
        "--model.patch_size=4",
        "--data.start=2018-05-01",
        "--data.end=2018-09-01",
        "--data.sentinel2.cloudy_pct=100",
        "--data.sentinel2.mask=scl",
        "--output.quicklook=false",
        f"--data.cache_dir={folder / 'cache'}",
        f"--output.dir={folder / 'out'}",
    ]
    assert main(command) == 0
    return read_run(folder / "out")


def land_cover(opened: OpenedRun, shared_data: Path) -> tuple[Samples, np.ndarray]:
    """Return all cells, and the labels of the raster by cell, counted in NumPy."""
    path = shared_data / "labels" / "wc_be_31UDS_LC.tif"
    samples = collect_samples(opened, open_labels(path), ProbeSpec())
    with rasterio.open(path) as file:
        parts = file.read(1).reshape(16, 4, 16, 4).swapaxes(1, 2).reshape(16, 16, 16)
    majority = np.array([[np.bincount(part).argmax() for part in row] for row in parts])
    return samples, majority


def test_real_labels_lie_on_their_cells(flanders: OpenedRun, shared_data: Path) -> None:
    samples, majority = land_cover(flanders, shared_data)
    assert len(samples) == 256
    row = np.rint((5_629_680 - samples.y) / 40 - 0.5).astype(int)
    col = np.rint((samples.x - 501_360) / 40 - 0.5).astype(int)
    np.testing.assert_array_equal(samples.values, majority[row, col])


def test_shuffled_and_shifted_labels_score_lower(flanders: OpenedRun, shared_data: Path) -> None:
    """If labels, cells or blocks were off by one, shifting them would not hurt."""
    samples, majority = land_cover(flanders, shared_data)
    classes, targets = np.unique(majority, return_inverse=True)
    grid = targets.reshape(16, 16)
    row = np.rint((5_629_680 - samples.y) / 40 - 0.5).astype(int)
    col = np.rint((samples.x - 501_360) / 40 - 0.5).astype(int)
    labels = open_labels(shared_data / "labels" / "wc_be_31UDS_LC.tif")
    spec = ProbeSpec(block_m=160, fractions=(1.0,))

    def accuracy(values: np.ndarray) -> float:
        one = replace(samples, values=values.astype(np.float64))
        folds = make_folds(one, labels, flanders.plan, spec)
        problem = Problem(
            task="classification", targets=values, classes=len(classes), folds=folds, spec=spec
        )
        return evaluate(problem, "embeddings", one.vectors, "linear").scores["accuracy"].value

    true = accuracy(grid[row, col])
    shifts = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    shifted = [accuracy(np.roll(grid, by, axis=(0, 1))[row, col]) for by in shifts]
    rng = np.random.default_rng(0)
    shuffled = [accuracy(rng.permutation(grid[row, col])) for _ in range(3)]
    largest = np.bincount(targets.ravel()).max() / 256
    print(f"true {true:.3f}, shifted {np.round(shifted, 3)}, shuffled {np.round(shuffled, 3)}")
    assert true > max(shifted) + 0.03
    assert true > 0.75
    assert np.mean(shuffled) < largest + 0.05
