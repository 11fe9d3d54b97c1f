"""What looking at a run costs, and what merging it is good for.

    python -m benchmarks.merge

Writes runs of 10,000 and 100,000 tiles with random vectors (768 float32), then measures the
commands in processes of their own: `merge` (rate, peak memory, which must not grow with the run),
`validate`, and the bytes that a reader asks for a small box before and after merging. Last,
`status` on a run of 100,000 shards, of which every marker is there and no other file is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._synthetic import prepare, square_plan, write_marker, write_shards
from benchmarks.report import Report
from thor_geo.runs.markers import ShardFile

DIMENSION = 768
#: A town: about 14 km x 11 km.
BOX = (12.0, 50.0, 12.2, 50.1)
#: `merge` may take so much more memory for ten times the tiles.
GROWTH = 1.2

# The reader tells what it has read by the kernel's count; importing is over by then.
_QUERY = """
import json, sys
import geopandas, pyarrow, pyarrow.dataset, pyarrow.parquet
def read():
    lines = open("/proc/self/io").read().split()
    return int(lines[lines.index("rchar:") + 1])
geopandas.read_parquet  # loaded before the count begins
before = read()
found = geopandas.read_parquet(sys.argv[1], bbox=json.loads(sys.argv[2]))
print(json.dumps([len(found), read() - before]))
"""


def measured(args: list[str], allowed: tuple[int, ...] = (0,)) -> tuple[float, float, float]:
    """Run a command; return seconds, CPU seconds, and the peak MB of its largest process."""
    began = time.monotonic()
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, state, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(state) not in allowed:
        raise SystemExit(f"{' '.join(args)} ended with {os.waitstatus_to_exitcode(state)}")
    cpu = usage.ru_utime + usage.ru_stime
    return time.monotonic() - began, cpu, usage.ru_maxrss / 1000


def query(path: Path) -> tuple[int, float, float]:
    """Return rows, MB read and seconds of a query for the box."""
    began = time.monotonic()
    out = subprocess.run(
        [sys.executable, "-c", _QUERY, str(path), json.dumps(BOX)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, bytes_read = json.loads(out.stdout)
    return rows, bytes_read / 1e6, time.monotonic() - began


def merging(folder: Path, tiles: int, report: Report) -> float:
    """Measure a run of so many tiles; return `merge`'s peak memory in MB."""
    plan = square_plan(tiles)
    run = prepare(folder / f"run{tiles}", plan, DIMENSION)
    write_shards(run, plan, DIMENSION)
    size = sum(path.stat().st_size for path in run.pooled.iterdir()) / 1e6
    command = [sys.executable, "-m", "thor_geo"]
    merge_s, merge_cpu, merge_mb = measured([*command, "merge", str(run.path)])
    merged = run.path / "embeddings.parquet"
    _, _, status_mb = measured([*command, "status", str(run.path)])
    validate_s, validate_cpu, validate_mb = measured([*command, "validate", str(run.path)], (3,))
    rows_before, read_before, seconds_before = query(run.pooled)
    rows_after, read_after, seconds_after = query(merged)
    if not 0 < rows_after <= rows_before:
        report.faults.append(f"{tiles} tiles: the box gives {rows_before} rows, then {rows_after}")
    report.rows.append(
        {
            "tiles": len(plan),
            "shards": len(plan.shards),
            "pooled MB": size,
            "merged MB": merged.stat().st_size / 1e6,
            "merge s": merge_s,
            "merge CPU s": merge_cpu,
            "merge rows/s": len(plan) / merge_s,
            "merge peak MB": merge_mb,
            "status peak MB": status_mb,
            "validate s": validate_s,
            "validate CPU s": validate_cpu,
            "validate tiles/s": len(plan) / validate_s,
            "validate peak MB": validate_mb,
            "box rows before": rows_before,
            "box rows after": rows_after,
            "box MB read before": read_before,
            "box MB read after": read_after,
            "box s before": seconds_before,
            "box s after": seconds_after,
        }
    )
    return merge_mb


def status(folder: Path, shards: int, report: Report) -> None:
    """Measure `status` on a run of about so many shards of 64 small tiles."""
    plan = square_plan(shards * 64, tile_size=32)
    run = prepare(folder / "many", plan, DIMENSION)
    outputs = {"pooled/x.parquet": ShardFile(sha256="0" * 64, size=1)}
    for shard in plan.shards:
        write_marker(run, shard, failed=[], outputs=outputs)
    times = []
    for turn in range(1, 4):
        seconds, cpu, peak = measured([sys.executable, "-m", "thor_geo", "status", str(run.path)])
        times.append({"turn": turn, "s": seconds, "CPU s": cpu, "peak MB": peak})
    markers = sum(1 for _ in run.markers.iterdir())
    report.figures[f"status of {markers:,} shards ({len(plan):,} tiles)"] = times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    report = Report(
        name="merge",
        claim="merge takes at most 20 % more memory for ten times the tiles, and the merged file "
        "answers for a small box with less to read",
        command="python -m benchmarks.merge",
        quick=options.quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-merge-") as name:
        folder = Path(name)
        few, many = 10_000 // scale, 100_000 // scale
        small, large = merging(folder, few, report), merging(folder, many, report)
        report.figures["merge: peak memory of the large run to the small"] = round(large / small, 2)
        if large / small > GROWTH:
            report.faults.append(f"merge's memory grew from {small:.0f} to {large:.0f} MB")
        for row in report.rows:
            if not row["box MB read after"] < row["box MB read before"]:
                report.faults.append(f"{row['tiles']} tiles: the merged file is read no less")
        status(folder, 100_000 // scale, report)
    report.notes.append(
        "peak memory is of the largest process; files had just been written, so reading them cost "
        "no disk; random vectors hardly compress, as real ones"
    )
    # Its commands take turns, so that alone they keep no more processes busy than there are cores.
    load, cores = os.getloadavg()[1], len(os.sched_getaffinity(0))
    report.figures["load of the machine, mean of its last 5 minutes"] = round(load, 1)
    if load > cores:
        report.notes.append(
            f"other work ran at the same time (load {load:.0f} on {cores} cores): CPU seconds tell "
            "more than seconds"
        )
    report.figures["peak MB of this script"] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
