"""Probes of runs of places: raw bands are those of a sample's own pixels, in its own window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.features
import shapely
from pyproj import Transformer
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.support.raw_bands import check_bands
from thor_geo.cli.main import main
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe import ProbeSpec, kept_labels, probe_run
from thor_geo.probe.baseline import band_features
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.samples import PlaceSamples
from thor_geo.runs.opened_run import OpenedRun, read_run

_CORNER, _SIDE = (600_000, 6_640_000), 1024


@pytest.fixture(scope="module")
def scene(write_tif: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a GeoTIFF: rough ground with bright squares of 320 m, and a gap."""
    folder = tmp_path_factory.mktemp("probe_places")
    rng = np.random.default_rng(0)
    values = rng.integers(1, 3000, (2, _SIDE, _SIDE), dtype=np.uint16)
    values[0] += np.kron(rng.integers(0, 2, (32, 32)), np.ones((32, 32))).astype(np.uint16) * 3000
    values[:, 500:520, 300:340] = 0
    write_tif(folder / "scene.tif", values, _CORNER, nodata=0)
    return folder


def embed(folder: Path, name: str, table: str, **places: Any) -> OpenedRun:
    """Embed a table of places over the scene with random weights."""
    config = {
        "trainer": {"accelerator": "cpu", "devices": 1},
        "model": {
            "model_key": "thor_v1_tiny",
            "pretrained": False,
            "patch_size": 16,
            "threads": 1,
        },
        "data": {
            "class_path": "thor_geo.datamodules.FolderDataModule",
            "init_args": {
                "paths": str(folder / "scene.tif"),
                "bands": ["S2:Red", "S2:NIR"],
                "places": {"file": table, **places},
                "start": "2022-06-01",
                "end": "2022-07-01",
                "tile_size": 64,
                "num_workers": 0,
            },
        },
        "output": {
            "dir": str(folder / name),
            "quicklook": False,
            "centre": True,
            "grid": False,
        },
    }
    (folder / f"{name}.yaml").write_text(json.dumps(config))
    assert main(["predict", "-c", str(folder / f"{name}.yaml")]) == 0
    return read_run(folder / name)


def bright(x: np.ndarray, y: np.ndarray, folder: Path) -> np.ndarray:
    """Return whether the ground of the square about each place is bright."""
    with rasterio.open(folder / "scene.tif") as file:
        red = file.read(1).astype(float)
        found = []
        for east, north in zip(x, y, strict=True):
            row, col = file.index(east, north)
            found.append(np.mean(red[row - 8 : row + 8, col - 8 : col + 8]) > 3000)
    return np.array(found)


@pytest.fixture(scope="module")
def run(scene: Path) -> OpenedRun:
    """Return a run of 150 places, and one at the gap."""
    rng = np.random.default_rng(2)
    x = _CORNER[0] + rng.uniform(400, 9800, 150)
    y = _CORNER[1] - rng.uniform(400, 9800, 150)
    # In the middle of a square of the ground, as a place lies near the edge of its cell; the last
    # in the gap.
    x = np.append(_CORNER[0] + (np.floor((x - _CORNER[0]) / 320) + 0.5) * 320, 603_200)
    y = np.append(_CORNER[1] - (np.floor((_CORNER[1] - y) / 320) + 0.5) * 320, 6_634_900)
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    kind = np.where(bright(x, y, scene), "sand", "peat")
    table = pd.DataFrame({"plot": np.arange(151) + 1000, "lon": lon, "lat": lat, "kind": kind})
    table.to_csv(scene / "survey.csv", index=False)
    return embed(scene, "out", str(scene / "survey.csv"), id="plot")


@pytest.mark.parametrize("vectors", ["pooled", "centre"])
def test_raw_bands_are_those_under_the_chip_or_the_cell(
    run: OpenedRun, scene: Path, vectors: Any
) -> None:
    samples = collect_samples(run, kept_labels(run, "kind"), ProbeSpec(vectors=vectors))
    assert samples.side == {"pooled": 640, "centre": 160}[vectors]
    features = band_features(run, samples)
    plan = run.plan
    assert isinstance(plan, PlacePlan)
    half = samples.side / 2
    # The place lies in the square.
    assert (abs(plan.x[samples.tile] - samples.x) <= half).all()
    assert (abs(plan.y[samples.tile] - samples.y) <= half).all()
    check_bands(scene / "scene.tif", samples, features)


def test_both_vectors_are_compared_with_the_bands_of_both(run: OpenedRun) -> None:
    features = {}
    for kind in ("pooled", "centre", "both"):
        spec = ProbeSpec(vectors=kind)  # type: ignore[arg-type]
        samples = collect_samples(run, kept_labels(run, "kind"), spec)
        features[kind] = band_features(run, samples)
    expected = np.concatenate([features["pooled"], features["centre"]], axis=1)
    np.testing.assert_array_equal(features["both"], expected)


def test_the_ground_of_a_centre_is_found_and_shuffled_labels_are_at_chance(
    run: OpenedRun,
) -> None:
    spec = ProbeSpec(fractions=(1.0,), vectors="centre", block_m=300, buffer_m=0)
    found = probe_run(run, kept_labels(run, "kind"), spec)
    bands = {e.model: e for e in found.evaluations if e.features == "bands"}
    assert bands["linear"].scores["accuracy"].value > 0.95
    # The same, written down with scikit-learn: the folds, and a penalty that hardly matters here.
    features = band_features(run, found.samples)
    right = np.zeros(len(found.samples), dtype=bool)
    for train, test in found.folds.splits:
        scaler = StandardScaler().fit(features[train])
        model = LogisticRegression(C=10.0, max_iter=300)
        model.fit(scaler.transform(features[train]), found.targets[train])
        right[test] = model.predict(scaler.transform(features[test])) == found.targets[test]
    assert bands["linear"].scores["accuracy"].value == pytest.approx(right.mean(), abs=0.03)
    labels = kept_labels(run, "kind")
    labels.codes = np.random.default_rng(0).permutation(labels.codes)
    mixed = probe_run(run, labels, spec)
    n = len(mixed.samples)
    low, high = stats.binom(n, 0.5).interval(0.9999)
    for evaluation in mixed.evaluations[:4]:
        assert low / n <= evaluation.scores["balanced_accuracy"].value <= high / n


def test_raw_bands_of_a_polygon_are_those_within_it(scene: Path) -> None:
    import geopandas as gpd

    rng = np.random.default_rng(4)
    x = _CORNER[0] + rng.uniform(700, 9500, 12)
    y = _CORNER[1] - rng.uniform(700, 9500, 12)
    fields = [
        shapely.Point(a, b).buffer(90 + 9 * k) for k, (a, b) in enumerate(zip(x, y, strict=True))
    ]
    frame = gpd.GeoDataFrame({"size": np.arange(12.0)}, geometry=fields, crs=32632)
    frame.to_file(scene / "fields.gpkg")
    run = embed(scene, "fields", str(scene / "fields.gpkg"), within=True)
    samples = collect_samples(run, kept_labels(run, "size"), ProbeSpec(vectors="pooled"))
    assert isinstance(samples, PlaceSamples)
    features = band_features(run, samples)
    with rasterio.open(scene / "scene.tif") as file:
        red, transform = file.read(1), file.transform
    for k, place in enumerate(samples.place.tolist()):
        inside = rasterio.features.geometry_mask([fields[place]], red.shape, transform, invert=True)
        pixels = red[inside & (red > 0)].astype(float)
        assert features[k, 0] == pytest.approx(pixels.mean(), rel=0.02)
        assert features[k, 2] == pytest.approx(pixels.std(), rel=0.05)
