"""Images of any shape as inputs of a fixed side: snapped, padded, or cut into tiles and stitched.

Nothing here knows of places: it is integer geometry of arrays ``(C, H, W)``, row 0 = top. The
lattices of runs, which do know, are in `thor_geo.ground.lattice`; halo means the same in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError, InputError
from thor_geo.support.arrays import AnyArray


@dataclass(frozen=True, kw_only=True)
class NativeFit:
    """How an image becomes a square of a valid side without being resampled.

    The kept window is the image's middle (if the rest is odd, one pixel more is cut at the bottom
    or right); the square beyond it is padding, at the bottom and at the right.

    Attributes:
        side: Side of the square in pixels.
        top: First row of the image that is kept.
        left: First column that is kept.
        height: Rows that are kept, at most `side`.
        width: Columns that are kept, likewise.
    """

    side: int
    top: int
    left: int
    height: int
    width: int

    def apply(self, chw: AnyArray, fill: float = 0) -> tuple[AnyArray, npt.NDArray[np.bool_]]:
        """Crop and pad an image of the shape that this was made for.

        Args:
            chw: (C, H, W).
            fill: Value of the padding.

        Returns:
            (C, side, side) of the same dtype, and (side, side) bool, true where pixels are the
            image's.
        """
        rows = slice(self.top, self.top + self.height)
        kept = chw[:, rows, self.left : self.left + self.width]
        return pad_with_mask(kept, self.side, self.side, fill=fill)


def native_unit(gsds: Iterable[int], *, patch_size: int, resolution: int = 10) -> tuple[int, int]:
    """Return the smallest side that every group's patches divide, and the tokens of its square.

    A side is valid if ``side * resolution`` is a multiple of ``patch_size * GSD`` for every group
    in use: a multiple of the unit. A square of n x n units has n^2 times the tokens.

    Args:
        gsds: Ground sampling distance of each group in use, metres; one entry for each group, so
            that two groups at 20 m count twice.
        patch_size: Patch side in pixels of each group's own grid.
        resolution: Pixel size of the image in metres.

    Returns:
        (side in pixels, tokens of one unit x one unit). With groups at 10 and 20 m and patches of
        16: (32, 5).

    Raises:
        ConfigError: If there is no group, or a number is not positive.
    """
    distances = tuple(gsds)
    if not distances:
        raise ConfigError("gsds", distances, "no group", "Give the GSD of every group in use.")
    for name, value in (
        ("gsds", min(distances)),
        ("patch_size", patch_size),
        ("resolution", resolution),
    ):
        _at_least_one(name, value)
    metres = math.lcm(resolution, *(patch_size * gsd for gsd in distances))
    return metres // resolution, sum((metres // (patch_size * gsd)) ** 2 for gsd in distances)


def native_side(
    height: int, width: int, *, unit: int, unit_tokens: int, max_side: int, max_tokens: int
) -> NativeFit:
    """Snap an image to the nearest square that the encoder takes (``input_prep: native``).

    The rule: the side is the multiple of *unit* nearest to the image's longer side (of two equally
    near ones the larger, which crops nothing), at least one unit, and at most the largest multiple
    within *max_side* and *max_tokens*. Then each axis is cropped to its middle where the image is
    longer than the side, and padded at the bottom or right where it is shorter. Hence at most half
    a unit is cropped unless a bound is met.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        unit: Smallest valid side in pixels; see `native_unit`.
        unit_tokens: Tokens of a square of one unit; see `native_unit`.
        max_side: Largest side in pixels.
        max_tokens: Most tokens of the square.

    Raises:
        ConfigError: If a number is not positive, or even one unit exceeds a bound.
    """
    for name, value in (
        ("height", height),
        ("width", width),
        ("unit", unit),
        ("unit_tokens", unit_tokens),
    ):
        _at_least_one(name, value)
    too_many = max_tokens < unit_tokens
    if max_side < unit:
        also = f" and max_tokens={unit_tokens} or more" if too_many else ""
        raise ConfigError(
            "max_side",
            max_side,
            f"smaller than the smallest valid side, {unit} px",
            f"Give max_side={unit} or more{also}, or take a smaller patch_size.",
        )
    if too_many:
        raise ConfigError(
            "max_tokens",
            max_tokens,
            f"the smallest valid side, {unit} px, already has {unit_tokens} tokens",
            f"Give max_tokens={unit_tokens} or more.",
        )
    most = min(max_side // unit, math.isqrt(max_tokens // unit_tokens))
    # Rounded half up, in whole numbers.
    nearest = (2 * max(height, width) + unit) // (2 * unit)
    side = unit * min(max(nearest, 1), most)
    rows, cols = min(height, side), min(width, side)
    return NativeFit(
        side=side, top=(height - rows) // 2, left=(width - cols) // 2, height=rows, width=cols
    )


def pad_with_mask(
    chw: AnyArray, height: int, width: int, *, fill: float = 0
) -> tuple[AnyArray, npt.NDArray[np.bool_]]:
    """Pad an image at the bottom and right.

    Args:
        chw: (C, H, W).
        height: Rows of the result, at least H.
        width: Columns of the result, at least W.
        fill: Value of the padding, in the image's units.

    Returns:
        (C, height, width) of the same dtype, never a view; and (height, width) bool, true where
        pixels are the image's.

    Raises:
        InputError: If the image is not (C, H, W), or larger than the result.
    """
    if chw.ndim != 3 or chw.shape[1] > height or chw.shape[2] > width:
        raise InputError(
            f"an image of shape {chw.shape} cannot be padded to {height} x {width}: expected "
            "(channel, height, width), no larger than that. Crop it first, or cut it into tiles."
        )
    rows, cols = chw.shape[1:]
    out = np.full((chw.shape[0], height, width), fill, dtype=chw.dtype)
    out[:, :rows, :cols] = chw
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[:rows, :cols] = True
    return out, mask


@dataclass(frozen=True, kw_only=True)
class ImageWindow:
    """One tile of an image, and the part of it that belongs to the result.

    Attributes:
        top: First row of the tile in the image.
        left: First column of the tile in the image.
        size: Side of the tile in pixels; it may reach beyond the image at the bottom and right.
        rows: First row of the tile that is kept and the row after the last, pixels in the tile.
        cols: Likewise, columns.
    """

    top: int
    left: int
    size: int
    rows: tuple[int, int]
    cols: tuple[int, int]

    def cut(self, chw: AnyArray, *, fill: float = 0) -> tuple[AnyArray, npt.NDArray[np.bool_]]:
        """Cut the tile out of an image.

        Args:
            chw: (C, H, W), the image that the windows were made for.
            fill: Value of pixels beyond the image.

        Returns:
            (C, size, size) and (size, size) bool; see `pad_with_mask`.
        """
        rows, cols = (slice(start, start + self.size) for start in (self.top, self.left))
        return pad_with_mask(chw[:, rows, cols], self.size, self.size, fill=fill)


def tile_windows(
    height: int, width: int, *, size: int, halo: int, cell: int = 1
) -> tuple[ImageWindow, ...]:
    """Return the tiles of an image, row by row, whose kept parts cover it once.

    Tiles stand ``size - 2 * halo`` pixels apart, the first at 0. The last row and column are moved
    back to end with the image, rounded up to whole cells: context at the edge is more of the image
    rather than padding, which is left for images smaller than a tile and for the last, incomplete
    cell. A tile keeps everything but the *halo* pixels on the sides where it has a neighbour (a
    tile that was moved back loses more to the one before); at the image's edge it keeps all.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        size: Side of a tile in pixels.
        halo: Pixels of context on each side that are dropped from a tile's map.
        cell: Side of a cell of the maps in pixels (the patch size); tiles, halos and kept parts are
            whole cells.

    Raises:
        ConfigError: If a number is out of range, *size* or *halo* is not a multiple of *cell*, or
            the halos leave nothing of a tile.
    """
    for name, value in (("height", height), ("width", width), ("size", size), ("cell", cell)):
        _at_least_one(name, value)
    for name, value in (("size", size), ("halo", halo)):
        if value % cell:
            raise ConfigError(
                name,
                value,
                f"not a multiple of the cell's {cell} px",
                f"Take {value // cell * cell} or {(value // cell + 1) * cell}.",
            )
    if not 0 <= 2 * halo < size:
        raise ConfigError(
            "halo",
            halo,
            f"must be at least 0 and less than half of size={size}",
            "The middle of every tile must be left.",
        )
    across = tuple(_along(width, size, halo, cell))
    return tuple(
        ImageWindow(top=top, left=left, size=size, rows=rows, cols=cols)
        for top, rows in _along(height, size, halo, cell)
        for left, cols in across
    )


def _along(length: int, size: int, halo: int, cell: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield where each tile of an axis begins, and the part of it that is kept."""
    whole = -(-length // cell) * cell
    step = size - 2 * halo
    count = max(0, -(-(whole - size) // step)) + 1
    done = 0
    for k in range(count):
        start = max(0, min(k * step, whole - size))
        end = min(whole, start + size - (halo if k < count - 1 else 0))
        yield start, (done - start, end - start)
        done = end


def stitch(parts: Sequence[AnyArray], windows: Sequence[ImageWindow], *, cell: int = 1) -> AnyArray:
    """Put the kept parts of the tiles' maps into one map.

    Args:
        parts: Map of each window's tile, (C, size / cell, size / cell), all of one dtype.
        windows: What `tile_windows` returned, with the same *cell*.
        cell: Side of a cell in pixels.

    Returns:
        (C, h, w): one cell for each *cell* pixels of the image, the last one where it begins.

    Raises:
        InputError: If there are more or fewer parts than windows, or one has another shape.
    """
    if not windows or len(parts) != len(windows):
        raise InputError(
            f"{len(parts)} maps for {len(windows)} windows: give the map of every window, in the "
            "order of tile_windows."
        )
    channels, dtype = parts[0].shape[0], parts[0].dtype
    last = windows[-1]
    out = np.empty(
        (channels, (last.top + last.rows[1]) // cell, (last.left + last.cols[1]) // cell), dtype
    )
    for part, window in zip(parts, windows, strict=True):
        wanted = (channels, window.size // cell, window.size // cell)
        if part.shape != wanted:
            raise InputError(
                f"the map of the tile at row {window.top}, column {window.left} has shape "
                f"{part.shape}, expected {wanted}: {window.size} px in cells of {cell} px."
            )
        (top, bottom), (left, right) = (
            (first // cell, end // cell) for first, end in (window.rows, window.cols)
        )
        row, col = window.top // cell, window.left // cell
        out[:, row + top : row + bottom, col + left : col + right] = part[:, top:bottom, left:right]
    return out


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(name, value, "less than 1", "Give a positive whole number.")
