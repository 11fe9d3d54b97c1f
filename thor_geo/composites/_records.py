"""Small files that are either whole or absent: atomic writes, and JSON with a checksum."""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thor_geo.sources.earthengine.recipe import canonical_sha256
from thor_geo.support.jsontext import parse_json

# What `link` answers on file systems without hard links (exFAT, some network and FUSE mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class DamagedError(Exception):
    """A file of the cache is not what was written."""


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


def write_record(path: Path, content: dict[str, Any], **how: Any) -> bool:
    """Write JSON atomically, with a checksum of itself.

    Args:
        path: The file.
        content: What to write; without the key ``record_sha256``.
        how: As `write_atomic` takes it.

    Returns:
        Whether the file is this content, see `write_atomic`.
    """
    return write_json(path, {**content, "record_sha256": canonical_sha256(content)}, **how)


def read_record(path: Path) -> dict[str, Any] | None:
    """Read what `write_record` wrote.

    Args:
        path: The file.

    Returns:
        The content, or None if there is no file.

    Raises:
        DamagedError: If the file is not what was written.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        content = parse_json(raw)
        checksum = content.pop("record_sha256")
        if checksum != canonical_sha256(content):
            raise DamagedError(f"{path}: the checksum does not match")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"{path}: not a record ({error!r:.200})") from error
    return dict(content)
