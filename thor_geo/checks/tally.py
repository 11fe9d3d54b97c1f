"""Counting a run's markers: what is done, how fast, and what failed."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from thor_geo.ground.plan import Shard
from thor_geo.runs.failures import Failure, read_failures
from thor_geo.runs.lock import is_locked
from thor_geo.runs.markers import Marker
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import read_markers
from thor_geo.storage.files import readers_of
from thor_geo.support.ahead import read_ahead
from thor_geo.support.progress import PATIENCE_S, track

# The rate is measured over the last quarter of an hour, or if shards are slow over the last few.
_WINDOW_S = 900.0
_FEWEST = 5
# Without locks, a run is taken to be running while its newest marker is younger than ten minutes,
# or than ten typical shards take.
_QUIET_S = 600.0
_QUIET_SHARDS = 10
# Different messages that are counted; all others count as "other".
_MESSAGES = 1000
#: Costs of fetching in markers, summed over markers.
COSTS = ("requests", "retries", "splits", "bytes", "seconds", "seconds_waiting")

# Ids of tiles and blocks: messages that differ only in them count as one message.
_IDS = re.compile(r"utm\d\d[ns]_[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """A summary of a run's markers; with a list of time windows a tile counts once for each.

    Attributes:
        shards: Shards of the plan.
        shards_done: Those with a marker of this run and no failed tile.
        shards_failed: Those with a marker of this run and failed tiles.
        tiles: Tiles of the plan.
        ok: Tiles with an embedding.
        empty: Tiles without any observation.
        failed: Tiles that could not be produced.
        rate: Tiles per second: recently while it runs, over all working time once it is complete;
            None for a run that has stopped, or with nothing to measure.
        rate_seconds: Time over which the rate is measured, without time in which nothing ran.
        launches: Commands that finished a shard in that time.
        newest_age: Seconds since the newest marker was written; None without any.
        locked: Whether a process holds shards of the run; None if that is unknown.
        running: Whether a process works on it. If locks do not show it: whether shards are left and
            the newest marker is younger than 10 minutes, or than 10 typical shards take.
        fetch: Requests, retries, splits, bytes, seconds, seconds_waiting, summed.
        store: What object stores were asked, by the fields of `StoreCounts`, summed; empty for a
            run in a folder.
        failures: The first failed tiles, in plan order.
        messages: Failed tiles by message, most frequent first; ids in messages are replaced by
            ``<id>``.
        windows: Number of time windows.
        left_out: Why each scene that passes the filters and could not be used is missing from
            composites, by the scene's id.
        table: Rows of the table of places, and how many of them were skipped; None for an area.
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
    left_out: Mapping[str, str] = field(default_factory=dict)
    store: Mapping[str, float] = field(default_factory=dict)
    table: tuple[int, int] | None = None

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
        """Time for the remaining tiles at the recent rate; None if nothing runs or remains."""
        if not self.running or not self.rate or not self.left:
            return None
        return self.left / self.rate

    @property
    def headline(self) -> str:
        """How far the run is, in a few words."""
        noun = "tiles" if self.table is None else "places"
        perhaps = "perhaps " if self.locked is None else ""
        if self.running:
            state = f"; {perhaps}running"
        elif self.shards_left == 0 or (self.locked is None and self.newest_age is None):
            state = ""
        else:
            state = f"; {perhaps}stopped: run the same command, or its other jobs, to continue"
        if self.shards_left == 0:
            return (
                "complete" if not self.failed else f"complete, except for failed {noun}"
            ) + state
        if self.newest_age is None:
            return f"no shard is finished yet{state}"
        return f"{100 * (self.ok + self.empty) / self.tiles:.1f} % of the {noun} are done{state}"

    def __str__(self) -> str:
        """Return the counts as `thor-geo status` prints them, without the run's address."""
        from thor_geo.checks.tally_text import tally_text

        return tally_text(self)


def count_markers(
    opened: OpenedRun,
    *,
    now: dt.datetime | None = None,
    first: int = 5,
    progress: bool = False,
) -> Tally:
    """Count a run's markers; no folder is listed, and little is kept for each shard.

    Args:
        opened: The run.
        now: The current time; None for the clock's.
        first: Number of failed tiles to name.
        progress: Whether to show progress, if it takes long.

    Raises:
        RunDirectoryError: If something with a marker's name exists and cannot be read.
    """
    now = now or dt.datetime.now(dt.UTC)
    counts = _Counts(first)
    shards = range(len(opened.plan.shards))

    def failures_of(pair: tuple[Shard, Marker | None]) -> tuple[Marker | None, list[Failure]]:
        shard, marker = pair
        if marker is None or not opened.fits(marker, shard):
            return None, []
        path = opened.run.failures_path(shard)
        return marker, list(read_failures(path)) if marker.failed else []

    for marker, failures in track(
        read_ahead(
            failures_of,
            read_markers(opened.run, opened.plan, shards),
            threads=readers_of(opened.run.path),
        ),
        "shards",
        total=len(shards),
        label="reading markers",
        shown=progress,
        delay=PATIENCE_S,
    ):
        if marker is not None:
            counts.add(marker, failures)
    newest = max((shard.time for shard in counts.finished), default=None)
    age = None if newest is None else max(0.0, now.timestamp() - newest)
    left = len(shards) - counts.done - counts.with_failures
    locked = is_locked(opened.run.path)
    if locked is None:
        running = bool(age is not None and age < _quiet(counts.finished) and left)
    else:
        running = locked and bool(left or counts.with_failures)
    if running:
        rate, seconds, launches = _recent_rate(counts.finished, now.timestamp())
    else:
        rate, seconds, launches = _whole_rate([] if left else counts.finished)
    return Tally(
        shards=len(shards),
        shards_done=counts.done,
        shards_failed=counts.with_failures,
        tiles=len(opened.plan) * len(opened.windows),
        ok=counts.ok,
        empty=counts.empty,
        failed=counts.failed,
        rate=rate,
        rate_seconds=seconds,
        launches=launches,
        newest_age=age,
        locked=locked,
        running=running,
        fetch=counts.fetch,
        failures=tuple(counts.failures),
        messages=dict(counts.messages.most_common()),
        windows=len(opened.windows),
        left_out=counts.left_out,
        store=dict(counts.store),
        table=opened.table,
    )


class _Counts:
    """What markers add up to, one after the other."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.done = self.with_failures = self.ok = self.empty = self.failed = 0
        self.fetch = dict.fromkeys(COSTS, 0.0)
        self.store: Counter[str] = Counter()
        self.finished: list[_FinishedShard] = []
        self.failures: list[Failure] = []
        self.messages: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}

    def add(self, marker: Marker, failures: Iterable[Failure]) -> None:
        """Count a shard by its marker and its list of failures."""
        self.done += marker.failed == 0
        self.with_failures += marker.failed > 0
        self.ok += marker.ok
        self.empty += marker.empty
        self.failed += marker.failed
        for name in COSTS:
            self.fetch[name] += marker.fetch.get(name, 0.0)
        self.store.update(marker.store)
        self.left_out = {**marker.left_out, **self.left_out}
        time = _timestamp(marker.finished_at)
        self.finished.append(
            _FinishedShard(time, marker.compute_seconds, marker.tiles, marker.session)
        )
        for failure in failures:
            if len(self.failures) < self._first:
                self.failures.append(failure)
            text = _IDS.sub("<id>", failure.error)
            known = text in self.messages or len(self.messages) < _MESSAGES
            self.messages[text if known else "other"] += 1


class _FinishedShard(NamedTuple):
    """When a shard was finished (seconds since 1970), how long it took, its tiles, its launch."""

    time: float
    seconds: float
    tiles: int
    session: str


def _whole_rate(finished: Iterable[_FinishedShard]) -> tuple[float | None, float | None, int]:
    """Return tiles per second while anything ran, the seconds of that, and the launches."""
    timed = [shard for shard in finished if shard.time > 0]
    seconds, until = 0.0, 0.0
    for begin, end in sorted((shard.time - shard.seconds, shard.time) for shard in timed):
        seconds += max(0.0, end - max(begin, until))
        until = max(until, end)
    return _rate(timed, seconds)


def _recent_rate(
    finished: Iterable[_FinishedShard], until: float
) -> tuple[float | None, float | None, int]:
    """Return recent tiles per second, the seconds they were counted over, and the launches."""
    latest = sorted((shard for shard in finished if shard.time > 0), key=lambda shard: shard.time)
    if not latest:
        return None, None, 0
    recent = [shard for shard in latest if shard.time > until - _WINDOW_S]
    if len(recent) < _FEWEST:
        recent = latest[-_FEWEST:]
    # A shard that started before the window counts from its start, unless there are too few.
    begin = min(shard.time - shard.seconds for shard in recent)
    if len(recent) > _FEWEST:
        begin = max(begin, until - _WINDOW_S)
    return _rate(recent, max(until, recent[-1].time) - begin)


def _rate(shards: list[_FinishedShard], seconds: float) -> tuple[float | None, float | None, int]:
    if seconds <= 0:
        return None, None, 0
    launches = len({shard.session for shard in shards})
    return sum(shard.tiles for shard in shards) / seconds, seconds, launches


def _quiet(finished: list[_FinishedShard]) -> float:
    return max(_QUIET_S, _QUIET_SHARDS * median(shard.seconds for shard in finished))


def _timestamp(text: str) -> float:
    """Return seconds since 1970, 0 for a text that is not a time."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
