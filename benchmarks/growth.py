"""Whole runs from 1,000 to 100,000 tiles: does the last tile cost what the first did?

Claim (docs/performance.md, "Memory and large runs"): in a run of 100,000 tiles the second half
takes the time of the first for each tile, within 10 %, and no process takes more memory.

    python -m benchmarks.growth            # 2 minutes
    python -m benchmarks.growth --quick    # up to 3,000 tiles: 1 minute

Tiles of 32 px, blocks that are in the cache already, and an encoder that costs nothing. `thor-geo
predict` does everything else: it plans, checks and reads every block, writes vectors, grids and
markers, and sums up.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support import small_tiles
from benchmarks.support.report import Report, parser
from benchmarks.support.runs import Workspace, end_on_sigterm, markers
from benchmarks.support.small_tiles import ROLES, TILE

SIZES, SHORT = (1_000, 10_000, 100_000), (300, 1_000, 3_000)
#: What the second half of the largest run may take more than the first, of time and of memory.
ALLOWED = 0.10

_BLOCK = 128


def workspace(folder: Path, tiles: int) -> Workspace:
    """Return the run over about so many tiles; all runs share a cache."""
    return small_tiles.workspace(
        folder,
        tiles,
        name=f"{tiles}",
        cache=folder,
        block_size=_BLOCK,
        backbone="benchmarks.support.free.FreeEncoder",
    )


def halves(ends: Sequence[tuple[float, int]]) -> tuple[float, float, float, float, float]:
    """Return when a run was at its beginning, middle and end, and seconds a tile of both halves.

    The beginning is the first shard's end: start-up lies before it.

    Args:
        ends: When each shard was finished, and its tiles, in any order; at least three.
    """
    ordered = sorted(ends)
    times = [when for when, _ in ordered]
    done = np.cumsum([tiles for _, tiles in ordered])
    middle = int(np.searchsorted(done, (done[0] + done[-1]) / 2))
    first = (times[middle] - times[0]) / (done[middle] - done[0])
    second = (times[-1] - times[middle]) / (done[-1] - done[middle])
    return times[0], times[middle], times[-1], float(first), float(second)


def measure(place: Workspace) -> dict[str, Any]:
    """Run once, and return a row of the table.

    Raises:
        RuntimeError: If the run fails, or has tiles without data.
    """
    began = time.time()
    samples, done, planned = small_tiles.measure(place, interval=0.5)
    ends = []
    for file in markers(place.run):
        marker = json.loads(file.read_bytes())
        if marker["ok"] != marker["tiles"]:
            raise RuntimeError(f"{file.name}: tiles without data; the cache is another run's.")
        ends.append((dt.datetime.fromisoformat(marker["finished_at"]).timestamp(), marker["tiles"]))
    start, middle, end, first, second = halves(ends)
    looks = [
        min(samples, key=lambda sample, when=when: abs(sample.time - when))
        for when in (start, middle, end)
    ]
    per = 1000 / (planned / 2)
    row: dict[str, Any] = {
        "tiles": planned,
        "shards": len(ends),
        "whole run, s": done.seconds,
        "to the first shard, s": start - began,
        "after the last shard, s": began + done.seconds - end,
        "first half, s/1,000 tiles": 1000 * first,
        "second half, s/1,000 tiles": 1000 * second,
        "second to first": second / first,
        "first half, CPU s/1,000 tiles": per * (looks[1].cpu - looks[0].cpu),
        "second half, CPU s/1,000 tiles": per * (looks[2].cpu - looks[1].cpu),
        "load of the machine in the middle": looks[1].load,
        "load of the machine at the end": looks[2].load,
    }
    for role in ROLES:
        row[f"{role}, peak MB in the middle"] = looks[1].peaks[role]
        row[f"{role}, peak MB at the end"] = looks[2].peaks[role]
    row["main, peak MB after all"] = samples[-1].peaks["main"]
    return row


def judge(report: Report) -> None:
    """Add the ratios of the largest run's halves, and the faults."""
    large = report.rows[-1]
    ratios = {
        "seconds a tile": large["second to first"],
        "CPU seconds a tile": large["second half, CPU s/1,000 tiles"]
        / large["first half, CPU s/1,000 tiles"],
        **{
            f"peak memory, {role}": large[f"{role}, peak MB at the end"]
            / large[f"{role}, peak MB in the middle"]
            for role in ROLES
        },
    }
    for name, ratio in ratios.items():
        report.figures[f"{name}, second half to first, {large['tiles']:,} tiles"] = round(ratio, 3)
        # Less memory than before is no fault; less time means that the halves were not alike.
        if ratio > 1 + ALLOWED or ("seconds" in name and ratio < 1 - ALLOWED):
            report.faults.append(f"{name}: {ratio:.2f} of the first half in the second.")


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "few tiles").parse_args().quick
    end_on_sigterm()
    sizes = SHORT if quick else SIZES
    report = Report(
        name="growth",
        claim=f"In a run of {sizes[-1]:,} tiles the second half takes the time of the first for "
        f"each tile, within {ALLOWED:.0%}, and no process takes more memory.",
        quick=quick,
        notes=[
            f"Tiles of {TILE} px, blocks of {_BLOCK} px from a full cache, shards of 8 x 8 tiles, "
            "an encoder that costs nothing, vectors and grids of 64 values, two workers. A run "
            "before, not shown, has warmed the disk's cache.",
            "The first half begins when the first shard is finished. Memory is VmHWM, the largest "
            "resident set so far. The run alone makes a load of two to three: where there is more, "
            "other work slowed that half down.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-growth-") as name:
        folder = Path(name)
        small_tiles.write_archive(folder, size_m=960)
        small_tiles.fill_cache(workspace(folder, sizes[-1]), sizes[-1], _BLOCK)
        measure(workspace(folder, 200))
        for tiles in sizes:
            report.add(measure(workspace(folder, tiles)))
    judge(report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
