"""The lists of failed tiles: ``failures/<shard_id>.jsonl``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thor_geo.jsontext import parse_json


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A tile that failed.

    Attributes:
        tile: Its id.
        error: Why.
    """

    tile: str
    error: str


def read_failures(path: Path) -> Iterator[Failure]:
    """Yield the failed tiles of a shard, in plan order.

    For a look at a run, which a damaged list must not stop: what cannot be read is left out, a
    line or the file (a retry may just have removed it). `validate` says what is wrong with it.

    Args:
        path: ``failures/<shard_id>.jsonl``.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = parse_json(line)
            yield Failure(tile=str(record["tile_id"]), error=str(record["error"]))
        except (ValueError, KeyError, TypeError):
            continue
