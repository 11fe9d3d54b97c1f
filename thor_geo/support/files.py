"""Files that are either complete or absent, whoever writes them and whenever the power fails.

Temporary files lie beside their target (a rename must stay on one file system) and begin with a
dot, which Parquet readers and globs leave out.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What `link` answers on file systems without hard links (exFAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_READ_BYTES = 1 << 20


def temporary_path(path: Path) -> Path:
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
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of *path* when the block succeeds.

    Args:
        path: Target; its folder is made if needed.

    Yields:
        A path that does not exist yet, in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with atomic_path(path) as temporary:
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
    temporary = temporary_path(path)
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


# What `link` answers on file systems without hard links (exFAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def write_atomic(
    path: Path,
    content: bytes,
    *,
    durable: bool = True,
    scratch: Path | None = None,
    replace: bool = True,
) -> bool:
    """Write a file so that others see all of it or none.

    Args:
        path: The file.
        content: Its content.
        durable: Whether the file must survive a crash of the machine.
        scratch: Folder for the temporary file, on the same file system; None for the file's own.
            What killed writers leave behind is looked for in it.
        replace: Whether a file that is there gives way; else the first of several writers wins.

    Returns:
        Whether the file is this content; False only if it was there and stays.

    Raises:
        OSError: If it cannot be written; then nothing is left behind.
    """
    folder = path.parent if scratch is None else scratch
    temporary = folder / temporary_name(path.name)
    try:
        _in_folder(folder, lambda: _write(temporary, content, durable))
        _in_folder(path.parent, lambda: _name(temporary, path, replace))
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _in_folder(folder: Path, write: Callable[[], None]) -> None:
    """Write, and make the folder only if it is missing: it is there nearly always."""
    try:
        write()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        write()


def _name(temporary: Path, path: Path, replace: bool) -> None:
    if replace or not _link(temporary, path):
        temporary.replace(path)


def temporary_name(name: str) -> str:
    """Return a name for a temporary file that no other process on any node uses."""
    return f".{name}.{node()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


def node() -> str:
    """Return this machine's name, no longer than a file's name can take."""
    return platform.node()[:64]


def _write(path: Path, content: bytes, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        if durable:
            # Before the rename: a crash must not leave the final name on missing content.
            os.fsync(descriptor)
    finally:
        # Network file systems may tell only here that a quota is used up.
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    """Give a file its name unless that is taken; False where there are no hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Between this look and the rename another may write; then the last wins, not the first.
        if path.exists():
            raise FileExistsError(path) from error
        return False
    return True


def write_json(path: Path, content: dict[str, Any], **how: Any) -> bool:
    """Write JSON atomically.

    Args:
        path: The file.
        content: What to write.
        how: As `write_atomic` takes it.

    Returns:
        Whether the file is this content, see `write_atomic`.
    """
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return write_atomic(path, text.encode(), **how)
