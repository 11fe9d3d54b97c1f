"""``thor-geo status``: how far a run is."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from thor_geo.cli.options import add_json, add_run, command_parser, run_of
from thor_geo.storage import Location
from thor_geo.support.redact import redact, redact_json

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
    return f"{path}: {counts}"
