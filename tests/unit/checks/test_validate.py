"""If one of these fails, a damaged run passes for a whole one, or a whole one for damaged."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.damage import SHARD, damage_of, edit_json, faults_of, truncate, with_row
from tests.support.synthetic_run import CELLS, DIMENSION, write_run
from thor_geo.checks import _marked, _strays
from thor_geo.checks._marked import Checked
from thor_geo.checks._planned import check_plan_file
from thor_geo.checks.faults import Fault
from thor_geo.checks.validate import check_run, clean_run
from thor_geo.cli.main import main as command
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.markers import Marker
from thor_geo.runs.opened_run import read_run


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
    assert f"tiles: {len(plan) - 1} ok, 1 empty, 0 failed" in out


def test_a_damaged_shard_is_told_with_the_remedy(
    run: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    path = run.pooled_path(plan.shards[0])
    whole = path.read_bytes()
    # What the same command notices by itself, and what it does not: `RunDirectory.confirms`.
    for damage, reason, delete in (
        (Path.unlink, "missing", False),
        (truncate, "bytes, the marker says", False),
        (flip, "sha256", True),
    ):
        path.write_bytes(whole)
        damage(path)
        assert command(["validate", str(run.path), "--workers", "1"]) == 1
        out, err = capfd.readouterr()
        assert f"pooled/{plan.shards[0].id}.parquet: " in out
        assert reason in out
        assert "run the same `thor-geo predict` command" in out
        assert ("delete their markers" in out) is delete
        assert "tile/s" not in err  # no bars in logs
        marker = Marker.read(run.marker_path(plan.shards[0]))
        assert marker is not None
        assert run.confirms(marker, plan.shards[0]) is delete


def test_a_damaged_store_is_told_with_the_remedy_which_works(
    tmp_path: Path, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", plan).run
    edit_json(
        run.grid / "utm33n" / "embeddings" / "zarr.json", lambda about: about.update(fill_value=0.0)
    )
    assert command(["validate", str(run.path), "--workers", "1"]) == 1
    out = capfd.readouterr().out
    assert "delete grid.zarr and run the same `thor-geo predict` command" in out
    assert "delete their markers" not in out
    shutil.rmtree(run.grid)
    write_run(run.path, plan)
    assert command(["validate", str(run.path), "--workers", "1"]) == 0
    assert "delete grid.zarr" not in capfd.readouterr().out


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
    found = check_run(read_run(run.path))
    assert found.exit_code == 1
    assert [fault.kind for fault in found.faults] == ["unfinished"] * (len(plan.shards) - 2)
    assert found.faults[0].file == f"markers/{plan.shards[2].id}.json"
    assert found.checked.ok == plan.shards[1].stop


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
    path = run.pooled_path(shard)
    if what == "map":
        path = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS)).embeddings_path(shard)
    damage(path)
    (fault,) = damage_of(run)
    assert (fault.kind, fault.file) == ("file", path.relative_to(run.path).as_posix())
    assert reason in fault.reason


def test_a_shard_rewritten_meanwhile_is_looked_at_again(
    run: RunDirectory, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = run.marker_path(plan.shards[SHARD])
    looks: list[int] = []

    def look(*_: Any) -> Checked:
        looks.append(1)
        if len(looks) == 1:
            marker.write_bytes(marker.read_bytes() + b"\n")
            return Checked(faults=[Fault(kind="file", file="x", reason="torn")])
        return Checked()

    monkeypatch.setattr(_marked._ShardCheck, "look", look)
    assert damage_of(run) == []
    assert len(looks) == 2


def test_lists_of_failed_tiles_agree_with_the_rows(run: RunDirectory, plan: Plan) -> None:
    path = run.failures_path(plan.shards[SHARD])
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
    other = run.failures_path(plan.shards[0])
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
    for name in (".run.lock", ".plan.lock"):  # of jobs at work, or that were: no strays
        (run.path / name).write_bytes(b"x")
    temporary = run.pooled / ".a.parquet.1-2.tmp"
    temporary.write_bytes(b"half")
    found = check_run(read_run(run.path))
    assert sorted(f.file for f in found.faults if f.kind == "stray") == sorted(strays)
    assert found.temporaries.paths == ["pooled/.a.parquet.1-2.tmp"]
    assert found.temporaries.bytes == 4


def test_old_temporary_files_are_removed_when_nobody_writes(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young = run.pooled / ".a.parquet.1-2.tmp", run.markers / ".b.json.1-2.tmp"
    sign = run.ranks / "0-1" / "1.json"
    sign.parent.mkdir(parents=True)
    for path in (old, young, sign):
        path.write_bytes(b"half")
    for path in (old, sign):
        os.utime(path, (0, time.time() - 7200))
    found = check_run(read_run(run.path))
    with monkeypatch.context() as patch:
        patch.setattr(_strays, "is_locked", lambda folder: True)
        assert clean_run(read_run(run.path), found) == 0
    assert clean_run(read_run(run.path), found) == 2
    assert found.temporaries.paths == ["markers/.b.json.1-2.tmp"]
    assert [path.exists() for path in (old, young, sign)] == [False, True, False]


def test_an_edited_run_json_is_a_fault(run: RunDirectory) -> None:
    edit_json(run.run_json, lambda content: content["settings"]["model"].update(patch_size=8))
    found = check_run(read_run(run.path))
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


def test_a_directory_that_does_not_exist_is_told_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("status", "validate", "merge"):
        assert command([name, str(tmp_path / "nowhere")]) == 2
        assert "nowhere` does not exist" in capfd.readouterr().err


def test_a_directory_without_a_run_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("status", "validate", "merge"):
        assert command([name, str(tmp_path)]) == 2
        assert "not a run directory" in capfd.readouterr().err
