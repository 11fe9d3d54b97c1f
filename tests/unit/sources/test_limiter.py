from __future__ import annotations

import threading
import time

import pytest

from thor_geo.errors import ConfigError
from thor_geo.sources.limiter import Limiter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_no_more_requests_are_in_flight_than_there_are_slots() -> None:
    limiter, lock = Limiter(3), threading.Lock()
    running = most = 0

    def request() -> None:
        nonlocal running, most
        with limiter.slot():
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.005)
            with lock:
                running -= 1

    threads = [threading.Thread(target=request) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3


@pytest.mark.parametrize(
    ("orders", "served"),
    [([0, 0, 0, 0], [0, 1, 2, 3]), ([2, 1, 3, 1], [1, 3, 0, 2])],
    ids=["equals by arrival", "lowest first"],
)
def test_who_waits_is_served_in_order(orders: list[int], served: list[int]) -> None:
    limiter, got = Limiter(1), []

    def request(number: int) -> None:
        with limiter.slot(orders[number]):
            got.append(number)

    threads = []
    with limiter.slot():
        for number in range(len(orders)):
            threads.append(threading.Thread(target=request, args=(number,)))
            threads[-1].start()
            while limiter.waiting <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert got == served


def test_who_is_interrupted_while_waiting_leaves_no_slot_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    limiter = Limiter(1)
    with limiter.slot():
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Event", Interrupted)
            second = limiter.slot()
            with pytest.raises(KeyboardInterrupt):
                second.__enter__()
        assert limiter.waiting == 0
    with limiter.slot():
        pass


def test_a_burst_of_refusals_halves_the_budget_once() -> None:
    clock = Clock()
    limiter = Limiter(40, hold_s=5, clock=clock)
    for _ in range(40):
        limiter.slow_down()
    assert limiter.limit == 20
    clock.now = 5.0
    limiter.slow_down()
    assert limiter.limit == 10


def test_the_budget_never_falls_below_one_request() -> None:
    clock = Clock()
    limiter = Limiter(4, hold_s=1, clock=clock)
    for _ in range(5):
        clock.now += 1
        limiter.slow_down()
    assert limiter.limit == 1


def test_the_budget_recovers_slowly_and_only_to_where_it_was() -> None:
    limiter = Limiter(8, recovery=4)
    limiter.slow_down()
    for _ in range(4 * 4 - 1):
        limiter.answered()
    assert limiter.limit == 4
    limiter.answered()
    assert limiter.limit == 5
    for _ in range(1000):
        limiter.answered()
    assert limiter.limit == 8


def test_a_smaller_budget_holds_back_requests_that_come_after_the_cut() -> None:
    limiter = Limiter(2)
    limiter.slow_down()
    entered = threading.Event()

    def request() -> None:
        with limiter.slot():
            entered.set()

    with limiter.slot():
        thread = threading.Thread(target=request)
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()


def test_no_slot_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="concurrency"):
        Limiter(0)


def test_few_requests_are_made_ready_while_all_slots_are_taken() -> None:
    limiter, ready, release = Limiter(8), [], threading.Event()

    def request() -> None:
        with limiter.place():
            ready.append(1)
            with limiter.slot():
                release.wait(20)

    threads = [threading.Thread(target=request) for _ in range(30)]
    for thread in threads:
        thread.start()
    while limiter.waiting < 30 - 8:
        time.sleep(0.001)
    assert len(ready) == 8 + 2
    release.set()
    for thread in threads:
        thread.join()
    assert len(ready) == 30
