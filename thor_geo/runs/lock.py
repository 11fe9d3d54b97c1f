"""One process at a time for each shard of a run."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thor_geo.errors import RunDirectoryError, RunLockedError
from thor_geo.storage import Location, StorePath

_log = logging.getLogger(__name__)

# The last processes of a killed run, or of a requeued job, may take this long to end.
_PATIENCE_S = 20.0
_POLL_S = 0.5

# Bytes at the end of the file in which the holder of a lock is searched for.
_TAIL_BYTES = 65_536

# Errors of `lockf` if another process has the lock, and if the file system has no locks.
_HELD = frozenset({errno.EACCES, errno.EAGAIN})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})


class RunLock:
    """A lock on some shards of a run; the kernel releases it when the process ends.

    Two processes with a shard in common would both write the same bytes. The locks are POSIX record
    locks, one byte of ``.run.lock`` for each shard: forked children do not inherit them, and they
    work over NFS. Each line of the file names a holder: first shard, shard after the last, process
    and host.
    """

    def __init__(self, folder: Location, shards: range) -> None:
        """Initialize a new RunLock instance; nothing is locked yet.

        Args:
            folder: The run directory. A store has no locks, and needs none: two processes on one
                shard put the same bytes.
            shards: The shards, as indices in the plan.
        """
        self._folder, self._shards = folder, shards
        self._descriptor: int | None = None

    def acquire(self, patience_s: float = _PATIENCE_S) -> None:
        """Take the lock, after waiting a little for another holder to end.

        Args:
            patience_s: How long to wait, seconds.

        Raises:
            RunLockedError: If another process keeps it; names that process.
            RunDirectoryError: If the lock file cannot be written.
        """
        if isinstance(self._folder, StorePath):
            return
        descriptor = _open(self._folder / ".run.lock")
        deadline, announced = time.monotonic() + patience_s, False
        while len(self._shards) and not _lock(descriptor, self._folder, self._shards):
            holder = _holder(descriptor, self._shards)
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise RunLockedError(
                    f"`output.dir={str(self._folder)!r}`: {holder} is writing shards of this run "
                    "that this command would write, too. Wait for it, or stop it; `thor-geo "
                    "status` shows its progress. To share the work, run jobs: --job 1/2 and "
                    "--job 2/2."
                )
            if not announced:
                text = f"Waiting up to {patience_s:.0f} s for {holder}, which is writing ..."
                print(text, file=sys.stderr, flush=True)
                announced = True
            time.sleep(_POLL_S)
        line = f"{self._shards.start} {self._shards.stop} {os.getpid()} {socket.gethostname()}\n"
        _append(descriptor, self._folder, line)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; repeating it does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def plan_lock(folder: Path) -> Iterator[bool]:
    """Decide whether this process writes plan.parquet, or another one already does.

    Args:
        folder: The run directory.

    Yields:
        Whether it is this process.
    """
    # A separate file: closing any descriptor of a file releases all the process's locks on it.
    descriptor = _open(folder / ".plan.lock")
    try:
        yield _lock(descriptor, folder, range(1))
    finally:
        os.close(descriptor)


@contextmanager
def index_lock(folder: Path) -> Iterator[bool]:
    """Decide whether this process builds an index, or another one already does.

    Args:
        folder: The folder of a run's indexes.

    Yields:
        Whether it is this process.

    Raises:
        RunDirectoryError: If the lock file cannot be written.
    """
    descriptor = _open(folder / ".lock")
    try:
        yield _lock(descriptor, folder, range(1))
    finally:
        os.close(descriptor)


def is_locked(folder: Location) -> bool | None:
    """Return whether any process holds shards of a run.

    Never call it in a process that holds some itself: closing the file would release its locks.

    Args:
        folder: The run directory.

    Returns:
        None if that is unknown: there is no lock file, it cannot be read, or the file system has no
        locks, as stores have none.
    """
    if isinstance(folder, StorePath):
        return None
    try:
        descriptor = os.open(folder / ".run.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock on every byte, for an instant: several readers do not disturb one another,
        # and a run that starts in this instant tries again (see `acquire`).
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _HELD else None
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unwritable(path, error) from error


def _lock(descriptor: int, folder: Path, part: range) -> bool:
    """Lock bytes of a file; return True if that succeeded or the file system has no locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, len(part), part.start)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in _NO_LOCKS:
            raise
        _log.info("%s has no file locks: two runs that write the same shards go unnoticed.", folder)
    return True


def _append(descriptor: int, folder: Path, line: str) -> None:
    try:
        os.write(descriptor, line.encode())
    except OSError as error:
        os.close(descriptor)
        raise _unwritable(folder / ".run.lock", error) from error


def _unwritable(path: Path, error: OSError) -> RunDirectoryError:
    return RunDirectoryError(
        f"`output.dir={str(path.parent)!r}`: {path.name} cannot be written "
        f"({error.strerror or error}). Free some space there, or make it writable for you."
    )


def _holder(descriptor: int, shards: range) -> str:
    """Name the last process that took one of some shards."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    for line in reversed(tail.decode(errors="replace").splitlines()):
        fields = line.split()
        if len(fields) == 4 and all(field.isdecimal() for field in fields[:3]):
            start, stop, process = map(int, fields[:3])
            if start < shards.stop and shards.start < stop:
                return f"process {process} on {fields[3][:64]}"
    return "another process"  # it has just taken the lock, and has not written its line yet
