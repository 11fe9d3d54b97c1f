"""The command from labels to files, and back: what it wrote is what it measured."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import shapely.affinity
from PIL import Image

from tests.support.label_raster import write_labels
from tests.support.synthetic_run import CELLS, DIMENSION, Data, Model, embed, plan_of, write_run
from thor_geo.cli.main import main
from thor_geo.cli.probe import parser
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.probe import ProbeSpec, open_labels, probe_run, read_probe
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.spec import ignore_option
from thor_geo.results import read_tiles
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.support.arrays import AnyArray


@pytest.fixture(scope="session")
def raster(opened: OpenedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return classes 11, 12, 40 in waves that the synthetic embeddings know, at 120 m."""

    def kinds(x: AnyArray, y: AnyArray) -> AnyArray:
        waves = np.sin(x / 1000) + np.cos(y / 1000)
        return np.select([waves > 0.5, waves > -0.5], [11, 12], 40)

    return write_labels(opened, tmp_path_factory.mktemp("labels") / "kind.tif", kinds)


@pytest.fixture(scope="session")
def probed(opened: OpenedRun, raster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the outputs of a probe of cells."""
    folder = tmp_path_factory.mktemp("probed")
    names = folder / "names.json"
    names.write_text('{"11": "wood", "12": "field"}')
    command = ["probe", str(opened.run.path), "--labels", str(raster), "--no-baseline"]
    command += ["--fractions", "10,100", "--repeats", "2", "--names", str(names)]
    assert main([*command, "--to", str(folder / "out")]) == 0
    return folder / "out"


def test_the_report_has_what_the_python_call_gives(
    opened: OpenedRun, raster: Path, probed: Path
) -> None:
    report = json.loads((probed / "probe.json").read_text())
    assert report["unit"] == "cells"
    assert report["notice"] == "random weights (seed 0)"
    assert [c["name"] for c in report["classes"]] == ["wood", "field", "40"]
    assert np.sum(report["confusion"]) == report["samples"] == len(opened.plan) * CELLS**2
    spec = ProbeSpec(fractions=(0.1, 1.0), repeats=2, baseline=False)
    probed_run = probe_run(opened, open_labels(raster), spec)
    linear = report["results"][0]
    assert linear["name"] == "THOR, logistic regression"
    assert linear["scores"]["accuracy"] == list(probed_run.evaluations[0].scores["accuracy"])
    accuracy = np.trace(report["confusion"]) / report["samples"]
    assert linear["scores"]["accuracy"][0] == pytest.approx(accuracy)
    assert linear["scores"]["accuracy"][0] > report["results"][-1]["scores"]["accuracy"][0] + 0.2
    assert [point["fraction"] for point in linear["curve"]] == [0.1, 1.0]


def test_the_map_is_what_the_saved_numbers_say(opened: OpenedRun, probed: Path) -> None:
    """Done again in NumPy from model.json, cell by cell, with colours and names for GIS."""
    saved = json.loads((probed / "model.json").read_text())
    arrays = {k: np.array(saved[k]) for k in ("mean", "scale", "coef", "intercept")}
    with rasterio.open(probed / "map_utm32n.tif") as file:
        image = file.read(1)
        assert (file.nodata, file.crs.to_epsg(), file.res) == (0, 32632, (480, 480))
        assert file.tags(1) == {"CLASS_11": "wood", "CLASS_12": "field", "CLASS_40": "40"}
        assert len({file.colormap(1)[code] for code in (0, 11, 12, 40)}) == 4
        seen = 0
        for tile in opened.plan.tiles(range(len(opened.plan))):
            vectors = np.moveaxis(embed(tile)[1], 0, -1).astype(np.float64)
            scores = (vectors - arrays["mean"]) / arrays["scale"] @ arrays["coef"].T
            expected = np.array([11, 12, 40])[(scores + arrays["intercept"]).argmax(axis=-1)]
            row, col = file.index(tile.bounds[0] + 1, tile.bounds[3] - 1)
            part = image[row : row + CELLS, col : col + CELLS]
            np.testing.assert_array_equal(part, expected)
            seen += part.size
    assert (image > 0).sum() == seen


def test_pictures_are_there_and_drawn_on(probed: Path) -> None:
    for name in ("confusion.png", "curve.png"):
        with Image.open(probed / name) as picture:
            assert min(picture.size) > 400
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 200


def test_a_saved_probe_gives_the_same_map_again(
    opened: OpenedRun, probed: Path, tmp_path: Path
) -> None:
    run = str(opened.run.path)
    assert main(["probe", "--apply", str(probed), run, "--to", str(tmp_path / "again")]) == 0
    assert [p.name for p in (tmp_path / "again").iterdir()] == ["map_utm32n.tif"]
    with (
        rasterio.open(probed / "map_utm32n.tif") as band_map,
        rasterio.open(tmp_path / "again" / "map_utm32n.tif") as other,
    ):
        np.testing.assert_array_equal(band_map.read(), other.read())


def test_nothing_is_replaced_unless_asked(
    opened: OpenedRun, raster: Path, probed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in probed.iterdir()}
    command = ["probe", str(opened.run.path), "--labels", str(raster), "--to", str(probed)]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["probe", str(opened.run.path), "--apply", str(probed), "--to", str(probed)]) == 2
    assert {p.name: p.stat().st_mtime_ns for p in probed.iterdir()} == before


def test_predictions_of_another_probe_do_not_mix_with_a_probes_own(
    opened: OpenedRun, probed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A map of one probe beside the scores of another would be believed."""
    probe_folder = tmp_path / "kind"
    probe_folder.mkdir()
    (probe_folder / "probe.json").write_text("{}")
    command = ["probe", str(opened.run.path), "--apply", str(probed), "--overwrite"]
    assert main([*command, "--to", str(probe_folder)]) == 2
    assert "probe.json" in capsys.readouterr().err
    assert [p.name for p in probe_folder.iterdir()] == ["probe.json"]


def test_a_probe_of_numbers_on_tiles_writes_a_table(opened: OpenedRun, tmp_path: Path) -> None:
    plan = opened.plan
    boxes = [shapely.box(*plan.tile(k).bounds) for k in range(len(plan))]
    height = [float(embed(plan.tile(k))[0][4] * 30 + 100) for k in range(len(plan))]
    frame = gpd.GeoDataFrame({"height": height}, geometry=boxes, crs=32632)
    frame.to_parquet(tmp_path / "h.parquet")
    labels = str(tmp_path / "h.parquet")
    command = ["probe", str(opened.run.path), "--labels", labels, "--target", "height"]
    options = ["--no-baseline", "--folds", "3", "--fractions", "50,100"]
    assert main([*command, *options]) == 0
    folder = opened.run.path / "probe" / "height"
    names = {"probe.json", "model.json", "scatter.png", "curve.png", "predictions.parquet"}
    assert {p.name for p in folder.iterdir()} == names
    table = gpd.read_parquet(folder / "predictions.parquet")
    assert table.crs.to_epsg() == 4326 or "CRS84" in str(table.crs)
    tiles = read_tiles(opened)
    saved = read_probe(folder)
    np.testing.assert_array_equal(table.prediction, saved.predict(tiles.vectors))
    assert table.tile_id.tolist() == [plan.tile(k).id for k in range(len(plan))]
    report = json.loads((folder / "probe.json").read_text())
    assert report["results"][0]["scores"]["r2"][0] > 0.9


def test_the_summary_counts_what_was_left_out_repaired_and_ignored(
    opened: OpenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = opened.plan
    boxes = [plan.tile(k).bounds for k in range(len(plan))]
    middle = np.median([left for left, *_ in boxes])
    kind = ["east, far" if left > middle else "west" for left, *_ in boxes]
    left, bottom, right, top = boxes[0]
    crossed = shapely.Polygon([(left, top), (right, top), (left, bottom), (right, bottom)])
    far = shapely.affinity.translate(crossed, 0, -2e6)
    geometry = [crossed, *(shapely.box(*box) for box in boxes[1:]), far]
    frame = gpd.GeoDataFrame({"side": [*kind, "west"]}, geometry=geometry, crs=32632)
    frame.loc[1:3, "side"] = ["", " ", None]
    frame.loc[4, "side"] = "river"
    frame.to_parquet(tmp_path / "p.parquet")
    labels = str(tmp_path / "p.parquet")
    command = ["probe", str(opened.run.path), "--labels", labels, "--target", "side"]
    options = ["--no-baseline", "--folds", "2", "--split", "random", "--fractions", "100"]
    ignored = ["--ignore", "river", "--ignore", "lake", "--min-cover", "0.4"]
    assert main([*command, *options, *ignored, "--to", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    counts = "3 without a label (null or blank), 1 ignored, 1 invalid and repaired"
    assert f"labels    of {len(frame)} features: {counts}\n" in out
    assert "no label is 'lake'" in err
    assert """--ignore '"east, far"'""" in err
    report = json.loads((tmp_path / "out" / "probe.json").read_text())["labels"]
    assert report["features_without_label"] == 4
    assert (report["repaired_polygons"], report["polygons_left_out"]) == (1, 0)


def test_probabilities_of_tiles_sum_to_one(opened: OpenedRun, tmp_path: Path) -> None:
    plan = opened.plan
    centres = [
        shapely.Point(*np.reshape(plan.tile(k).bounds, (2, 2)).mean(0)) for k in range(len(plan))
    ]
    kind = ["east" if p.x > np.median([q.x for q in centres]) else "west" for p in centres]
    gpd.GeoDataFrame({"side": kind}, geometry=centres, crs=32632).to_file(tmp_path / "p.geojson")
    labels = str(tmp_path / "p.geojson")
    command = ["probe", str(opened.run.path), "--labels", labels, "--target", "side"]
    options = ["--no-baseline", "--folds", "2", "--to", str(tmp_path / "out"), "--split", "random"]
    assert main([*command, *options]) == 0
    table = gpd.read_parquet(tmp_path / "out" / "predictions.parquet")
    chances = table[["p_east", "p_west"]].to_numpy()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    picked = np.array(["east", "west"])[chances.argmax(axis=1)]
    assert table.prediction.tolist() == picked.tolist()
    assert "random split" in json.loads((tmp_path / "out" / "probe.json").read_text())["notice"]


@pytest.mark.parametrize(
    ("model", "data", "match"),
    [
        ({"patch_size": 8}, {}, r"model\.patch_size is 8 and was 16"),
        ({"weights_sha256": "ab"}, {}, r"model\.weights_sha256"),
        ({}, {"normalize": "none"}, r"data\.normalize"),
        ({"device": "cuda", "threads": 3}, {"start": "2021-06-01", "source": "else"}, None),
    ],
)
def test_a_probe_fits_runs_of_the_same_model_only(
    probed: Path, tmp_path: Path, model: dict[str, Any], data: dict[str, Any], match: str | None
) -> None:
    plan = plan_of((10.7, 59.85, 10.74, 59.87))
    write_run(tmp_path / "other", plan, model=Model(**model), data=Data(plan, **data))
    saved = read_probe(probed)
    if match is None:
        saved.check(read_run(tmp_path / "other"))
        assert main(["probe", str(tmp_path / "other"), "--apply", str(probed)]) == 0
        assert (tmp_path / "other" / "probe" / "kind-applied" / "map_utm32n.tif").exists()
        return
    with pytest.raises(RunDirectoryError, match=match):
        saved.check(read_run(tmp_path / "other"))


def _drop(content: dict[str, Any]) -> None:
    del content["coef"]


def _short(content: dict[str, Any]) -> None:
    content["coef"][0].pop()


def _class(content: dict[str, Any]) -> None:
    content["classes"].pop()


def _format(content: dict[str, Any]) -> None:
    content["format"] = "thor-geo-probe/9"


@pytest.mark.parametrize("damage", [_drop, _short, _class, _format])
def test_a_damaged_probe_is_refused(
    probed: Path, tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    content = json.loads((probed / "model.json").read_text())
    damage(content)
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="not a probe"):
        read_probe(tmp_path / "model.json")


def test_the_csv_restores_every_vector(opened: OpenedRun, tmp_path: Path) -> None:
    path = tmp_path / "neuco.csv"
    assert main(["probe", str(opened.run.path), "--export-csv", str(path)]) == 0
    table = pd.read_csv(path, index_col="id")
    assert table.columns.tolist() == [str(k) for k in range(1, DIMENSION + 1)]
    assert table.index.tolist() == [t.id for t in opened.plan.tiles(range(len(opened.plan)))]
    np.testing.assert_array_equal(table.to_numpy().astype(np.float32), read_tiles(opened).vectors)
    assert main(["probe", str(opened.run.path), "--export-csv", str(path)]) == 2


def test_the_csv_does_not_replace_the_run(opened: OpenedRun) -> None:
    before = opened.run.run_json.read_bytes()
    to = ["--export-csv", str(opened.run.run_json), "--overwrite"]
    assert main(["probe", str(opened.run.path), *to]) == 2
    assert opened.run.run_json.read_bytes() == before


def test_one_thing_is_done_at_a_time(opened: OpenedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(opened.run.path)
    with pytest.raises(SystemExit):
        main(["probe", run, "--labels", "a.gpkg", "--export-csv", "a.csv"])
    assert "give one of --export-csv and --labels or --target" in capsys.readouterr().err


def test_an_area_has_no_labels_of_its_own(
    opened: OpenedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(opened.run.path)
    for command in (["probe", run], ["probe", run, "--target", "crop"]):
        assert main(command) == 2
        message = capsys.readouterr().err
        assert "is a run of an area" in message
        assert "--labels" in message
    for option in (["--group", "country"], ["--split-date", "2021-01-01"], ["--vectors", "both"]):
        frame = gpd.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.Point(10.7, 59.9)], crs=4326)
        frame.to_file(labels := opened.run.path.parent / "one.geojson")
        assert main(["probe", run, "--labels", str(labels), "--target", "kind", *option]) == 2
        assert f"{option[0]}={option[1]}" in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize(
    ("option", "text", "match"),
    [
        ("--fractions", "0", "percent"),
        ("--fractions", "150", "percent"),
        ("--fractions", "nan", "percent"),
        ("--fractions", "abc", "'abc' is not a number"),
        ("--counts", "10,1.5", "'1.5' is not a whole number"),
    ],
)
def test_points_of_a_curve_are_asked_for_in_the_commands_own_units(
    option: str, text: str, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["probe", "out", "--labels", "a.gpkg", option, text])
    message = capsys.readouterr().err
    assert match in message
    assert "value" not in message


def test_labels_with_a_comma_can_be_ignored() -> None:
    line = ["out/a", "--labels", "a.gpkg", "--ignore", '"maize, silage", wood', "--ignore", "a b,"]
    assert parser().parse_args(line).ignore == ["maize, silage", "wood", "a b"]
    assert ignore_option("wood") == "--ignore wood"
    for label in ("maize, silage", 'so "called", it\'s'):
        written = shlex.split(ignore_option(label))
        assert parser().parse_args(["out/a", *written]).ignore == [label]


def test_a_run_that_is_not_finished_is_warned_of(plan: Plan, raster: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan, only=len(plan.shards) - 1)
    opened, spec = read_run(tmp_path / "run"), ProbeSpec(fractions=(1.0,), baseline=False)
    (warning, *_) = probe_run(opened, open_labels(raster), spec).warnings
    left = len(plan.shards[-1])
    assert warning == f"the run is not finished: {left} of {len(plan)} tiles are not done yet"


def test_ties_are_counted_among_the_samples_alone(opened: OpenedRun, tmp_path: Path) -> None:
    """Squares of 120 m in stripes: each cell of 480 m has as many of either class."""
    stripes = write_labels(
        opened, tmp_path / "stripes.tif", lambda x, y: 1 + (np.floor((x + 0 * y) / 120) % 2)
    )
    samples = collect_samples(opened, open_labels(stripes), ProbeSpec(max_samples=200))
    assert len(samples) == samples.tied.sum() == 200


def test_a_number_that_may_be_left_out_does_not_take_the_run(
    opened: OpenedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["probe", "--seed-noise", str(opened.run.path), "--labels", "a.tif"])
    assert "a run stands before --seed-noise, or write --seed-noise=5" in capsys.readouterr().err
