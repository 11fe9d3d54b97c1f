"""What the prefetch process, its parent and the DataLoader workers tell each other: small files.

    alive            locked by the prefetch process for as long as it lives
    status.json      written once its session is set up
    error.json       why it ended, if it ended by an error
    stats.json       what it has done so far
    left-out.json    scenes that are left out of its blocks, and why
    process.log      what it printed
    progress/        per reading process, the block it asked for last
    requests/        blocks that a reader misses
    failed/          blocks that could not be produced in this run, and why

Files and a lock work for workers that were forked or spawned before or after the process, and the
kernel releases the lock however the process ends. The folder belongs on a local disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from thor_geo.composites.keys import is_key
from thor_geo.errors import (
    AuthenticationError,
    CacheError,
    EarthEngineError,
    PrefetchError,
    ProjectError,
    StacError,
    StacUnreachableError,
    StoreError,
    ThorGeoError,
    UnreachableError,
)
from thor_geo.ground.lattice import Block
from thor_geo.specs import TemporalSpec
from thor_geo.support.files import write_json
from thor_geo.support.redact import redact

# The errors that are raised again as what they were; all others come as PrefetchError.
_SAME: dict[str, type[ThorGeoError]] = {
    error.__name__: error
    for error in (
        AuthenticationError,
        ProjectError,
        UnreachableError,
        EarthEngineError,
        StacUnreachableError,
        StacError,
        CacheError,
        StoreError,
    )
}

# What an earlier process may have left.
_FILES = ("alive", "status.json", "error.json", "stats.json", "left-out.json", "process.log")

#: Free bytes below which the folder counts as full.
_ENOUGH = 1 << 20


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the remedy when a file of this folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise PrefetchError(_unwritable(path, error.strerror or str(error))) from error


def _unwritable(path: Path, why: str) -> str:
    return (
        f"{path}: the run's temporary files cannot be written ({why}). Free some space there, or "
        "set the environment variable TMPDIR to a folder on another local disk; run again: what "
        "is in the cache is kept."
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of this folder; it need not outlive the machine's next start."""
    with _explained(path):
        write_json(path, content, durable=False)


class BlockRequest(NamedTuple):
    """A block that a reader misses, and whose cache it is to be in.

    Attributes:
        key: Its query key.
        block: The block.
        sensor: Place of the sensor among the run's.
        window: Time window.
    """

    key: str
    block: Block
    sensor: int
    window: TemporalSpec


class StateDir:
    """The folder through which a prefetch process is observed; picklable."""

    def __init__(self, path: str | Path) -> None:
        """Initialize a new StateDir instance; nothing is touched yet.

        Args:
            path: The folder.
        """
        self.path = Path(path)
        self._progress: tuple[int, int, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the path alone: open files stay where they are."""
        return {"path": self.path, "_progress": None}

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.path / "process.log"

    def reset(self) -> None:
        """Make the folder, and forget an earlier process's files in it.

        Raises:
            PrefetchError: If it cannot be written.
        """
        with _explained(self.path):
            for name in ("progress", "requests", "failed"):
                shutil.rmtree(self.path / name, ignore_errors=True)
                (self.path / name).mkdir(parents=True)
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)

    # The prefetch process's side.

    def hold(self) -> None:
        """Mark this process as the living prefetch process, until it ends."""
        with _explained(self.path):
            descriptor = os.open(self.path / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            # Never closed: the kernel does, when the process ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def set_ready(self) -> None:
        """Record that the session is set up."""
        _write_json(self.path / "status.json", {"ready": True, "pid": os.getpid()})

    def set_error(self, error: BaseException, traceback_text: str) -> None:
        """Record why the process ends."""
        _write_json(
            self.path / "error.json",
            {
                "class": type(error).__name__,
                "message": redact(error),
                "retryable": bool(getattr(error, "retryable", False)),
                "traceback": redact(traceback_text),
            },
        )

    def set_stats(self, stats: dict[str, Any]) -> None:
        """Record what has been done so far."""
        _write_json(self.path / "stats.json", stats)

    def set_left_out(self, left_out: Mapping[str, str]) -> None:
        """Record the scenes that are left out of blocks, and why, by their ids."""
        _write_json(
            self.path / "left-out.json", {scene: redact(why) for scene, why in left_out.items()}
        )

    def set_failed(self, key: str, block: Block, message: str) -> None:
        """Record that a block could not be produced."""
        _write_json(
            self.path / "failed" / f"{key}.json", {"block": block.id, "message": redact(message)}
        )

    def clear_failed(self, key: str) -> None:
        """Record that a block which had failed has been produced after all."""
        (self.path / "failed" / f"{key}.json").unlink(missing_ok=True)

    def progress(self) -> dict[str, str]:
        """Return the query keys that the readers asked for last, by reader."""
        keys = {}
        for path in (self.path / "progress").iterdir():
            key = path.read_text(encoding="ascii", errors="replace")
            # A reader may be in the middle of its first write.
            if is_key(key):
                keys[path.name] = key
        return keys

    def take_requests(self) -> list[BlockRequest]:
        """Return the blocks that readers miss, and forget the requests."""
        taken = []
        for path in sorted((self.path / "requests").glob("*.json")):
            fields = json.loads(path.read_text(encoding="utf-8"))
            sensor, (start, end) = fields.pop("sensor"), fields.pop("window")
            anchor = fields.pop("anchor")
            block = Block(**fields, anchor=None if anchor is None else (anchor[0], anchor[1]))
            if is_key(path.stem):
                window = TemporalSpec.range(start, end)
                taken.append(BlockRequest(path.stem, block, sensor, window))
            path.unlink(missing_ok=True)
        return taken

    # The readers' side.

    def report(self, key: str) -> None:
        """Record which block this process wants now.

        Args:
            key: Query key of the block, 64 hexadecimal digits.

        Raises:
            PrefetchError: If the folder cannot be written.
        """
        with _explained(self.path / "progress"):
            if self._progress is None or self._progress[0] != os.getpid():
                path = self.path / "progress" / f"{os.getpid()}-{secrets.token_hex(4)}"
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._progress = (os.getpid(), os.open(path, flags, 0o644), "")
            process, descriptor, last = self._progress
            if key != last:
                os.pwrite(descriptor, key.encode(), 0)
                self._progress = (process, descriptor, key)

    def request(self, request: BlockRequest) -> None:
        """Ask the prefetch process for a block before all others.

        Args:
            request: The block.

        Raises:
            PrefetchError: If the folder cannot be written.
        """
        block, window = request.block, request.window
        names = ("epsg", "size", "resolution", "left", "top", "anchor")
        _write_json(
            self.path / "requests" / f"{request.key}.json",
            {
                **{name: getattr(block, name) for name in names},
                "sensor": request.sensor,
                "window": [window.start.isoformat(), window.end.isoformat()],
            },
        )

    def failure(self, key: str) -> str | None:
        """Return why a block could not be produced in this run, None unless it failed.

        Args:
            key: Query key of the block.
        """
        try:
            text = (self.path / "failed" / f"{key}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return str(json.loads(text)["message"])

    def failures(self) -> dict[str, str]:
        """Return the blocks that could not be produced in this run: messages by block id."""
        messages: dict[str, str] = {}
        for path in sorted((self.path / "failed").glob("*.json")):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:  # produced after all, just now
                continue
            name, message = str(content["block"]), str(content["message"])
            # The same block may fail for several sensors.
            messages[name] = f"{messages[name]} {message}" if name in messages else message
        return messages

    def ready(self) -> bool:
        """Return whether the process has set up its session."""
        return (self.path / "status.json").exists()

    def alive(self) -> bool:
        """Return whether the prefetch process lives."""
        try:
            descriptor = os.open(self.path / "alive", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def stats(self) -> dict[str, Any]:
        """Return what the process has done so far; empty before it has begun."""
        try:
            text = (self.path / "stats.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        return dict(json.loads(text))

    def left_out(self) -> dict[str, str]:
        """Return the scenes that are left out of blocks, and why, by their ids."""
        try:
            text = (self.path / "left-out.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        return dict(json.loads(text))

    def death(self, exit_code: int | None = None) -> Exception:
        """Return the error for a process that has ended.

        Args:
            exit_code: Its exit code, where it is known.

        Returns:
            The source's or the cache's error that ended it, or a PrefetchError with traceback or
            log.
        """
        try:
            error = json.loads((self.path / "error.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self._unexplained(exit_code)
        if error["class"] in _SAME:
            same = _SAME[error["class"]](error["message"])
            same.retryable = error["retryable"]
            return same
        return PrefetchError(f"The prefetch process ended with an error.\n{error['traceback']}")

    def _unexplained(self, exit_code: int | None) -> PrefetchError:
        how = "" if exit_code is None else f" (exit code {exit_code})"
        try:
            log = self.log.read_text(encoding="utf-8", errors="replace").strip()[-4000:]
            free = shutil.disk_usage(self.path).free
        except FileNotFoundError:
            log, free = "", _ENOUGH
        if free < _ENOUGH:
            # It could not even write down why it ended.
            why = _unwritable(self.path, f"{free} bytes are free")
            return PrefetchError(
                f"The prefetch process is not running{how}. {why} Its last output: {log}"
            )
        return PrefetchError(
            f"The prefetch process is not running{how}, and left no error: it was killed, perhaps "
            "for lack of memory, or never started. What is in the cache is kept; run again. "
            f"Its last output: {log or '(nothing)'}",
            retryable=True,
        )
