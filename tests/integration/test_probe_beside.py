"""The whole comparison: one command with a run, other vectors and seeds, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from PIL import Image

from tests.support.synthetic_run import plan_of, write_run
from thor_geo.cli.main import main
from thor_geo.probe import ProbeSpec, open_labels
from thor_geo.probe.beside_join import sample_lonlat
from thor_geo.probe.collect import collect_samples
from thor_geo.runs.opened_run import read_run

_QUICK = ["--no-baseline", "--fractions", "20,100", "--repeats", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run over 36 tiles, labels of it, and tables of vectors at its cells."""
    folder = tmp_path_factory.mktemp("beside")
    write_run(folder / "run", plan_of((10.6, 59.85, 10.8, 59.97), tile_size=192))
    samples = _samples(folder)
    waves = np.sin(samples.x / 1000) + np.cos(samples.y / 1000)
    kind = np.select([waves > 0.5, waves > -0.5], ["wood", "field"], "water")
    half = samples.side / 2
    boxes = shapely.box(samples.x - half, samples.y - half, samples.x + half, samples.y + half)
    gpd.GeoDataFrame({"kind": kind, "waves": waves + 0.123}, geometry=boxes, crs=32632).to_file(
        folder / "kind.gpkg"
    )
    rng, (lon, lat) = np.random.default_rng(0), sample_lonlat(samples)
    noise = {f"A{k:02}": rng.normal(size=len(lon)) for k in range(8)}
    pq.write_table(pa.table({"lon": lon, "lat": lat, **noise}), folder / "noise.parquet")
    # The same vectors, their values in another order: the same probe.
    order = rng.permutation(len(lon))
    same = list(samples.vectors[order][:, ::-1] * 2)
    gpd.GeoDataFrame(
        {"embedding": same}, geometry=gpd.points_from_xy(lon, lat)[order], crs=4326
    ).to_parquet(folder / "same.parquet")
    return folder


def _samples(folder: Path) -> Any:
    opened = read_run(folder / "run")
    everywhere = gpd.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.box(10, 59, 12, 61)], crs=4326)
    everywhere.to_file(folder / "all.gpkg")
    labels = open_labels(folder / "all.gpkg", "kind")
    return collect_samples(opened, labels, ProbeSpec(on="cells", max_samples=100_000))


def _probe(folder: Path, *options: str, to: str) -> dict[str, Any]:
    command = ["probe", str(folder / "run"), "--labels", str(folder / "kind.gpkg"), *options]
    command += [*_QUICK, "--on", "cells", "--to", str(folder / to)]
    assert main(command) == 0
    report: dict[str, Any] = json.loads((folder / to / "probe.json").read_text())
    return report


def test_the_same_vectors_differ_by_nothing_and_noise_loses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--target", "kind", "--seed-noise", "2"]
    for name in ("same", "noise"):
        options += ["--beside", f"{name}={folder / name}.parquet"]
    report = _probe(folder, *options, to="kind")
    assert [r["name"] for r in report["results"]] == [
        f"{side}, {model}"
        for side in ("THOR", "same", "noise")
        for model in ("logistic regression", "kNN (k = 10)")
    ] + ["chance (largest class)"]
    assert all(len(r["curve"]) == 2 for r in report["results"][:-1])
    gained = {(d["features"], d["model"]): d["scores"]["macro_f1"] for d in report["differences"]}
    assert gained["same", "knn"] == [0, 0, 0]
    assert np.abs(gained["same", "linear"]).max() < 0.01
    assert gained["noise", "linear"][1] > 0.2
    assert gained["noise", "knn"][1] > 0.2
    assert gained["none", "linear"][1] > 0.2
    matched = {each["name"]: each for each in report["beside"]}
    assert matched["same"]["matched"] == report["samples"] == matched["noise"]["matched"]
    assert matched["noise"]["vectors"] == "columns A00 to A07"
    noise = report["seed_noise"]
    assert noise["seeds"] == [0, 1, 2]
    values = {(s["features"], s["model"]): s["scores"]["macro_f1"] for s in noise["scores"]}
    assert values["embeddings", "knn"]["values"][0] == report["results"][1]["scores"]["macro_f1"][0]
    assert len(set(values["embeddings", "linear"]["values"])) > 1
    between = {(d["features"], d["model"]): d["scores"] for d in noise["differences"]}
    assert between["same", "knn"]["macro_f1"] == {"values": [0, 0, 0], "deviation": 0}
    text = capsys.readouterr().out
    assert text.startswith(report["finding"] + "\n")
    assert "THOR tells kind on unseen ground with macro F1 " in report["finding"]
    assert ": no difference that these " in report["finding"]
    assert "THOR is better by 0." in report["finding"]
    assert f"{report['samples']:,} of {report['samples']:,} cells have a vector in noise" in text
    with Image.open(folder / "kind" / "curve.png") as picture:
        assert picture.size[0] == 1240


def test_a_regression_is_compared_as_well(folder: Path) -> None:
    options = ["--target", "waves", "--beside", f"noise={folder / 'noise.parquet'}"]
    report = _probe(folder, *options, to="waves")
    assert report["finding"].startswith("THOR predicts waves on unseen ground with R² ")
    assert "; noise " in report["finding"]
    assert ": THOR is better by " in report["finding"]
    with Image.open(folder / "waves" / "scatter.png") as picture:
        assert picture.size[0] == 840


def test_a_run_of_another_patch_is_welcome_beside(folder: Path) -> None:
    write_run(folder / "fine", plan_of((10.6, 59.85, 10.8, 59.97), tile_size=96))
    report = _probe(
        folder, "--target", "kind", "--beside", f"fine={folder / 'fine'}", to="fine_probe"
    )
    (beside,) = report["beside"]
    assert beside["vectors"] == "cells of 160 m"
    assert beside["joined"] == "by place: means of up to 4 cells"
    assert report["samples"] == beside["matched"] <= beside["samples"]
    assert report["counts"]["without_beside"] == beside["samples"] - beside["matched"]


def test_a_table_of_few_samples_is_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(folder / "noise.parquet")
    pq.write_table(table.slice(0, len(table) * 2 // 5), folder / "part.parquet")
    report = _probe(
        folder, "--target", "kind", "--beside", f"part={folder / 'part.parquet'}", to="part_probe"
    )
    n, total = report["samples"], len(table)
    words = f"{n:,} of {total:,} cells have a vector in part: the others leave all sides"
    assert report["warnings"] == [words]
    assert f"  warning   {words}" in capsys.readouterr().out


def test_too_few_samples_in_all_sides_are_told_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty samples make too few blocks: that the table has no more is what has to change."""
    pq.write_table(pq.read_table(folder / "noise.parquet").slice(0, 20), folder / "few.parquet")
    command = ["probe", str(folder / "run"), "--labels", str(folder / "kind.gpkg")]
    command += ["--target", "kind", "--on", "cells", *_QUICK, "--to", str(folder / "few")]
    assert main([*command, "--beside", f"few={folder / 'few.parquet'}"]) == 2
    told = capsys.readouterr().err
    assert "--folds" in told or "--block-m" in told or "--target" in told
    assert "20 of 1,872 cells have a vector in few: the others leave all sides." in told
    # A single vector is not one that all samples share.
    pq.write_table(pq.read_table(folder / "noise.parquet").slice(0, 1), folder / "one.parquet")
    both = ["--beside", f"one={folder / 'one.parquet'}"]
    both += ["--beside", f"noise={folder / 'noise.parquet'}"]
    assert main([*command, *both]) == 2
    told = capsys.readouterr().err
    assert "1 sample with no label other than" in told
    assert "1 of 1,872 cells has a vector in one: the others leave all sides." in told
    assert "a vector in noise" not in told


def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "words.csv").write_text("lon,lat,crop\n10.7,59.9,maize\n")
    command = ["probe", str(folder / "run"), "--labels", str(folder / "kind.gpkg")]
    command += ["--target", "kind", *_QUICK, "--to", str(folder / "refused")]
    for beside, problem in (
        (f"words={folder / 'words.csv'}", "it holds no vectors"),
        (f"a,b={folder / 'noise.parquet'}", "its name has a comma"),
        (f"THOR={folder / 'noise.parquet'}", "already"),
        (str(folder / "noise.parquet"), "not of the form NAME=FILE"),
    ):
        assert main([*command, "--beside", beside]) == 2
        assert problem in capsys.readouterr().err
    assert not (folder / "refused").exists()
