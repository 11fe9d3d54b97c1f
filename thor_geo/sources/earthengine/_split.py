"""Requests small enough for the service: the byte check, quarters, and what worked before."""

from __future__ import annotations

import threading
from dataclasses import dataclass

#: Largest answer of image.computePixels, bytes before compression (REST reference).
MAX_BYTES = 50_331_648

#: Largest side of a request in pixels (REST reference).
MAX_SIDE = 32_768

#: Areas are not quartered into pieces with a side below this, pixels.
MIN_SIDE = 64


@dataclass(frozen=True, kw_only=True)
class BlockWindow:
    """A rectangle of pixels within a block.

    Attributes:
        row: First row.
        col: First column.
        height: Number of rows.
        width: Number of columns.
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def side(self) -> int:
        """The longer side in pixels."""
        return max(self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the block that it covers."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    def quarters(self) -> list[BlockWindow]:
        """Return the four (or, where one pixel is thin, fewer) parts, row by row."""
        rows = _halves(self.row, self.height)
        cols = _halves(self.col, self.width)
        return [
            BlockWindow(row=row, col=col, height=height, width=width)
            for row, height in rows
            for col, width in cols
        ]


def _halves(start: int, length: int) -> list[tuple[int, int]]:
    first = -(-length // 2)
    parts = [(start, first), (start + first, length - first)]
    return [part for part in parts if part[1] > 0]


def request_bytes(height: int, width: int, bands: int, itemsize: int) -> int:
    """Return what the service counts for a request, bytes.

    It counts a mask byte for every value, on top of the value itself.

    Args:
        height: Rows.
        width: Columns.
        bands: Number of bands.
        itemsize: Bytes of one value.
    """
    return height * width * bands * (itemsize + 1)


def may_quarter(window: BlockWindow) -> bool:
    """Return whether a window's quarters would still have sides of `MIN_SIDE` or more."""
    return window.side >= 2 * MIN_SIDE


#: Pieces answered in a row before a larger one is tried again.
REGROW_AFTER = 64


class SizeMemory:
    """The largest side that is worth asking for, learned from refusals.

    Where one block needs smaller requests its neighbours usually do, having the same scenes. After
    `REGROW_AFTER` answers in a row twice the side is tried again.
    """

    def __init__(self) -> None:
        """Initialize a new SizeMemory instance."""
        self._side: int | None = None
        self._answered = 0
        self._lock = threading.Lock()

    @property
    def side(self) -> int | None:
        """Largest side to ask for in pixels; None while nothing was refused."""
        return self._side

    def allows(self, window: BlockWindow) -> bool:
        """Return whether a window is no larger than what worked."""
        return self._side is None or window.side <= self._side

    def refused(self, window: BlockWindow) -> None:
        """Remember that a window was too large: its half is the largest side from now on."""
        with self._lock:
            half = -(-window.side // 2)
            if self._side is None or half < self._side:
                self._side = half
            self._answered = 0

    def answered(self) -> None:
        """Remember that a window was answered."""
        with self._lock:
            if self._side is None:
                return
            self._answered += 1
            if self._answered >= REGROW_AFTER:
                self._side *= 2
                self._answered = 0
