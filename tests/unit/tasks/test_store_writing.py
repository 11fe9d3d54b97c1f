"""If this fails, shards in a store wait for one another, or cost more requests than they need."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.support.object_store import ObjectStore
from tests.support.synthetic_run import write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import Marker
from thor_geo.storage import Location, StorePath
from thor_geo.storage.files import write_all
from thor_geo.storage.requests import counted
from thor_geo.tasks import shard_writer, unfinished


class Writing:
    """Counts the shards that are written at the same time."""

    def __init__(self, wait_for: int) -> None:
        self.most, self._now, self._wait_for = 0, 0, wait_for
        self._changed = threading.Condition()

    def __call__(self, root: Location, contents: Mapping[str, bytes | None]) -> None:
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            # Only the first waits: the last shard has none beside it.
            assert self._changed.wait_for(lambda: self.most >= self._wait_for, timeout=20)
        write_all(root, contents)
        with self._changed:
            self._now -= 1


def test_two_shards_are_written_side_by_side(
    bucket: ObjectStore, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = Writing(wait_for=2)
    monkeypatch.setattr(shard_writer, "write_all", writing)
    run = write_run(bucket.url("run"), plan).run
    assert writing.most == 2
    assert run.all_marked(plan.shards)
    in_folder = Writing(wait_for=1)
    monkeypatch.setattr(shard_writer, "write_all", in_folder)
    write_run(tmp_path / "run", plan)
    assert in_folder.most == 1


def test_a_shard_is_a_put_for_each_file_and_one_removal(bucket: ObjectStore, plan: Plan) -> None:
    taken = []
    for shards in (2, 4):
        before = Counter(counted())
        write_run(bucket.url(f"run-{shards}"), plan, only=shards)
        taken.append(Counter(counted()) - before)
    more = taken[1] - taken[0]
    # Vectors, map and marker; the list of failures that an attempt before may have left.
    assert {kind: more[kind] / 2 for kind in ("put", "delete")} == {"put": 3, "delete": 1}
    assert more["repeated"] == 0


def test_an_old_marker_is_removed_before_its_files_change(
    bucket: ObjectStore, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(bucket.url("run"), plan, failed={0: "no such block"})
    deeds: list[tuple[str, str]] = []
    put, unlink = StorePath.put, StorePath.unlink

    def noted_put(path: StorePath, content: bytes) -> None:
        deeds.append(("put", str(path.key)))
        put(path, content)

    def noted_unlink(path: StorePath, missing_ok: bool = False) -> None:
        deeds.append(("unlink", str(path.key)))
        unlink(path, missing_ok)

    monkeypatch.setattr(StorePath, "put", noted_put)
    monkeypatch.setattr(StorePath, "unlink", noted_unlink)
    run = write_run(bucket.url("run"), plan).run
    shard = plan.shards[0]
    own = [(deed, key) for deed, key in deeds if shard.id in key]
    marker = f"markers/{shard.id}.json"
    assert own[0] == ("unlink", marker)
    assert own[-1] == ("put", marker)
    assert ("unlink", f"failures/{shard.id}.jsonl") in own[1:-1]
    assert isinstance(run, RunDirectory)
    assert not run.failures_path(shard).exists()


def test_a_failed_put_leaves_its_shard_without_a_marker(
    bucket: ObjectStore, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan.shards[0]

    def crash(root: Location, contents: Mapping[str, bytes | None]) -> None:
        if any(first.id in name for name in contents):
            raise OSError("the line is cut")
        write_all(root, contents)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "write_all", crash)
        with pytest.raises(Exception, match="the line is cut"):
            write_run(bucket.url("run"), plan)
    run = RunDirectory(bucket.url("run"))
    assert not run.marker_path(first).exists()
    write_run(bucket.url("run"), plan)
    assert run.all_marked(plan.shards)


def test_a_failed_attempt_leaves_what_another_process_has_finished(
    bucket: ObjectStore, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store has no locks: this launch began before the other had put a marker."""
    run = write_run(bucket.url("run"), plan).run
    before = bucket.contents("run")
    monkeypatch.setattr(unfinished, "_state", lambda *_: 0)
    write_run(bucket.url("run"), plan, failed={0: "no such block"})
    first = plan.shards[0]
    names = [f"markers/{first.id}.json", f"pooled/{first.id}.parquet"]
    after = bucket.contents("run")
    assert [after[name] for name in names] == [before[name] for name in names]
    assert run.confirms(Marker.read(run.marker_path(first)), first, verify=True)  # type: ignore[arg-type]
