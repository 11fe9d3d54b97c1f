"""``thor-geo status``: how far a run is."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from thor_geo.cli.options import add_json, add_run, command_parser, run_of
from thor_geo.storage import Location
from thor_geo.support.progress import speed
from thor_geo.support.redact import redact, redact_json
from thor_geo.support.words import counted, duration, size_of

if TYPE_CHECKING:
    from thor_geo.checks.tally import Tally

_EXAMPLES = """\
examples:
  thor-geo status out/oslo
  thor-geo status out/oslo --watch 30
  thor-geo status out/oslo --json | jq .tiles.left

Reads a run's markers and its lock, and can be used at any time. Exit codes: 0 for any run, whatever
its state; 2 if the directory holds no run or cannot be read. A shard counts as done if it has a
marker that is not damaged; `thor-geo validate` also looks at the files that the marker names. In a
run with several time windows, a tile counts once for each.

A run is "running" while a process holds its lock (.run.lock). Where the lock says nothing (no lock
file, no permission to read it, a file system without locks), the run is "perhaps running" while its
newest marker is younger than 10 minutes, or than the time of 10 usual shards. On a file system that
keeps locks to each machine, a lock is seen on its own machine only.
"""
# Different messages of failed tiles that are listed.
_MOST_MESSAGES = 5


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo status``."""
    parser = command_parser(
        "status",
        "Show how much of a run is done, failed and left, its rate and the time left.",
        _EXAMPLES,
    )
    add_run(parser)
    add_json(parser)
    parser.add_argument(
        "--watch",
        type=float,
        metavar="SECONDS",
        help="print again after this many seconds, until the run is complete",
    )
    return parser


def run_status(args: Sequence[str]) -> int:
    """Print how far a run is.

    Args:
        args: Arguments after ``thor-geo status``.

    Returns:
        0.

    Raises:
        RunDirectoryError: If the directory holds no run, or its files cannot be read.
    """
    command = parser()
    options = command.parse_args(args)
    if options.watch is not None and not options.watch > 0:
        command.error("--watch: give seconds, e.g. --watch 30")
    from thor_geo.checks.tally import count_markers
    from thor_geo.runs.opened_run import read_run

    opened = read_run(run_of(options))
    while True:
        counts = count_markers(opened, progress=True)
        text = (
            json.dumps(redact_json(status_json(run_of(options), counts)))
            if options.json
            else redact(status_text(run_of(options), counts))
        )
        print(text, flush=True)
        if options.watch is None or counts.shards_left == 0:
            return 0
        time.sleep(options.watch)


def status_json(path: Location, counts: Tally) -> dict[str, Any]:
    """Return a tally as JSON.

    Args:
        path: The run directory.
        counts: What its markers say.
    """
    return {
        "run": str(path),
        "complete": counts.shards_left == 0,
        "running": counts.running,
        "locked": counts.locked,
        "shards": {
            "total": counts.shards,
            "done": counts.shards_done,
            "with_failures": counts.shards_failed,
            "left": counts.shards_left,
        },
        "tiles": {
            "total": counts.tiles,
            "ok": counts.ok,
            "empty": counts.empty,
            "failed": counts.failed,
            "left": counts.left,
        },
        "windows": counts.windows,
        "table": None
        if counts.table is None
        else dict(zip(("rows", "skipped"), counts.table, strict=True)),
        "tiles_per_second": counts.rate,
        "rate_over_seconds": counts.rate_seconds,
        "launches": counts.launches,
        "seconds_left": counts.seconds_left,
        "seconds_since_newest": counts.newest_age,
        "fetch": counts.fetch,
        "store": dict(counts.store),
        "scenes_left_out": dict(sorted(counts.left_out.items())),
        "failures": [asdict(failure) for failure in counts.failures],
        "messages": counts.messages,
    }


def status_text(path: Location, counts: Tally) -> str:
    """Return a tally as text.

    Args:
        path: The run directory.
        counts: What its markers say.
    """
    from thor_geo.runs.summary import left_out_rows, store_rows

    done = counts.ok + counts.empty
    each = ""
    if counts.windows > 1:
        each = f" ({counts.tiles // counts.windows:,} in each of {counts.windows} windows)"
    lines = [f"{path}: {counts.headline}", ""]
    noun = "tiles" if counts.table is None else "places"
    lines.append(
        f"  {noun:<10}{done:,} of {counts.tiles:,}{each} done ({counts.ok:,} ok, {counts.empty:,} "
        f"empty), {counts.failed:,} failed, {counts.left:,} left"
    )
    if counts.table is not None and counts.table[1]:
        rows, skipped = counts.table
        lines.append(f"  {'':<10}{skipped:,} of the table's {rows:,} rows skipped")
    lines.append(
        f"  shards    {counts.shards_done:,} of {counts.shards:,} done, {counts.shards_failed:,} "
        f"with failed {noun}, {counts.shards_left:,} left"
    )
    if counts.rate is not None and counts.rate_seconds is not None:
        span = duration(counts.rate_seconds)
        past = f"over the last {span}" if counts.running else f"in {span} of work"
        by = f", {counts.launches:,} launches" if counts.launches > 1 else ""
        lines.append(f"  rate      {speed(counts.rate, noun)} {past}{by}")
    if counts.seconds_left is not None:
        lines.append(f"  left      about {duration(counts.seconds_left)} at this rate")
    if counts.newest_age is not None:
        lines.append(f"  newest    shard finished {duration(counts.newest_age)} ago")
    fetch = counts.fetch
    if fetch["requests"]:
        lines.append(
            f"  fetched   {counted(fetch['requests'], 'request')}, "
            f"{counted(fetch['retries'], 'retry', 'retries')}, "
            f"{counted(fetch['splits'], 'split')}, {size_of(fetch['bytes'])}, "
            f"{duration(fetch['seconds_waiting'])} waiting"
        )
    lines += store_rows(counts.store)
    lines += left_out_rows(counts.left_out)
    return "\n".join([*lines, *_failure_lines(counts)])


def _failure_lines(counts: Tally) -> Iterator[str]:
    if not counts.messages:
        return
    label = "failures"
    for message, count in list(counts.messages.items())[:_MOST_MESSAGES]:
        yield f"  {label:<10}{count:,} x {message}"
        label = ""
    if len(counts.messages) > _MOST_MESSAGES:
        other = counted(len(counts.messages) - _MOST_MESSAGES, "other message")
        yield f"  {'':<10}and {other} (--json)"
    yield f"  {'first':<10}{counts.failures[0].name}: {counts.failures[0].error}"
    yield f"  {'':<10}run the same command again: only shards with failures are redone"
