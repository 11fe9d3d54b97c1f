"""One budget of concurrent requests, which shrinks when the service says so."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from thor_geo.errors import ConfigError

#: A burst of refusals to requests that were in flight together counts once within this time.
HOLD_S = 5.0


#: Requests made ready while all slots are taken, as a share of the slots.
SPARE = 1 / 4


class Limiter:
    """Slots for requests in flight, whose number halves on refusals and grows back slowly.

    A place comes first, then a slot: places are for making a request ready, and there are a few
    more of them, so that the next request is ready when a slot becomes free. A long wait is for a
    place, where nothing is ready yet that could grow old, such as a login token.

    The waiting thread with the lowest order is served first; among equals, the first to come.

    Additive increase, multiplicative decrease: after a cut, one slot comes back for every
    `recovery` rounds of answered requests, up to the limit it began with.
    """

    def __init__(
        self,
        limit: int,
        *,
        hold_s: float = HOLD_S,
        recovery: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Initialize a new Limiter instance.

        Args:
            limit: Largest number of requests in flight.
            hold_s: Seconds within which further refusals belong to the same burst.
            recovery: Answered requests per present slot before one slot is added.
            clock: Source of the time, seconds.

        Raises:
            ConfigError: If *limit* is less than one.
        """
        if limit < 1:
            raise ConfigError("concurrency", limit, "less than one request", "Give 1 or more.")
        self.largest = limit
        self._limit = limit
        self._hold_s = hold_s
        self._recovery = recovery
        self._clock = clock
        self._answered = 0
        self._cut_at: float | None = None
        self._lock = threading.Lock()
        self._places = _Gate(self._lock, lambda: self._limit + max(2, int(SPARE * self._limit)))
        self._slots = _Gate(self._lock, lambda: self._limit)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit

    @property
    def waiting(self) -> int:
        """Threads that wait for a place or a slot."""
        return self._places.waiting + self._slots.waiting

    def place(self, order: int = 0) -> AbstractContextManager[None]:
        """Hold a place; wait until one is free, and nobody waits who goes first.

        Args:
            order: Who goes first: the lowest of those who wait.
        """
        return self._places.held(order)

    def slot(self, order: int = 0) -> AbstractContextManager[None]:
        """Hold a slot; wait until one is free and no waiting thread comes first.

        Args:
            order: Who goes first: the lowest of those who wait.
        """
        return self._slots.held(order)

    def slow_down(self, *, another: bool = False) -> None:
        """Halve the number of slots, once per burst.

        Args:
            another: For another reason than the last time: whenever that was.
        """
        with self._lock:
            now = self._clock()
            if another or self._cut_at is None or now - self._cut_at >= self._hold_s:
                self._limit = max(1, self._limit // 2)
                self._cut_at = now
            self._answered = 0

    def answered(self) -> None:
        """Count an answered request; after enough of them, add a slot."""
        with self._lock:
            if self._limit == self.largest:
                return
            self._answered += 1
            if self._answered >= self._recovery * self._limit:
                self._limit += 1
                self._answered = 0
                self._places.admit()
                self._slots.admit()


class _Gate:
    """Lets as many threads in at once as there is room for, the lowest order first."""

    def __init__(self, lock: threading.Lock, room: Callable[[], int]) -> None:
        self._lock = lock
        self._room = room
        self._inside = 0
        self._arrivals = 0
        self._waiting: list[tuple[int, int, threading.Event]] = []

    @property
    def waiting(self) -> int:
        """Threads that wait."""
        return len(self._waiting)

    @contextmanager
    def held(self, order: int) -> Iterator[None]:
        """Enter; wait until there is room."""
        self._enter(order)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self.admit()

    def _enter(self, order: int) -> None:
        turn = threading.Event()
        with self._lock:
            self._arrivals += 1
            place = (order, self._arrivals, turn)
            heapq.heappush(self._waiting, place)
            self.admit()
        try:
            turn.wait()
        except BaseException:  # Ctrl-C: nobody would leave again
            with self._lock:
                if turn.is_set():
                    self._inside -= 1
                else:
                    self._waiting.remove(place)
                    heapq.heapify(self._waiting)
                self.admit()
            raise

    def admit(self) -> None:
        """Admit waiting threads while there is room; called with the lock held."""
        while self._waiting and self._inside < self._room():
            self._inside += 1
            heapq.heappop(self._waiting)[-1].set()
