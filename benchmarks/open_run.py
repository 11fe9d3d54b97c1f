"""What a run in Python costs: all vectors as one matrix, or streamed in batches.

Claim (docs/performance.md, "Memory and large runs"): `run.batches()` takes at most 20 % more memory
for ten times the rows, beyond what the plan itself takes; and a matrix of more than 2 GiB is mapped
from a file, so that the memory which cannot be given back stays below a third of it.

    python -m benchmarks.open_run            # 15 minutes, 8 GB in the temporary folder
    python -m benchmarks.open_run --quick    # a tenth of the rows: 1 minute

Writes runs of 100,000 and 1,000,000 tiles with random vectors (768 float32), and reads each in
processes of its own: opened alone, streamed, and as a matrix. What a process keeps beside files is
Linux's RssAnon; the pages of a mapped file count in the peak, too, but are given back when others
need memory.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.support.processes import python
from benchmarks.support.report import Report, parser
from benchmarks.support.synthetic import prepare, square_plan, write_shards

DIMENSION = 768
#: Batches may take so much more memory for ten times the rows, without the plan.
GROWTH = 1.2
#: Of a mapped matrix, so much may be memory that cannot be given back.
SHARE = 1 / 3

_READ = """
import json, sys, time
import thor_geo
from benchmarks.support.processes import resident_mb
began = time.perf_counter()
run = thor_geo.open_run(sys.argv[1])
what, rows, largest = sys.argv[2], 0, 0.0
if what == "batches":
    for matrix, table in run.batches():
        rows += len(matrix)
        largest = max(largest, resident_mb("RssAnon"))
elif what == "matrix":
    rows = len(run.X)
    largest = resident_mb("RssAnon")
else:
    len(run.plan)
    largest = resident_mb("RssAnon")
seconds = time.perf_counter() - began
mapped = what == "matrix" and type(run.X).__name__ == "memmap"
print(json.dumps([rows, seconds, resident_mb(), largest, mapped]))
"""


def reading(path: Path, what: str) -> dict[str, float | bool]:
    """Read a run in a process of its own; return what it took."""
    done = python("-c", _READ, path, what)
    rows, seconds, peak, private, mapped = json.loads(done.output)
    return {"rows": rows, "s": seconds, "peak": peak, "private": private, "mapped": mapped}


def measure(folder: Path, tiles: int, report: Report) -> dict[str, float]:
    """Measure a run of about so many tiles; return the row."""
    plan = square_plan(tiles)
    run = prepare(folder / f"run{tiles}", plan, DIMENSION)
    write_shards(run, plan, DIMENSION)
    opened, batches, matrix = (reading(run.path, what) for what in ("opened", "batches", "matrix"))
    assert batches["rows"] == matrix["rows"]
    size = matrix["rows"] * DIMENSION * 4 / 1e6
    faults = []
    if matrix["mapped"] and matrix["private"] > SHARE * size:
        faults.append(f"{len(plan):,} tiles: {matrix['private']:.0f} of {size:.0f} MB are kept")
    row = {
        "tiles": len(plan),
        "rows": batches["rows"],
        "vectors MB": size,
        "opened peak MB": opened["peak"],
        "batches s": batches["s"],
        "batches rows/s": batches["rows"] / batches["s"],
        "batches peak MB": batches["peak"],
        "matrix s": matrix["s"],
        "matrix rows/s": matrix["rows"] / matrix["s"],
        "matrix peak MB": matrix["peak"],
        "matrix kept MB": matrix["private"],
        "matrix mapped": matrix["mapped"],
    }
    report.add(row, faults)
    return row


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "a tenth of the rows").parse_args().quick
    scale = 10 if quick else 1
    report = Report(
        name="open_run",
        claim="run.batches() takes at most 20 % more memory for ten times the rows, beyond what "
        "the plan takes, and of a matrix that is mapped less than a third is kept in memory",
        quick=quick,
        notes=[
            "files had just been written, so reading them cost no disk; kept is RssAnon, which "
            "cannot be given back; the peak counts the pages of the mapped file, too"
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-open-run-") as name:
        folder = Path(name)
        small, large = (measure(folder, n // scale, report) for n in (100_000, 1_000_000))
        plans = large["opened peak MB"] - small["opened peak MB"]
        growth = (large["batches peak MB"] - plans) / small["batches peak MB"]
        report.figures["batches: peak memory of the large run, less its plan, to the small"] = (
            round(growth, 2)
        )
        report.figures["plan: MB more for the large run"] = round(plans)
        if growth > GROWTH:
            report.faults.append(f"memory of batches grew by {growth:.2f} for ten times the rows")
    report.figures["load of the machine, mean of its last 5 minutes"] = round(os.getloadavg()[1], 1)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
