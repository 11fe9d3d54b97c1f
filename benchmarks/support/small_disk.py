"""A small file system of its own, in memory: it can be full, grow, and become read-only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self

_PAGE = os.sysconf("SC_PAGE_SIZE")


def pages(size: int) -> int:
    """Return the bytes that a file of *size* bytes occupies on it."""
    return -(-size // _PAGE) * _PAGE


class SmallDisk:
    """A tmpfs mounted over a folder; needs the right to mount (root)."""

    def __init__(self, folder: Path, size: int) -> None:
        """Initialize a new SmallDisk instance of so many bytes; nothing is mounted yet."""
        self.folder = folder
        self._size = size
        self._read_only = False

    @classmethod
    def problem(cls, folder: Path) -> str:
        """Return why this machine cannot mount one over a folder, empty if it can."""
        try:
            with cls(folder, _PAGE):
                return ""
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            reason = getattr(error, "stderr", None) or error
            return f"no tmpfs can be mounted here: {str(reason).strip()}"

    def __enter__(self) -> Self:
        """Mount."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _command("mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder))
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Unmount; what is on it is lost."""
        if self._read_only:
            self.set_writable()
        _command("umount", "-l", str(self.folder))

    def grow(self, size: int) -> None:
        """Make space."""
        _command("mount", "-o", f"remount,size={size}", str(self.folder))

    def set_read_only(self) -> None:
        """Make it read-only, even for processes that have files open for writing.

        The kernel would refuse a remount, so a read-only view is mounted over it, which every path
        leads to from now on.
        """
        _command("mount", "--bind", str(self.folder), str(self.folder))
        _command("mount", "-o", "remount,bind,ro", str(self.folder))
        self._read_only = True

    def set_writable(self) -> None:
        """Make it writable again, after `set_read_only`."""
        _command("umount", "-l", str(self.folder))
        self._read_only = False


def _command(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True, text=True)
