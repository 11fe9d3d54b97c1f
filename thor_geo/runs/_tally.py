"""Counting a run's markers: what is done, how fast, and what failed."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from thor_geo.jsontext import parse_json
from thor_geo.plan import Shard, Shards
from thor_geo.runs._opened import THREADS, OpenedRun

# The rate is that of the last quarter of an hour; where shards are slower, of the last few.
_WINDOW_S = 900.0
_FEWEST = 5
# A run seems to go on while its newest marker is younger than ten minutes, or ten usual shards.
_QUIET_S = 600.0
_QUIET_SHARDS = 10
# Markers that a thread reads in a row.
_AT_ONCE = 256
# Different messages that are counted; the rest is "other".
_MESSAGES = 1000
#: What a marker says of fetching, summed over markers.
COSTS = ("requests", "retries", "splits", "bytes", "seconds", "seconds_waiting")

# Ids of tiles and blocks: messages that differ in them alone are one message.
_IDS = re.compile(r"utm\d\d[ns]_[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A tile that failed.

    Attributes:
        tile: Its id.
        error: Why.
    """

    tile: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the markers of a run say.

    Attributes:
        shards: Shards of the plan.
        shards_done: Those with a marker of this run and no failed tile.
        shards_failed: Those with a marker of this run and failed tiles.
        tiles: Tiles of the plan.
        ok: Tiles with an embedding.
        empty: Tiles without any observation.
        failed: Tiles that could not be produced.
        rate: Tiles per second over the last `rate_seconds`; None with nothing to measure.
        rate_seconds: Time over which the rate is measured.
        launches: Commands that finished a shard in that time.
        newest_age: Seconds since the newest marker was written; None without any.
        running: Whether something seems to write still: the newest marker is recent, and shards
            are left.
        fetch: Requests, retries, splits, bytes, seconds, seconds_waiting, summed.
        failures: The first failed tiles, in plan order.
        messages: Failed tiles by message, most frequent first; ids in messages stand as ``<id>``.
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
    running: bool
    fetch: dict[str, float]
    failures: tuple[Failure, ...]
    messages: dict[str, int]

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


def tally(opened: OpenedRun, *, now: dt.datetime | None = None, first: int = 5) -> Tally:
    """Count a run's markers; folders are not listed, and of every shard little is kept.

    Args:
        opened: The run.
        now: The time to reckon from; None for the present.
        first: Failed tiles to name.
    """
    now = now or dt.datetime.now(dt.UTC)
    done = with_failures = ok = empty = failed = 0
    fetch = dict.fromkeys(COSTS, 0.0)
    finished: list[_Finished] = []
    failures: list[Failure] = []
    messages: Counter[str] = Counter()
    for shard, record in _records(opened):
        done, with_failures = done + (record.failed == 0), with_failures + (record.failed > 0)
        ok, empty, failed = ok + record.ok, empty + record.empty, failed + record.failed
        for name in COSTS:
            fetch[name] += _number(record.fetch.get(name))
        finished.append(_Finished(record.at, record.seconds, record.tiles, record.session))
        if record.failed:
            for failure in read_failures(opened.run.failures_of(shard)):
                if len(failures) < first:
                    failures.append(failure)
                text = _IDS.sub("<id>", failure.error)
                messages[text if text in messages or len(messages) < _MESSAGES else "other"] += 1
    newest = max((one.at for one in finished), default=None)
    age = None if newest is None else max(0.0, now.timestamp() - newest)
    running = bool(age is not None and age < _quiet(finished) and done < len(opened.plan.shards))
    rate, seconds, launches = _rate(finished, now.timestamp() if running else newest)
    return Tally(
        shards=len(opened.plan.shards),
        shards_done=done,
        shards_failed=with_failures,
        tiles=len(opened.plan),
        ok=ok,
        empty=empty,
        failed=failed,
        rate=rate,
        rate_seconds=seconds,
        launches=launches,
        newest_age=age,
        running=running,
        fetch=fetch,
        failures=tuple(failures),
        messages=dict(messages.most_common()),
    )


def _records(opened: OpenedRun) -> Iterator[tuple[Shard, _Record]]:
    """Yield every shard that has a marker of this run, and what the marker says, in plan order."""
    shards = opened.plan.shards

    def read(some: Shards) -> list[tuple[Shard, _Record | None]]:
        return [(shard, _Record.of(opened, shard)) for shard in some]

    waiting: deque[Future[list[tuple[Shard, _Record | None]]]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-markers") as pool:
        for start in range(0, len(shards) + THREADS * _AT_ONCE, _AT_ONCE):
            if start < len(shards):
                waiting.append(pool.submit(read, shards[start : start + _AT_ONCE]))
            if waiting and start >= (THREADS - 1) * _AT_ONCE:
                found = waiting.popleft().result()
                yield from ((shard, record) for shard, record in found if record is not None)


def read_failures(path: Path) -> Iterator[Failure]:
    """Yield the failed tiles of a shard; none where the file is gone, which a retry explains.

    Args:
        path: ``failures/<shard_id>.jsonl``. A line that cannot be read is left out, as `validate`
            is there to complain.
    """
    try:
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in lines:
        try:
            record = parse_json(line)
            yield Failure(tile=str(record["tile_id"]), error=str(record["error"]))
        except (ValueError, KeyError, TypeError):
            continue


@dataclass(frozen=True, slots=True)
class _Record:
    """What counts of a marker. `Marker.read` checks every value, which takes ten times as long."""

    ok: int
    empty: int
    failed: int
    at: float
    seconds: float
    session: str
    fetch: dict[str, Any]

    @property
    def tiles(self) -> int:
        return self.ok + self.empty + self.failed

    @classmethod
    def of(cls, opened: OpenedRun, shard: Shard) -> _Record | None:
        """Return a shard's record; None without a marker that can be read and is this run's."""
        try:
            content = json.loads(opened.run.marker_of(shard).read_bytes())
            if (content["fingerprint"], content["shard_id"]) != (opened.fingerprint, shard.id):
                return None
            record = cls(
                ok=content["ok"],
                empty=content["empty"],
                failed=content["failed"],
                at=_timestamp(content["finished_at"]),
                seconds=_number(content["compute_seconds"]),
                session=str(content.get("session")),
                fetch=dict(content.get("fetch", {})),
            )
            return record if record.tiles == len(shard) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


class _Finished(NamedTuple):
    """When a shard was finished (seconds since 1970), how long it took, its tiles, its launch."""

    at: float
    seconds: float
    tiles: int
    session: str


def _rate(
    finished: Iterable[_Finished], until: float | None
) -> tuple[float | None, float | None, int]:
    """Return tiles per second, the seconds they were counted over, and the launches at work."""
    latest = sorted((one for one in finished if one.at > 0), key=lambda one: one.at)
    if until is None or not latest:
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


def _timestamp(text: object) -> float:
    """Return seconds since 1970, 0 for what is no time."""
    try:
        return dt.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
