"""If one of these fails, two processes write one run twice, or a dead one keeps it locked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thor_geo.errors import RunDirectoryError
from thor_geo.job import Job
from thor_geo.writers.lock import RunLock

HOLD = """
import sys
from pathlib import Path
from thor_geo.job import Job
from thor_geo.writers.lock import RunLock
RunLock(Path(sys.argv[1]), Job.parse(sys.argv[2])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(folder: Path, job: str = "1/1") -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), job],
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
        with pytest.raises(RunDirectoryError, match=rf"process {process.pid} on .*--job 1/2"):
            RunLock(tmp_path, Job()).acquire(patience_s=0.1)
        assert f"Waiting for process {process.pid}" in capsys.readouterr().err


def test_a_killed_process_keeps_nothing(tmp_path: Path) -> None:
    with another(tmp_path) as process:
        process.kill()
        process.wait()
        lock = RunLock(tmp_path, Job())
        lock.acquire(patience_s=5)
        lock.release()


def test_jobs_do_not_exclude_one_another(tmp_path: Path) -> None:
    with another(tmp_path, "1/2"):
        lock = RunLock(tmp_path, Job.parse("2/2"))
        lock.acquire(patience_s=0)
        lock.release()
        with pytest.raises(RunDirectoryError, match="job 1/2 of this run"):
            RunLock(tmp_path, Job.parse("1/2%2")).acquire(patience_s=0)
