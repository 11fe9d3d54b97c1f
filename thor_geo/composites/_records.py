"""Small files that are either whole or absent: atomic writes, and JSON with a checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thor_geo.support.files import write_atomic
from thor_geo.support.jsontext import canonical_sha256, indented_json, parse_json


class DamagedError(Exception):
    """A file of the cache is not what was written."""


def record_bytes(content: dict[str, Any]) -> bytes:
    """Return JSON with a checksum of itself, as `write_record` writes it.

    Args:
        content: What to write; without the key ``record_sha256``.
    """
    return indented_json({**content, "record_sha256": canonical_sha256(content)})


def write_record(path: Path, content: dict[str, Any], **how: Any) -> bool:
    """Write JSON atomically, with a checksum of itself.

    Args:
        path: The file.
        content: What to write; without the key ``record_sha256``.
        how: As `write_atomic` takes it.

    Returns:
        Whether the file is this content, see `write_atomic`.
    """
    return write_atomic(path, record_bytes(content), **how)


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
