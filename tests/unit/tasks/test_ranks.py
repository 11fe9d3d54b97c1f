"""If one of these fails, a rank that is gone is waited for, or one that lives is given up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.synthetic_run import Data, Model, batches, plan_of, trainer_of, write_run
from thor_geo.errors import RankLostError
from thor_geo.ground.job import Job
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.tasks import RunWriter, ranks
from thor_geo.tasks.ranks import Heartbeat, RankWatch, ranks_folder, remove_signs

LAUNCH = "5e551011"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of()


class Behind:
    """Progress in which rank 1 has shards left."""

    def __init__(self, left: int = 3):
        self.left = {1: left} if left else {}

    def advance(self) -> bool:
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the watch sees, in a list."""
    now = [100.0]
    monkeypatch.setattr(ranks.time, "monotonic", lambda: now[0])
    return now


def pass_time(watch: RankWatch, clock: list[float], seconds: float, *, step: float = 5.0) -> None:
    for _ in range(int(seconds / step)):
        clock[0] += step
        watch.look()


def test_a_rank_without_a_sign_of_life_is_gone_within_a_minute(
    tmp_path: Path, clock: list[float]
) -> None:
    heartbeat = Heartbeat(tmp_path, 1, LAUNCH)
    watch: Any = RankWatch(tmp_path, 2, LAUNCH)
    for _ in range(30):  # it lives for as long as it likes
        heartbeat._write()
        pass_time(watch, clock, 5)
    watch.check(Behind())
    pass_time(watch, clock, 30)
    watch.check(Behind())
    pass_time(watch, clock, 25)
    watch.check(Behind(0))  # its work was done
    with pytest.raises(RankLostError, match=r"^Rank 1 on .*no sign of life for \d\d s.*3 shards"):
        watch.check(Behind())


@pytest.mark.parametrize(("earlier", "launch"), [("0ther1d", LAUNCH), ("", "")])
def test_what_an_earlier_launch_has_left_is_no_sign_of_life(
    tmp_path: Path, clock: list[float], earlier: str, launch: str
) -> None:
    Heartbeat(tmp_path, 1, earlier)._write()
    watch: Any = RankWatch(tmp_path, 2, launch)
    pass_time(watch, clock, 40)
    watch.check(Behind())
    pass_time(watch, clock, 15)
    with pytest.raises(RankLostError, match=r"^Rank 1 is gone"):
        watch.check(Behind())


def test_a_process_of_an_earlier_launch_that_ends_now_is_not_this_launchs_rank(
    tmp_path: Path, clock: list[float]
) -> None:
    watch: Any = RankWatch(tmp_path, 2, LAUNCH)
    Heartbeat(tmp_path, 1, LAUNCH)._write()
    pass_time(watch, clock, 5)
    earlier = Heartbeat(tmp_path, 1, "0ther1d")
    earlier.start()
    earlier.end("stopped by a signal")
    pass_time(watch, clock, 5)
    watch.check(Behind())


def test_a_rank_that_is_done_is_not_gone_although_its_last_markers_are_not_seen_yet(
    tmp_path: Path, clock: list[float]
) -> None:
    # As on NFS, where another node sees a new name up to a minute late.
    watch: Any = RankWatch(tmp_path, 2, LAUNCH)
    heartbeat = Heartbeat(tmp_path, 1, LAUNCH)
    heartbeat.start()
    heartbeat.end()
    pass_time(watch, clock, 600)
    watch.check(Behind())
    assert watch.waiting_for(Behind()).endswith("3 shards left")


def test_the_first_rank_makes_the_files_that_it_reads(tmp_path: Path) -> None:
    # On NFS a name that it has looked for in vain would stay missing for up to a minute.
    RankWatch(tmp_path / "1-1", 3, LAUNCH)
    assert {path.name for path in (tmp_path / "1-1").iterdir()} == {"1.json", "2.json"}


def test_a_launch_that_was_stopped_as_a_whole_goes_on(tmp_path: Path, clock: list[float]) -> None:
    heartbeat = Heartbeat(tmp_path, 1, LAUNCH)
    watch: Any = RankWatch(tmp_path, 2, LAUNCH)
    heartbeat._write()
    pass_time(watch, clock, 5)
    pass_time(watch, clock, 3600, step=3600)  # nobody wrote, and nobody looked
    watch.check(Behind())


def test_a_rank_that_ends_says_why_and_is_not_waited_for(
    tmp_path: Path, clock: list[float]
) -> None:
    heartbeat = Heartbeat(tmp_path, 1, LAUNCH)
    watch: Any = RankWatch(tmp_path, 2, LAUNCH)
    heartbeat.start()
    heartbeat.count_failed(4)
    heartbeat.end("stopped by a signal")
    pass_time(watch, clock, 5)
    assert watch.failed == 4
    assert watch.waiting_for(Behind()).endswith("3 shards left")
    with pytest.raises(RankLostError, match="stopped by a signal"):
        watch.check(Behind())


def test_a_file_that_is_being_written_is_read_again(tmp_path: Path, clock: list[float]) -> None:
    watch: Any = RankWatch(tmp_path, 2, LAUNCH)
    (tmp_path / "1.json").write_text('{"host": "no')
    pass_time(watch, clock, 5)
    watch.check(Behind())
    assert watch.failed == 0


def test_nothing_is_left_of_a_launch_that_is_done(tmp_path: Path) -> None:
    folder = ranks_folder(RunDirectory(tmp_path), Job())
    heartbeats = [Heartbeat(folder, rank, LAUNCH) for rank in (1, 2)]
    watch = RankWatch(folder, 3, LAUNCH)
    watch.start()
    for heartbeat in heartbeats:
        heartbeat.start()
    assert json.loads((folder / "2.json").read_text())["ended"] is None
    for heartbeat in heartbeats:
        heartbeat.end()
    watch.stop()
    remove_signs(folder, 3)
    assert not list(tmp_path.iterdir())


def test_a_rank_that_says_so_last_makes_no_file_anew(tmp_path: Path) -> None:
    folder = ranks_folder(RunDirectory(tmp_path), Job())
    heartbeat = Heartbeat(folder, 1, LAUNCH)
    heartbeat.start()
    remove_signs(folder, 2)  # the first rank needs its markers alone to end
    heartbeat.end()
    assert not folder.parent.exists()


def test_what_killed_launches_of_other_jobs_left_goes_when_it_is_old(tmp_path: Path) -> None:
    ours, old, alive = (
        ranks_folder(RunDirectory(tmp_path), Job(index=k, count=3)) for k in (1, 2, 3)
    )
    for folder in (ours, old, alive):
        RankWatch(folder, 2, LAUNCH)
    os.utime(old / "1.json", (1e9, 1e9))
    remove_signs(ours, 2)
    assert [path.name for path in (tmp_path / ".ranks").iterdir()] == [alive.name]


def test_one_process_that_ends_a_run_of_several_leaves_none_of_their_files(
    tmp_path: Path, plan: Plan
) -> None:
    folder = ranks_folder(RunDirectory(tmp_path / "run"), Job())
    RankWatch(folder, 4, LAUNCH)  # and then it was killed
    write_run(tmp_path / "run", plan)
    assert not folder.parent.exists()


def test_a_rank_without_shards_has_no_file_that_nobody_would_end(
    tmp_path: Path, plan: Plan
) -> None:
    data, model, size = Data(plan), Model(), len(plan.shards) + 1
    writer = RunWriter(dir=tmp_path / "run", quicklook=False)
    trainer = trainer_of(data, rank=size - 1, world_size=size)
    writer.setup(trainer, model, "predict")  # type: ignore[arg-type]
    writer.on_predict_start(trainer, model)  # type: ignore[arg-type]
    assert writer._session is not None
    assert writer._session.heartbeat is None


def test_the_first_rank_ends_when_another_is_gone(tmp_path: Path, plan: Plan) -> None:
    data, model = Data(plan), Model()
    writers = []
    for rank in (0, 1):
        trainer = trainer_of(data, rank=rank, world_size=2)
        writer = RunWriter(dir=tmp_path / "run", quicklook=False)
        writer.setup(trainer, model, "predict")  # type: ignore[arg-type]
        writer.on_predict_start(trainer, model)  # type: ignore[arg-type]
        writers.append((writer, trainer))
    (first, first_trainer), (other, other_trainer) = writers
    prediction, batch = batches(plan, plan.shards[0])[0]
    first.write_on_batch_end(first_trainer, model, prediction, None, batch, 0, 0)  # type: ignore[arg-type]
    other.on_exception(other_trainer, model, SystemExit(143))  # type: ignore[arg-type]
    assert first._session is not None
    assert first._session.watch is not None
    first._session.watch.look()
    with pytest.raises(RankLostError, match=r"Rank 1 on .*stopped by a signal"):
        first.on_predict_end(first_trainer, model)  # type: ignore[arg-type]
    first.on_exception(first_trainer, model, RankLostError())  # type: ignore[arg-type]
