"""Runs that can be disturbed: the command on a generated area, and how two runs are compared."""

from __future__ import annotations

import atexit
import json
import os
import platform
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.support.commands import Settings, emulator, quickstart
from benchmarks.support.report import ROOT
from benchmarks.support.run_processes import MARK, Process, find
from thor_geo.emulator import Acquisition, ensure_archive
from thor_geo.support.files import file_sha256

#: Seconds that any one command may take before it counts as hanging.
PATIENCE_S = 600.0

#: Keys of a marker that depend on the moment and the process, not on the shard.
MOMENTARY = frozenset(
    {"started_at", "finished_at", "compute_seconds", "write_seconds", "session", "fetch", "store"}
)

THOR_GEO = (sys.executable, "-m", "thor_geo")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended.

    Attributes:
        code: Its exit code; negative for a signal.
        output: What it printed, both streams.
        seconds: How long it took.
    """

    code: int
    output: str
    seconds: float


@dataclass(kw_only=True)
class Started:
    """A command in the background, whose output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path
    mark: str
    began: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def processes(self, role: str | None = None) -> list[Process]:
        """Return its living processes, all or those of a role."""
        return [process for process in find(self.mark) if role in (None, process.role)]

    def wait(self, seconds: float = PATIENCE_S) -> Finished:
        """Wait for the command itself to end.

        Raises:
            RuntimeError: If it takes too long; it is killed then.
        """
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.destroy()
            raise RuntimeError(
                f"The command did not end within {seconds:.0f} s: {self.output}"
            ) from None
        return Finished(code=code, output=self.output, seconds=time.monotonic() - self.began)

    def survivors(self, within: float) -> list[Process]:
        """Wait so many seconds for all its processes to end; return those that have not."""
        deadline = time.monotonic() + within
        while (left := find(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def destroy(self) -> None:
        """Kill all its processes."""
        while left := find(self.mark):
            for process in left:
                kill(process.pid)
            self.process.poll()
            time.sleep(0.05)
        self.process.wait()


def end_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception does: folders and mounts are removed."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def kill(pid: int) -> bool:
    """Kill a process; return whether it existed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder with scenes, in which one run after the other takes place at the same paths.

    Attributes:
        folder: The folder.
        settings: Settings of the command that replace those of `_QUICK`; None removes one.
        outputs_in: Where the run directory is created; None for the folder itself.
        cache_in: Where the block cache is created; likewise.
    """

    folder: Path
    settings: Settings = field(default_factory=dict)
    outputs_in: Path | None = None
    cache_in: Path | None = None

    @property
    def run(self) -> Path:
        """The run directory."""
        return (self.outputs_in or self.folder) / "run"

    @property
    def cache(self) -> Path:
        """The block cache."""
        return (self.cache_in or self.folder) / "cache"

    @property
    def scenes(self) -> Path:
        """The archive that the emulator serves, generated at first use."""
        return ensure_archive(self.folder / "scenes", size_m=9600, acquisitions=_ACQUISITIONS)

    def arguments(self, *more: str) -> list[str]:
        """Return the arguments of ``thor-geo`` for the run, and further ones."""
        source = {} if emulator("").keys() <= self.settings.keys() else emulator(self.scenes)
        places = {"data.cache_dir": self.cache, "output.dir": self.run}
        return [*quickstart({**_QUICK, **source, **self.settings, **places}), *more]

    def start(self, *more: str, command: Sequence[str] = THOR_GEO) -> Started:
        """Start the run.

        Args:
            more: Further arguments of ``thor-geo``.
            command: The program that takes all arguments.
        """
        return self._start([*command, *self.arguments(*more)])

    def finish(self, *more: str, command: Sequence[str] = THOR_GEO) -> Finished:
        """Run it to its end; see `start`."""
        return self.start(*more, command=command).wait()

    def validate(self) -> Finished:
        """Run ``thor-geo validate`` on the run directory."""
        return self._start([*THOR_GEO, "validate", str(self.run)]).wait()

    def _start(self, command: Sequence[str]) -> Started:
        mark = secrets.token_hex(8)
        log = self.folder / f"log-{mark}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Started(process=process, log=log, mark=mark)
        # A campaign that breaks off leaves no process behind.
        atexit.register(started.destroy)
        return started

    def clear(self) -> None:
        """Remove run and cache."""
        for folder in (self.run, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, name: str) -> Path:
        """Move the run aside, so that the next one has the same path; return where it is."""
        return Path(shutil.move(self.run, self.folder / name))


_ACQUISITIONS = (
    Acquisition(date="2022-06-05", cloud_cover=0.1),
    Acquisition(date="2022-07-05", cloud_cover=0.2),
    Acquisition(date="2022-08-05", cloud_cover=0.3, coverage=0.8),
)

# Both zones, more than 20 shards, most of them cut into several batches. Patches of 4 px make THOR
# tiny take about 0.15 s a tile on one core, so that a run lasts long enough to be disturbed.
_QUICK: dict[str, object] = {
    "data.area.bbox": "[11.93,59.97,12.07,60.03]",
    "data.tile_size": 96,
    "data.shard_tiles": 2,
    "data.block_size": 192,
    "data.batch_size": 2,
    "data.num_workers": 2,
    "model.patch_size": 4,
    "model.threads": 1,
}


def outputs(run: Path) -> dict[str, str]:
    """Return the sha256 of every file that a user opens, by its path in the run directory."""
    patterns = ("run.json", "*.parquet", "quicklook.png", "pooled/*", "grid.zarr/**/*")
    return {
        str(file.relative_to(run)): file_sha256(file)
        for pattern in patterns
        for file in sorted(run.glob(pattern))
        if file.is_file() and not _temporary(file)
    }


def markers(run: Path) -> list[Path]:
    """Return the markers, sorted."""
    return sorted(file for file in run.glob("markers/*.json") if not _temporary(file))


def _temporary(path: Path) -> bool:
    return any(part.startswith(".") and part.endswith(".tmp") for part in path.parts)


def temporaries(*folders: Path) -> list[Path]:
    """Return the temporary files and folders that interrupted writes have left."""
    return [path for folder in folders for path in sorted(folder.rglob(".*.tmp"))]


def about_shards(run: Path) -> dict[str, Any]:
    """Return what markers say about their shards, by name: not when they were made, or by whom."""
    return {
        file.name: {
            key: value
            for key, value in json.loads(file.read_bytes()).items()
            if key not in MOMENTARY
        }
        for file in markers(run)
    }


def differences(run: Path, reference: Path, *, apart_from: Collection[str] = ()) -> list[str]:
    """Compare two runs file by file, and what their markers say of the shards.

    Args:
        run: A run directory.
        reference: The undisturbed run's.
        apart_from: Names that may differ.

    Returns:
        The names of what is missing, too many or different.
    """
    names = []
    for ours, theirs, prefix in (
        (outputs(run), outputs(reference), ""),
        (about_shards(run), about_shards(reference), "markers/"),
    ):
        changed = (name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        names += sorted(prefix + name for name in changed if prefix + name not in apart_from)
    return names


#: Inode, modification time and content of a file.
State = tuple[int, int, bytes]


def states(run: Path) -> dict[str, State]:
    """Return the state of every marker, by name; a shard that is made again gets a new one."""
    return {
        file.name: (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes())
        for file in markers(run)
    }


def wrongly_served(run: Path, reference: Path) -> list[str]:
    """Return the outputs that markers vouch for and that differ from the undisturbed run's."""
    right, actual = outputs(reference), outputs(run)
    named = {name for file in markers(run) for name in json.loads(file.read_bytes())["outputs"]}
    return sorted(name for name in named if actual.get(name) != right.get(name))


_NOISE = re.compile(r"^\s*$|^\[thor-geo\]|Seed set to|RANDOM weights|^\[rank: |GPU available|TPU ")


def message(output: str, *, hide: Path | None = None) -> str:
    """Return what a user reads last: the command's own message, or the last line there is.

    Args:
        output: What the command printed.
        hide: A folder that the message shows as ``...``.
    """
    lines = [line for line in output.splitlines() if not _NOISE.search(line)]
    starts = [k for k, line in enumerate(lines) if line.startswith("thor-geo: ")]
    text = " ".join(lines[starts[-1] :] if starts else lines[-1:])
    traceback = "" if "Traceback (most recent call last)" not in output else " [with a traceback]"
    if hide is not None:
        text = re.sub(rf"\b{re.escape(platform.node())}\b", "HOST", text.replace(str(hide), "..."))
    return " ".join(text.split())[:600] + traceback
