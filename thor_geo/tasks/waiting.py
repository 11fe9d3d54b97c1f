"""How the first rank waits for the others, and says so."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from thor_geo.support.progress import LINE_S
from thor_geo.tasks.ranks import RankWatch
from thor_geo.tasks.signals import is_stopping
from thor_geo.tasks.unfinished import Frontier

_log = logging.getLogger(__name__)

# The first rank checks for the other ranks' markers at most this often (checks per second over all
# of them, seconds between rounds), and gives up after this time without a new marker.
_LOOKS_PER_SECOND = 200
_POLL_SECONDS = 0.5
_STALL_SECONDS = 3600.0


class PrintNowAndThen:
    """Prints what is waited for, every ten seconds."""

    def __init__(self) -> None:
        """Initialize a new PrintNowAndThen instance."""
        self._printed = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print a text if it is time, and there is any."""
        if text and time.monotonic() - self._printed >= LINE_S:
            self._printed = time.monotonic()
            print(f"[thor-geo] {text}", file=sys.stderr, flush=True)


def reason_of(exception: BaseException) -> str:
    """Return in words why a rank ends, for the first one."""
    if is_stopping() or isinstance(exception, KeyboardInterrupt | SystemExit):
        return "stopped by a signal"
    return type(exception).__name__


def wait_for_ranks(frontier: Frontier, watch: RankWatch, show: Callable[[str], None]) -> None:
    """Wait for the markers of all other ranks, without a collective.

    Args:
        frontier: Their progress.
        watch: Their signs of life.
        show: Called all the time with what is waited for, in words.

    Raises:
        RankLostError: If a rank with shards left is gone.
    """
    since = time.monotonic()
    frontier.advance()
    while (left := frontier.missing) and time.monotonic() - since < _STALL_SECONDS:
        watch.check(frontier)
        show(watch.waiting_for(frontier))
        time.sleep(max(_POLL_SECONDS, len(left) / _LOOKS_PER_SECOND))
        if frontier.advance():
            since = time.monotonic()
    if left:
        _log.error(
            "No other rank has finished a shard for %.0f min; the next missing one is %s. Run the "
            "same command again to compute the missing shards.",
            _STALL_SECONDS / 60,
            left[0].id,
        )
