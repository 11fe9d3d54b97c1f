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
        seconds: Of each repetition, on the steady clock.
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

    def row(
        self, name: str, *, unit: float = 1.0, against: Timing | None = None
    ) -> dict[str, object]:
        """Return a row of a table.

        Args:
            name: Of the alternative.
            unit: Seconds to a unit: 1e-3 for milliseconds.
            against: The alternative that `ratio` is measured against; this one's median over its.
        """
        return {
            "what": name,
            "median": self.median / unit,
            "min": self.min / unit,
            "max": self.max / unit,
            "ratio": None if against is None else self.median / against.median,
        }


def compare(
    alternatives: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Time alternatives for the same work, in turns.

    Args:
        alternatives: What to call, by name.
        repeats: Timed calls of each.
        warm_up: Calls of each before, which do not count.

    Returns:
        The timings by name, in the order given.
    """
    for call in alternatives.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    names = list(alternatives)
    for turn in range(repeats):
        # Another one goes first in every turn: what a call leaves in the caches is shared out.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            alternatives[name]()
            seconds[name].append(time.perf_counter() - began)
    return {name: Timing(seconds=tuple(found)) for name, found in seconds.items()}
