from __future__ import annotations

import numpy as np
import pytest

from thor_geo.sources.earthengine._split import (
    MAX_BYTES,
    REGROW_AFTER,
    BlockWindow,
    SizeMemory,
    may_quarter,
    request_bytes,
)


def square(side: int) -> BlockWindow:
    return BlockWindow(row=0, col=0, height=side, width=side)


def test_the_size_counts_a_mask_byte_per_value() -> None:
    # The largest squares that the service took, by Xee's and others' experience.
    assert request_bytes(1182, 1182, 12, 2) <= MAX_BYTES < request_bytes(1183, 1183, 12, 2)
    assert request_bytes(682, 682, 12, 8) <= MAX_BYTES < request_bytes(683, 683, 12, 8)


@pytest.mark.parametrize(("height", "width"), [(576, 576), (65, 64), (7, 3), (1, 5)])
def test_quarters_cover_a_window_once(height: int, width: int) -> None:
    window = BlockWindow(row=11, col=13, height=height, width=width)
    count = np.zeros((11 + height, 13 + width), int)
    for quarter in window.quarters():
        count[quarter.slices] += 1
    assert count[11:, 13:].min() == count[11:, 13:].max() == 1
    assert count.sum() == height * width


def test_quartering_ends_at_64_pixels() -> None:
    assert may_quarter(square(128))
    assert not may_quarter(square(127))
    assert not may_quarter(square(64))


def test_what_was_refused_is_not_asked_for_again_by_the_neighbours() -> None:
    memory = SizeMemory()
    assert memory.allows(square(4096))
    memory.refused(square(576))
    assert memory.side == 288
    assert not memory.allows(square(289))
    assert memory.allows(square(288))
    # A late answer about a larger size teaches nothing new.
    memory.refused(square(576))
    assert memory.side == 288


def test_one_hard_block_does_not_slow_the_run_down_for_ever() -> None:
    memory = SizeMemory()
    memory.refused(square(576))
    for _ in range(REGROW_AFTER - 1):
        memory.answered()
    assert memory.side == 288
    memory.answered()
    assert memory.side == 576
