"""The faults that validation finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``run``: run.json, plan.parquet; ``unfinished``: a shard without marker; ``marker``; ``file``:
#: missing, another size or content, unreadable; ``schema``: columns, types, footer; ``rows``: not
#: the plan's tiles in order; ``place``: CRS, transform, footprint; ``values``: NaN, or a value
#: where there should be none; ``failures``: the list of failed tiles; ``grid``: the Zarr store;
#: ``index``: an index of similar places; ``stray``: a file that belongs to no shard; ``failed``: a
#: tile recorded as failed, which is not damage.
FaultKind = Literal[
    "run",
    "unfinished",
    "marker",
    "file",
    "schema",
    "rows",
    "place",
    "values",
    "failures",
    "grid",
    "index",
    "stray",
    "failed",
]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One problem with a run.

    Attributes:
        kind: Its category.
        file: The file, relative to the run directory.
        reason: What is wrong with the file, with the numbers.
        noticed: Whether the same predict command notices it, and computes the shard again; for
            other damage the marker must be deleted first.
        marker: Marker of the damaged shard, relative to the run directory.
    """

    kind: FaultKind
    file: str
    reason: str
    noticed: bool = False
    marker: str | None = None


def first_few(items: list[str], shown: int = 2) -> str:
    """Return the first few of some names: ``a, b and 3 more``."""
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")
