"""Another process that holds shards of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from thor_geo.runs.lock import RunLock
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
