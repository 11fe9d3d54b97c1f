"""If one of these fails, two processes write one run twice, or a dead one keeps it locked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thor_geo.errors import RunDirectoryError, RunLockedError
from thor_geo.writers.lock import RunLock, writing_plan

HOLD = """
import sys
from pathlib import Path
from thor_geo.writers.lock import RunLock
RunLock(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3]))).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(folder: Path, start: int = 0, stop: int = 8) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold some shards."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(start), str(stop)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


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


def test_one_process_at_a_time_writes_the_plan(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from thor_geo.writers.lock import writing_plan\n"
        "with writing_plan(Path(sys.argv[1])) as ours: print(ours)"
    )
    with writing_plan(tmp_path) as ours:
        assert ours
        run = [sys.executable, "-c", code, str(tmp_path)]
        said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert said == "False\n"


def test_a_lock_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"\.run\.lock cannot be written"):
        RunLock(tmp_path / "missing", range(8)).acquire()
