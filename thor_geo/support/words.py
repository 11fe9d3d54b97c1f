"""Counts, sizes and times in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Rows of a table that a message names.
_NAMED_ROWS = 5


def counted(count: float, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 fault``, ``1,024 faults``.

    Args:
        count: How many.
        singular: The noun for one.
        plural: The noun for any other number; None appends an s to the singular.
    """
    return f"{count:,.0f} {singular if round(count) == 1 else plural or singular + 's'}"


def size_of(size: float) -> str:
    """Return a size for reading: ``3.1 kB``, ``12.5 MB``, ``1,204.0 MB``.

    Args:
        size: Bytes.
    """
    return f"{size / 1e3:,.1f} kB" if size < 1e5 else f"{size / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """Return a time span for reading: ``8.4 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def rows_text(
    rows: Sequence[int], values: Sequence[object] | Mapping[int, object] | None = None
) -> str:
    """Return the numbers of a table's rows: ``rows 2, 5 and 9 (counted from 1, without a header)``.

    Args:
        rows: Indices of the rows, from 0; five are named, and the others counted.
        values: By index, a value for each of the rows, which is added to its number.
    """
    shown = [
        f"{row + 1:,}" if values is None else f"{row + 1:,} ({values[row]})"
        for row in rows[:_NAMED_ROWS]
    ]
    if len(rows) > _NAMED_ROWS:
        shown.append(f"{len(rows) - _NAMED_ROWS:,} more")
    *others, last = shown
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"row{'s' if others else ''} {listed} (counted from 1, without a header)"
