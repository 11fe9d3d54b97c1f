"""Requests small enough for the service: the byte check, quarters, and what worked before."""

from __future__ import annotations

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
