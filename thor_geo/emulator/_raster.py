"""Lazy rasters: nodes that compute one band on the grid that is asked for.

A node yields values and a mask that broadcast to the grid's shape (a constant is a 0-d array). A
frame is one strip of a request; it remembers what nodes have computed on it, within a budget,
because the same cloud mask is used by every band.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import Transformer

from thor_geo.support.arrays import AnyArray, BoolArray

T = TypeVar("T")

#: Bytes of computed bands that one frame keeps: enough for 12 bands of 24 scenes on a strip of 2^16
#: pixels, with their masks.
FRAME_BUDGET = 96 * 2**20


class MaskedRaster(NamedTuple):
    """Values and mask (True where valid), each broadcastable to the grid's (height, width)."""

    values: AnyArray
    mask: BoolArray


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A pixel grid.

    Args:
        crs: ``EPSG:...`` code or WKT.
        transform: (a, b, c, d, e, f) as in affine: x = a * column + b * row + c, and so on.
        width: Columns.
        height: Rows.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    def rows(self, start: int, stop: int) -> Grid:
        """Return the strip of rows from start to stop (exclusive)."""
        a, b, c, d, e, f = self.transform
        origin = (c + b * start, f + e * start)
        return replace(self, transform=(a, b, origin[0], d, e, origin[1]), height=stop - start)

    def axes(self) -> tuple[AnyArray, AnyArray] | None:
        """Return x of every column and y of every row (pixel centres); None on a sheared grid."""
        a, b, c, d, e, f = self.transform
        if b or d:
            return None
        return c + a * (np.arange(self.width) + 0.5), f + e * (np.arange(self.height) + 0.5)

    def centres(self) -> tuple[AnyArray, AnyArray]:
        """Return x and y of every pixel centre, each (height, width)."""
        a, b, c, d, e, f = self.transform
        columns, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return a * columns + b * rows + c, d * columns + e * rows + f


@dataclass(eq=False)
class Frame:
    """One strip of a request, with what has been computed on it.

    Args:
        grid: The strip's grid.
        files: Keeps raster files open for the whole request.
    """

    grid: Grid
    files: Files
    _memo: OrderedDict[Node, MaskedRaster] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _cache: dict[Hashable, Any] = field(default_factory=dict)

    def get(self, node: Node) -> MaskedRaster:
        """Return what a node computes on this strip, from memory if it still is there."""
        if node in self._memo:
            self._memo.move_to_end(node)
            return self._memo[node]
        raster = node.compute(self)
        self._memo[node] = raster
        self._bytes += raster.values.nbytes + raster.mask.nbytes
        while self._bytes > FRAME_BUDGET and len(self._memo) > 1:
            _, old = self._memo.popitem(last=False)
            self._bytes -= old.values.nbytes + old.mask.nbytes
        return raster

    def remember(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what was computed under a key on this strip, computing it the first time."""
        if key not in self._cache:
            self._cache[key] = compute()
        value: T = self._cache[key]
        return value

    def coordinates(self, crs: str) -> tuple[AnyArray, AnyArray]:
        """Return x and y of the pixel centres in another CRS, each (height, width)."""

        def compute() -> tuple[AnyArray, AnyArray]:
            """Transform the centres, once per frame and CRS."""
            transformer = Transformer.from_crs(self.grid.crs, crs, always_xy=True)
            x, y = transformer.transform(*self.grid.centres())
            return x, y

        return self.remember(("coordinates", crs), compute)


class Files:
    """Raster files that stay open during one request, so that GDAL's block cache serves strips."""

    def __init__(self) -> None:
        self._open: dict[Path, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Return itself; files are opened when they are needed."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self._open.clear()
        self._stack.close()

    def dataset(self, path: Path) -> Any:
        """Return the opened raster file."""
        if path not in self._open:
            self._open[path] = self._stack.enter_context(rasterio.open(path))
        return self._open[path]


class Node:
    """One band's computation. Identity matters: a frame computes each node once.

    Args:
        dtype: Pixel type of the values.
        compute: Computes values and mask on a frame.
    """

    __slots__ = ("compute", "dtype")

    def __init__(self, dtype: npt.DTypeLike, compute: Callable[[Frame], MaskedRaster]) -> None:
        self.dtype = np.dtype(dtype)
        self.compute = compute


def cast(values: AnyArray, dtype: npt.DTypeLike) -> AnyArray:
    """Return values in another pixel type, as Earth Engine casts.

    Fractions are cut toward zero, values outside the type's range take the nearest bound.

    Args:
        values: Any numbers.
        dtype: The pixel type wanted.
    """
    target = np.dtype(dtype)
    if values.dtype == target or target.kind == "f":
        return values.astype(target, copy=False)
    if np.can_cast(values.dtype, target):
        return values.astype(target)
    limits = np.iinfo(target)
    if values.dtype.kind == "f":
        values = np.nan_to_num(np.trunc(values), nan=0.0, posinf=limits.max, neginf=limits.min)
    low = max(limits.min, np.iinfo(values.dtype).min) if values.dtype.kind != "f" else limits.min
    high = min(limits.max, np.iinfo(values.dtype).max) if values.dtype.kind != "f" else limits.max
    return np.clip(values, low, high).astype(target)


def constant_node(value: float) -> Node:
    """Return a node with one value everywhere, in the smallest pixel type that holds it."""
    if isinstance(value, bool):
        value = int(value)
    dtype = np.min_scalar_type(value) if isinstance(value, int) else np.dtype(np.float64)
    raster = MaskedRaster(np.array(value, dtype=dtype), np.array(True))
    return Node(dtype, lambda frame: raster)


def cast_node(source: Node, dtype: npt.DTypeLike) -> Node:
    """Return a node with the source's values in another pixel type."""
    target = np.dtype(dtype)
    if source.dtype == target:
        return source

    def compute(frame: Frame) -> MaskedRaster:
        """Cast the values."""
        values, mask = frame.get(source)
        return MaskedRaster(cast(values, target), mask)

    return Node(target, compute)


def map_node(source: Node, dtype: npt.DTypeLike, apply: Callable[[AnyArray], AnyArray]) -> Node:
    """Return a node that applies a function to the values and keeps the mask."""

    def compute(frame: Frame) -> MaskedRaster:
        """Apply the function to the values."""
        values, mask = frame.get(source)
        return MaskedRaster(apply(values).astype(dtype, copy=False), mask)

    return Node(dtype, compute)


def masked_node(source: Node, by: Node) -> Node:
    """Return a node that is masked, in addition, where another is masked or zero."""

    def compute(frame: Frame) -> MaskedRaster:
        """Mask by the other node."""
        values, mask = frame.get(source)
        if not mask.any():
            return MaskedRaster(values, mask)
        test, test_mask = frame.get(by)
        return MaskedRaster(values, mask & test_mask & (test != 0))

    return Node(source.dtype, compute)
