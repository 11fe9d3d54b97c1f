"""Counting a run's markers: what is done, how fast, and what failed."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from thor_geo.runs.failures import Failure, read_failures
from thor_geo.runs.lock import is_locked
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import read_markers
from thor_geo.support.progress import PATIENCE_S, track

# The rate is that of the last quarter of an hour; where shards are slower, of the last few.
_WINDOW_S = 900.0
_FEWEST = 5
# Where locks tell nothing, a run seems to go on while its newest marker is younger than ten
# minutes, or ten usual shards.
_QUIET_S = 600.0
_QUIET_SHARDS = 10
# Different messages that are counted; the rest is "other".
_MESSAGES = 1000
#: What a marker says of fetching, summed over markers.
COSTS = ("requests", "retries", "splits", "bytes", "seconds", "seconds_waiting")

# Ids of tiles and blocks: messages that differ in them alone are one message.
_IDS = re.compile(r"utm\d\d[ns]_[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the markers of a run say; in a list of time windows a tile counts once for each.

    Attributes:
        shards: Shards of the plan.
        shards_done: Those with a marker of this run and no failed tile.
        shards_failed: Those with a marker of this run and failed tiles.
        tiles: Tiles of the plan.
        ok: Tiles with an embedding.
        empty: Tiles without any observation.
        failed: Tiles that could not be produced.
        rate: Tiles per second: of late while it runs, over all the time at work once it is
            complete; None for a run that has stopped, or with nothing to measure.
        rate_seconds: Time over which the rate is measured, without the time when nothing ran.
        launches: Commands that finished a shard in that time.
        newest_age: Seconds since the newest marker was written; None without any.
        locked: Whether a process holds shards of the run; None where that cannot be told.
        running: Whether a process works on it. Where locks do not tell: whether shards are left and
            the newest marker is younger than 10 minutes, or than 10 usual shards take.
        fetch: Requests, retries, splits, bytes, seconds, seconds_waiting, summed.
        failures: The first failed tiles, in plan order.
        messages: Failed tiles by message, most frequent first; ids in messages stand as ``<id>``.
        windows: Number of time windows.
    """

    shards: int
    shards_done: int
    shards_failed: int
    tiles: int
    ok: int
    empty: int
    failed: int
    rate: float | None
    rate_seconds: float | None
    launches: int
    newest_age: float | None
    locked: bool | None
    running: bool
    fetch: dict[str, float]
    failures: tuple[Failure, ...]
    messages: dict[str, int]
    windows: int = 1

    @property
    def shards_left(self) -> int:
        """Shards without a marker of this run."""
        return self.shards - self.shards_done - self.shards_failed

    @property
    def left(self) -> int:
        """Tiles without a row: neither done nor failed."""
        return self.tiles - self.ok - self.empty - self.failed

    @property
    def seconds_left(self) -> float | None:
        """Time that the tiles left take at the recent rate; None if nothing runs or is left."""
        if not self.running or not self.rate or not self.left:
            return None
        return self.left / self.rate


def count_markers(
    opened: OpenedRun,
    *,
    now: dt.datetime | None = None,
    first: int = 5,
    progress: bool = False,
) -> Tally:
    """Count a run's markers; folders are not listed, and of every shard little is kept.

    Args:
        opened: The run.
        now: The time to reckon from; None for the present.
        first: Failed tiles to name.
        progress: Whether to show progress, where it takes long.

    Raises:
        RunDirectoryError: If there is something under a marker's name that cannot be read.
    """
    now = now or dt.datetime.now(dt.UTC)
    done = with_failures = ok = empty = failed = 0
    fetch = dict.fromkeys(COSTS, 0.0)
    finished: list[_Finished] = []
    failures: list[Failure] = []
    messages: Counter[str] = Counter()
    shards = range(len(opened.plan.shards))
    for shard, marker in track(
        read_markers(opened.run, opened.plan, shards),
        "shards",
        total=len(shards),
        label="looking",
        shown=progress,
        delay=PATIENCE_S,
    ):
        if marker is None or not opened.fits(marker, shard):
            continue
        done, with_failures = done + (marker.failed == 0), with_failures + (marker.failed > 0)
        ok, empty, failed = ok + marker.ok, empty + marker.empty, failed + marker.failed
        for name in COSTS:
            fetch[name] += marker.fetch.get(name, 0.0)
        at = _timestamp(marker.finished_at)
        finished.append(_Finished(at, marker.compute_seconds, marker.tiles, marker.session))
        if marker.failed:
            for failure in read_failures(opened.run.failures_path(shard)):
                if len(failures) < first:
                    failures.append(failure)
                text = _IDS.sub("<id>", failure.error)
                messages[text if text in messages or len(messages) < _MESSAGES else "other"] += 1
    newest = max((one.at for one in finished), default=None)
    age = None if newest is None else max(0.0, now.timestamp() - newest)
    left = len(opened.plan.shards) - done - with_failures
    locked = is_locked(opened.run.path)
    if locked is None:
        running = bool(age is not None and age < _quiet(finished) and left)
    else:
        running = locked and bool(left or with_failures)
    if running:
        rate, seconds, launches = _recent_rate(finished, now.timestamp())
    else:
        rate, seconds, launches = _whole_rate([] if left else finished)
    return Tally(
        shards=len(opened.plan.shards),
        shards_done=done,
        shards_failed=with_failures,
        tiles=len(opened.plan) * len(opened.windows),
        ok=ok,
        empty=empty,
        failed=failed,
        rate=rate,
        rate_seconds=seconds,
        launches=launches,
        newest_age=age,
        locked=locked,
        running=running,
        fetch=fetch,
        failures=tuple(failures),
        messages=dict(messages.most_common()),
        windows=len(opened.windows),
    )


class _Finished(NamedTuple):
    """When a shard was finished (seconds since 1970), how long it took, its tiles, its launch."""

    at: float
    seconds: float
    tiles: int
    session: str


def _whole_rate(finished: Iterable[_Finished]) -> tuple[float | None, float | None, int]:
    """Return tiles per second while anything was at work, the seconds of that, and the launches."""
    timed = [one for one in finished if one.at > 0]
    seconds, until = 0.0, 0.0
    for begin, end in sorted((one.at - one.seconds, one.at) for one in timed):
        seconds += max(0.0, end - max(begin, until))
        until = max(until, end)
    if seconds <= 0:
        return None, None, 0
    return sum(one.tiles for one in timed) / seconds, seconds, len({one.session for one in timed})


def _recent_rate(
    finished: Iterable[_Finished], until: float
) -> tuple[float | None, float | None, int]:
    """Return tiles per second of late, the seconds they were counted over, and the launches."""
    latest = sorted((one for one in finished if one.at > 0), key=lambda one: one.at)
    if not latest:
        return None, None, 0
    recent = [one for one in latest if one.at > until - _WINDOW_S]
    if len(recent) < _FEWEST:
        recent = latest[-_FEWEST:]
    # A shard that was begun before the window counts as begun with it, unless there are too few.
    begin = min(one.at - one.seconds for one in recent)
    if len(recent) > _FEWEST:
        begin = max(begin, until - _WINDOW_S)
    seconds = max(until, recent[-1].at) - begin
    if seconds <= 0:
        return None, None, 0
    launches = len({one.session for one in recent})
    return sum(one.tiles for one in recent) / seconds, seconds, launches


def _quiet(finished: list[_Finished]) -> float:
    return max(_QUIET_S, _QUIET_SHARDS * median(one.seconds for one in finished))


def _timestamp(text: str) -> float:
    """Return seconds since 1970, 0 for what is no time."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
