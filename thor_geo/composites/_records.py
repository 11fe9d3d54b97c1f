"""Small files that are either whole or absent: atomic writes, and JSON with a checksum."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thor_geo.earthengine.recipe import canonical_sha256


class DamagedError(Exception):
    """A file of the cache is not what was written."""


def write_atomic(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Write a file so that others see all of it or none.

    Args:
        path: The file.
        write: Writes the content to the path it is given, which is in the same folder.
        durable: Whether the file must survive a crash of the machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        write(temporary)
        if durable:
            # Before the rename: a crash must not leave the final name on missing content.
            _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: dict[str, Any], *, durable: bool = True) -> None:
    """Write JSON atomically.

    Args:
        path: The file.
        content: What to write.
        durable: Whether the file must survive a crash of the machine.
    """
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: _write_text(temporary, text), durable=durable)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically, with a checksum of itself.

    Args:
        path: The file.
        content: What to write; without the key ``record_sha256``.
    """
    write_json(path, {**content, "record_sha256": canonical_sha256(content)})


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
        content = json.loads(raw)
        checksum = content.pop("record_sha256")
        if checksum != canonical_sha256(content):
            raise DamagedError(f"{path}: the checksum does not match")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedError(f"{path}: not a record ({error!r})") from error
    return dict(content)
