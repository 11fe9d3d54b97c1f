"""If one of these fails, damage to a run of places is not found, or a merged file lacks rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.damage import edit_json, edit_rows, faults_of, vouch, with_row
from tests.support.place_run import SKIPPED, places, plan_of, table, write_places
from tests.support.synthetic_run import ONE_ZONE, write_run
from tests.support.synthetic_run import plan_of as area_plan
from thor_geo.checks._finished import find_finished
from thor_geo.checks._table_order import TableOrder
from thor_geo.checks.merge import merge_run
from thor_geo.checks.tally import count_markers
from thor_geo.checks.validate import check_run
from thor_geo.cli.main import main as command
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

FAILED, EMPTY = {3: "block utm32n_r10_b576_x1_y2: no such block"}, (8,)
# The shard with the failed place, which has places in two zones.
SHARD = 1


@pytest.fixture(scope="module", params=["float32", "int8"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of 12 rows. Do not change it."""
    path = tmp_path_factory.mktemp("places") / "run"
    return write_places(path, failed=FAILED, empty=EMPTY, dtype=request.param).run


@pytest.fixture
def run(finished: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the run, to be damaged."""
    shutil.copytree(finished.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def found_in(run: RunDirectory) -> list[str]:
    """Return what is wrong with the run except the place that failed."""
    return [
        fault.reason for fault in check_run(read_run(run.path)).faults if fault.kind != "failed"
    ]


def in_shard(run: RunDirectory) -> list[str]:
    """Return what is wrong with the shard except the place that failed."""
    return [fault.reason for fault in faults_of(run, SHARD) if fault.kind != "failed"]


def test_a_whole_run_is_whole(finished: RunDirectory, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["validate", str(finished.path), "--workers", "1"]) == 3
    out = capfd.readouterr().out
    assert "places: 9 ok, 1 empty, 1 failed, 1 of 12 rows skipped" in out
    assert "_p3: block utm32n" in out


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("place", "4 rows for 4 tiles"),
        ("place_lon", "`place_lon` is not the place's in 1 rows"),
        ("place_lat", "`place_lat` is not the place's in 1 rows"),
        ("offset_m", "`offset_m` is not the place's in 1 rows"),
        ("epsg", "`epsg` is "),
        ("id", "`id` is not chip, window and place"),
        ("datetime_end", "`datetime_end` is not"),
        ("tile_id", "`tile_id` is not that of `id`"),
        ("transform", "`transform` is not the tile's in 1 rows"),
    ],
)
def test_rows_are_held_against_the_plan(run: RunDirectory, column: str, reason: str) -> None:
    shard = read_run(run.path).plan.shards[SHARD]

    def change(rows: pa.Table) -> pa.Table:
        others = rows[column].to_pylist()
        other = next((value for value in others if value != others[0]), None)
        other = other if other is not None else others[0] + 1
        return with_row(rows, column, 0, other)

    edit_rows(run, shard, change)
    assert any(reason in each for each in in_shard(run))


def test_centres_are_checked_as_vectors_are(run: RunDirectory) -> None:
    shard = read_run(run.path).plan.shards[0]  # without a failed place, and with an empty one
    before = pq.ParquetFile(run.pooled_path(shard)).read()
    ok = before["status"].to_pylist().index("ok")

    def changed(value: Any) -> str:
        rows = with_row(before, "centre", ok, value)
        edit_rows(run, shard, lambda _: rows)
        return "; ".join(fault.reason for fault in faults_of(run, 0))

    vector = before["centre"][ok].as_py()
    assert "`centre` is null elsewhere than `embedding`" in changed(None)
    assert "1 centres do not have 5 elements" in changed(vector[:-1])
    assert "1 centres hold" in changed([None, *vector[1:]])
    assert changed(vector) == ""


def test_the_columns_kept_are_held_against_the_table(run: RunDirectory) -> None:
    shard = read_run(run.path).plan.shards[0]
    edit_rows(run, shard, lambda rows: with_row(rows, "crop", 1, "rye"))
    assert found_in(run) == ["the values of `crop` are not those of the table that was given"]


def test_a_column_of_another_type_is_found(run: RunDirectory) -> None:
    shard = read_run(run.path).plan.shards[SHARD]

    def change(rows: pa.Table) -> pa.Table:
        at = rows.schema.get_field_index("visits")
        return rows.set_column(at, "visits", rows["visits"].cast(pa.float64()))

    edit_rows(run, shard, change)
    assert "column visits is double, should be int16" in found_in(run)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: None, "missing: 1 rows of the table were skipped"),
        (lambda rows: rows.slice(0, 0), "`place` is not the rows that are not in the plan"),
        (lambda rows: with_row(rows, "place", 0, 5), "`place` is not the rows that are not in"),
        (lambda rows: with_row(rows, "status", 0, "ok"), "`status` is not skipped in every row"),
        (lambda rows: with_row(rows, "error", 0, None), "`error` gives no reason in some rows"),
        (lambda rows: with_row(rows, "epsg", 0, 32632), "epsg should be null"),
        (lambda rows: rows.drop_columns(["crop"]), "its columns are not those of the other"),
    ],
    ids=["missing", "no rows", "another row", "status", "no reason", "a chip's", "columns"],
)
def test_skipped_rows_are_held_against_the_plan(
    run: RunDirectory, change: Callable[[pa.Table], pa.Table | None], reason: str
) -> None:
    rows = change(pq.ParquetFile(run.skipped).read())
    run.skipped.unlink()
    if rows is not None:
        pq.write_table(rows, run.skipped)
    assert any(reason in each for each in found_in(run))


def test_maps_of_places_are_held_against_their_rows(run: RunDirectory) -> None:
    opened = read_run(run.path)
    shard = opened.plan.shards[SHARD]
    first, second = (
        run.place_store / "embeddings" / "c" / str(k) / "0" / "0" / "0" for k in (0, 1)
    )
    second.write_bytes(first.read_bytes())  # of other places, of which another one is empty
    vouch(run, shard, second)
    reasons = in_shard(run)
    assert any("places that are ok" in each for each in reasons)
    assert any("in 1 places that are not ok" in each for each in reasons)
    second.write_bytes(first.read_bytes()[:-9])
    vouch(run, shard, second)
    assert any("cannot be decoded" in each for each in in_shard(run))


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("place", lambda about: about.update(shape=[10]), "is int64 of shape (10,)"),
        ("epsg", lambda about: about["attributes"].clear(), "attribute long_name is not"),
        (
            "embeddings",
            lambda about: about["attributes"].update({"spatial:bbox": [0, 0, 1, 1]}),
            "is not a map but has the attribute spatial:bbox",
        ),
        (
            "embeddings",
            lambda about: about.update(dimension_names=["time", "band", "y", "x"]),
            "dimensions are",
        ),
        ("", lambda about: about.pop("consolidated_metadata"), "has no attributes of a run"),
        ("", lambda about: about["attributes"].update({"geoemb:type": "pixel"}), "geoemb:type"),
    ],
    ids=["places", "attributes", "map", "dimensions", "consolidated", "facts"],
)
def test_the_stores_metadata_is_held_against_the_plan(
    run: RunDirectory, file: str, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    edit_json(run.place_store / file / "zarr.json", change)
    faults = [fault for fault in faults_of(run, SHARD) if fault.kind == "grid"]
    assert any(reason in fault.reason for fault in faults)


def test_files_of_no_place_are_strays(run: RunDirectory) -> None:
    name = "places.zarr/embeddings/c/7/0/0/0"
    (run.path / name).parent.mkdir(parents=True)
    shutil.copy(run.place_store / "embeddings" / "c" / "0" / "0" / "0" / "0", run.path / name)
    run.grid.mkdir()
    shutil.copy(run.skipped, run.pooled / "places_000009.parquet")
    strays = {f.file for f in check_run(read_run(run.path)).faults if f.kind == "stray"}
    assert strays == {name, "grid.zarr", "pooled/places_000009.parquet"}


def test_skipped_rows_of_an_area_are_strays(run: RunDirectory, tmp_path: Path) -> None:
    area = write_run(tmp_path / "area", area_plan(ONE_ZONE), grid=False).run
    shutil.copy(run.skipped, area.skipped)
    (fault,) = check_run(read_run(area.path)).faults
    assert fault.reason == "no row of a table was skipped"


def test_status_counts_places_and_rows_skipped(
    finished: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    tally = count_markers(read_run(finished.path))
    assert (tally.tiles, tally.ok, tally.empty, tally.failed) == (11, 9, 1, 1)
    assert command(["status", str(finished.path)]) == 0
    out = capfd.readouterr().out
    assert "places    10 of 11 done (9 ok, 1 empty), 1 failed, 0 left" in out
    assert "1 of the table's 12 rows skipped" in out
    assert "1 x <id>" not in out
    assert command(["status", str(finished.path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["table"] == {"rows": 12, "skipped": 1}


def test_a_merged_file_has_the_tables_order(finished: RunDirectory, tmp_path: Path) -> None:
    merged = merge_run(read_run(finished.path), to=tmp_path / "all.parquet")
    assert (merged.rows, merged.failed, merged.skipped, merged.left_out) == (12, 1, 1, 0)
    rows = pq.ParquetFile(merged.path).read()
    assert rows["place"].to_pylist() == list(range(12))
    assert rows.select(table().column_names).equals(table())
    shards = pq.read_table(finished.pooled).sort_by("place")
    assert rows.equals(shards)
    frame = gpd.read_parquet(merged.path)
    assert frame.geometry.isna().tolist() == [row in SKIPPED for row in range(12)]
    bounds = json.loads(pq.read_schema(merged.path).metadata[b"geo"])["columns"]["geometry"]["bbox"]
    np.testing.assert_allclose(bounds, frame.total_bounds)


def test_parts_of_a_merge_have_the_tables_order(finished: RunDirectory, tmp_path: Path) -> None:
    merged = merge_run(read_run(finished.path), to=tmp_path / "parts", max_rows=5)
    parts = sorted(merged.path.iterdir())
    assert [
        pq.ParquetFile(path).read(columns=["place"])["place"].to_pylist() for path in parts
    ] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11],
    ]


def test_sections_on_the_disk_give_the_same_rows(finished: RunDirectory, tmp_path: Path) -> None:
    opened = read_run(finished.path)
    plan: Any = opened.plan
    state = find_finished(opened).state
    scratch = tmp_path / "sections"
    scratch.mkdir()
    few = TableOrder(opened, plan, state, scratch / "merge", section_bytes=1)
    batches = list(few.batches(2))
    assert [len(batch) for batch in batches] == [2] * 6
    rows = pa.concat_tables(batches)
    assert rows["place"].to_pylist() == list(range(12))
    assert rows.equals(pq.read_table(finished.pooled).sort_by("place"))
    assert list(scratch.iterdir()) == []


def test_a_part_of_skipped_rows_alone_has_no_box(finished: RunDirectory, tmp_path: Path) -> None:
    merged = merge_run(read_run(finished.path), to=tmp_path / "parts", max_rows=1)
    assert merged.files == 12
    with_box = [
        "bbox" in json.loads(pq.read_schema(path).metadata[b"geo"])["columns"]["geometry"]
        for path in sorted(merged.path.iterdir())
    ]
    assert with_box == [row not in SKIPPED for row in range(12)]


def test_what_is_done_can_be_merged(tmp_path: Path) -> None:
    run = write_places(tmp_path / "run", only=1).run
    with pytest.raises(RunDirectoryError, match="unfinished"):
        merge_run(read_run(run.path))
    merged = merge_run(read_run(run.path), partial=True)
    done = plan_of(places()).place[:4].tolist()
    assert pq.read_table(merged.path)["place"].to_pylist() == sorted([*done, *SKIPPED])


def test_a_merge_needs_the_skipped_rows(run: RunDirectory) -> None:
    run.skipped.unlink()
    with pytest.raises(RunDirectoryError, match=r"skipped\.parquet"):
        merge_run(read_run(run.path))


def test_a_merge_replaces_no_maps_of_places(run: RunDirectory) -> None:
    with pytest.raises(ConfigError, match=r"places\.zarr"):
        merge_run(read_run(run.path), to=run.place_store / "x", overwrite=True)


def test_a_merge_gives_the_same_bytes_whatever_the_order_of_shards(tmp_path: Path) -> None:
    runs = [write_places(tmp_path / str(order), order=order).run for order in (1, -1)]
    first, second = (merge_run(read_run(run.path)).path.read_bytes() for run in runs)
    assert first == second
