"""In which order blocks are fetched: what readers miss first, then the plan, not too far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from thor_geo.grid import Block


class Schedule:
    """The plan, the readers' requests, and how far ahead of the readers to go.

    Used by one thread.
    """

    def __init__(self, blocks: Sequence[Block], keys: Sequence[str], ahead: int) -> None:
        """Initialize a new Schedule instance.

        Args:
            blocks: The blocks in the order in which they will be read; repetitions do not matter.
            keys: Their query keys.
            ahead: Blocks to fetch beyond the furthest one that a reader asked for.
        """
        self._blocks = blocks
        self._keys = keys
        self._ahead = ahead
        self._index: dict[str, int] = {}
        for k, key in enumerate(keys):
            self._index.setdefault(key, k)
        self._next = 0
        self._furthest = -1
        self._urgent: deque[tuple[str, Block]] = deque()
        self._waiting: set[str] = set()
        self._active: set[str] = set()
        self._begun: set[str] = set()

    @property
    def planned(self) -> int:
        """Number of different blocks in the plan."""
        return len(self._index)

    def seen(self, key: str) -> None:
        """Note that a reader has come to a block."""
        self._furthest = max(self._furthest, self._index.get(key, -1))

    def request(self, key: str, block: Block) -> None:
        """Put a block first that a reader misses, even if it was done before."""
        self.seen(key)
        if key not in self._active and key not in self._waiting:
            self._urgent.append((key, block))
            self._waiting.add(key)

    def next(self) -> tuple[str, Block] | None:
        """Return the next block to fetch, None while there is nothing to do."""
        while self._urgent:
            key, block = self._urgent.popleft()
            self._waiting.discard(key)
            return self._begin(key, block)
        while self._next < len(self._blocks) and self._next <= self._furthest + self._ahead:
            key, block = self._keys[self._next], self._blocks[self._next]
            self._next += 1
            if key not in self._begun:
                return self._begin(key, block)
        return None

    def _begin(self, key: str, block: Block) -> tuple[str, Block]:
        self._active.add(key)
        self._begun.add(key)
        return key, block

    def finished(self, key: str) -> None:
        """Note that a block is done, or has failed."""
        self._active.discard(key)
