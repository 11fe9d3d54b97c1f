"""Counts, sizes and times in words."""

from __future__ import annotations


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
