"""Reading ahead: results in order, while the next ones are read by other threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(read: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """Yield what is read of each item, in order; at most twice *threads* are in memory.

    Args:
        read: Called with an item, by several threads at a time.
        items: The items.
        threads: Number of threads.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="thor-geo-ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # the caller has had enough, or one has failed
                future.cancel()
