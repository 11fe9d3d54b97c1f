"""If one of these fails, a run mixes with another, or work is lost that was written."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest

from tests.support.synthetic_run import Model, is_finished, plan_of, write_run
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.fingerprint import compute_fingerprint, json_differences
from thor_geo.runs.markers import ShardFile
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.shard import Dtype

SETTINGS: dict[str, Any] = {"model": {"patch_size": 16, "bands": ["B2", "B3"]}, "data": {"a": 1.5}}


def test_the_plan_file_holds_every_tile(written: RunDirectory, plan: Plan) -> None:
    table = gpd.read_parquet(written.plan_parquet)
    assert list(table.tile_id) == [tile.id for tile in plan.tiles(range(len(plan)))]
    assert list(table.shard_id) == [s.id for s in plan.shards for _ in range(len(s))]
    np.testing.assert_array_equal(table.primary, plan.primary)
    assert table.crs.to_string() == "OGC:CRS84"
    assert [tuple(t) for t in table["transform"]] == [
        tile.transform for tile in plan.tiles(range(len(plan)))
    ]
    few = gpd.read_parquet(written.plan_parquet, bbox=(11.95, 59.97, 11.98, 59.99))
    assert 0 < len(few) < len(plan)


def test_run_json_names_settings_versions_and_plan(written: RunDirectory, plan: Plan) -> None:
    record = written.document()
    assert record["plan"]["tiles"] == len(plan)
    assert record["plan"]["digest"] == plan.digest
    assert set(record["plan"]["zones"]) == {"utm32n", "utm33n"}
    assert sum(zone["tiles"] for zone in record["plan"]["zones"].values()) == len(plan)
    assert record["info"]["packages"]["torch"]
    assert record["fingerprint"] == compute_fingerprint(record["settings"], plan.digest)


def test_another_run_is_refused_and_the_setting_is_named(tmp_path: Path, plan: Plan) -> None:
    run = RunDirectory(tmp_path / "run")
    run.prepare(SETTINGS, {}, plan)
    before = run.run_json.read_bytes()
    other = {**SETTINGS, "model": {**SETTINGS["model"], "patch_size": 8}}
    with pytest.raises(RunDirectoryError) as caught:
        RunDirectory(tmp_path / "run").prepare(other, {}, plan)
    assert "model.patch_size is 8 here and 16 there" in str(caught.value)
    assert "another output.dir" in str(caught.value)
    assert run.run_json.read_bytes() == before

    with pytest.raises(RunDirectoryError, match=r"the plan has \d+ tiles"):
        RunDirectory(tmp_path / "run").prepare(SETTINGS, {}, plan_of())


def test_the_same_run_joins_and_other_versions_only_warn(
    tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    RunDirectory(tmp_path).prepare(
        SETTINGS, {"packages": {"torch": "2.5"}, "config": {"a": 1}}, plan
    )
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    with caplog.at_level(logging.WARNING):
        again = RunDirectory(tmp_path)
        again.prepare(SETTINGS, {"packages": {"torch": "2.6"}, "config": {"a": 2}}, plan)
    assert "packages.torch" in caplog.text
    assert "config" not in caplog.text
    assert before == {
        path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()
    }
    assert again.document()["info"]["packages"]["torch"] == "2.5"


def test_many_processes_may_prepare_at_once(tmp_path: Path, plan: Plan) -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def prepare(rank: int) -> None:
        try:
            start.wait()
            RunDirectory(tmp_path / "run").prepare(SETTINGS, {"rank": rank}, plan)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=prepare, args=(rank,)) for rank in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(path.name for path in (tmp_path / "run").glob("[!.]*")) == [
        "failures",
        "markers",
        "plan.parquet",
        "run.json",
    ]


def test_a_file_system_without_links_works_too(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("thor_geo.support.files.os.link", refuse)
    RunDirectory(tmp_path / "run").prepare(SETTINGS, {}, plan)
    RunDirectory(tmp_path / "run").prepare(SETTINGS, {}, plan)
    with pytest.raises(RunDirectoryError, match="data"):
        RunDirectory(tmp_path / "run").prepare({**SETTINGS, "data": {"a": 2.5}}, {}, plan)


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_way_is_named_before_work_starts(tmp_path: Path, below: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"notes\.txt is a file.*another output\.dir"):
        RunDirectory(file / below).check_writable()
    assert file.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, content: bytes) -> int:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(RunDirectoryError, match=r"not writable \(Read-only file system\)"):
        RunDirectory(tmp_path).check_writable()


def test_a_run_of_another_layout_is_refused_with_a_way_out(tmp_path: Path, plan: Plan) -> None:
    run = RunDirectory(tmp_path / "run")
    run.prepare(SETTINGS, {}, plan)
    document = json.loads(run.run_json.read_text())
    run.run_json.write_text(json.dumps({**document, "format": 1}))
    for use in (
        RunDirectory(run.path).document,
        lambda: read_run(run.path),
        lambda: RunDirectory(run.path).prepare(SETTINGS, {}, plan),
    ):
        with pytest.raises(RunDirectoryError, match=r"layout 1, .* layout 2\. .* output\.dir"):
            use()


@pytest.mark.parametrize("content", ["{", "[]", '{"fingerprint": "x"}'])
def test_a_damaged_run_json_is_told(tmp_path: Path, plan: Plan, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"run\.json` cannot be read"):
        RunDirectory(tmp_path).prepare(SETTINGS, {}, plan)
    assert (tmp_path / "run.json").read_text() == content


def test_settings_that_are_not_json_are_refused(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(ConfigError, match="settings"):
        RunDirectory(tmp_path).prepare({"scale": float("nan")}, {}, plan)
    with pytest.raises(ConfigError, match="info"):
        RunDirectory(tmp_path).prepare({}, {"path": Path("x")}, plan)  # type: ignore[dict-item]
    assert not (tmp_path / "run.json").exists()


def test_the_fingerprint_depends_on_values_not_on_order(plan: Plan) -> None:
    turned = dict(reversed(SETTINGS.items()))
    assert compute_fingerprint(SETTINGS, plan.digest) == compute_fingerprint(turned, plan.digest)
    assert compute_fingerprint(SETTINGS, plan.digest) != compute_fingerprint(SETTINGS, "other")
    found = list(json_differences({"a": [1], "b": 1}, {"a": [2], "c": None}))
    assert found == [("a", "[1]", "[2]"), ("b", "1", "(absent)"), ("c", "(absent)", "null")]


def test_a_shard_is_finished_only_with_marker_outputs_and_no_failures(
    tmp_path: Path, plan: Plan
) -> None:
    run = write_run(tmp_path / "run", plan, failed={1: "no such block"}).run
    bad = [shard for shard in plan.shards if shard.start <= 1 < shard.stop]
    good = [shard for shard in plan.shards if shard not in bad]
    fresh = RunDirectory(tmp_path / "run")
    assert [is_finished(fresh, shard) for shard in bad] == [False]
    assert all(is_finished(fresh, shard, verify=True) for shard in good)

    damaged, cut, gone, torn = good[:4]
    path = run.pooled_path(damaged)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    assert is_finished(fresh, damaged)
    assert not is_finished(fresh, damaged, verify=True)
    path = run.pooled_path(cut)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_finished(fresh, cut)
    run.pooled_path(gone).unlink()
    assert not is_finished(fresh, gone)
    run.marker_path(torn).write_text('{"shard_id":')
    assert not is_finished(fresh, torn)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_marker_that_names_other_files_than_the_run_writes_does_not_count(
    tmp_path: Path, plan: Plan, dtype: Dtype
) -> None:
    run = write_run(tmp_path / "run", plan, dtype=dtype).run
    shard, other = plan.shards[0], plan.shards[1]
    path = run.marker_path(shard)
    marker = json.loads(path.read_text())
    names = dict(marker["outputs"])
    assert len(names) == (3 if dtype == "int8" else 2)
    theirs = json.loads(run.marker_path(other).read_text())["outputs"]
    wrong = [{key: names[key] for key in names if key != name} for name in names]
    wrong += [{}, {**names, "run.json": asdict(ShardFile.from_path(run.run_json))}, theirs]
    for outputs in wrong:
        path.write_text(json.dumps({**marker, "outputs": outputs}))
        for directory in (run, RunDirectory(run.path)):
            assert not is_finished(directory, shard), outputs.keys()
    path.write_text(json.dumps(marker))
    for directory in (run, RunDirectory(run.path)):
        assert is_finished(directory, shard, verify=True)


def test_a_marker_without_files_is_made_again(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan).run
    path = run.marker_path(plan.shards[0])
    before = json.loads(path.read_text())
    path.write_text(json.dumps({**before, "outputs": {}}))
    again = write_run(tmp_path / "run", plan)
    assert again.todo.shards.tolist() == [0]
    assert json.loads(path.read_text())["outputs"] == before["outputs"]


def test_a_run_json_that_does_not_say_what_is_written_is_told(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan).run
    document = json.loads(run.run_json.read_text())
    for output, told in ((3, "is 3"), (9000 * "x", "is 'xxx")):
        document["settings"]["output"] = output
        run.run_json.write_text(json.dumps(document))
        with pytest.raises(
            RunDirectoryError, match=rf"settings\.output {told}.*Restore it"
        ) as error:
            is_finished(RunDirectory(run.path), plan.shards[0])
        assert len(str(error.value)) < 1000


def test_a_marker_of_another_run_does_not_count(tmp_path: Path, plan: Plan) -> None:
    one = write_run(tmp_path / "one", plan).run
    two = write_run(tmp_path / "two", plan, model=Model(patch_size=8)).run
    shard = plan.shards[0]
    two.marker_path(shard).write_bytes(one.marker_path(shard).read_bytes())
    assert not is_finished(RunDirectory(tmp_path / "two"), shard)
    assert json.loads(one.marker_path(shard).read_text())["fingerprint"] == one.fingerprint


def test_nothing_is_finished_in_a_directory_that_does_not_exist(tmp_path: Path, plan: Plan) -> None:
    assert not is_finished(RunDirectory(tmp_path / "none"), plan.shards[0])
