"""Counts and sizes in words."""

from __future__ import annotations


def counted(count: float, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 fault``, ``1,024 faults``.

    Args:
        count: How many.
        one: The noun for one.
        many: The noun for any other number; None appends an s.
    """
    return f"{count:,.0f} {one if round(count) == 1 else many or one + 's'}"


def size_of(size: float) -> str:
    """Return a size for reading: ``3.1 kB``, ``12.5 MB``, ``1,204.0 MB``.

    Args:
        size: Bytes.
    """
    return f"{size / 1e3:,.1f} kB" if size < 1e5 else f"{size / 1e6:,.1f} MB"
