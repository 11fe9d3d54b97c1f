"""If one of these fails, a damaged run passes for a whole one, or a whole one for damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from damage import edit_json, edit_rows, vouch, with_column, with_row
from synthetic_run import CELLS, DIMENSION, write_run

from thor_geo.cli import main as command
from thor_geo.plan import Plan
from thor_geo.runs import _marked
from thor_geo.runs._faults import Fault
from thor_geo.runs._marked import Checked, check_shard
from thor_geo.runs._opened import open_run
from thor_geo.runs._planned import check_plan_file
from thor_geo.runs.validate import check_run, expect
from thor_geo.writers import RunDirectory
from thor_geo.writers.grid import GridStore

# The shard that is damaged: tiles 2 to 5, of which 3 failed and 4 is empty.
SHARD = 1


def faults_of(run: RunDirectory, shard: int = SHARD) -> list[Fault]:
    """Return what is wrong with one shard, in this process."""
    opened = open_run(run.path)
    expected, found = expect(opened)
    return found + check_shard(expected, opened.plan, opened.plan.shards[shard]).faults


def damage_of(run: RunDirectory) -> list[Fault]:
    """Return what is wrong with the damaged shard except the tile that failed."""
    return [fault for fault in faults_of(run) if fault.kind != "failed"]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_whole_run_has_no_fault_and_is_not_touched(
    whole: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    before = contents(whole.path)
    assert command(["validate", str(whole.path), "--workers", "2"]) == 0
    assert contents(whole.path) == before
    out = capfd.readouterr().out
    assert "whole" in out
    assert f"{len(plan) - 1} tiles are ok, 1 empty, 0 failed" in out


def test_a_damaged_shard_is_told_with_the_remedy(
    run: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    run.pooled_of(plan.shards[0]).unlink()
    assert command(["validate", str(run.path), "--workers", "1"]) == 1
    out = capfd.readouterr().out
    assert f"pooled/{plan.shards[0].id}.parquet: missing" in out
    assert "delete their markers" in out


def test_failed_tiles_alone_give_exit_code_3(
    failing: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["validate", str(failing.path), "--json", "--workers", "1"]) == 3
    report = json.loads(capfd.readouterr().out)
    (fault,) = report["faults"]
    assert fault["kind"] == "failed"
    assert plan.tile(3).id in fault["reason"]
    assert "no such block" in fault["reason"]
    assert report["tiles"] == {"total": len(plan), "ok": len(plan) - 2, "empty": 1, "failed": 1}


def test_what_is_not_done_is_a_fault(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan, only=2).run
    found = check_run(open_run(run.path))
    assert found.exit_code == 1
    assert [fault.kind for fault in found.faults] == ["unfinished"] * (len(plan.shards) - 2)
    assert found.faults[0].file == f"markers/{plan.shards[2].id}.json"
    assert found.checked.ok == plan.shards[1].stop


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("what", ["pooled", "map"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [(truncate, "bytes, the marker says"), (flip, "sha256"), (Path.unlink, "missing")],
)
def test_a_file_is_what_its_marker_says(
    run: RunDirectory, plan: Plan, what: str, damage: Callable[[Path], Any], reason: str
) -> None:
    shard = plan.shards[SHARD]
    path = run.pooled_of(shard)
    if what == "map":
        path = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS)).file_of(shard)
    damage(path)
    (fault,) = damage_of(run)
    assert (fault.kind, fault.file) == ("file", path.relative_to(run.path).as_posix())
    assert reason in fault.reason


def vectors(table: pa.Table, row: int, value: list[float] | None) -> pa.Table:
    return with_row(table, "embedding", row, value)


def moved(table: pa.Table) -> pa.Table:
    return with_column(table, "geometry", list(reversed(table["geometry"].to_pylist())))


def renamed_run(table: pa.Table) -> pa.Table:
    metadata = dict(table.schema.metadata)
    about = json.loads(metadata[b"thor_geo"])
    metadata[b"thor_geo"] = json.dumps({**about, "fingerprint": "0" * 64}).encode()
    return table.replace_schema_metadata(metadata)


def mercator(table: pa.Table) -> pa.Table:
    metadata = dict(table.schema.metadata)
    geo = json.loads(metadata[b"geo"])
    geo["columns"]["geometry"]["crs"] = {"id": {"authority": "EPSG", "code": 3857}}
    metadata[b"geo"] = json.dumps(geo).encode()
    return table.replace_schema_metadata(metadata)


def halves(table: pa.Table) -> pa.Table:
    index = table.schema.get_field_index("embedding")
    values = [
        None if row is None else np.array(row, np.float16) for row in table["embedding"].to_pylist()
    ]
    kind = pa.list_(pa.float16(), DIMENSION)
    return table.set_column(index, "embedding", pa.array(values, kind))


# Rows of the shard: 0 and 3 are ok, 1 failed, 2 is empty.
ROWS: dict[str, tuple[Callable[[pa.Table], pa.Table], str, str]] = {
    "a row is missing": (lambda t: t.slice(1), "rows", "1 missing"),
    "a row came twice": (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "rows", "1 twice"),
    "a row of another shard": (
        lambda t: with_row(t, "tile_id", 0, "utm31n_x1_y1"),
        "rows",
        "1 not of this shard",
    ),
    "another order": (lambda t: t.take(list(reversed(range(len(t))))), "rows", "order"),
    "another shard's id": (lambda t: with_row(t, "shard_id", 0, "x"), "rows", "shard_id"),
    "another window": (
        lambda t: with_column(t, "datetime_end", t["datetime_start"].combine_chunks()),
        "rows",
        "datetime_end",
    ),
    "a wrong EPSG code": (lambda t: with_row(t, "epsg", 0, 32631), "place", "32631"),
    "a wrong transform": (lambda t: with_row(t, "transform", 0, [1.0] * 6), "place", "transform"),
    "a wrong footprint": (moved, "place", "geometry"),
    "a broken footprint": (lambda t: with_row(t, "geometry", 0, b"\x01"), "place", "geometry"),
    "a wrong covering": (
        lambda t: with_row(t, "bbox", 0, {"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}),
        "place",
        "bbox",
    ),
    "another CRS": (mercator, "place", "CRS84"),
    "another primary": (
        lambda t: with_row(t, "primary", 0, not t["primary"][0].as_py()),
        "place",
        "primary",
    ),
    "NaN": (lambda t: vectors(t, 0, [float("nan")] * DIMENSION), "values", "NaN"),
    "infinity": (lambda t: vectors(t, 0, [float("inf")] * DIMENSION), "values", "infinity"),
    "no vector": (lambda t: vectors(t, 0, None), "values", "have no embedding"),
    "a vector where it failed": (
        lambda t: vectors(t, 1, [0.0] * DIMENSION),
        "values",
        "not ok and have",
    ),
    "a vector where it is empty": (
        lambda t: vectors(t, 2, [0.0] * DIMENSION),
        "values",
        "not ok and have",
    ),
    "an unknown status": (lambda t: with_row(t, "status", 0, "fine"), "values", "fine"),
    "an error of a good tile": (lambda t: with_row(t, "error", 0, "x"), "values", "error"),
    "no error": (lambda t: with_row(t, "error", 1, None), "values", "error"),
    "observed, yet empty": (
        lambda t: with_row(t, "valid_fraction", 2, 0.5),
        "values",
        "valid_fraction",
    ),
    "a wrong count of scenes": (lambda t: with_row(t, "n_scenes", 0, 7), "values", "n_scenes"),
    "half floats": (halves, "schema", "halffloat"),
    "another length": (
        lambda t: t.set_column(
            3, "embedding", pa.array([[1.0]] * len(t), pa.list_(pa.float32(), 1))
        ),
        "schema",
        "embedding",
    ),
    "a missing column": (lambda t: t.drop_columns(["epsg"]), "schema", "missing epsg"),
    "another run": (renamed_run, "schema", "another run"),
    "no footer": (lambda t: t.replace_schema_metadata(None), "schema", "thor_geo"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_what_plan_and_status_say(run: RunDirectory, plan: Plan, name: str) -> None:
    damage, kind, reason = ROWS[name]
    edit_rows(run, plan.shards[SHARD], damage)
    found = damage_of(run)
    assert (kind, True) in [(fault.kind, reason in fault.reason) for fault in found], found


MARKERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another run": (lambda m: m.update(fingerprint="0" * 64), "another run"),
    "another shard": (lambda m: m.update(shard_id="utm31n_x"), "shard utm31n_x"),
    "another failed tile": (
        lambda m: m.update(failed_tiles=["utm31n_x1_y1"]),
        "not the shard's: utm31n_x1_y1",
    ),
    "the empty tile as failed": (
        lambda m: m.update(failed_tiles=m["empty_tiles"], empty_tiles=m["failed_tiles"]),
        "empty tiles it names are not",
    ),
    "another scene": (lambda m: m["scenes"].pop(), "scenes it names are not"),
    "another file": (lambda m: m["outputs"].update(x=m["outputs"].popitem()[1]), "other files"),
    "a file outside": (
        lambda m: m["outputs"].update({"../x": {"sha256": "0" * 64, "size": 1}}),
        "cannot be read as a marker",
    ),
    "nonsense": (lambda m: m.clear(), "cannot be read as a marker"),
}


@pytest.mark.parametrize("name", MARKERS)
def test_markers_agree_with_plan_and_rows(run: RunDirectory, plan: Plan, name: str) -> None:
    damage, reason = MARKERS[name]
    edit_json(run.marker_of(plan.shards[SHARD]), damage)
    found = [fault for fault in damage_of(run) if fault.kind == "marker"]
    assert found
    assert reason in found[0].reason


def test_a_shard_rewritten_meanwhile_is_looked_at_again(
    run: RunDirectory, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = run.marker_of(plan.shards[SHARD])
    looks: list[int] = []

    def look(*_: Any) -> Checked:
        looks.append(1)
        if len(looks) == 1:
            marker.write_bytes(marker.read_bytes() + b"\n")
            return Checked(faults=[Fault(kind="file", file="x", reason="torn")])
        return Checked()

    monkeypatch.setattr(_marked, "_look", look)
    assert damage_of(run) == []
    assert len(looks) == 2


def map_of(run: RunDirectory, plan: Plan, change: Callable[[np.ndarray], Any]) -> None:
    """Change the shard's map and vouch for it."""
    shard = plan.shards[SHARD]
    store = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS))
    zone = store.zones[shard.epsg]
    row, col = zone.place(shard)
    side = zone.shard_side
    array = zarr.open_array(str(run.grid), path=f"{zone.name}/embeddings", mode="r")
    values = np.asarray(array[:, row * side : (row + 1) * side, col * side : (col + 1) * side])
    change(values)
    vouch(run, shard, store.write(shard, values))


def cells_of(plan: Plan, tile: int) -> tuple[slice, slice]:
    """Return the cells of a tile within the shard's map."""
    square, one = plan.shards[SHARD].square, plan.tile(tile)
    row = (square.top - one.top) // one.size * CELLS
    col = (one.left - square.left) // one.size * CELLS
    return slice(row, row + CELLS), slice(col, col + CELLS)


@pytest.mark.parametrize(
    ("tile", "value", "reason"), [(2, np.nan, "NaN"), (2, np.inf, "infinity"), (4, 0.0, "not ok")]
)
def test_maps_have_values_where_tiles_are_ok_and_nowhere_else(
    run: RunDirectory, plan: Plan, tile: int, value: float, reason: str
) -> None:
    rows, cols = cells_of(plan, tile)
    map_of(run, plan, lambda values: values[:, rows, cols].__setitem__((0, 1, 1), value))
    (fault,) = damage_of(run)
    assert fault.kind == "values"
    assert reason in fault.reason


def test_a_map_that_cannot_be_decoded_is_a_fault(run: RunDirectory, plan: Plan) -> None:
    shard = plan.shards[SHARD]
    path = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS)).file_of(shard)
    truncate(path)
    vouch(run, shard, path)
    (fault,) = damage_of(run)
    assert fault.kind == "file"
    assert "cannot be decoded" in fault.reason


STORES: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "shape": ("embeddings", lambda m: m["shape"].__setitem__(1, 6), "shape"),
    "dtype": ("embeddings", lambda m: m.update(data_type="float64"), "dtype"),
    "fill": ("embeddings", lambda m: m.update(fill_value=0.0), "fill value"),
    "bounds": (
        "embeddings",
        lambda m: m["attributes"].update({"spatial:bbox": [0, 0, 1, 1]}),
        "spatial:bbox",
    ),
    "code": ("", lambda m: m["attributes"].update({"proj:code": "EPSG:3857"}), "proj:code"),
    "run": ("", lambda m: m["attributes"].update(thor_geo='{"fingerprint": ""}'), "another run"),
    "wkt": ("spatial_ref", lambda m: m["attributes"].update(crs_wkt="x"), "crs_wkt"),
    "affine": ("spatial_ref", lambda m: m["attributes"].update(GeoTransform="0 1"), "GeoTransform"),
    "nonsense": ("embeddings", lambda m: m.clear(), "cannot be opened"),
}


@pytest.mark.parametrize("name", STORES)
def test_the_store_lies_where_the_plan_says(run: RunDirectory, name: str) -> None:
    array, damage, reason = STORES[name]
    edit_json(run.grid / "utm32n" / array / "zarr.json", damage)
    found = [fault for fault in damage_of(run) if fault.kind == "grid"]
    assert found
    assert reason in found[0].reason


def test_wrong_coordinates_and_a_missing_store_are_faults(run: RunDirectory) -> None:
    array = zarr.open_array(str(run.grid), path="utm32n/x", mode="r+")
    array[0] = -1.0
    assert [(f.kind, f.file) for f in damage_of(run)] == [("grid", "grid.zarr/utm32n/x")]
    shutil.rmtree(run.grid)
    assert {fault.kind for fault in damage_of(run)} == {"grid"}


def test_lists_of_failed_tiles_agree_with_the_rows(run: RunDirectory, plan: Plan) -> None:
    path = run.failures_of(plan.shards[SHARD])
    line = json.loads(path.read_text())
    for content, reason in (
        (json.dumps({**line, "error": "another"}), "errors are not those of the rows"),
        (json.dumps({**line, "tile_id": plan.tile(2).id}), "that the marker names"),
        ("{", "cannot be read"),
    ):
        path.write_text(content)
        (fault,) = faults_of(run)
        assert fault.kind == "failures"
        assert reason in fault.reason
    path.unlink()
    assert "missing" in faults_of(run)[0].reason
    other = run.failures_of(plan.shards[0])
    other.write_text(json.dumps(line))
    assert [fault.kind for fault in faults_of(run, 0)] == ["failures"]


def test_files_of_no_shard_are_faults_and_temporaries_are_told(run: RunDirectory) -> None:
    strays = [
        "pooled/x.parquet",
        "markers/x.json",
        "failures/x",
        "grid.zarr/utm32n/embeddings/c/0/0/9",
    ]
    for name in strays:
        (run.path / name).write_bytes(b"x")
    temporary = run.pooled / ".a.parquet.1-2.tmp"
    temporary.write_bytes(b"half")
    found = check_run(open_run(run.path))
    assert sorted(f.file for f in found.faults if f.kind == "stray") == sorted(strays)
    assert found.temporaries.paths == ["pooled/.a.parquet.1-2.tmp"]
    assert found.temporaries.bytes == 4


def test_an_edited_run_json_is_a_fault(run: RunDirectory) -> None:
    edit_json(run.run_json, lambda content: content["settings"]["model"].update(patch_size=8))
    found = check_run(open_run(run.path))
    assert [fault.file for fault in found.faults if fault.kind == "run"] == ["run.json"]


@pytest.mark.parametrize(
    ("column", "value"), [("tile_id", "x"), ("shard_id", "x"), ("geometry", b"x"), ("bbox", None)]
)
def test_every_column_of_the_plan_is_looked_at(
    run: RunDirectory, plan: Plan, column: str, value: Any
) -> None:
    table = with_row(pq.ParquetFile(run.plan_parquet).read(), column, 3, value)
    pq.write_table(table, run.plan_parquet)
    (fault,) = check_plan_file(run.plan_parquet, plan)
    assert fault.kind == "run"
    assert f"`{column}` is wrong" in fault.reason


@pytest.mark.parametrize("name", ["run.json", "plan.parquet", "grid.zarr/zarr.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[]", b'{"settings": 1}'])
def test_damage_is_told_in_words(
    run: RunDirectory, name: str, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (run.path / name).write_bytes(content)
    if name == "grid.zarr/zarr.json":
        assert damage_of(run)[0].kind == "grid"
        return
    assert command(["validate", str(run.path)]) == 1
    out = capfd.readouterr()
    assert name in out.out
    assert "Traceback" not in out.out + out.err


def test_a_directory_without_a_run_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("status", "validate", "merge"):
        assert command([name, str(tmp_path)]) == 2
        assert "no run directory" in capfd.readouterr().err
