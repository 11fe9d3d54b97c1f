"""The blocks that some shards need, in the order in which their tiles need them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Block, Lattice
from thor_geo.ground.plan import Plan
from thor_geo.support.arrays import Int32Array

# Blocks named at once by their tiles, before repetitions are dropped.
_AT_ONCE = 16_384
# Blocks remembered in order to name each once. Tiles that share a block are neighbours, at most a
# row of shards apart; in the widest zone that is 116 blocks of 576 pixels, times a shard's rows.
_REMEMBERED = 65_536


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
        shards = np.asarray(shard_indices, dtype=np.int64)
        starts, stops = plan.shards.starts[shards], plan.shards.stops[shards]
        lengths = stops - starts
        # Index of every tile: each shard's run of indices, one after the other.
        before = np.cumsum(lengths) - lengths
        tiles = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        return cls(
            lattices=plan.lattices,
            zone=plan.zone[tiles],
            col=plan.col[tiles],
            row=plan.row[tiles],
            block_size=block_size,
        )

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks, each once among the last 65,536."""
        recent: set[tuple[int, int, int]] = set()
        older: set[tuple[int, int, int]] = set()
        for key in self._needed():
            if key in recent:
                continue
            known = key in older
            recent.add(key)
            if len(recent) == _REMEMBERED:
                older, recent = recent, set()
            if not known:
                zone, row, col = key
                lattice = self.lattices[zone]
                yield Block(
                    epsg=lattice.epsg,
                    size=self.block_size,
                    resolution=lattice.resolution,
                    left=col * self.block_size,
                    top=row * self.block_size,
                    anchor=lattice.anchor,
                )

    def _needed(self) -> Iterator[tuple[int, int, int]]:
        """Yield zone, row and column of every tile's blocks, as `grid.blocks_meeting` orders them.

        Repetitions included: one entry for every tile and block that share a pixel.
        """
        size, step, block = self.lattices[0].tile_size, self.lattices[0].step, self.block_size
        across = -(-size // block) + 1  # blocks that a tile meets in a row, at most
        down, right = (a.ravel() for a in np.indices((across, across)))
        tiles = max(1, _AT_ONCE // across**2)
        for start in range(0, len(self.col), tiles):
            part = slice(start, start + tiles)
            left, top = (
                (self.col[part, None] * np.int64(step)),
                self.row[part, None] * np.int64(step),
            )
            col, row = left // block + right, -(-top // block) - down
            meets = (col * block < left + size) & (row * block > top - size)
            tile = np.nonzero(meets)[0]
            yield from zip(
                self.zone[part][tile].tolist(),
                row[meets].tolist(),
                col[meets].tolist(),
                strict=True,
            )
