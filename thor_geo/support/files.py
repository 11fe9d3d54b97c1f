"""Files that are either complete or absent, whoever writes them and whenever the power fails.

Temporary files lie beside their target (a rename must stay on one file system) and begin with a
dot, which Parquet readers and globs leave out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What `link` answers on file systems without hard links (exFAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_READ_BYTES = 1 << 20


def beside(path: Path) -> Path:
    """Return a name for a temporary file that no other process uses, in the folder of *path*."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp")


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of *path* when the block succeeds.

    Args:
        path: Target; its folder is made if needed.

    Yields:
        A path that does not exist yet, in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def create_once(path: Path, write: Callable[[Path], None]) -> bool:
    """Create a file unless it exists; of several processes the first wins.

    Args:
        path: Target.
        write: Writes the whole file to the path it is given.

    Returns:
        Whether this call created it. If not, the caller compares.
    """
    if path.exists():
        return False
    temporary = beside(path)
    try:
        write(temporary)
        sync(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # No hard links here. Between these two lines another process may create the file;
            # then the last wins, and callers of one run write the same bytes anyway.
            if path.exists():
                return False
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return True


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
