from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from thor_geo.composites import _schedule
from thor_geo.composites._schedule import URGENT, BlockTask, Schedule
from thor_geo.ground.lattice import Block

At = Callable[[int], Block]


def key_of(block: Block) -> str:
    return f"{block.left // block.size}"


def keys(*numbers: int) -> list[str]:
    """Return the keys of the blocks that `block_at` makes; it begins at column 10."""
    return [str(10 + number) for number in numbers]


def key(number: int) -> str:
    return str(10 + number)


@pytest.fixture
def schedule(block_at: At) -> Schedule[Block]:
    # Block 1 is read twice, as overlapping tiles make it.
    return Schedule([block_at(k) for k in (0, 1, 1, 2, 3, 4)], key_of, ahead=2)


def endless(block_at: At) -> Iterator[Block]:
    """A plan of which only the beginning may ever be taken."""
    number = 0
    while True:
        yield block_at(number)
        number += 1


def take(schedule: Schedule[Block]) -> list[str]:
    """Return the keys of all that may be fetched now."""
    taken = []
    while (todo := schedule.next()) is not None:
        taken.append(todo.key)
    return taken


def test_blocks_come_in_the_plans_order_and_once(schedule: Schedule[Block]) -> None:
    schedule.seen(key(4))
    while schedule.look():
        pass
    assert sorted(take(schedule)) == keys(0, 1, 2, 3, 4)
    assert schedule.planned == 5


def test_what_a_reader_misses_goes_first_and_the_plan_in_its_order(
    schedule: Schedule[Block], block_at: At
) -> None:
    orders = [todo.order for todo in (schedule.next(), schedule.next()) if todo]
    schedule.request(key(4), block_at(4))
    urgent = schedule.next()
    assert urgent is not None
    assert urgent.key == key(4)
    assert urgent.order < orders[0] < orders[1]


def test_what_runs_or_is_missed_when_a_new_plan_comes_is_fetched_once(
    schedule: Schedule[Block], block_at: At
) -> None:
    early: Schedule[Block] = Schedule((), key_of, ahead=2)
    for number in (0, 1):
        early.request(key(number), block_at(number))
    assert take(early) == keys(0, 1)
    early.finished_with(key(1))
    early.request(key(2), block_at(2))
    schedule.take_over(early)
    schedule.seen(key(2))
    assert take(schedule) == keys(2, 3, 4)
    assert not schedule.finished
    for number in range(5):
        schedule.finished_with(key(number))
    assert schedule.finished


def test_fetching_stays_a_bounded_number_of_blocks_ahead(schedule: Schedule[Block]) -> None:
    assert take(schedule) == keys(0, 1)
    schedule.seen(key(0))
    assert take(schedule) == keys(2)
    schedule.seen(key(2))
    assert take(schedule) == keys(3, 4)


def test_without_a_bound_all_is_fetched_in_order_though_nobody_reads(block_at: At) -> None:
    schedule = Schedule((block_at(k) for k in range(50)), key_of, ahead=None)
    assert take(schedule) == keys(*range(50))


def test_a_plan_of_any_length_is_taken_only_as_far_as_it_is_needed(block_at: At) -> None:
    schedule = Schedule(endless(block_at), key_of, ahead=5)
    taken = take(schedule)
    for number in range(3000):
        schedule.seen(key(number))
        taken += take(schedule)
        for done in taken[-1:]:
            schedule.finished_with(done)
    assert taken == keys(*range(3005))
    assert schedule.planned <= 3006
    assert len(schedule._position) <= _schedule.REMEMBERED + 10


def test_fetching_follows_readers_that_fly_ahead_through_the_cache(block_at: At) -> None:
    schedule = Schedule(endless(block_at), key_of, ahead=2)
    assert take(schedule) == keys(0, 1)
    schedule.seen(key(5000))
    looks = 0
    while schedule.look():
        looks += 1
    # Other work went on in between.
    assert looks >= 2
    # First what the readers come to next; what they passed over is not lost.
    assert take(schedule)[:3] == keys(5000, 5001, 5002)
    schedule = Schedule((block_at(k) for k in range(6)), key_of, ahead=1)
    schedule.seen(key(4))
    schedule.look()
    assert take(schedule) == keys(4, 5, 0, 1, 2, 3)


def test_a_block_outside_the_plan_is_not_looked_for_without_end(
    block_at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_schedule, "SEARCH", 5000)
    schedule = Schedule(endless(block_at), key_of, ahead=1)
    schedule.seen("unplanned")
    for _ in range(10):
        schedule.look()
    assert schedule.planned <= 5000 + _schedule.SEARCH_STEP
    assert take(schedule) == keys(0)


def test_what_a_reader_misses_comes_first(schedule: Schedule[Block], block_at: At) -> None:
    schedule.request(key(3), block_at(3))
    schedule.request("unplanned", block_at(7))
    assert schedule.next() == BlockTask(key(3), block_at(3), URGENT)
    assert schedule.next() == BlockTask("unplanned", block_at(7), URGENT)
    while schedule.look():
        pass
    # And is not fetched again when the plan comes to it.
    assert sorted(take(schedule)) == keys(0, 1, 2, 4)


def test_asking_twice_fetches_once_but_a_done_block_again(
    schedule: Schedule[Block], block_at: At
) -> None:
    schedule.request(key(0), block_at(0))
    schedule.request(key(0), block_at(0))
    first = take(schedule)
    assert first == keys(0, 1, 2)
    schedule.request(key(0), block_at(0))
    assert take(schedule) == []
    schedule.finished_with(key(0))
    # Its file was damaged since.
    schedule.request(key(0), block_at(0))
    assert take(schedule) == keys(0)


def test_it_is_finished_only_when_nothing_waits_or_runs(block_at: At) -> None:
    schedule = Schedule([block_at(0), block_at(1)], key_of, ahead=None)
    assert not schedule.finished
    assert take(schedule) == keys(0, 1)
    assert not schedule.finished
    for number in (0, 1):
        schedule.finished_with(key(number))
    assert schedule.finished
    schedule.request("unplanned", block_at(7))
    assert not schedule.finished
    assert take(schedule) == ["unplanned"]
    assert not schedule.finished
    schedule.finished_with("unplanned")
    assert schedule.finished


@pytest.mark.parametrize("checked", [True, False])
def test_what_a_reader_misses_while_it_is_only_looked_up_is_fetched_after_all(
    schedule: Schedule[Block], block_at: At, checked: bool
) -> None:
    assert schedule.next() == BlockTask(key(0), block_at(0), 0)
    schedule.request(key(0), block_at(0))
    assert schedule.next() == BlockTask(key(1), block_at(1), 1)  # it runs already
    schedule.finished_with(key(0), checked=checked)
    again = schedule.next()
    assert again is not None
    assert again == (
        BlockTask(key(2), block_at(2), 2) if checked else BlockTask(key(0), block_at(0), URGENT)
    )


def test_small_blocks_count_for_less_in_how_far_fetching_is_ahead(block_at: At) -> None:
    plan = [block_at(k) for k in range(40)]
    schedule = Schedule(plan, key_of, 2, lambda block: 0.25)
    assert take(schedule) == keys(*range(5)), "up to one whole block from where nobody is yet"
    schedule.seen(key(3))
    assert take(schedule) == keys(*range(5, 12)), "two whole blocks from three quarters of one"
