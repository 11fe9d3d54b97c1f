"""What chips are fetched as: each as one block of its own, or as blocks that they share.

Scattered chips cost least when each is fetched alone: a block of 576 px has four times the pixels
of a chip of 288 px, and a chip meets up to four of them. Dense chips cost least as blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thor_geo.support.arrays import BoolArray, Int64Array


def alone_chips(
    *, group: Int64Array, left: Int64Array, top: Int64Array, size: int, block_size: int
) -> BoolArray:
    """Return which chips are fetched as one block of their own.

    Equal chips of a group are fetched once, either way. Chips start out as parts of the blocks that
    they meet. A block that is met by fewer pixels of chips than it has itself is given up, and its
    chips are alone; that may leave other blocks with too few. Of what is left, chips that are
    linked by blocks stay with these unless they are fewer pixels alone. So the pixels are at most
    those of all different chips, and at most those of all blocks that chips meet.

    Args:
        group: Chips of one group, of a zone and a time window, may share blocks; (n,).
        left: Column of the left edge in pixels from the anchor, (n,).
        top: Row of the upper edge in pixels north of the anchor, (n,).
        size: Side of a chip in pixels.
        block_size: Side of a block in pixels.

    Returns:
        (n,), the same for equal chips.
    """
    if not len(left):
        return np.zeros(0, np.bool_)
    chip = _numbered(group, top, left)
    first = np.unique(chip, return_index=True)[1]
    links = _Links.between(group[first], left[first], top[first], size=size, block_size=block_size)
    alone = _peeled(links, least=-(-(block_size**2) // size**2))
    _take_cheaper(links, alone, chip_px=size**2, block_px=block_size**2)
    return alone[chip]


@dataclass(frozen=True, kw_only=True)
class _Links:
    """Which chips meet which blocks, from both sides.

    The blocks of chip ``c`` are ``blocks[first_block[c] : first_block[c + 1]]``, and the chips of a
    block likewise.
    """

    first_block: Int64Array
    blocks: Int64Array
    first_chip: Int64Array
    chips: Int64Array

    @classmethod
    def between(
        cls, group: Int64Array, left: Int64Array, top: Int64Array, *, size: int, block_size: int
    ) -> _Links:
        """Link different chips with the blocks of the lattice that they meet."""
        chip, row, col = met_blocks(left, top, size, block_size)
        block = _numbered(group[chip], row, col)
        return cls(
            first_block=_offsets(chip, len(left)),
            blocks=block,
            first_chip=_offsets(block, int(block.max()) + 1),
            chips=chip[np.argsort(block, kind="stable")],
        )

    def blocks_of(self, chips: Int64Array) -> Int64Array:
        """Return the blocks of some chips, one entry for each link."""
        return self.blocks[_runs(self.first_block, chips)]

    def chips_of(self, blocks: Int64Array) -> Int64Array:
        """Return the chips of some blocks, one entry for each link."""
        return self.chips[_runs(self.first_chip, blocks)]


def met_blocks(
    left: Int64Array, top: Int64Array, size: int, block_size: int
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the blocks of the lattice that squares meet, as `lattice.blocks_meeting` orders them.

    Args:
        left: Left edges in pixels, (n,).
        top: Upper edges in pixels, (n,).
        size: Side of the squares in pixels.
        block_size: Side of a block in pixels.

    Returns:
        For every square and block that share a pixel: the square's index, ascending, and the
        block's row and column on its lattice.
    """
    across = -(-size // block_size) + 1  # blocks that a square meets in a row, at most
    down, right = (steps.ravel() for steps in np.indices((across, across)))
    left, top = left[:, None].astype(np.int64), top[:, None].astype(np.int64)
    col, row = left // block_size + right, -(-top // block_size) - down
    meets = (col * block_size < left + size) & (row * block_size > top - size)
    return np.nonzero(meets)[0], row[meets], col[meets]


def _peeled(links: _Links, least: int) -> BoolArray:
    """Return the chips that are alone because each block they meet has too few others.

    Args:
        links: Which chips meet which blocks.
        least: Chips of which a block has no more pixels.
    """
    alone = np.zeros(len(links.first_block) - 1, np.bool_)
    left = np.diff(links.first_chip)
    given_up = left < least
    latest = np.flatnonzero(given_up)
    # Each link is looked at once from either side, however long the chain.
    while len(latest):
        chips = np.unique(links.chips_of(latest))
        chips = chips[~alone[chips]]
        alone[chips] = True
        touched = links.blocks_of(chips)
        np.subtract.at(left, touched, 1)
        latest = np.unique(touched)
        latest = latest[(left[latest] < least) & ~given_up[latest]]
        given_up[latest] = True
    return alone


def _take_cheaper(links: _Links, alone: BoolArray, *, chip_px: int, block_px: int) -> None:
    """Mark the chips alone whose blocks together have more pixels than they themselves.

    Args:
        links: Which chips meet which blocks.
        alone: Chips that are alone already; changed in place.
        chip_px: Pixels of a chip.
        block_px: Pixels of a block.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    chips = np.flatnonzero(~alone)
    if not len(chips):
        return
    counts = np.diff(links.first_block)[chips]
    block = links.blocks_of(chips)
    chip = np.repeat(np.arange(len(chips)), counts)
    nodes = len(chips) + len(links.first_chip) - 1
    ones = np.ones(len(block), np.bool_)
    graph = coo_array((ones, (chip, len(chips) + block)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1]
    # Blocks that no such chip meets are components without chips.
    chips_in = np.bincount(component[: len(chips)], minlength=nodes)
    blocks_in = np.bincount(component[len(chips) :], minlength=nodes)
    cheaper = chips_in * chip_px < blocks_in * block_px
    alone[chips] = cheaper[component[: len(chips)]]


def _numbered(*columns: Int64Array) -> Int64Array:
    """Return a number from 0 for each row; rows have the same if they are equal in all columns."""
    number, count = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        span = int(np.ptp(column)) + 1
        if count * span >= 2**62:
            number = np.unique(number, return_inverse=True)[1].astype(np.int64)
            count = len(number)
        number = number * span + (column - column.min())
        count *= span
    return np.unique(number, return_inverse=True)[1].astype(np.int64)


def _offsets(owners: Int64Array, count: int) -> Int64Array:
    """Return where each owner's links begin, and after the last where they end."""
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(np.int64)


def _runs(offsets: Int64Array, chosen: Int64Array) -> Int64Array:
    """Return the positions of the links of some owners, one run after the other."""
    starts = offsets[chosen]
    lengths = offsets[chosen + 1] - starts
    before = np.cumsum(lengths) - lengths
    positions: Int64Array = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
    return positions
