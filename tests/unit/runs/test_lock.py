"""If one of these fails, two processes write one run twice, or a dead one keeps it locked."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.held import another
from thor_geo.errors import RunDirectoryError, RunLockedError
from thor_geo.runs.lock import RunLock, is_locked, plan_lock


def test_a_second_process_is_refused_and_told_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another(tmp_path) as process:
        with pytest.raises(RunLockedError, match=rf"process {process.pid} on .*--job 1/2"):
            RunLock(tmp_path, range(8)).acquire(patience_s=0.1)
        assert f"s for process {process.pid}" in capsys.readouterr().err


def test_a_killed_process_keeps_nothing(tmp_path: Path) -> None:
    with another(tmp_path) as process:
        process.kill()
        process.wait()
        lock = RunLock(tmp_path, range(8))
        lock.acquire(patience_s=5)
        lock.release()


def test_jobs_exclude_one_another_only_where_they_overlap(tmp_path: Path) -> None:
    with another(tmp_path, 0, 4):
        for free in (range(4, 8), range(4, 4)):
            lock = RunLock(tmp_path, free)
            lock.acquire(patience_s=0)
            lock.release()
        # Job 1/3 of another division, and the whole run.
        for taken in (range(3, 6), range(8)):
            with pytest.raises(RunLockedError):
                RunLock(tmp_path, taken).acquire(patience_s=0)


def test_a_look_tells_whether_any_process_holds_shards(tmp_path: Path) -> None:
    assert is_locked(tmp_path) is None  # no launch has been here
    with another(tmp_path, 5, 6) as process:
        assert is_locked(tmp_path) is True
        process.kill()
        process.wait()
        assert is_locked(tmp_path) is False


def test_where_locks_do_not_work_a_look_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".run.lock").touch()
    assert is_locked(tmp_path) is False

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    assert is_locked(tmp_path) is None


def test_a_run_that_begins_while_another_looks_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / ".run.lock"
    lock.touch()
    code = (
        "import fcntl, sys; file = open(sys.argv[1])\n"
        "fcntl.lockf(file, fcntl.LOCK_SH); print('held', flush=True)\n"
        "sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as look:
        assert look.stdout is not None
        assert look.stdout.readline() == "held\n"
        assert is_locked(tmp_path) is False  # another look is not a run
        ours = RunLock(tmp_path, range(8))
        with pytest.raises(RunLockedError):
            ours.acquire(patience_s=0)
        look.communicate("\n")
    ours.acquire(patience_s=5)
    ours.release()


def test_one_process_at_a_time_writes_the_plan(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from thor_geo.runs.lock import plan_lock\n"
        "with plan_lock(Path(sys.argv[1])) as ours: print(ours)"
    )
    with plan_lock(tmp_path) as ours:
        assert ours
        run = [sys.executable, "-c", code, str(tmp_path)]
        said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert said == "False\n"


def test_a_lock_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"\.run\.lock cannot be written"):
        RunLock(tmp_path / "missing", range(8)).acquire()
