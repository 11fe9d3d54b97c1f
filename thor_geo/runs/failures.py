"""The lists of failed tiles: ``failures/<shard_id>.jsonl``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from thor_geo.storage import Location
from thor_geo.support.jsontext import parse_json


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A tile that failed, in one time window if the run has a list of them.

    Attributes:
        tile: Its id.
        error: Why.
        row: Id of its row, which names the tile and the window; None without a list of windows.
    """

    tile: str
    error: str
    row: str | None = None

    @property
    def name(self) -> str:
        """Its name in the marker: the row, or without a list of windows the tile."""
        return self.tile if self.row is None else self.row

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the failure that a line of the file records.

        Raises:
            KeyError: If the line lacks a key.
        """
        row = record.get("id")
        return cls(
            tile=str(record["tile_id"]),
            error=str(record["error"]),
            row=None if row is None else str(row),
        )

    def as_record(self) -> dict[str, str]:
        """Return the content of a line of the file."""
        row = {} if self.row is None else {"id": self.row}
        return {**row, "tile_id": self.tile, "error": self.error}


def read_failures(path: Location) -> Iterator[Failure]:
    """Yield the failed tiles of a shard, in plan order.

    A damaged list must not stop a look at a run: lines, or a file, that cannot be read are left out
    (a retry may just have removed the file). `validate` says what is wrong.

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
            yield Failure.from_record(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
