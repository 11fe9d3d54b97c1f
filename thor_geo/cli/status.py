"""``thor-geo status``: how far a run is."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thor_geo.checks.tally import Tally, count_markers
from thor_geo.runs.opened_run import open_run
from thor_geo.support.progress import speed
from thor_geo.support.redact import redact, redact_json
from thor_geo.support.words import counted, duration, size_of

_EXAMPLE = """\
example:
  thor-geo status out/oslo
  thor-geo status out/oslo --json | jq .tiles.left

Reads the markers of a run and its lock, at any time. Exits with 0 for any run, whatever its state;
with 2 if the directory holds none, or may not be read. What a marker names counts as done, unless
the marker is damaged; `thor-geo validate` looks at sizes and contents of files. Of a run in several
time windows a tile counts once for each.

A run is "running" while a process holds its lock (.run.lock). Where that cannot be told (no lock's
file, no permission to read it, a file system without locks), it is "perhaps running" while its
newest marker is younger than 10 minutes, or than 10 usual shards take. Locks of a file system that
keeps them to each machine are seen on that machine only.
"""
# Different messages of failed tiles that are shown.
_SHOWN = 5


def main(args: Sequence[str]) -> int:
    """Print how far a run is.

    Args:
        args: Arguments after ``thor-geo status``.

    Returns:
        0.

    Raises:
        RunDirectoryError: If the directory holds no run, or what is there cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="thor-geo status",
        description="Show what of a run is done, failed and left, its rate and the time left.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="OUT", help="the run directory (output.dir)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--watch",
        type=float,
        metavar="SECONDS",
        help="look again every so many seconds, until the run is complete",
    )
    options = parser.parse_args(args)
    if options.watch is not None and not options.watch > 0:
        parser.error("--watch: give seconds, e.g. --watch 30")
    opened = open_run(options.dir)
    while True:
        found = count_markers(opened, progress=True)
        text = (
            json.dumps(redact_json(as_json(options.dir, found)))
            if options.json
            else redact(str_of(options.dir, found))
        )
        print(text, flush=True)
        if options.watch is None or found.shards_left == 0:
            return 0
        time.sleep(options.watch)


def as_json(path: Path, found: Tally) -> dict[str, Any]:
    """Return a tally as JSON.

    Args:
        path: The run directory.
        found: What its markers say.
    """
    return {
        "run": str(path),
        "complete": found.shards_left == 0,
        "running": found.running,
        "locked": found.locked,
        "shards": {
            "total": found.shards,
            "done": found.shards_done,
            "with_failures": found.shards_failed,
            "left": found.shards_left,
        },
        "tiles": {
            "total": found.tiles,
            "ok": found.ok,
            "empty": found.empty,
            "failed": found.failed,
            "left": found.left,
        },
        "windows": found.windows,
        "tiles_per_second": found.rate,
        "rate_over_seconds": found.rate_seconds,
        "launches": found.launches,
        "seconds_left": found.seconds_left,
        "seconds_since_newest": found.newest_age,
        "fetch": found.fetch,
        "failures": [asdict(failure) for failure in found.failures],
        "messages": found.messages,
    }


def str_of(path: Path, found: Tally) -> str:
    """Return a tally for reading.

    Args:
        path: The run directory.
        found: What its markers say.
    """
    done = found.ok + found.empty
    each = ""
    if found.windows > 1:
        each = f" ({found.tiles // found.windows:,} in each of {found.windows} windows)"
    lines = [f"{path}: {_headline(found, done)}", ""]
    lines.append(
        f"  tiles     {done:,} of {found.tiles:,}{each} done ({found.ok:,} ok, {found.empty:,} "
        f"empty), {found.failed:,} failed, {found.left:,} left"
    )
    lines.append(
        f"  shards    {found.shards_done:,} of {found.shards:,} done, {found.shards_failed:,} "
        f"with failed tiles, {found.shards_left:,} left"
    )
    if found.rate is not None and found.rate_seconds is not None:
        span = duration(found.rate_seconds)
        past = f"over the last {span}" if found.running else f"in {span} of work"
        by = f", {found.launches:,} launches" if found.launches > 1 else ""
        lines.append(f"  rate      {speed(found.rate)} {past}{by}")
    if found.seconds_left is not None:
        lines.append(f"  left      about {duration(found.seconds_left)} at this rate")
    if found.newest_age is not None:
        lines.append(f"  newest    shard finished {duration(found.newest_age)} ago")
    if found.fetch["requests"]:
        lines.append(
            f"  fetched   {counted(found.fetch['requests'], 'request')}, "
            f"{counted(found.fetch['retries'], 'retry', 'retries')}, "
            f"{counted(found.fetch['splits'], 'split')}, {size_of(found.fetch['bytes'])}, "
            f"{duration(found.fetch['seconds_waiting'])} waiting"
        )
    if found.messages:
        label = "failures"
        for message, count in list(found.messages.items())[:_SHOWN]:
            lines.append(f"  {label:<10}{count:,} x {message}")
            label = ""
        if len(found.messages) > _SHOWN:
            other = counted(len(found.messages) - _SHOWN, "other message")
            lines.append(f"  {'':<10}and {other} (--json)")
        lines.append(f"  {'first':<10}{found.failures[0].name}: {found.failures[0].error}")
        lines.append(f"  {'':<10}run the same command again: only shards with failures are redone")
    return "\n".join(lines)


def _headline(found: Tally, done: int) -> str:
    perhaps = "perhaps " if found.locked is None else ""
    if found.running:
        state = f"; {perhaps}running"
    elif found.shards_left == 0 or (found.locked is None and found.newest_age is None):
        state = ""
    else:
        state = f"; {perhaps}stopped: run the same command, or its other jobs, to continue"
    if found.shards_left == 0:
        return ("complete" if not found.failed else "complete, except for failed tiles") + state
    if found.newest_age is None:
        return f"no shard is finished yet{state}"
    return f"{100 * done / found.tiles:.1f} % of the tiles are done{state}"
