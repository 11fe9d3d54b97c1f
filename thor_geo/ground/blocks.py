"""The blocks that some shards need, in the order in which their tiles need them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from thor_geo.ground.chips import Chip
from thor_geo.ground.fetch_units import met_blocks
from thor_geo.ground.lattice import Block, Lattice, Rect, blocks_meeting
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import BoolArray, Int32Array, Int64Array

# Blocks named at once by their tiles, before repetitions are dropped.
_AT_ONCE = 16_384
# Blocks remembered in order to name each once. Tiles that share a block are neighbours, at most a
# row of shards apart; in the widest zone that is 116 blocks of 576 pixels, times a shard's rows.
_REMEMBERED = 65_536

#: A block that is needed in all windows of a run, or in one.
NeededBlock: TypeAlias = Block | tuple[TemporalSpec, Block]


def blocks_of(tile: Rect, block_size: int) -> Iterator[Block]:
    """Yield the blocks that a tile's pixels are read from.

    These are the blocks of the lattice that it meets; of a chip that is fetched alone, its own.

    Args:
        tile: A tile or a chip, or any other rectangle.
        block_size: Side of a block of the lattice in pixels.
    """
    if isinstance(tile, Chip) and tile.alone:
        yield own_block(tile)
    else:
        yield from blocks_meeting(tile, block_size)


def own_block(rect: Rect) -> Block:
    """Return the block as which a square is fetched by itself.

    Args:
        rect: A chip, or what else is as wide as it is high.
    """
    return Block(
        epsg=rect.epsg,
        size=rect.width,
        resolution=rect.resolution,
        left=rect.left,
        top=rect.top,
        anchor=rect.anchor,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockOrder:
    """Blocks in order of first need; made by `from_shards`.

    It can be iterated any number of times, and travels to another process with the columns of its
    own tiles only. Only the last 65,536 blocks are remembered: one that is needed again after
    more than that many others comes a second time, which costs a look into the cache.

    Attributes:
        lattices: The plan's lattices.
        zone: Index into `lattices` of every tile, (n,) uint8.
        col: Lattice column of every tile, (n,) int32.
        row: Lattice row of every tile, (n,) int32.
        block_size: Side of a block in pixels.
    """

    lattices: tuple[Lattice, ...]
    zone: npt.NDArray[np.uint8]
    col: Int32Array
    row: Int32Array
    block_size: int

    @classmethod
    def from_shards(
        cls, plan: Plan, shard_indices: Sequence[int] | npt.NDArray[np.int64], block_size: int
    ) -> BlockOrder:
        """Return the order for some shards of a plan.

        Args:
            plan: The plan.
            shard_indices: Indices of its shards, in the order in which they are computed.
            block_size: Side of a block in pixels.
        """
        tiles = _tiles_of(plan, shard_indices)
        return cls(
            lattices=plan.lattices,
            zone=plan.zone[tiles],
            col=plan.col[tiles],
            row=plan.row[tiles],
            block_size=block_size,
        )

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks, each once among the last 65,536."""
        recent, size = _Recent(), self.block_size
        for key in self._needed():
            if recent.add(key):
                zone, row, col = key
                yield _block(self.lattices[zone], size, col * size, row * size)

    def _needed(self) -> Iterator[tuple[int, int, int]]:
        """Yield zone, row and column of every tile's blocks, as `blocks_meeting` orders them.

        Repetitions included: one entry for every tile and block that share a pixel.
        """
        size, step = self.lattices[0].tile_size, self.lattices[0].step
        for part in _parts(len(self.col), size, self.block_size):
            left, top = (column[part].astype(np.int64) * step for column in (self.col, self.row))
            tile, row, col = met_blocks(left, top, size, self.block_size)
            zone = self.zone[part][tile]
            yield from zip(zone.tolist(), row.tolist(), col.tolist(), strict=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceOrder:
    """What chips are fetched as, each block with its window, in order of first need.

    As `BlockOrder`, of which it differs in that blocks of a window are needed in that one only, and
    that some are single chips (see `fetch_units`). It travels with the windows of its own chips.

    Attributes:
        lattices: The plan's lattices.
        zone: Index into `lattices` of every chip, (n,) uint8.
        col: Lattice column of every chip, (n,) int32.
        row: Lattice row of every chip, (n,) int32.
        alone: Whether a chip is fetched as one block of its own, (n,) bool.
        window: Index into `windows` of every chip, (n,) int32.
        windows: Start and end of every window in UTC, (m, 2) datetime64[us].
        block_size: Side of a block of the lattice in pixels.
    """

    lattices: tuple[Lattice, ...]
    zone: npt.NDArray[np.uint8]
    col: Int32Array
    row: Int32Array
    alone: BoolArray
    window: Int32Array
    windows: npt.NDArray[np.datetime64]
    block_size: int

    @classmethod
    def from_shards(
        cls, plan: PlacePlan, shard_indices: Sequence[int] | npt.NDArray[np.int64], block_size: int
    ) -> PlaceOrder:
        """Return the order for some shards of a plan of places; see `BlockOrder.from_shards`."""
        tiles = _tiles_of(plan, shard_indices)
        used, window = np.unique(plan.window[tiles], return_inverse=True)
        spans = [plan.windows[index] for index in used.tolist()]
        # Numbers, because a million windows would take longer as objects than all else.
        naive = [[side.replace(tzinfo=None) for side in (span.start, span.end)] for span in spans]
        return cls(
            lattices=plan.lattices,
            zone=plan.zone[tiles],
            col=plan.col[tiles],
            row=plan.row[tiles],
            alone=plan.alone[tiles],
            window=window.astype(np.int32),
            windows=np.array(naive, dtype="datetime64[us]").reshape(-1, 2),
            block_size=block_size,
        )

    def __iter__(self) -> Iterator[tuple[TemporalSpec, Block]]:
        """Yield windows and blocks, each pair once among the last 65,536."""
        recent, last, span = _Recent(), -1, None
        for key in self._needed():
            if not recent.add(key):
                continue
            window, zone, size, left, top = key
            if window != last or span is None:
                start, end = self.windows[window].tolist()
                last, span = window, TemporalSpec(start=start, end=end)
            yield span, _block(self.lattices[zone], size, left, top)

    def _needed(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield window, zone, size, left and top of all blocks, chip by chip, as `blocks_of`."""
        size, step, block_size = self.lattices[0].tile_size, self.lattices[0].step, self.block_size
        for part in _parts(len(self.col), size, block_size):
            left, top = (column[part].astype(np.int64) * step for column in (self.col, self.row))
            own = np.flatnonzero(self.alone[part])
            chip, row, col = met_blocks(left, top, size, block_size)
            shared = ~self.alone[part][chip]
            chips = np.concatenate([chip[shared], own])
            order = np.argsort(chips, kind="stable")
            columns = (
                self.window[part][chips],
                self.zone[part][chips],
                np.where(np.arange(len(chips)) < shared.sum(), block_size, size),
                np.concatenate([col[shared] * block_size, left[own]]),
                np.concatenate([row[shared] * block_size, top[own]]),
            )
            yield from zip(*(column[order].tolist() for column in columns), strict=True)


def needed_blocks(
    plan: Plan, shard_indices: Sequence[int] | npt.NDArray[np.int64], block_size: int
) -> BlockOrder | PlaceOrder:
    """Return the blocks that some shards need, in order of first need; picklable.

    Args:
        plan: The plan, of an area or of places.
        shard_indices: Indices of its shards, in the order in which they are computed.
        block_size: Side of a block of the lattice in pixels.
    """
    if isinstance(plan, PlacePlan):
        return PlaceOrder.from_shards(plan, shard_indices, block_size)
    return BlockOrder.from_shards(plan, shard_indices, block_size)


class _Recent:
    """Keys that came lately: at least the last `_REMEMBERED`, at most twice as many."""

    def __init__(self) -> None:
        self._recent: set[Hashable] = set()
        self._older: set[Hashable] = set()

    def add(self, key: Hashable) -> bool:
        """Remember a key, and return whether it is new."""
        if key in self._recent:
            return False
        known = key in self._older
        self._recent.add(key)
        if len(self._recent) == _REMEMBERED:
            self._older, self._recent = self._recent, set()
        return not known


def _tiles_of(plan: Plan, shard_indices: Sequence[int] | npt.NDArray[np.int64]) -> Int64Array:
    """Return the index of every tile: each shard's run of indices, one after the other."""
    shards = np.asarray(shard_indices, dtype=np.int64)
    starts, stops = plan.shards.starts[shards], plan.shards.stops[shards]
    lengths = stops - starts
    before = np.cumsum(lengths) - lengths
    tiles: Int64Array = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
    return tiles


def _parts(count: int, size: int, block_size: int) -> Iterator[slice]:
    """Yield runs of tiles that meet no more than `_AT_ONCE` blocks."""
    tiles = max(1, _AT_ONCE // (-(-size // block_size) + 1) ** 2)
    for start in range(0, count, tiles):
        yield slice(start, start + tiles)


def _block(lattice: Lattice, size: int, left: int, top: int) -> Block:
    return Block(
        epsg=lattice.epsg,
        size=size,
        resolution=lattice.resolution,
        left=left,
        top=top,
        anchor=lattice.anchor,
    )
