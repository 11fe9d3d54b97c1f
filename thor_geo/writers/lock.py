"""One process at a time for a run, or for a job of it."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from thor_geo.errors import RunDirectoryError
from thor_geo.job import Job

_log = logging.getLogger(__name__)

# A killed run's last processes, or a requeued job's predecessor, may take this long to end.
_PATIENCE_S = 20.0
_LOOK_S = 0.5

# What `lockf` answers where the file system has no locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})


class RunLock:
    """A lock on one job's part of a run directory; the kernel gives it up when the process ends.

    Two processes with the same part would write the same bytes, each shard twice. A POSIX record
    lock is used, which forked children do not inherit and which works over NFS.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        """Initialize a new RunLock instance; nothing is locked yet.

        Args:
            folder: The run directory.
            job: Which part of it.
        """
        name = "" if job.count == 1 else f"-{job.index}-of-{job.count}"
        self._path = folder / f".run{name}.lock"
        self._folder, self._job = folder, job
        self._descriptor: int | None = None

    def acquire(self, patience_s: float = _PATIENCE_S) -> None:
        """Take the lock, and wait a little for one that is about to be given up.

        Args:
            patience_s: How long to wait, seconds.

        Raises:
            RunDirectoryError: If another process keeps it; names that process.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline, told = time.monotonic() + patience_s, False
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    _log.info("%s has no file locks: two runs are not told apart.", self._folder)
                    break
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    os.close(descriptor)
                    raise
            if time.monotonic() >= deadline:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise RunDirectoryError(
                    f"`output.dir={str(self._folder)!r}`: {holder} is writing "
                    f"{self._part} already. Let it end, or stop it; `thor-geo status` shows how "
                    "far it is. To share the work, run jobs: --job 1/2 and --job 2/2."
                )
            if not told:
                print(
                    f"Waiting for {_holder(descriptor)}, which is writing {self._part} ...",
                    file=sys.stderr,
                    flush=True,
                )
                told = True
            time.sleep(_LOOK_S)
        os.ftruncate(descriptor, 0)
        about = {"pid": os.getpid(), "host": socket.gethostname()}
        os.pwrite(descriptor, json.dumps(about).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up; repeating it does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _part(self) -> str:
        return (
            "this run"
            if self._job.count == 1
            else f"job {self._job.index}/{self._job.count} of this run"
        )


def _holder(descriptor: int) -> str:
    try:
        about: dict[str, Any] = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(about['pid'])} on {str(about['host'])[:64]}"
    except (ValueError, KeyError, TypeError):  # it has just taken the lock
        return "another process"
