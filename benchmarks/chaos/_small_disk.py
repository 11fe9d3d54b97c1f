"""A small file system of its own, in memory: it can be full, grow, and become read-only."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Self

_PAGE = os.sysconf("SC_PAGE_SIZE")


def pages(size: int) -> int:
    """Return what a file of *size* bytes takes on it, in bytes."""
    return -(-size // _PAGE) * _PAGE


class SmallDisk:
    """A tmpfs mounted over a folder; needs the right to mount (root)."""

    def __init__(self, folder: Path, size: int) -> None:
        """Initialize a new SmallDisk instance; nothing is mounted yet.

        Args:
            folder: Where to mount it; made if needed.
            size: Bytes it holds.
        """
        self.folder = folder
        self._size = size

    @classmethod
    def problem(cls, folder: Path) -> str:
        """Return why this machine cannot mount one, empty if it can.

        Args:
            folder: Where to try.
        """
        try:
            with cls(folder, _PAGE):
                return ""
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            said = getattr(error, "stderr", None) or error
            return f"no tmpfs can be mounted here: {str(said).strip()}"

    def __enter__(self) -> Self:
        """Mount."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _command("mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder))
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Unmount; what is on it is lost."""
        _command("umount", "-l", str(self.folder))

    @property
    def used(self) -> int:
        """Bytes in use."""
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def grow(self, size: int) -> None:
        """Make space."""
        _command("mount", "-o", f"remount,size={size}", str(self.folder))

    def set_read_only(self, *, within: float = 60.0) -> None:
        """Make it read-only; waits for a moment when no file is open for writing.

        Args:
            within: Seconds to try.

        Raises:
            CalledProcessError: If there was no such moment.
        """
        deadline = time.monotonic() + within
        while True:
            try:
                return _command("mount", "-o", "remount,ro", str(self.folder))
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def set_writable(self) -> None:
        """Make it writable again."""
        _command("mount", "-o", "remount,rw", str(self.folder))


def _command(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True, text=True)
