"""Which copies of an object store's blocks stay on this machine: the latest, up to a size.

A reader that has verified a file opens it within milliseconds, but it does open it by its name. So
the sidecar goes first, without which no reader takes the block for one that is there, and the file
itself a minute later. A block that is wanted again meanwhile is copied again.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

from thor_geo.composites import _tiff

#: Bytes of pixels that a process keeps, at most; nor does it take more than half of the free disk.
MOST_BYTES = 16_000_000_000

#: Blocks that are kept whatever their size: those that readers have not come to yet.
LEAST_BLOCKS = 512

#: Seconds between the end of a sidecar and that of its file.
GRACE_S = 60.0


class LatestCopies:
    """Removes the copies that this process made first, once there are too many."""

    def __init__(self) -> None:
        """Initialize a new LatestCopies instance, of a folder without copies."""
        self._lock = threading.Lock()
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self._bytes = 0
        self._going: OrderedDict[Path, tuple[float, _tiff.Identity | None]] = OrderedDict()

    def expect(self, path: Path) -> None:
        """Let a file be that is about to be copied again.

        Args:
            path: The file of a block.
        """
        with self._lock:
            self._going.pop(path, None)

    def add(self, path: Path, size: int) -> None:
        """Count a copy, and remove what is then too much.

        Args:
            path: The file of a block, which is there with its sidecar.
            size: Its bytes.

        Raises:
            OSError: If a file cannot be removed.
        """
        with self._lock:
            self._bytes += size - self._sizes.pop(path, 0)
            self._sizes[path] = size
            most = min(MOST_BYTES, (self._bytes + shutil.disk_usage(path.parent).free) // 2)
            while self._bytes > most and len(self._sizes) > LEAST_BLOCKS:
                oldest, freed = self._sizes.popitem(last=False)
                self._bytes -= freed
                self._going[oldest] = (time.monotonic() + GRACE_S, _tiff.identity(oldest))
                oldest.with_suffix(".json").unlink(missing_ok=True)
            while self._going:
                gone, (when, which) = next(iter(self._going.items()))
                if when > time.monotonic():
                    break
                del self._going[gone]
                # Another rank may have copied it again.
                if _tiff.identity(gone) == which:
                    gone.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def latest_in(root: Path) -> LatestCopies:
    """Return what this process knows of a folder of copies.

    Args:
        root: The folder.
    """
    return LatestCopies()
