"""The folder of the cache: whether it can be written, and what killed writers left in it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from thor_geo.composites.state import StateDir
from thor_geo.errors import CacheError
from thor_geo.support.files import node

logger = logging.getLogger(__name__)

#: Prefix of the temporary folders of prefetch processes; the parent's process id follows.
STATE_PREFIX = "thor-geo-prefetch-"

#: Seconds after which a file of a process that is gone counts as left behind.
STALE_S = 3600.0

#: Seconds after which a temporary file of another node does; writing one takes seconds.
STALE_ELSEWHERE_S = 24 * 3600.0

#: Entries of a folder that are looked at, at most: it is done at every start, by every process.
LOOKED_AT = 4096

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextmanager
def explained(root: Path, needed: int = 0) -> Iterator[None]:
    """Turn errors of the file system into one that says what to do.

    Args:
        root: Folder of the cache.
        needed: Bytes that are about to be written.

    Raises:
        CacheError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise CacheError(_message(root, needed, error)) from error


# Threads that are in the middle of storing something. Single dict operations only, so that threads
# need no lock and a forked child inherits none.
_writers: dict[int, None] = {}
_ending = threading.Event()


@contextmanager
def writing(root: Path, needed: int) -> Iterator[None]:
    """Do as `explained` does, and have `end_writing` wait for it.

    Args:
        root: Folder of the cache.
        needed: Bytes that are about to be written.

    Raises:
        CacheError: In place of any OSError; and if this process has been told to end.
    """
    _writers[threading.get_ident()] = None
    try:
        if _ending.is_set():
            raise CacheError("This process is ending and stores nothing more.")
        with explained(root, needed):
            yield
    finally:
        del _writers[threading.get_ident()]


def end_writing(seconds: float) -> None:
    """Let other threads of this process finish what they are storing, but start nothing more.

    Args:
        seconds: For how long to wait at most.
    """
    _ending.set()
    deadline = time.monotonic() + seconds
    while _writers and time.monotonic() < deadline:
        time.sleep(0.005)


def _message(root: Path, needed: int, error: OSError) -> str:
    reason = error.strerror or str(error)
    kept = "Then run again: what was fetched is kept."
    if any(part.startswith(STATE_PREFIX) for part in root.parts):
        return (
            f"{root}: the copies of composites in the object store cannot be kept here ({reason}; "
            f"{_free(root)} free). Set the environment variable TMPDIR to a folder on a disk of "
            f"this machine, with room for the composites of the run. {kept}"
        )
    if error.errno in _FULL:
        wants = f", {_megabytes(needed)} MB are needed for one more block" if needed else ""
        return (
            f"`data.cache_dir={str(root)!r}`: no room for another block ({reason}; "
            f"{_free(root)} free{wants}). Free some space or raise the quota, or "
            f"set `data.cache_dir` to a larger disk. {kept}"
        )
    if error.errno in _FORBIDDEN:
        return (
            f"`data.cache_dir={str(root)!r}`: the cache cannot be used ({reason}: "
            f"{error.filename}). Give yourself permission to read and write it, or set "
            f"`data.cache_dir` to a folder you may write. {kept}"
        )
    return (
        f"`data.cache_dir={str(root)!r}`: the cache cannot be used ({reason}: {error.filename}). "
        f"Check that disk or mount, or set `data.cache_dir` to another one. {kept}"
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"


def _free(root: Path) -> str:
    try:
        return f"{_megabytes(shutil.disk_usage(root).free)} MB are"
    except OSError as error:
        return f"unknown how much is ({error.strerror})"


def remove_leftovers(scratch: Path, now: float) -> list[Path]:
    """Remove what killed writers left in the folder of temporary files.

    No more than `LOOKED_AT` entries are looked at; what is beyond them is left to later starts. A
    file goes if it is this user's and older than an hour, and its name says that a process of
    this node wrote it which no longer runs; or if it is this user's and older than a day.

    Args:
        scratch: The folder.
        now: The present by the clock of its file system, seconds since 1970.

    Returns:
        What was removed.
    """
    removed = []
    for path in _entries(scratch):
        fields = path.name.rsplit(".", 3)
        if not path.match(".*.tmp") or len(fields) != 4 or not fields[1].isdecimal():
            continue  # not ours
        try:
            status = path.stat()
            if status.st_uid != os.geteuid():
                continue
            age = now - status.st_mtime
            here = fields[0].endswith(f".{node()}")
            gone = here and age > STALE_S and not _running(int(fields[1]))
            if gone or age > STALE_ELSEWHERE_S:
                path.unlink()
                removed.append(path)
        except FileNotFoundError:
            continue  # another process was faster
    if removed:
        logger.info("Removed %d temporary files of killed processes.", len(removed))
    return removed


def remove_dead_states(folder: Path | None = None) -> list[Path]:
    """Remove the temporary folders of prefetch processes whose run was killed.

    No more than `LOOKED_AT` entries are looked at. A folder goes if it is this user's, its name
    holds the id of a process that no longer runs, its prefetch process does not hold its lock, and
    nothing in it has changed for an hour.

    Args:
        folder: Where they are; None for the system's folder of temporary files.

    Returns:
        What was removed.
    """
    removed = []
    root = Path(tempfile.gettempdir()) if folder is None else folder
    for path in _entries(root):
        if not path.name.startswith(STATE_PREFIX):
            continue
        pid = path.name.removeprefix(STATE_PREFIX).split("-")[0]
        try:
            status = path.stat(follow_symlinks=False)
            mine = status.st_uid == os.geteuid() and path.is_dir() and not path.is_symlink()
            old = time.time() - status.st_mtime > STALE_S
            if not (mine and old and pid.isdecimal()) or _running(int(pid)):
                continue
            if StateDir(path).alive():
                continue
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another process was faster
        removed.append(path)
    return removed


def _entries(folder: Path) -> list[Path]:
    """Return the first entries of a folder; none if it is missing or may not be read."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry) for entry in islice(entries, LOOKED_AT)]
    except (FileNotFoundError, PermissionError):
        return []


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
