"""Progress of a long step: a bar with the time left in a terminal, a line now and then elsewhere.

All of it goes to standard error, so that a command's output can be piped.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

#: Seconds between lines where standard error is not a terminal.
LINE_S = 10.0
#: Seconds that a step may take in silence before its bar appears, for steps that rarely take long.
PATIENCE_S = 2.0

# The rate is measured over the last minute: the first items are slow, and items differ.
_WINDOW_S = 60.0
# Size of a terminal that does not report its own (as under `script`, or in a container).
_COLUMNS, _ROWS = 80, 24
# The rate and the bar are updated at most this often.
_LOOK_S = 0.1
# Variables in which launchers give a process its rank (those that Lightning knows).
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def clock(seconds: float) -> str:
    """Return a time left as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def speed(per_second: float, unit: str = "tiles") -> str:
    """Return a rate for reading: ``1.8 tiles/s``, or ``2.2 tiles/min`` where that is slow."""
    if per_second >= 0.95:
        return f"{per_second:,.1f} {unit}/s"
    return f"{60 * per_second:,.1f} {unit}/min"


def is_first_process() -> bool:
    """Return whether this is the first process of a launch, or was not launched as one of many."""
    rank = next((value for name in _RANKS if (value := os.environ.get(name))), "0")
    return rank == "0"


class Rate:
    """Items per second over the last minute."""

    def __init__(self, now: float) -> None:
        """Initialize a new Rate instance.

        Args:
            now: Time of the start, seconds of any steady clock.
        """
        self._points: deque[tuple[float, float]] = deque([(now, 0)])

    def add(self, now: float, done: float) -> None:
        """Record how many items, or how much work, are done by now."""
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[1][0] >= _WINDOW_S:
            self._points.popleft()

    @property
    def value(self) -> float:
        """Items per second, 0 while nothing is known."""
        (begin, first), (end, last) = self._points[0], self._points[-1]
        return (last - first) / (end - begin) if end > begin else 0.0


class Progress:
    """Shows how far a step is, how fast it is, and how long it will still take.

    In a terminal that is a bar, elsewhere (a log file, a notebook) a line every ten seconds. Use it
    as a context manager, or call `close`.

    Attributes:
        total: Items to do; may grow.
        done: Items done.
        note: Shown after the counts, such as ``2 failed``.
    """

    def __init__(
        self,
        total: int,
        unit: str = "tiles",
        *,
        label: str = "",
        note: str = "",
        shown: bool = True,
        delay: float = 0.0,
        interval: float = LINE_S,
        work: float | None = None,
    ) -> None:
        """Initialize a new Progress instance.

        Args:
            total: Items to do.
            unit: What they are, in the plural.
            label: The step's name, where the command has several.
            note: See above.
            shown: Whether to show anything at all.
            delay: Seconds before a bar appears (`PATIENCE_S` for steps that rarely take long).
            interval: Seconds between lines where standard error is not a terminal.
            work: How much work all items are together, in any unit, where they differ much: the
                time left then follows from the work left. None counts items.
        """
        self.total, self.done, self.note = total, 0, note
        self._work, self._worked = work, 0.0
        self._unit, self._label, self._interval = unit, label, interval
        self._lines = shown and not sys.stderr.isatty()
        self._drawn = shown and not self._lines
        self._bar: tqdm[Any] | None = None
        now = time.monotonic()
        self._rate, self._looked, self._printed = Rate(now), now, now
        self._begin = now + delay
        self._printed_state = (-1, "")
        self._draw(now)

    def __enter__(self) -> Self:
        """Return the instance itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it stands."""
        self.close()

    @property
    def text(self) -> str:
        """Counts, rate, time left and note."""
        rate = self._rate.value
        left: float = self.total - self.done
        if self._work is not None and left > 0:
            left = self._work - self._worked
        parts = [
            f"{self.done:,}/{self.total:,} {self._unit}",
            speed(rate, self._unit) if rate and self._work is None else "",
            f"{clock(left / rate)} left" if rate and left > 0 else "",
            self.note,
        ]
        head = f"{self._label}: " if self._label else ""
        return head + ", ".join(part for part in parts if part)

    def advance(self, count: int = 1, *, work: float = 0.0) -> None:
        """Count some more items as done.

        Args:
            count: How many.
            work: Their share of the work.
        """
        self._worked += work
        self.set(self.done + count)

    def set(self, done: int, *, total: int | None = None, note: str | None = None) -> None:
        """Set how many items are done by now; cheap enough to call for each.

        Args:
            done: Items done since the beginning.
            total: Items to do, if that has changed.
            note: What to show after the counts from now on.
        """
        self.done = done
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note
        now = time.monotonic()
        if now - self._looked < min(_LOOK_S, self._interval):
            return
        self._looked = now
        self._rate.add(now, self._counted)
        self._draw(now)
        if now - self._printed >= self._interval:
            self.line()

    def line(self) -> None:
        """Print a line now, except in a terminal or if nothing has changed since the last."""
        self._printed = time.monotonic()
        if self._lines and (self.done, self.note) != self._printed_state:
            self._printed_state = (self.done, self.note)
            percent = (
                100 * self._counted // max(self.total if self._work is None else self._work, 1)
            )
            print(f"[thor-geo] {percent:3.0f}%  {self.text}", file=sys.stderr, flush=True)

    def write(self, text: str) -> None:
        """Print above the bar; without a bar, to standard output."""
        if self._bar is None:
            print(text)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Show the last state, and leave it there."""
        now = time.monotonic()
        self._rate.add(now, self._counted)
        self._draw(now)
        if self._bar is not None:
            self._bar.close()
        self._bar, self._drawn = None, False

    @property
    def _counted(self) -> float:
        """What is done, in items or in work."""
        return self.done if self._work is None else self._worked

    def _draw(self, now: float) -> None:
        if not self._drawn or now < self._begin:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                file=sys.stderr,
                total=self.total,
                **_size(),
                desc=self.text,
                bar_format="{percentage:3.0f}% |{bar}| {desc}",
            )
        self._bar.total = self.total if self._work is None else self._work
        self._bar.n = self._counted
        self._bar.set_description_str(self.text)


def _size() -> dict[str, Any]:
    """Return tqdm's arguments for its size: in a terminal of 0 x 0 it would draw nothing."""
    try:
        known = all(os.get_terminal_size(sys.stderr.fileno()))
    except (OSError, ValueError):
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": _COLUMNS, "nrows": _ROWS}


def track(
    items: Iterable[T],
    unit: str,
    *,
    total: int | None = None,
    label: str = "",
    shown: bool = True,
    delay: float = 0.0,
) -> Iterator[T]:
    """Yield items, and show how many have been processed.

    Args:
        items: The items.
        unit: What they are, in the plural.
        total: Their number; None for their `len`.
        label: As in `Progress`, like the rest.
        shown: Whether to show anything at all.
        delay: Seconds before a bar appears.

    Raises:
        TypeError: If *total* is None and the items have no length.
    """
    if total is None:
        if not isinstance(items, Sized):
            raise TypeError("track() needs `total` for items without a length")
        total = len(items)
    with Progress(total, unit, label=label, shown=shown, delay=delay) as progress:
        for item in items:
            yield item
            progress.advance()
