"""If one of these fails, what a run of places leaves behind is not what its table asked for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr
import zarr

from tests.support.place_run import (
    POINTS,
    SKIPPED,
    PlaceData,
    PlaceModel,
    place_batches,
    places,
    plan_of,
    table,
    write_places,
)
from tests.support.synthetic_run import CELLS, DIMENSION, trainer_of, write_run
from tests.support.synthetic_run import plan_of as area_plan
from thor_geo.checks.merge import merge_run
from thor_geo.cli.main import main as command
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.place_reading import own_columns
from thor_geo.runs.reading import PlaceMapReader, VectorReader
from thor_geo.runs.vectors import CENTRE
from thor_geo.tasks import RunWriter

FAILED = {3: "no such block"}
EMPTY = (8,)
GONE = {*FAILED, *EMPTY, *SKIPPED}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run of 12 rows. Do not change it."""
    path = tmp_path_factory.mktemp("places") / "run"
    return write_places(path, failed=FAILED, empty=EMPTY).run


def rows_of(run: RunDirectory) -> pa.Table:
    """Return all rows of a run in the order of the table."""
    return pq.read_table(run.pooled).sort_by("place")


def predicted(name: str) -> dict[int, Any]:
    """Return what the model gave for each row of the table."""
    plan, out = plan_of(places()), {}
    for shard in plan.shards:
        for prediction, _ in place_batches(plan, shard):
            for chip, value in zip(prediction["tile"].tolist(), prediction[name], strict=True):
                out[int(plan.place[chip])] = value.numpy()
    return out


def files_of(run: RunDirectory) -> dict[str, bytes]:
    """Return every output by its name."""
    outputs = [path for path in run.path.rglob("*") if path.is_file()]
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in outputs
        if path.parent.name != "markers" and path.suffix != ".lock"
    }


def test_the_tables_columns_stand_beside_the_vectors_as_they_were(run: RunDirectory) -> None:
    kept = rows_of(run).select(table().column_names)
    assert kept.schema == table().schema
    assert kept.equals(table())


def test_every_row_says_where_and_when_it_is(run: RunDirectory) -> None:
    given, frame = places(), gpd.read_parquet(run.pooled).sort_values("place")
    assert frame["place"].tolist() == list(range(len(POINTS)))
    there = ~np.isin(frame["place"], list(SKIPPED))
    frame = frame[there]
    np.testing.assert_array_equal(frame["place_lon"], given.lon[there])
    np.testing.assert_array_equal(frame["place_lat"], given.lat[there])
    for column, times in (("datetime_start", given.starts), ("datetime_end", given.ends)):
        assert frame[column].dt.tz_localize(None).tolist() == pd.Series(times[there]).tolist()
    # Half a pixel of 20 m, each way.
    assert ((frame["offset_m"] >= 0) & (frame["offset_m"] <= np.hypot(10, 10))).all()
    points = shapely.points(frame["place_lon"], frame["place_lat"])
    assert shapely.contains(frame.geometry.to_numpy(), points).all()
    zones = np.where(frame["place_lon"] < 12, 32632, 32633)
    np.testing.assert_array_equal(frame["epsg"], zones)
    assert len(set(frame.loc[frame["shard_id"] == "places_000001", "epsg"])) == 2


def test_places_that_share_a_chip_have_rows_of_their_own(run: RunDirectory) -> None:
    rows = rows_of(run).to_pylist()
    assert rows[0]["tile_id"] == rows[2]["tile_id"] == rows[6]["tile_id"]
    assert rows[0]["embedding"] != rows[2]["embedding"]  # another window
    assert rows[0]["embedding"] == rows[6]["embedding"]  # the same window
    assert len({row["id"] for row in rows}) == len(rows)
    assert rows[2]["id"] == f"{rows[2]['tile_id']}_20210601_20210901_p2"


@pytest.mark.parametrize(
    ("name", "column"), [("pooled", "embedding"), ("centre", "centre")], ids=["chip", "centre"]
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_vectors_are_the_models(tmp_path: Path, name: str, column: str, dtype: str) -> None:
    run = write_places(tmp_path / "run", failed=FAILED, empty=EMPTY, dtype=dtype).run
    rows, expected = rows_of(run), predicted(name)
    absent = set(rows.filter(rows[column].is_null())["place"].to_pylist())
    assert absent == GONE
    reader, plan = VectorReader(run), plan_of(places())
    for shard in plan.shards:
        actual = reader.read(shard, None, column)
        for row, vector in zip(plan.place[shard.start : shard.stop].tolist(), actual, strict=True):
            if row in GONE:
                assert np.isnan(vector).all()
                continue
            rounding = {"float32": 0, "float16": 2**-11, "int8": 0.51 / 127}[dtype]
            largest = np.abs(expected[row]).max()
            np.testing.assert_allclose(vector, expected[row], rtol=0, atol=rounding * largest)
    assert ("centre_scale" in rows.column_names) == (dtype == "int8")


def test_rows_without_a_vector_say_why(run: RunDirectory) -> None:
    rows = rows_of(run).to_pylist()
    assert {row["place"]: row["status"] for row in rows if row["status"] != "ok"} == {
        3: "failed",
        8: "empty",
        4: "skipped",
    }
    assert rows[3]["error"] == FAILED[3]
    skipped = rows[4]
    assert skipped["error"] == SKIPPED[4]
    assert skipped["plot_id"] == "plot-04"
    for column in ("embedding", "geometry", "tile_id", "epsg", "offset_m", "centre", "bbox"):
        assert skipped[column] is None


def test_a_table_without_skipped_rows_has_no_file_of_them(tmp_path: Path) -> None:
    given = places()
    kept = np.flatnonzero(~np.isin(np.arange(len(given)), list(SKIPPED)))
    whole = type(given)(
        **{
            **{name: getattr(given, name) for name in ("source", "id", "polygons", "digests")},
            **{name: getattr(given, name)[kept] for name in ("lon", "lat", "starts", "ends")},
            "columns": given.columns.take(pa.array(kept)),
            "skipped": {},
        }
    )
    run = write_places(tmp_path / "run", whole).run
    assert not run.skipped.exists()
    assert len(pq.read_table(run.pooled)) == len(whole)


@pytest.mark.parametrize(
    "ids",
    [pa.array(range(100, 112), pa.int64()), pa.array([f"{k:03d}" for k in range(12)])],
    ids=["numbers", "text"],
)
def test_a_column_of_ids_called_id_is_the_outputs_own(tmp_path: Path, ids: pa.Array) -> None:
    columns = pa.table({"id": ids, "crop": ["wheat"] * 12})
    run = write_places(tmp_path / "run", places(columns, id="id"), failed=FAILED).run
    rows = rows_of(run)
    assert rows.column_names.count("id") == 1
    assert rows["id"].combine_chunks() == ids
    (failure,) = (run.failures / "places_000001.jsonl").read_text().splitlines()
    assert "_p3" in failure


def test_duckdb_and_pandas_read_features_and_labels_from_the_same_files(run: RunDirectory) -> None:
    files = f"{run.pooled}/*.parquet"
    (rows,) = duckdb.sql(
        f"SELECT count(*), count(embedding), count(crop), min(surveyed) FROM '{files}'"
    ).fetchall()
    assert rows[:3] == (12, 12 - len(GONE), 9)
    kinds = {row[0]: row[1] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{files}'").fetchall()}
    assert (kinds["visits"], kinds["yield_t"], kinds["cut"]) == ("SMALLINT", "FLOAT", "BOOLEAN")
    assert (kinds["surveyed"], kinds["place"]) == ("DATE", "BIGINT")
    frame = pd.read_parquet(run.pooled, dtype_backend="pyarrow").sort_values("place")
    assert frame["visits"].isna().tolist() == [k == 3 for k in range(12)]
    assert frame["visits"].dtype == pd.ArrowDtype(pa.int16())


def test_footers_say_what_chips_are(run: RunDirectory) -> None:
    for path in (run.pooled / "places_000000.parquet", run.skipped):
        metadata = pq.read_schema(path).metadata
        facts = json.loads(metadata[b"geoemb"])
        assert facts["chip_layout"] == {"layout_type": "irregular", "chip_size": [288, 288]}
        assert metadata[b"centre"] == b'{"dimensions":5}'


def test_maps_open_with_a_coordinate_for_each_place(run: RunDirectory) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = xr.open_zarr(run.place_store)
    plan, given, expected = plan_of(places()), places(), predicted("grid")
    assert store["embeddings"].dims == ("place", "band", "y", "x")
    assert store.sizes == {"place": 11, "band": DIMENSION, "y": CELLS, "x": CELLS}
    assert store["place"].to_numpy().tolist() == plan.place.tolist()
    for row in range(len(POINTS)):
        if row in SKIPPED:
            continue
        at = store.sel(place=row).load()
        if row in GONE:
            assert np.isnan(at["embeddings"]).all()
        else:
            np.testing.assert_array_equal(at["embeddings"], expected[row])
        assert (at["place_lon"], at["place_lat"]) == POINTS[row]
        assert at["datetime_start"].to_numpy() == given.starts[row]
        assert at["datetime_end"].to_numpy() == given.ends[row]
        chip = plan.tile(int(np.flatnonzero(plan.place == row)[0]))
        left, _, _, top = chip.bounds
        assert (at["epsg"], at["left"], at["top"]) == (chip.epsg, left, top)
        # A cell's centre in its zone: the chip's centre and the cell's distance from it.
        np.testing.assert_allclose(left + 1440 + at["x"], left + 240 + 480 * np.arange(CELLS))
        np.testing.assert_allclose(top - 1440 + at["y"], top - 240 - 480 * np.arange(CELLS))


def test_nothing_in_the_store_of_places_calls_itself_a_map(run: RunDirectory) -> None:
    root = zarr.open_group(str(run.place_store), mode="r")
    assert root.attrs["geoemb:chip_layout"] == {"layout_type": "irregular", "chip_size": [48, 48]}
    assert "geoemb:spatial_layout" not in root.attrs
    for name, array in root.arrays():
        assert not [key for key in array.attrs if key.startswith(("proj:", "spatial:", "grid_"))]
        assert array.ndim == (4 if name == "embeddings" else 1)


def test_codes_of_maps_are_read_back(tmp_path: Path) -> None:
    run = write_places(tmp_path / "run", failed=FAILED, empty=EMPTY, dtype="int8").run
    plan, expected, reader = plan_of(places()), predicted("grid"), PlaceMapReader(run)
    decoded = xr.open_zarr(run.place_store)
    for shard in plan.shards:
        maps = reader.read(shard)
        for row, cells in zip(plan.place[shard.start : shard.stop].tolist(), maps, strict=True):
            at = decoded.sel(place=row)
            np.testing.assert_array_equal(at["embeddings"] * at["scale"], cells)
            if row in GONE:
                assert np.isnan(cells).all()
            else:
                error = np.abs(cells - expected[row]).max(axis=0)
                assert (error <= 0.51 / 127 * np.abs(expected[row]).max(axis=0)).all()
    (last,) = list(plan.shards)[-1:]
    np.testing.assert_array_equal(reader.read(last, slice(1, 2)), reader.read(last)[1:2])


def test_any_order_any_interruption_and_any_retry_give_the_same_bytes(tmp_path: Path) -> None:
    whole = files_of(write_places(tmp_path / "whole").run)
    backwards = files_of(write_places(tmp_path / "backwards", order=-1).run)
    write_places(tmp_path / "stopped", only=1)
    stopped = files_of(write_places(tmp_path / "stopped").run)
    write_places(tmp_path / "retried", failed={3: "no such block", 9: "no such block"})
    retried = files_of(write_places(tmp_path / "retried").run)
    assert {"pooled/skipped.parquet", "places.zarr/embeddings/c/2/0/0/0"} <= whole.keys()
    assert whole == backwards == stopped == retried


def test_a_retry_computes_only_shards_with_a_failure(tmp_path: Path) -> None:
    write_places(tmp_path / "run", failed=FAILED)
    plan, given = plan_of(places()), places()
    data: Any = PlaceData(given, plan)
    callback = RunWriter(dir=tmp_path / "run", quicklook=False, centre=True)
    callback.setup(trainer_of(data), PlaceModel(), "predict")
    assert [plan.shards[k].id for k in data.ledger.unfinished()] == ["places_000001"]
    callback.on_exception(trainer_of(data), PlaceModel(), KeyboardInterrupt())


def test_a_table_that_changed_is_refused_and_the_change_is_named(tmp_path: Path) -> None:
    write_places(tmp_path / "run", only=1)
    columns = table().set_column(1, "crop", pa.array(["rye"] * 12))
    changed = places(columns)
    with pytest.raises(RunDirectoryError, match=r"table of places has changed \(.*'crop'"):
        write_places(tmp_path / "run", changed)
    fewer = places(table().drop_columns(["crop"]))
    with pytest.raises(RunDirectoryError, match=r"data\.places\.keep is") as caught:
        write_places(tmp_path / "run", fewer)
    assert "another area" not in str(caught.value)


def test_a_damaged_list_of_skipped_rows_is_made_again(tmp_path: Path) -> None:
    run = write_places(tmp_path / "run", only=1).run
    before = run.skipped.read_bytes()
    run.skipped.write_bytes(before[:100])
    write_places(tmp_path / "run")
    assert run.skipped.read_bytes() == before


def test_tiles_of_an_area_have_no_centre(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.centre.*data\.places"):
        write_run(tmp_path / "run", area_plan(), centre=True)


def test_chips_have_no_area_to_be_cropped_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.crop.*data\.places\.within"):
        write_places(tmp_path / "run", crop=True)


def test_a_plan_of_places_needs_its_table(tmp_path: Path) -> None:
    given = places()
    plan = plan_of(given)
    data: Any = PlaceData(given, plan)
    del data.places_table
    with pytest.raises(ConfigError, match="places_table"):
        write_places(tmp_path / "run", given, plan, data=data)


def test_a_run_of_places_says_so(run: RunDirectory) -> None:
    opened = read_run(run.path)
    assert opened.places
    assert opened.centre
    assert opened.table == (12, 1)
    assert own_columns(opened.run) == tuple(table().column_names)
    assert CENTRE in rows_of(run).column_names


def test_the_summary_counts_places_and_says_how_to_open_them(tmp_path: Path) -> None:
    summary = write_places(tmp_path / "run", failed=FAILED, empty=EMPTY).summary
    assert summary is not None
    text = str(summary)
    assert text.startswith("Embedded 11 places in ")
    assert "places    11 of 11: 9 ok, 1 empty (no observations), 1 failed" in text
    assert "1 of the table's 12 rows skipped" in text
    assert "zones     utm32n, utm33n" in text
    assert f'xarray.open_zarr("{tmp_path}/run/places.zarr")' in text
    assert "km2" not in text


def test_maps_alone_need_no_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = write_places(tmp_path / "run", pooled=False, centre=False).run
    assert not run.pooled.exists()
    assert command(["validate", str(run.path), "--workers", "1"]) == 0
    with pytest.raises(RunDirectoryError, match=r"places\.zarr"):
        merge_run(read_run(run.path))


def test_rows_alone_need_no_maps(tmp_path: Path) -> None:
    run = write_places(tmp_path / "run", grid=False, centre=False).run
    assert not run.place_store.exists()
    assert "centre" not in rows_of(run).column_names
    assert command(["validate", str(run.path), "--workers", "1"]) == 0
