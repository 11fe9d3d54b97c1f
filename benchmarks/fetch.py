"""How much of Earth Engine's request budget the prefetch process uses.

Claim (docs/performance.md, "Fetching"): at 0.5 s latency and 40 requests in flight, the prefetch
process gets at least 85 % of the 80 pixel requests per second that this allows.

    python -m benchmarks.fetch            # 75 seconds
    python -m benchmarks.fetch --quick    # few blocks, one run: 10 seconds

The emulator answers each request for pixels after half a second, in a process of its own, and
blocks are so small that computing them does not count. Requests for lists of scenes take the same
slots and are answered at once.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.support.emulated import blocks, prefetch_spec, write_scenes
from benchmarks.support.processes import children, cpu_seconds
from benchmarks.support.report import Report, parser
from thor_geo.composites import Prefetcher
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule

LATENCY_S = 0.5
SLOTS = 40
SIZE = 64
BANDS = ("B4", "B3")

#: The share of the possible rate that must be reached.
WANTED = 0.85


def measure(across: int, archive: Path, folder: Path) -> dict[str, Any]:
    """Fetch across x across blocks, and return one row of the table."""
    slow = FaultPlan(rules=(FaultRule(kind="image:computePixels", delay_s=LATENCY_S),))
    load = os.getloadavg()[0]
    with EmulatorProcess(archive, faults=slow) as emulator:
        others = children(os.getpid())
        spec = prefetch_spec(folder, emulator.url, BANDS, concurrency=SLOTS)
        with Prefetcher(spec) as prefetcher:
            assert emulator.pid is not None
            (pid,) = set(children(os.getpid())) - set(others)
            pids = (pid, emulator.pid)
            before = [cpu_seconds(pid) for pid in pids]
            began = time.monotonic()
            prefetcher.plan(blocks(across, SIZE))
            while not prefetcher.stats().finished:
                prefetcher.check()
                time.sleep(0.05)
            seconds = time.monotonic() - began
            used = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
            stats, failures = prefetcher.stats(), prefetcher.failures()
    if failures or stats.blocks_fetched != across**2:
        raise RuntimeError(f"{len(failures)} blocks failed: {failures}")
    rate = stats.blocks_fetched / seconds
    return {
        "blocks": stats.blocks_fetched,
        "seconds": seconds,
        "pixel requests/s": rate,
        "share of the possible": rate * LATENCY_S / SLOTS,
        "seconds in a slot/block": stats.seconds / stats.blocks_fetched,
        "retries": stats.retries,
        "fetching, cores": used[0] / seconds,
        "emulator, cores": used[1] / seconds,
        "fetching, CPU ms/block": 1000 * used[0] / stats.blocks_fetched,
        "load of the machine before": load,
    }


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "few blocks, one run").parse_args().quick
    across, runs = (16, 1) if quick else (40, 3)
    report = Report(
        name="fetch",
        claim=f"At {LATENCY_S} s latency and {SLOTS} slots, the prefetch process gets at least "
        f"{WANTED:.0%} of the {SLOTS / LATENCY_S:.0f} pixel requests/s that this allows, in the "
        "median of three runs.",
        quick=quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-fetch-") as name:
        folder = Path(name)
        archive = write_scenes(folder / "archive", side=across * SIZE, bands=BANDS, scenes=1)
        for run in range(runs):
            report.add(measure(across, archive, folder / f"cache{run}"))
    median = statistics.median(row["share of the possible"] for row in report.rows)
    report.figures["share of the possible, median of the runs"] = round(median, 3)
    report.notes.append(
        "From the plan's arrival to its end, so with the first and the last half second. Other "
        "work on the machine slows both processes down; the load average before each run says how "
        "quiet it was. The claim is about the median; every run is in the table."
    )
    if median < WANTED:
        report.faults.append(f"The median run got {median:.1%}.")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
