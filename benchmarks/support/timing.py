"""Side by side timing: the alternatives take turns, so that a slow minute meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long one alternative took, each time.

    Attributes:
        seconds: Seconds of each repetition.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, seconds."""
        return statistics.median(self.seconds)

    @property
    def min(self) -> float:
        """Shortest, seconds."""
        return min(self.seconds)

    @property
    def max(self) -> float:
        """Longest, seconds."""
        return max(self.seconds)

    def seconds_row(self) -> dict[str, float]:
        """Return the columns of a table that say how long it took, and how often."""
        return {
            "median s": self.median,
            "min s": self.min,
            "max s": self.max,
            "repeats": len(self.seconds),
        }

    def row(self, name: str, *, against: Timing | None = None) -> dict[str, object]:
        """Return a row of a table; its ratio is to another alternative."""
        return {
            "what": name,
            "median": self.median,
            "min": self.min,
            "max": self.max,
            "ratio": None if against is None else self.median / against.median,
        }


def compare(
    alternatives: Mapping[str, Callable[[], object]],
    *,
    repeats: int | Mapping[str, int],
    warm_up: int = 1,
) -> dict[str, Timing]:
    """Time alternatives for the same work, in turns.

    Args:
        alternatives: What to call, by name. A call that returns a float has timed itself: that many
            seconds count.
        repeats: Timed calls of each, or by name.
        warm_up: Calls of each beforehand, which do not count.

    Returns:
        The timings by name, in the order of the alternatives.
    """
    for call in alternatives.values():
        for _ in range(warm_up):
            call()
    names = list(alternatives)
    turns = dict.fromkeys(names, repeats) if isinstance(repeats, int) else repeats
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(max(turns.values())):
        # Another one goes first in every turn: what a call leaves in the caches is shared out.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if turn < turns[name]:
                began = time.perf_counter()
                result = alternatives[name]()
                elapsed = time.perf_counter() - began
                seconds[name].append(result if isinstance(result, float) else elapsed)
    return {name: Timing(seconds=tuple(taken)) for name, taken in seconds.items()}
