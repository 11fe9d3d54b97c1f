"""Files that are complete or absent, however many processes write and whenever the power fails.

Temporary files lie beside their target (a rename must stay on one file system) and begin with a
dot, so that Parquet readers and globs leave them out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from thor_geo.support.jsontext import indented_json

T = TypeVar("T")

# What `link` answers on file systems without hard links (exFAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def temporary_name(name: str) -> str:
    """Return a name for a temporary file that no other process on any node uses."""
    return f".{name}.{node()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


def temporary_path(path: Path) -> Path:
    """Return the path of a temporary file in the folder of *path*; see `temporary_name`."""
    return path.with_name(temporary_name(path.name))


def node() -> str:
    """Return this machine's name, no longer than a file's name can take."""
    return platform.node()[:64]


def file_sha256(file: Path | int) -> str:
    """Return the sha256 of a file's content as 64 hexadecimal digits.

    Args:
        file: A path, or the descriptor of an open file at its start; it stays open.
    """
    with open(file, "rb", closefd=not isinstance(file, int)) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


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


def create_once(path: Path, write: Callable[[Path], object]) -> bool:
    """Create a file unless it exists; of several processes the first wins.

    Args:
        path: Target; its folder is made if needed.
        write: Writes the whole file to the path it is given.

    Returns:
        Whether this call created it. If not, the caller compares.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        write(temporary)
        sync(temporary)
        if not _give_name(temporary, path, replace=False):
            return False
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return True


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave what was there; it survives a crash of the machine."""
    write_atomic(path, content)
    sync(path.parent)


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
        durable: Whether the content must survive a crash of the machine.
        scratch: Folder for the temporary file, on the same file system; None for the file's own.
            Files of killed writers are looked for there.
        replace: Whether an existing file is replaced; else the first of several writers wins.

    Returns:
        Whether the file has this content now; False only if it existed and stays.

    Raises:
        OSError: If it cannot be written; then nothing is left behind.
    """
    folder = path.parent if scratch is None else scratch
    temporary = folder / temporary_name(path.name)
    try:
        _in_folder(folder, lambda: _write(temporary, content, durable))
        return _in_folder(path.parent, lambda: _give_name(temporary, path, replace=replace))
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any], **options: Any) -> bool:
    """Write JSON atomically.

    Args:
        path: The file.
        content: What to write.
        **options: As `write_atomic` takes them.

    Returns:
        Whether the file has this content now, see `write_atomic`.
    """
    return write_atomic(path, indented_json(content), **options)


def _in_folder(folder: Path, write: Callable[[], T]) -> T:
    """Write, and make the folder only where it is missing: it nearly always exists."""
    try:
        return write()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        return write()


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
        # Some network file systems report only here that a quota is used up.
        os.close(descriptor)


def _give_name(temporary: Path, path: Path, *, replace: bool) -> bool:
    """Give a file its final name; return False if that is taken and must stay."""
    if not replace:
        try:
            os.link(temporary, path)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        # Without hard links, another process may create the file between these two lines; then
        # the last wins. Writers of one file write the same bytes anyway.
        if path.exists():
            return False
    temporary.replace(path)
    return True
