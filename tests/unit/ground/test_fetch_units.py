from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thor_geo.ground.fetch_units import alone_chips, met_blocks
from thor_geo.ground.lattice import Rect, blocks_meeting
from thor_geo.support.arrays import BoolArray

Corner = tuple[int, int, int]  # group, left, top
CHIP, BLOCK = 288, 576


def alone(corners: list[Corner], size: int = CHIP, block_size: int = BLOCK) -> BoolArray:
    columns = np.array(corners, dtype=np.int64).reshape(-1, 3).T
    return alone_chips(
        group=columns[0], left=columns[1], top=columns[2], size=size, block_size=block_size
    )


def met(corner: Corner, size: int, block_size: int) -> set[tuple[int, int, int]]:
    """Return the blocks that a chip meets, by the lattice's own definition."""
    group, left, top = corner
    rect = Rect(epsg=32632, resolution=10, left=left, top=top, width=size, height=size)
    return {(group, block.top, block.left) for block in blocks_meeting(rect, block_size)}


def pixels(
    corners: list[Corner], chosen: list[bool], size: int = CHIP, block_size: int = BLOCK
) -> int:
    """Return the pixels that are fetched, each chip and each block once."""
    pairs = list(zip(corners, chosen, strict=True))
    chips = {corner for corner, is_alone in pairs if is_alone}
    shared = (met(corner, size, block_size) for corner, is_alone in pairs if not is_alone)
    return len(chips) * size**2 + len(set().union(*shared)) * block_size**2


corner = st.tuples(st.integers(0, 1), st.integers(-1500, 1500), st.integers(-1500, 1500))
# Sparse, dense and in between: the same table in squares of different sides.
table = st.tuples(st.integers(1, 8), st.lists(corner, min_size=1, max_size=60)).map(
    lambda drawn: [(group, left // drawn[0], top // drawn[0]) for group, left, top in drawn[1]]
)


@settings(max_examples=200, deadline=None)
@given(table, st.sampled_from([(288, 576), (288, 288), (100, 576), (500, 300), (128, 300)]))
def test_no_table_costs_more_than_all_its_chips_or_all_its_blocks(
    corners: list[Corner], sizes: tuple[int, int]
) -> None:
    chosen = alone(corners, *sizes).tolist()
    cost = pixels(corners, chosen, *sizes)
    assert cost <= pixels(corners, [True] * len(corners), *sizes)
    assert cost <= pixels(corners, [False] * len(corners), *sizes)


@settings(max_examples=50, deadline=None)
@given(table)
def test_neither_the_order_nor_another_group_changes_what_a_chip_is_fetched_as(
    corners: list[Corner],
) -> None:
    chosen = dict(zip(corners, alone(corners).tolist(), strict=True))
    # Equal chips of a group are one and the same block.
    assert [chosen[corner] for corner in corners] == alone(corners).tolist()
    shuffled = sorted(corners, key=lambda corner: (corner[2], corner[1], corner[0]))
    assert alone(shuffled).tolist() == [chosen[corner] for corner in shuffled]
    for group in {corner[0] for corner in corners}:
        mine = [corner for corner in corners if corner[0] == group]
        assert alone(mine).tolist() == [chosen[corner] for corner in mine]


def test_scattered_places_are_fetched_one_by_one() -> None:
    corners = [(0, 5000 * k, 3000 * k) for k in range(100)]
    assert alone(corners).all()


def test_places_denser_than_four_to_a_block_share_blocks() -> None:
    corners = [(0, left, top) for left, top in itertools.product(range(0, 288, 96), repeat=2)]
    assert not alone([(group, left, 576 - top) for group, left, top in corners]).any()


def test_four_chips_that_fill_a_block_are_fetched_in_one_request() -> None:
    assert not alone([(0, 0, 576), (0, 288, 576), (0, 0, 288), (0, 288, 288)]).any()


def test_the_same_chip_many_times_does_not_make_a_block_worth_it() -> None:
    assert alone([(0, 100, 500)] * 50).all()


def test_chips_of_other_windows_do_not_make_a_block_worth_it() -> None:
    assert alone([(window, 96 * window, 500) for window in range(4)]).all()


def test_a_stray_chip_near_a_dense_field_is_fetched_alone() -> None:
    field = [(0, left, 576 - top) for left, top in itertools.product(range(0, 288, 48), repeat=2)]
    chosen = alone([*field, (0, 600, 500)])
    assert not chosen[:-1].any()
    assert chosen[-1]


def test_an_empty_table_is_nothing() -> None:
    assert len(alone([])) == 0


@pytest.mark.parametrize("size", [100, 288, 576, 700])
def test_blocks_come_in_the_order_of_the_lattice(size: int) -> None:
    rng = np.random.default_rng(0)
    left, top = rng.integers(-5000, 5000, (2, 50))
    found = [
        (k, row * BLOCK, col * BLOCK) for k, row, col in zip(*_lists(left, top, size), strict=True)
    ]
    assert found == [
        (k, block.top, block.left)
        for k in range(50)
        for block in blocks_meeting(
            Rect(
                epsg=32632,
                resolution=10,
                left=int(left[k]),
                top=int(top[k]),
                width=size,
                height=size,
            ),
            BLOCK,
        )
    ]


def _lists(left: np.ndarray, top: np.ndarray, size: int) -> list[list[int]]:
    return [column.tolist() for column in met_blocks(left, top, size, BLOCK)]


@pytest.mark.parametrize("windows", [1, 600_000])
def test_a_million_chips_take_seconds(windows: int) -> None:
    rng = np.random.default_rng(0)
    count = 1_000_000
    # Where one chip more or less makes a block worth it.
    left, top = 2 * rng.integers(0, 60_000, (2, count))
    began = time.process_time()
    chosen = alone_chips(
        group=rng.integers(0, windows, count), left=left, top=top, size=CHIP, block_size=BLOCK
    )
    assert time.process_time() - began < 20
    assert len(chosen) == count


def test_a_long_chain_of_chips_unravels_in_seconds() -> None:
    # Each block depends on the next one: chips 215 px apart in a row through all blocks.
    count = 300_000
    left = 215 * np.arange(count)
    began = time.process_time()
    chosen = alone_chips(
        group=left // 2_000_000,
        left=left % 2_000_000,
        top=np.full(count, 100),
        size=CHIP,
        block_size=BLOCK,
    )
    assert time.process_time() - began < 20
    assert chosen.all()
