from __future__ import annotations

from collections.abc import Callable

import pytest

from thor_geo.composites._schedule import Schedule
from thor_geo.grid import Block


@pytest.fixture
def schedule(block_at: Callable[[int], Block]) -> Schedule:
    # Block 1 is read twice, as overlapping tiles make it.
    return Schedule([block_at(k) for k in (0, 1, 1, 2, 3, 4)], list("abbcde"), ahead=2)


def take(schedule: Schedule) -> str:
    """Return the keys of all that may be fetched now."""
    keys = ""
    while (todo := schedule.next()) is not None:
        keys += todo[0]
    return keys


def test_blocks_come_in_the_plans_order_and_once(schedule: Schedule) -> None:
    assert schedule.planned == 5
    schedule.seen("e")
    assert take(schedule) == "abcde"


def test_fetching_stays_a_bounded_number_of_blocks_ahead(schedule: Schedule) -> None:
    assert take(schedule) == "ab"
    schedule.seen("a")
    assert take(schedule) == ""
    schedule.seen("b")
    assert take(schedule) == "c"
    schedule.seen("c")
    assert take(schedule) == "de"


def test_what_a_reader_misses_comes_first(
    schedule: Schedule, block_at: Callable[[int], Block]
) -> None:
    schedule.request("d", block_at(3))
    schedule.request("unplanned", block_at(7))
    assert schedule.next() == ("d", block_at(3))
    assert schedule.next() == ("unplanned", block_at(7))
    # And is not fetched again when the plan comes to it.
    assert take(schedule) == "abce"


def test_asking_twice_fetches_once_but_a_done_block_again(
    schedule: Schedule, block_at: Callable[[int], Block]
) -> None:
    schedule.request("a", block_at(0))
    schedule.request("a", block_at(0))
    assert take(schedule) == "ab"
    schedule.request("a", block_at(0))
    assert take(schedule) == ""
    schedule.finished("a")
    # Its file was damaged since.
    schedule.request("a", block_at(0))
    assert take(schedule) == "a"
