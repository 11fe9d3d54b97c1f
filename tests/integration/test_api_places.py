"""If this fails, a table gives other vectors in Python than in a run, or rows are mixed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

import thor_geo as tg
from thor_geo.errors import ConfigError
from thor_geo.ground.places import PlacesSpec

SENSOR = tg.SensorSpec(cloudy_pct=60, mask="scl")
MODEL = "thor_v1_tiny"
DAYS = (-20, 20)
CROPS = ["wheat", None, "rye", "wheat", "rye", "wheat", "rye"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def table() -> geopandas.GeoDataFrame:
    """Return seven plots in two zones, in three windows; two share a chip."""
    lon = [11.985, 12.012, 11.9853, 11.992, 12.004, 11.98501, 12.015]
    lat = [59.991, 60.001, 59.9911, 59.999, 59.994, 59.99101, 59.989]
    return geopandas.GeoDataFrame(
        {
            "plot": [f"p{k}" for k in range(7)],
            "surveyed": pd.to_datetime(
                ["2022-06-10", "2022-07-05", "2022-06-10", "2022-08-01"] * 2
            )[:7],
            "crop": CROPS,
            "visits": pd.array([1, 2, None, 4, 5, 6, 7], dtype="Int16"),
        },
        geometry=shapely.buffer(shapely.points(lon, lat), 0.0008),
        crs="EPSG:4326",
    )


@pytest.fixture(scope="module")
def options(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {
        "sensor": SENSOR,
        "backend": tg.EmulatorSpec(archive=archive),
        "cache_dir": tmp_path_factory.mktemp("places") / "cache",
        "pretrained": False,
        "image_size": 96,
    }


@pytest.fixture(scope="module")
def embed_run(
    thor_geo: Callable[..., Any],
    table: geopandas.GeoDataFrame,
    options: dict[str, Any],
    archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Return a function that embeds the table with the command."""
    folder = tmp_path_factory.mktemp("runs")
    table.to_parquet(folder / "survey.parquet")

    def run(name: str, *more: str) -> Path:
        done = thor_geo(
            "predict",
            "-c",
            "configs/quickstart.yaml",
            f"--data.emulator.archive={archive}",
            f"--data.cache_dir={options['cache_dir']}",
            "--data.area=null",
            "--data.start=null",
            "--data.end=null",
            f"--data.places.file={folder / 'survey.parquet'}",
            "--data.places.id=plot",
            "--data.places.date=surveyed",
            f"--data.places.days={list(DAYS)}",
            "--data.places.shard_places=4",
            "--data.tile_size=96",
            "--data.num_workers=0",
            "--model.threads=1",
            "--trainer.devices=1",
            f"--output.dir={folder / name}",
            "--output.quicklook=false",
            "--output.centre=true",
            "--output.grid=false",
            *more,
        )
        assert done.returncode == 0, done.stderr
        return folder / name

    return run


def test_a_table_gives_the_vectors_of_a_run_bit_for_bit(
    table: geopandas.GeoDataFrame, options: dict[str, Any], embed_run: Callable[..., Path]
) -> None:
    run = tg.open_run(embed_run("three", "--data.batch_size=3"))
    spec = {"file": table, "id": "plot", "date": "surveyed", "days": DAYS, "shard_places": 4}
    found = tg.get_embeddings_batch(MODEL, places=spec, batch_size=3, **options)
    assert len(found) == len(run.X) == 7
    np.testing.assert_array_equal(np.stack([each.data for each in found]), run.X)
    centre = tg.get_embeddings_batch(MODEL, places=spec, batch_size=3, output="centre", **options)
    cells = tg.open_run(run.path, vectors="centre").X
    np.testing.assert_array_equal(np.stack([each.data for each in centre]), cells)
    rows = list(run.table.itertuples())
    for number, (embedding, row) in enumerate(zip(found, rows, strict=True)):
        meta = embedding.meta
        assert (meta["place"], meta["id"]) == (number, f"p{number}") == (row.place, row.plot)
        assert meta["columns"]["crop"] == CROPS[number]
        assert meta["offset_m"] == pytest.approx(row.offset_m)
        assert meta["error"] is None
        assert meta["temporal"]["start"] == row.datetime_start.isoformat()
        assert meta["crs"] == f"EPSG:{row.epsg}"
        assert meta["valid_fraction"] == pytest.approx(row.valid_fraction, abs=1e-6)
    windows = {embedding.meta["temporal"]["start"] for embedding in found}
    assert len(windows) == 3
    assert not np.array_equal(found[0].data, found[1].data)


def test_one_place_at_a_time_gives_the_vectors_of_a_run_bit_for_bit(
    table: geopandas.GeoDataFrame, options: dict[str, Any], embed_run: Callable[..., Path]
) -> None:
    run = tg.open_run(embed_run("one", "--data.batch_size=1"))
    cells = tg.open_run(run.path, vectors="centre").X
    middle = run.table[["place_lon", "place_lat"]].to_numpy()
    for row, ((lon, lat), vector) in enumerate(zip(middle.tolist(), run.X, strict=True)):
        start, end = run.table["datetime_start"][row], run.table["datetime_end"][row]
        there = {
            "spatial": tg.PointBuffer(lon=lon, lat=lat, buffer_m=480),
            "temporal": tg.TemporalSpec.range(start.isoformat(), end.isoformat()),
            "batch_size": 1,
        }
        found = tg.get_embedding(MODEL, **there, **options)
        np.testing.assert_array_equal(found.data, vector)
        cell = tg.get_embedding(MODEL, output="centre", **there, **options)
        np.testing.assert_array_equal(cell.data, cells[row])
        assert (
            found.meta["cropped"]
            == found.meta["extended"]
            == dict.fromkeys(("top", "bottom", "left", "right"), 0)
        )


def test_polygons_are_pooled_as_in_a_run(
    table: geopandas.GeoDataFrame, options: dict[str, Any], embed_run: Callable[..., Path]
) -> None:
    run = tg.open_run(embed_run("within", "--data.batch_size=4", "--data.places.within=true"))
    spec = {"file": table, "date": "surveyed", "days": DAYS, "shard_places": 4}
    within = tg.get_embeddings_batch(
        MODEL, places={**spec, "within": True}, batch_size=4, **options
    )
    np.testing.assert_array_equal(np.stack([each.data for each in within]), run.X)
    whole = tg.get_embeddings_batch(MODEL, places=spec, batch_size=4, **options)
    assert not np.allclose(whole[0].data, within[0].data)


def test_two_sensors_at_places_are_those_of_a_run(
    table: geopandas.GeoDataFrame,
    options: dict[str, Any],
    embed_run: Callable[..., Path],
    both: Path,
) -> None:
    more = ("--data.batch_size=4", "--data.sentinel1={}", f"--data.emulator.archive={both}")
    run = tg.open_run(embed_run("both", *more))
    given = {**options, "sensor": [SENSOR, tg.Sentinel1Spec()]}
    spec = {"file": table, "date": "surveyed", "days": DAYS, "shard_places": 4}
    found = tg.get_embeddings_batch(
        MODEL, places=spec, batch_size=4, **{**given, "backend": tg.EmulatorSpec(archive=both)}
    )
    np.testing.assert_array_equal(np.stack([each.data for each in found]), run.X)


def test_files_frames_and_settings_are_one_table(
    table: geopandas.GeoDataFrame, options: dict[str, Any], tmp_path: Path
) -> None:
    lon, lat = shapely.get_coordinates(shapely.centroid(table.geometry.to_numpy())).T
    frame = pd.DataFrame({"lon": lon, "lat": lat, "crop": table["crop"]}).iloc[:3]
    frame.to_csv(tmp_path / "survey.csv", index=False)
    when = {"temporal": tg.TemporalSpec.range("2022-06-01", "2022-09-01"), **options}
    ways: list[Any] = [
        frame,
        tmp_path / "survey.csv",
        PlacesSpec(file=tmp_path / "survey.csv", keep=["crop"]),
        {"file": str(tmp_path / "survey.csv"), "keep": ["crop"]},
    ]
    found = [tg.get_embeddings_batch(MODEL, places=way, **when) for way in ways]
    for each in found:
        np.testing.assert_array_equal([e.data for e in each], [e.data for e in found[0]])
        assert [e.meta["id"] for e in each] == [0, 1, 2]
        assert [e.meta["columns"]["crop"] for e in each] == ["wheat", None, "rye"]


def test_skipped_rows_keep_their_place(
    table: geopandas.GeoDataFrame, options: dict[str, Any]
) -> None:
    bad = table.copy()
    bad.loc[1, "surveyed"] = pd.NaT
    spec = {"file": bad, "date": "surveyed", "on_bad_row": "skip"}
    for output, shape in (("pooled", (192,)), ("centre", (192,)), ("grid", (192, 6, 6))):
        found = tg.get_embeddings_batch(MODEL, places=spec, output=output, **options)
        assert len(found) == 7
        assert found[1].data.shape == found[0].data.shape == shape
        assert np.isnan(found[1].data).all()
        assert np.isfinite(found[0].data).all()
        assert "surveyed" in found[1].meta["error"]
        assert found[1].meta["place"] == found[1].meta["id"] == 1
    with pytest.raises(ConfigError, match=r"places.*surveyed"):
        tg.get_embeddings_batch(MODEL, places={**spec, "on_bad_row": "fail"}, **options)


@pytest.mark.parametrize(
    ("places", "more", "words"),
    [
        ({"date": "surveyed"}, {}, r"`places=.*DataFrame"),
        ({"file": "x.csv", "dates": "surveyed"}, {}, r"`places='dates'`.*date"),
        ("nowhere.csv", {}, r"`places='nowhere.csv'`: no such file"),
        (..., {"crop": True, "output": "grid"}, r"`crop=True`.*no area"),
        (..., {"input_prep": "tile"}, r"`input_prep='tile'`.*one chip"),
        (..., {"temporal": tg.TemporalSpec.year(2022)}, r"`temporal=.*'surveyed'"),
        (..., {"spatials": [tg.PointBuffer(lon=12, lat=60, buffer_m=480)]}, r"spatials.*table"),
        (..., {"image_size": 95}, r"image_size=95.*Take 94 or 96"),
        ({"file": ..., "date": "when"}, {}, r"`places\.date='when'`.*surveyed"),
        ({"file": ...}, {}, r"temporal"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(
    table: geopandas.GeoDataFrame,
    options: dict[str, Any],
    tmp_path: Path,
    places: Any,
    more: dict[str, Any],
    words: str,
) -> None:
    if places is ...:
        places = {"file": table, "date": "surveyed"}
    elif isinstance(places, dict) and places.get("file") is ...:
        places = {**places, "file": table}
    given = {**options, "cache_dir": tmp_path / "cache", "places": places, **more}
    with pytest.raises(ConfigError, match=words):
        tg.get_embeddings_batch(MODEL, **given)
    assert not (tmp_path / "cache").exists()
