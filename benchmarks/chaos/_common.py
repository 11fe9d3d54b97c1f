"""What the campaigns share: a generated area, the command on it, and how two runs are compared."""

from __future__ import annotations

import atexit
import hashlib
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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos._processes import MARK, Process, find, gone
from benchmarks.report import ROOT
from thor_geo.emulator import Acquisition, ensure_archive

#: Seconds that any one command may take before it counts as hanging.
PATIENCE_S = 600.0

#: What of a marker depends on the moment and the process, not on the shard.
_OF_THE_MOMENT = frozenset(
    {"started_at", "finished_at", "compute_seconds", "write_seconds", "session", "fetch"}
)

Digests = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended.

    Attributes:
        code: Its exit code; negative for a signal.
        said: What it printed, both streams.
        seconds: How long it took.
    """

    code: int
    said: str
    seconds: float


@dataclass(kw_only=True)
class Started:
    """A command in the background, whose output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path
    mark: str
    began: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def processes(self, role: str | None = None) -> list[Process]:
        """Return its living processes, all or those of a role."""
        return [one for one in find(self.mark) if role is None or one.role == role]

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
                f"The command did not end within {seconds:.0f} s: {self.said}"
            ) from None
        return Finished(code=code, said=self.said, seconds=time.monotonic() - self.began)

    def survivors(self, within: float) -> list[Process]:
        """Return its processes that still live some seconds after it ended."""
        return gone(self.mark, within=within)

    def destroy(self) -> None:
        """Kill all its processes."""
        while left := find(self.mark):
            for one in left:
                kill(one.pid)
            self.process.poll()
            time.sleep(0.05)
        self.process.wait()


def end_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception does: folders, mounts and processes go, too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; return whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder with scenes, in which one run after the other takes place at the same paths.

    Attributes:
        folder: The folder.
        settings: Keys of the command beyond those of `_QUICK`, replacing them; None takes one out.
        outputs_in: Where the run directory is made; None for the folder itself.
        cache_in: Likewise the block cache.
    """

    folder: Path
    settings: Mapping[str, object] = field(default_factory=dict)
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
        """The archive that the emulator serves, generated when first asked for."""
        return ensure_archive(self.folder / "scenes", size_m=9600, acquisitions=_ACQUISITIONS)

    def arguments(self, *more: str) -> list[str]:
        """Return the arguments of ``thor-geo`` for the run.

        Args:
            more: Further arguments.
        """
        settings = {
            **_QUICK,
            **(
                {}
                if "data.emulator_archive" in self.settings
                else {"data.emulator_archive": self.scenes}
            ),
            **self.settings,
            "data.cache_dir": self.cache,
            "output.dir": self.run,
        }
        keys = [f"--{key}={value}" for key, value in settings.items() if value is not None]
        return ["predict", "-c", "configs/quickstart.yaml", *keys, *more]

    def start(
        self,
        *more: str,
        command: Sequence[str] = (sys.executable, "-m", "thor_geo"),
        env: Mapping[str, str] | None = None,
    ) -> Started:
        """Start the run.

        Args:
            more: Further arguments of ``thor-geo``.
            command: What to start with these arguments.
            env: Further environment variables.
        """
        mark = secrets.token_hex(8)
        log = self.folder / f"log-{mark}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *self.arguments(*more)],
                cwd=ROOT,
                env={**os.environ, **(env or {}), MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Started(process=process, log=log, mark=mark)
        # A campaign that is broken off leaves no process behind.
        atexit.register(started.destroy)
        return started

    def finish(self, *more: str, **kwargs: Any) -> Finished:
        """Run it to its end; see `start`."""
        return self.start(*more, **kwargs).wait()

    def tool(self, name: str, *arguments: str) -> Finished:
        """Run another command of ``thor-geo`` on the run directory.

        Args:
            name: The command, e.g. ``validate``.
            arguments: What follows the directory.
        """
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "thor_geo", name, str(self.run), *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        seconds = time.monotonic() - began
        return Finished(code=done.returncode, said=done.stdout + done.stderr, seconds=seconds)

    def clear(self) -> None:
        """Remove run and cache."""
        for folder in (self.run, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, name: str) -> Path:
        """Move the run aside and return where it is: the next one has the same path again."""
        kept = self.folder / name
        shutil.move(self.run, kept)
        return kept


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


def outputs(run: Path) -> Digests:
    """Return the sha256 of every file that a user opens, by its path in the run directory."""
    files = [
        *(run / name for name in ("run.json", "plan.parquet", "quicklook.png")),
        *run.glob("pooled/*"),
        *run.rglob("grid.zarr/**/*"),
    ]
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
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
    """Return what the markers say of the shards themselves, by name: not when and by whom."""
    return {
        file.name: {
            key: value
            for key, value in json.loads(file.read_bytes()).items()
            if key not in _OF_THE_MOMENT
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
    pairs: Iterable[tuple[dict[str, Any], dict[str, Any], str]] = (
        (outputs(run), outputs(reference), ""),
        (about_shards(run), about_shards(reference), "markers/"),
    )
    return [
        prefix + name
        for ours, theirs, prefix in pairs
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name) and prefix + name not in apart_from
    ]


#: Inode, modification time and content of a file.
State = tuple[int, int, bytes]


def states(run: Path) -> dict[str, State]:
    """Return the state of every marker, by name: a shard made again has another one."""
    found = {}
    for file in markers(run):
        status = file.stat()
        found[file.name] = (status.st_ino, status.st_mtime_ns, file.read_bytes())
    return found


def wrongly_served(run: Path, reference: Path) -> list[str]:
    """Return the outputs that markers vouch for and that are not the undisturbed run's."""
    right = outputs(reference)
    wrong = []
    for file in markers(run):
        for name in json.loads(file.read_bytes())["outputs"]:
            path = run / name
            there = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
            if there != right.get(name):
                wrong.append(name)
    return wrong


_NOISE = re.compile(r"^\s*$|^\[thor-geo\]|Seed set to|RANDOM weights|^\[rank: |GPU available|TPU ")


def message(said: str, *, hide: Path | None = None) -> str:
    """Return what a user reads last: the command's own message, or the last line there is.

    Args:
        said: The output.
        hide: A folder that is named ``...`` in the message.
    """
    lines = [line for line in said.splitlines() if not _NOISE.search(line)]
    own = [k for k, line in enumerate(lines) if line.startswith("thor-geo: ")]
    text = " ".join(lines[own[-1] :] if own else lines[-1:])
    traceback = "" if "Traceback (most recent call last)" not in said else " [with a traceback]"
    if hide is not None:
        text = re.sub(rf"\b{re.escape(platform.node())}\b", "HOST", text.replace(str(hide), "..."))
    return " ".join(text.split())[:600] + traceback
