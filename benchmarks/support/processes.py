"""Processes of their own: the command and Python started, and what /proc says of them (Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.report import ROOT


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a command took.

    Attributes:
        seconds: From start to end.
        cpu: CPU seconds of all its processes.
        peak_mb: Largest resident set of the command itself, MB (10^6 bytes).
        output: What it printed on standard output.
    """

    seconds: float
    cpu: float
    peak_mb: float
    output: str


def python(
    *arguments: object, env: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> Usage:
    """Run Python in the repository and wait for it.

    Args:
        arguments: Its arguments.
        env: Further environment variables.
        codes: Exit codes that are no failure.

    Raises:
        RuntimeError: If it fails.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        with _Peak(process.pid) as peak:
            output = process.stdout.read()
            _, state, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(state)
        if process.returncode not in codes:
            errors.seek(0)
            raise RuntimeError(
                f"{' '.join(map(str, arguments))} ended with {process.returncode}: "
                f"{errors.read().decode(errors='replace')[-2000:]}"
            )
    return Usage(
        seconds=seconds,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mb=peak.mb,
        output=output,
    )


class _Peak:
    """Follows the largest resident set of a process, which only grows.

    getrusage would be no help: what is counted there begins with that of who started the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self.mb = pid, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(0.02):
            try:
                self.mb = max(self.mb, resident_mb(pid=self._pid))
            except (FileNotFoundError, KeyError, ProcessLookupError):
                return  # it has ended


def status(pid: int | str = "self") -> dict[str, str]:
    """Return the fields of a process's /proc/PID/status.

    Raises:
        FileNotFoundError: If there is no such process, or no /proc.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = (line.split(":", 1) for line in lines)
    return {name: value.strip() for name, value in fields}


def resident_mb(field: str = "VmHWM", pid: int | str = "self") -> float:
    """Return the resident memory of a process, MB (10^6 bytes).

    Args:
        field: ``VmHWM``, the most so far, or ``VmRSS``, now. Linux counts both in units of
            1,024 bytes.
        pid: The process.
    """
    return int(status(pid)[field].split()[0]) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the ids of the processes that a process started and that still live."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
