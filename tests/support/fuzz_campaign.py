"""Feeds damaged inputs to a parser and counts what comes of them.

The one property: an error of this project, or a result that its test finds correct; within bounds
of time and memory, and without a flood of warnings.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thor_geo.errors import ThorGeoError

#: Inputs for each parser in the normal suite; a campaign asks for more.
EXAMPLES = int(os.environ.get("THOR_GEO_FUZZ_EXAMPLES", "100"))
#: Where a campaign wants its counts.
REPORT = os.environ.get("THOR_GEO_FUZZ_REPORT")

# One input takes milliseconds; this is for what would never end.
_HANG_S = 60
# A parser may not ask for more memory than this at once, nor keep it.
_MEMORY = 2 << 30
_RESIDENT_MB = 500
_MOST_WARNINGS = 20
_LONGEST_MESSAGE = 5000


class Hang(BaseException):  # no parser may take it for an error of a library
    """A parser did not come back."""


@dataclass
class Tally:
    """What came of the inputs of one parser."""

    parser: str
    inputs: int = 0
    errors: int = 0
    results: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    memory_mb: float = 0.0


class _Counter(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        self.count += 1


def fuzz(
    parser: str, inputs: st.SearchStrategy[Any], check: Callable[[Any], None], *, share: float = 1.0
) -> None:
    """Run a parser over inputs.

    Args:
        parser: Its name in the report.
        inputs: Damaged inputs.
        check: Parses one input and asserts that the result is correct.
        share: Of the usual number of inputs, for slow parsers; a campaign always takes all.
    """
    tally = Tally(parser)
    before = _resident_mb()
    count = EXAMPLES if REPORT else max(10, round(share * EXAMPLES))

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        # The suite tries the same inputs every time; a campaign takes new ones.
        derandomize=REPORT is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def one(content: Any) -> None:
        began = time.perf_counter()
        counter = _Counter()
        root = logging.getLogger()
        root.addHandler(counter)
        try:
            with warnings.catch_warnings(record=True) as caught, _bounded():
                warnings.simplefilter("always")
                clear = _outcome(check, content)
        finally:
            root.removeHandler(counter)
        assert len(caught) + counter.count <= _MOST_WARNINGS, "a flood of warnings"
        took = time.perf_counter() - began
        tally.inputs += 1
        tally.errors += clear
        tally.results += not clear
        tally.seconds += took
        tally.slowest_s = max(tally.slowest_s, took)

    one()
    tally.memory_mb = round(_resident_mb() - before, 1)
    assert tally.memory_mb < _RESIDENT_MB, f"{parser} took {tally.memory_mb} MB"
    if REPORT:
        with Path(REPORT).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(tally)) + "\n")


def _outcome(check: Callable[[Any], None], content: Any) -> bool:
    """Return whether a clear error came; a correct result otherwise."""
    try:
        check(content)
    except ThorGeoError as error:
        text = str(error)
        assert text, "an error without a message"
        assert len(text) < _LONGEST_MESSAGE, f"a flood of text: {text[:300]}"
        return True
    return False


@contextmanager
def _bounded() -> Iterator[None]:
    """Limit memory that can be asked for, and time."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, hard))

    def stop(*_: object) -> None:
        raise Hang

    previous = signal.signal(signal.SIGALRM, stop)
    timer = signal.alarm(_HANG_S)
    try:
        yield
    finally:
        # pytest-timeout uses the interval timer of the same signal, and gets it back.
        signal.signal(signal.SIGALRM, previous)
        signal.alarm(timer)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
