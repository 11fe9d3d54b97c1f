"""What validation finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``run``: run.json, plan.parquet; ``unfinished``: a shard without marker; ``marker``; ``file``:
#: missing, another size or content, unreadable; ``schema``: columns, types, footer; ``rows``: not
#: the plan's tiles in order; ``place``: CRS, transform, footprint; ``values``: NaN, or a value
#: where there should be none; ``failures``: the list of failed tiles; ``grid``: the Zarr store;
#: ``stray``: a file that belongs to no shard; ``failed``: a tile recorded as failed, which is no
#: damage.
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
    "stray",
    "failed",
]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing.
        file: Which file, relative to the run directory.
        reason: What is wrong with it, with the numbers.
        noticed: Whether the same predict command notices it, and makes the shard again; damage that
            it does not look for needs the marker deleted first.
        marker: Marker of the shard whose fault it is, relative to the run directory.
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
