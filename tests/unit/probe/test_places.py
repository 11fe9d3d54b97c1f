"""Probes of runs of places: the table's own columns are labels, and predictions join it again."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from PIL import Image

from tests.support.place_run import plan_of, write_places
from tests.support.synthetic_run import CELLS, DIMENSION, write_run
from tests.support.synthetic_run import plan_of as area_plan
from thor_geo.cli.main import main
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.probe import ProbeSpec, kept_labels, open_labels, probe_run, read_probe
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.pictures import draw_curve, draw_first
from thor_geo.probe.place_samples import ground_of
from thor_geo.probe.samples import PlaceSamples
from thor_geo.runs.opened_run import OpenedRun, read_run

COUNT = 160
FAILED = {17: "lost", 40: "lost"}
QUICK = ["--no-baseline", "--fractions", "100", "--repeats", "1"]


def survey() -> Places:
    """Return places over 2 x 1.5 degrees in two zones, with labels that synthetic vectors know."""
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(11, 13, COUNT), rng.uniform(59, 60.5, COUNT)
    late = np.arange(COUNT) % 4 == 0
    starts = np.where(late, "2021-05-01", "2020-05-01").astype("datetime64[us]")
    probe = _bare(lon, lat, starts, pa.table({"a": np.arange(COUNT)}))
    plan = plan_of(probe)
    warm = np.zeros(COUNT)
    warm[plan.place] = np.sin(plan.x / 1000) + np.cos(plan.y / 1000)
    crop = np.where(warm > 0, "maize", "wheat, winter").astype(object)
    crop[::20] = None
    columns = pa.table(
        {
            "plot": pa.array([f"plot {k:03d}" for k in range(COUNT)]),
            "crop": pa.array(crop, pa.string()),
            "warmth": pa.array(warm),
            "kind": pa.array([None if k % 20 == 0 else int(warm[k] > 0) for k in range(COUNT)]),
            "country": pa.array(
                [None if k == 3 else "NOSEFI"[k // 6 % 3 * 2 :][:2] for k in range(COUNT)]
            ),
            "prediction": pa.array(np.arange(COUNT), pa.int16()),
        }
    )
    return _bare(lon, lat, starts, columns)


def _bare(lon: np.ndarray, lat: np.ndarray, starts: np.ndarray, columns: pa.Table) -> Places:
    names = ("geometry", "datetime_start", "datetime_end", *columns.column_names)
    return Places(
        source="survey.csv",
        lon=lon,
        lat=lat,
        starts=starts,
        ends=starts + np.timedelta64(90, "D"),
        columns=columns,
        id="plot" if "plot" in columns.column_names else None,
        polygons=None,
        skipped={},
        digests=dict.fromkeys(names, "0" * 64),
    )


def _finished(folder: Path, **options: Any) -> OpenedRun:
    table = survey()
    plan = plan_of(table, shard_places=16)
    write_places(folder / "run", table, plan, failed=FAILED, **options)
    # The layout of the model's maps, as a model of THOR's records it.
    path = folder / "run" / "run.json"
    document = json.loads(path.read_text())
    document["info"]["model"]["group_grid_side"] = {"group0": CELLS}
    path.write_text(json.dumps(document))
    return read_run(folder / "run")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return a run of 160 places, two of which failed."""
    return _finished(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def probed(opened: OpenedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the outputs of a probe of a kept column."""
    folder = tmp_path_factory.mktemp("probed") / "out"
    run = str(opened.run.path)
    assert main(["probe", run, "--target", "crop", *QUICK, "--to", str(folder)]) == 0
    return folder


def rows(opened: OpenedRun) -> pd.DataFrame:
    """Return all rows of the pooled files, in the plan's order."""
    paths = [opened.run.pooled_path(shard) for shard in opened.plan.shards]
    return pd.concat([pq.read_table(path).to_pandas() for path in paths], ignore_index=True)


def test_a_kept_column_labels_the_vectors_of_its_own_row(opened: OpenedRun) -> None:
    table = rows(opened)
    used = table[(table.status == "ok") & table.crop.notna()]
    for kind, columns in {
        "pooled": ["embedding"],
        "centre": ["centre"],
        "both": ["embedding", "centre"],
    }.items():
        labels = kept_labels(opened, "crop")
        samples = collect_samples(opened, labels, ProbeSpec(vectors=kind))  # type: ignore[arg-type]
        assert isinstance(samples, PlaceSamples)
        assert samples.kind == kind
        np.testing.assert_array_equal(samples.tile, used.index)
        np.testing.assert_array_equal(samples.place, used.place)
        expected = np.concatenate([np.stack(used[column]) for column in columns], axis=1)
        np.testing.assert_array_equal(samples.vectors, expected)
        assert [labels.class_of(value) for value in samples.values] == used.crop.tolist()
        starts = used.datetime_start.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        np.testing.assert_array_equal(samples.starts, starts.astype(np.int64))
        counts = samples.counts
        assert (counts.unlabelled, counts.without_embedding) == (COUNT // 20 - 1, 2)
        assert counts.labelled == len(samples) == len(used)
    assert collect_samples(opened, labels, ProbeSpec()).vectors.shape[1] == DIMENSION


def test_a_centres_ground_is_the_cell_that_holds_the_place(opened: OpenedRun) -> None:
    plan, ground = opened.plan, ground_of(opened, "centre")
    assert isinstance(plan, PlacePlan)
    assert ground.side == 480
    assert (np.abs(ground.x - plan.x) <= 240).all()
    assert (np.abs(ground.y - plan.y) <= 240).all()
    chips = ground_of(opened, "pooled")
    for k in range(0, len(plan), 13):
        left, bottom, right, top = plan.tile(k).bounds
        assert (chips.x[k], chips.y[k]) == ((left + right) / 2, (bottom + top) / 2)
        assert (ground.x[k] - 240 - left) % 480 == 0
        assert (top - ground.y[k] - 240) % 480 == 0


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ("crop", "classification", ("maize", "wheat, winter")),
        ("kind", "classification", (0, 1)),  # integers with gaps stay integers
        ("warmth", "regression", ()),
        ("country", "classification", ("FI", "NO", "SE")),
    ],
)
def test_the_task_follows_the_columns_own_type(
    opened: OpenedRun, target: str, task: str, classes: tuple[Any, ...]
) -> None:
    labels = kept_labels(opened, target)
    assert (labels.task, labels.classes, labels.notes) == (task, classes, ())


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ("crop", ("barley", "wheat")),  # a dictionary
        ("visits", (0, 1, 2, 5, 6, 7, 8, 9, 10, 11)),  # int16; a row was skipped, one is null
        ("cut", ("False", "True")),
        ("surveyed", None),
        ("seen", None),
        ("yield_t", ()),  # float32
    ],
)
def test_columns_of_any_type_are_labels(
    tmp_path: Path, target: str, classes: tuple[Any, ...] | None
) -> None:
    write_places(tmp_path / "run")
    labels = kept_labels(read_run(tmp_path / "run"), target)
    if classes is None:
        assert len(labels.classes) == 11
        assert all(str(each).startswith(("2022-", "1970-")) for each in labels.classes)
    else:
        assert labels.classes == classes
    assert labels.task == ("regression" if target == "yield_t" else "classification")


def test_a_wrong_column_is_answered_with_what_there_is(opened: OpenedRun, tmp_path: Path) -> None:
    columns = "plot, crop, warmth, kind, country, prediction"
    with pytest.raises(ConfigError, match=rf"Did you mean crop\? It has {columns}\."):
        kept_labels(opened, "crops")
    with pytest.raises(ConfigError, match=rf"not given.*Choose one of {columns}\."):
        kept_labels(opened)
    with pytest.raises(ConfigError, match=r"--group.*Did you mean country\?"):
        collect_samples(opened, kept_labels(opened, "crop"), ProbeSpec(group="contry"))
    with pytest.raises(ConfigError, match="it is the target"):
        collect_samples(opened, kept_labels(opened, "crop"), ProbeSpec(group="crop"))
    with pytest.raises(ConfigError, match=r"--on.*--vectors pooled, centre or both"):
        collect_samples(opened, kept_labels(opened, "crop"), ProbeSpec(on="tiles"))
    write_places(tmp_path / "run", centre=False)
    run = read_run(tmp_path / "run")
    labels = kept_labels(run, "country")
    with pytest.raises(ConfigError, match=r"output\.centre=false"):
        collect_samples(run, labels, ProbeSpec(vectors="both"))
    write_places(tmp_path / "maps", centre=False, pooled=False)
    run = read_run(tmp_path / "maps")
    with pytest.raises(RunDirectoryError, match=r"output\.pooled=false"):
        kept_labels(run, "country")
    with pytest.raises(ConfigError, match=r"window.*1 time window"):
        collect_samples(opened, kept_labels(opened, "crop"), ProbeSpec(window=1))
    write_places(tmp_path / "begun", only=0)
    with pytest.raises(RunDirectoryError, match="no place that is done yet"):
        kept_labels(read_run(tmp_path / "begun"), "crop")


def test_ids_as_labels_are_doubted(opened: OpenedRun) -> None:
    (note,) = kept_labels(opened, "plot").notes
    assert "ids, which say nothing of the ground" in note
    (note,) = kept_labels(opened, "prediction").notes
    assert "160 different values at 160 places" in note
    assert kept_labels(opened, "prediction", task="regression").notes == ()


def test_the_report_says_how_places_were_divided(opened: OpenedRun, probed: Path) -> None:
    report = json.loads((probed / "probe.json").read_text())
    assert (report["unit"], report["vectors"], report["unit_m"]) == ("places", "centre", 480)
    assert report["folds"]["block_m"] == 10_000
    assert report["folds"]["words"].startswith("5 folds of ")
    assert report["folds"]["words"].endswith("clusters of places at least 10 km apart")
    assert report["labels"]["kind"] == "column"
    assert report["counts"]["unlabelled"] == COUNT // 20 - 1
    assert np.sum(report["confusion"]) == report["samples"]
    names = {"probe.json", "model.json", "confusion.png", "predictions.parquet"}
    assert {path.name for path in probed.iterdir()} == names
    with Image.open(probed / "confusion.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 100
    spec = ProbeSpec(fractions=(1.0,), repeats=1, baseline=False)
    again = probe_run(opened, kept_labels(opened, "crop"), spec)
    accuracy = report["results"][0]["scores"]["accuracy"]
    assert accuracy == list(again.evaluations[0].scores["accuracy"])


@pytest.mark.parametrize("target", ["warmth", "crop"])
def test_what_a_picture_of_a_probe_says_fits_on_it(opened: OpenedRun, target: str) -> None:
    spec = ProbeSpec(baseline=False, fractions=(1.0,), split="random")
    probed = probe_run(opened, kept_labels(opened, target), spec)
    detail = "; ".join(["nothing to train on of a class with a long name"] * 4)
    probed = replace(probed, notice=detail, folds=replace(probed.folds, words="5 folds " * 20))
    for figure in (draw_first(probed), draw_curve(probed)):
        figure.draw_without_rendering()
        right, texts = figure.bbox.x1, figure.texts
        assert max(text.get_window_extent().x1 for text in texts) < right
        # The lines lie above the axes, one below the other.
        axes = figure.axes[0]
        assert min(t.get_window_extent().y0 for t in texts[:4]) > axes.get_window_extent().y1
        assert " ".join(t.get_text() for t in texts).count("nothing to train on") == 4


def test_predictions_stand_beside_the_columns_of_the_table(opened: OpenedRun, probed: Path) -> None:
    table = gpd.read_parquet(probed / "predictions.parquet")
    source = survey()
    embedded = sorted(set(range(COUNT)) - set(FAILED))
    assert table.place.tolist() == embedded
    kept = pq.read_table(probed / "predictions.parquet", columns=source.columns.column_names)
    assert kept.equals(source.columns.take(embedded))
    np.testing.assert_allclose(table.geometry.x, source.lon[embedded])
    np.testing.assert_allclose(table.geometry.y, source.lat[embedded])
    vectors = np.stack(rows(opened).set_index("place").centre[embedded])
    saved = read_probe(probed)
    assert saved.unit == "cells"
    predicted = np.array(saved.classes)[saved.predict(vectors)]
    # The table has a column of this name already.
    assert table["prediction_"].tolist() == predicted.tolist()
    chances = table[["p_maize", "p_wheat, winter"]].to_numpy()
    np.testing.assert_allclose(chances, saved.probabilities(vectors))


def test_a_probe_of_places_maps_an_area(
    opened: OpenedRun, probed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a survey is for: the centre of a chip is a cell, its pooled vector that of a tile."""
    plan = area_plan((11.9, 59.96, 11.95, 59.98))
    write_run(tmp_path / "area", plan)
    assert main(["probe", str(tmp_path / "area"), "--apply", str(probed)]) == 0
    with rasterio.open(tmp_path / "area" / "probe" / "crop-applied" / "map_utm32n.tif") as file:
        assert (file.read(1) > 0).sum() == len(plan) * CELLS**2
    run = str(opened.run.path)
    for kind, unit in (("pooled", "tiles"), ("both", "places")):
        command = ["probe", run, "--target", "kind", "--vectors", kind, *QUICK]
        assert main([*command, "--to", str(tmp_path / kind)]) == 0
        assert read_probe(tmp_path / kind).unit == unit
    assert main(["probe", str(tmp_path / "area"), "--apply", str(tmp_path / "pooled")]) == 0
    table = gpd.read_parquet(tmp_path / "area" / "probe" / "kind-applied" / "predictions.parquet")
    assert len(table) == len(plan)
    capsys.readouterr()
    assert main(["probe", str(tmp_path / "area"), "--apply", str(tmp_path / "both")]) == 2
    assert "--vectors pooled, for tiles, or centre, for the cells" in capsys.readouterr().err
    write_places(tmp_path / "chips", centre=False)
    assert main(["probe", str(tmp_path / "chips"), "--apply", str(probed)]) == 2
    assert "output.centre=false" in capsys.readouterr().err
    # And on places, which have both.
    to = ["--to", str(tmp_path / "again")]
    assert main(["probe", run, "--apply", str(tmp_path / "both"), *to]) == 0
    a, b = (pq.read_table(tmp_path / k / "predictions.parquet") for k in ("both", "again"))
    assert a.equals(b)


def test_groups_and_dates_of_the_table_divide_it(
    opened: OpenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(opened.run.path)
    command = ["probe", run, "--target", "kind", *QUICK, "--vectors", "pooled"]
    assert main([*command, "--group", "country", "--to", str(tmp_path / "g")]) == 0
    out = capsys.readouterr().out
    assert "3 folds, one for each country" in out
    assert "accuracy of THOR, logistic regression by country" in out
    assert "1 without country" in out
    report = json.loads((tmp_path / "g" / "probe.json").read_text())
    assert {group["group"] for group in report["groups"]} == {"NO", "SE", "FI"}
    total = sum(group["samples"] * group["score"] for group in report["groups"])
    assert total / report["samples"] == pytest.approx(report["results"][0]["scores"]["accuracy"][0])
    assert main([*command, "--split-date", "2021-01-01", "--to", str(tmp_path / "d")]) == 0
    assert "trained before 2021-01-01, tested on" in capsys.readouterr().out
    report = json.loads((tmp_path / "d" / "probe.json").read_text())
    assert report["settings"]["split_date"] == "2021-01-01"
    assert report["folds"]["split"] == "date"
    late = report["folds"]["test_samples"][0]
    assert np.sum(report["confusion"]) == late
    assert late < report["samples"]
    # More groups than are shown, one by one.
    assert main([*command, "--group", "plot", "--to", str(tmp_path / "p")]) == 0
    assert re.search(r"\n    and \d+ more in probe.json\n", capsys.readouterr().out)
    assert main([*command, "--min-cover", "0.7"]) == 2
    assert "`--min-cover=0.7`: it is for --labels" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--split-date", "last year"])
    assert "'last year' is not a day; give e.g. 2021-01-01" in capsys.readouterr().err


def test_labels_of_a_file_are_joined_to_the_ground_of_the_places(
    opened: OpenedRun, tmp_path: Path
) -> None:
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    points = gpd.points_from_xy(plan.lon, plan.lat, crs=4326)
    frame = gpd.GeoDataFrame({"number": np.arange(len(plan)) * 1.5}, geometry=points)
    frame.to_file(tmp_path / "p.gpkg")
    labels = open_labels(tmp_path / "p.gpkg", "number")
    samples = collect_samples(opened, labels, ProbeSpec(vectors="centre"))
    cells = {*zip(ground_of(opened, "centre").x, ground_of(opened, "centre").y, strict=True)}
    alone = len(cells) == len(plan)
    assert alone
    np.testing.assert_allclose(samples.values, samples.tile * 1.5)


def test_a_csv_for_neuco_bench_has_the_tables_ids(opened: OpenedRun, tmp_path: Path) -> None:
    command = ["probe", str(opened.run.path), "--export-csv", str(tmp_path / "a.csv")]
    assert main([*command, "--vectors", "pooled"]) == 0
    table = pd.read_csv(tmp_path / "a.csv", index_col="id")
    embedded = sorted(set(range(COUNT)) - set(FAILED))
    assert table.index.tolist() == [f"plot {k:03d}" for k in embedded]
    vectors = np.stack(rows(opened).set_index("place").embedding[embedded])
    np.testing.assert_array_equal(table.to_numpy().astype(np.float32), vectors)


def test_int8_vectors_are_scaled(opened: OpenedRun, tmp_path: Path) -> None:
    coded = _finished(tmp_path, dtype="int8")
    for kind in ("pooled", "centre"):
        samples, exact = (
            collect_samples(run, kept_labels(run, "crop"), ProbeSpec(vectors=kind))  # type: ignore[arg-type]
            for run in (coded, opened)
        )
        largest = np.abs(exact.vectors).max(axis=1, keepdims=True)
        assert (np.abs(samples.vectors - exact.vectors) <= largest / 250).all()
