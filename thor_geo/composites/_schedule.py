"""In which order blocks are fetched: what readers miss first, then the plan, not too far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Generic, NamedTuple, TypeVar

#: What is to be fetched: a block, or a block of one of several sensors.
T = TypeVar("T")

#: Most blocks taken from the plan to find one that a reader has come to.
SEARCH = 100_000

#: Blocks searched at a time; the search goes on between other work.
SEARCH_STEP = 2_000

#: Blocks behind the readers whose keys are remembered.
REMEMBERED = 4_096


#: The order of what a reader misses: before everything else.
URGENT = -1


class BlockTask(NamedTuple, Generic[T]):
    """A block to fetch.

    Attributes:
        key: Its query key.
        block: The block, as the plan names it.
        order: Which request goes first where several wait: the lowest. `URGENT`, or how many blocks
            of the plan were begun before.
    """

    key: str
    block: T
    order: int


class Schedule(Generic[T]):
    """The plan, the readers' requests, and how far ahead of the readers to go.

    The plan is taken block by block, as far as it is needed, so that its length costs no memory.
    Used by one thread.
    """

    def __init__(
        self,
        blocks: Iterable[T],
        key_of: Callable[[T], str],
        ahead: int | None,
        share_of: Callable[[T], float] = lambda _: 1,
    ) -> None:
        """Initialize a new Schedule instance.

        Args:
            blocks: The blocks in the order in which they will be read; repetitions do not matter.
            key_of: Gives a block's query key.
            ahead: Blocks to fetch beyond the furthest one that a reader asked for; None for all.
            share_of: As how much of one of these blocks a block counts, where sizes differ.
        """
        self._plan = iter(blocks)
        self._key_of = key_of
        self._share_of = share_of
        self._ahead = ahead
        self._exhausted = False
        self._taken = 0
        # Position in the plan by key: of what waits or runs, and of what was begun last. It is
        # what was taken before, counted in shares.
        self._next_position: float = 0
        self._position: dict[str, float] = {}
        self._begun: dict[str, None] = {}
        self._waiting: deque[tuple[float, str, T]] = deque()
        # What readers have passed before it was begun: they flew over cached blocks.
        self._passed: deque[tuple[str, T]] = deque()
        self._furthest: float = -1
        self._sought: dict[str, int] = {}
        self._urgent: dict[str, T] = {}
        self._active: set[str] = set()
        # What readers miss although it runs: it may be no more than a look whether it is there.
        self._missed: dict[str, T] = {}
        self._orders = count()
        # Done because a reader missed them, before the plan came to them.
        self._done_early: dict[str, None] = {}

    @property
    def planned(self) -> int:
        """Number of different blocks taken from the plan so far."""
        return self._taken

    @property
    def finished(self) -> bool:
        """Whether the plan has been taken to its end, and nothing waits or runs."""
        idle = not (self._urgent or self._waiting or self._passed or self._active)
        return self._exhausted and idle

    def seen(self, key: str) -> None:
        """Note that a reader has come to a block, wherever in the plan that is.

        A block that was not taken yet is looked for ahead; `look` does it.
        """
        position = self._position.get(key)
        if position is not None:
            self._reach(position)
        elif not self._exhausted and key not in self._done_early:
            self._sought.setdefault(key, self._taken + SEARCH)

    def look(self) -> bool:
        """Take some blocks from the plan if a reader is at one that was not taken yet.

        Returns:
            Whether there is more to look through.
        """
        if not self._sought:
            return False
        for _ in range(SEARCH_STEP):
            if len(self._waiting) + len(self._passed) >= SEARCH or not self._take():
                break
        self._sought = {
            key: limit
            for key, limit in self._sought.items()
            if key not in self._position and limit > self._taken and not self._exhausted
        }
        return bool(self._sought) and len(self._waiting) + len(self._passed) < SEARCH

    def request(self, key: str, block: T) -> None:
        """Move a block that a reader misses to the front, even if it was done before."""
        self.seen(key)
        (self._missed if key in self._active else self._urgent).setdefault(key, block)

    def next(self) -> BlockTask[T] | None:
        """Return the next block to fetch, None while there is nothing to do."""
        if self._urgent:
            key = next(iter(self._urgent))
            block = self._urgent.pop(key)
            if key not in self._begun:
                _remember(key, self._done_early)
            self._active.add(key)
            return BlockTask(key, block, URGENT)
        planned = self._next_waiting() or self._next_passed()
        if planned is None:
            return None
        return BlockTask(*planned, next(self._orders))

    def _next_waiting(self) -> tuple[str, T] | None:
        while self._waiting or self._take():
            position, key, block = self._waiting[0]
            if self._ahead is not None and position > self._furthest + self._ahead:
                return None
            self._waiting.popleft()
            if self._begin(key):
                return key, block
        return None

    def _next_passed(self) -> tuple[str, T] | None:
        while self._passed:
            key, block = self._passed.popleft()
            if self._begin(key):
                return key, block
        return None

    def _begin(self, key: str) -> bool:
        """Return whether a block of the plan is still to be done, and count it as begun."""
        forgotten = _remember(key, self._begun)
        if forgotten is not None:
            del self._position[forgotten]
        early = key in self._done_early
        self._done_early.pop(key, None)
        if early or key in self._active:
            return False
        self._urgent.pop(key, None)
        self._active.add(key)
        return True

    def _take(self) -> bool:
        """Take one more different block from the plan, if there is one."""
        for block in self._plan:
            key = self._key_of(block)
            if key in self._position:
                continue
            position = self._position[key] = self._next_position
            self._next_position += self._share_of(block)
            self._taken += 1
            self._waiting.append((position, key, block))
            if key in self._sought:
                self._reach(position)
            return True
        self._exhausted = True
        return False

    def _reach(self, position: float) -> None:
        self._furthest = max(self._furthest, position)
        while self._waiting and self._waiting[0][0] < self._furthest:
            _, key, block = self._waiting.popleft()
            self._passed.append((key, block))

    def take_over(self, other: Schedule[T]) -> None:
        """Keep what another plan's readers miss, what is being fetched for it, and its orders."""
        self._active |= other._active
        self._urgent.update(other._urgent)
        self._missed.update(other._missed)
        self._done_early.update(other._done_early)
        self._orders = other._orders

    def finished_with(self, key: str, *, checked: bool = True) -> None:
        """Note that a block is done, or has failed.

        Args:
            key: Its query key.
            checked: Whether its pixels are known to be good; if not, a reader that missed it
                meanwhile is served after all.
        """
        self._active.discard(key)
        block = self._missed.pop(key, None)
        if block is not None and not checked:
            self._urgent.setdefault(key, block)


def _remember(key: str, keys: dict[str, None]) -> str | None:
    """Add a key, and return the oldest one if it is forgotten for that."""
    keys[key] = None
    if len(keys) <= REMEMBERED:
        return None
    oldest = next(iter(keys))
    del keys[oldest]
    return oldest
