"""What `merge`, `validate` and `status` cost, and what a merged file is good for.

Claim (docs/performance.md, "Memory and large runs"): `merge` takes at most 20 % more memory for ten
times the tiles, and its file answers for a small box with less to read.

    python -m benchmarks.merge            # 9 minutes
    python -m benchmarks.merge --quick    # a tenth of everything: 1 minute

Writes runs of 10,000 and 100,000 tiles with random vectors (768 float32), then measures the
commands in processes of their own, and the bytes that a reader asks for a small box before and
after merging. Last comes `status` on a run of 100,000 shards, which only has its markers.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.support.commands import thor_geo
from benchmarks.support.processes import python
from benchmarks.support.report import Report, parser
from benchmarks.support.synthetic import prepare, square_plan, write_marker, write_shards
from thor_geo.runs.markers import ShardFile

DIMENSION = 768
#: A town: about 14 km x 11 km.
BOX = (12.0, 50.0, 12.2, 50.1)
#: `merge` may take so much more memory for ten times the tiles.
GROWTH = 1.2

# The reader reports what it has read by the kernel's count, after all imports.
_QUERY = """
import json, sys
import geopandas, pyarrow, pyarrow.dataset, pyarrow.parquet
def read():
    lines = open("/proc/self/io").read().split()
    return int(lines[lines.index("rchar:") + 1])
geopandas.read_parquet  # loaded before the count begins
before = read()
frame = geopandas.read_parquet(sys.argv[1], bbox=json.loads(sys.argv[2]))
print(json.dumps([len(frame), read() - before]))
"""


def query(path: Path) -> tuple[int, float, float]:
    """Return rows, MB read and seconds of a query for the box."""
    done = python("-c", _QUERY, path, json.dumps(BOX))
    rows, bytes_read = json.loads(done.output)
    return rows, bytes_read / 1e6, done.seconds


def merging(folder: Path, tiles: int, report: Report) -> float:
    """Measure a run of so many tiles; return `merge`'s peak memory in MB."""
    plan = square_plan(tiles)
    run = prepare(folder / f"run{tiles}", plan, DIMENSION)
    write_shards(run, plan, DIMENSION)
    size = sum(path.stat().st_size for path in run.pooled.iterdir()) / 1e6
    merge = thor_geo("merge", run.path)
    status = thor_geo("status", run.path)
    validate = thor_geo("validate", run.path, codes=(3,))  # some tiles have failed
    merged = run.path / "embeddings.parquet"
    before, after = query(run.pooled), query(merged)
    faults = []
    if not 0 < after[0] <= before[0]:
        faults.append(f"{tiles} tiles: the box gives {before[0]} rows, then {after[0]}")
    if not after[1] < before[1]:
        faults.append(f"{len(plan)} tiles: reading the merged file takes no fewer bytes")
    row = {
        "tiles": len(plan),
        "shards": len(plan.shards),
        "pooled MB": size,
        "merged MB": merged.stat().st_size / 1e6,
        "merge s": merge.seconds,
        "merge CPU s": merge.cpu,
        "merge rows/s": len(plan) / merge.seconds,
        "merge peak MB": merge.peak_mb,
        "status peak MB": status.peak_mb,
        "validate s": validate.seconds,
        "validate CPU s": validate.cpu,
        "validate tiles/s": len(plan) / validate.seconds,
        "validate peak MB": validate.peak_mb,
    }
    for k, what in enumerate(("rows", "MB read", "s")):
        row |= {f"box {what} before": before[k], f"box {what} after": after[k]}
    report.add(row, faults)
    return merge.peak_mb


def status(folder: Path, shards: int, report: Report) -> None:
    """Measure `status` on a run of about so many shards of 64 small tiles."""
    plan = square_plan(shards * 64, tile_size=32)
    run = prepare(folder / "many", plan, DIMENSION)
    outputs = {"pooled/x.parquet": ShardFile(sha256="0" * 64, size=1)}
    for shard in plan.shards:
        write_marker(run, shard, failed=[], outputs=outputs)
    times = []
    for turn in range(1, 4):
        done = thor_geo("status", run.path)
        times.append({"turn": turn, "s": done.seconds, "CPU s": done.cpu, "peak MB": done.peak_mb})
    markers = sum(1 for _ in run.markers.iterdir())
    report.figures[f"status of {markers:,} shards ({len(plan):,} tiles)"] = times


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "a tenth of everything").parse_args().quick
    scale = 10 if quick else 1
    report = Report(
        name="merge",
        claim="merge takes at most 20 % more memory for ten times the tiles, and the merged file "
        "answers for a small box with less to read",
        quick=quick,
        notes=[
            "peak memory is of the largest process; files had just been written, so reading them "
            "cost no disk; random vectors hardly compress, as real ones"
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-merge-") as name:
        folder = Path(name)
        few, many = 10_000 // scale, 100_000 // scale
        small, large = merging(folder, few, report), merging(folder, many, report)
        report.figures["merge: peak memory of the large run to the small"] = round(large / small, 2)
        if large / small > GROWTH:
            report.faults.append(f"merge's memory grew from {small:.0f} to {large:.0f} MB")
        status(folder, 100_000 // scale, report)
    # The commands take turns: alone they keep no more processes busy than there are cores.
    report.figures["load of the machine, mean of its last 5 minutes"] = round(os.getloadavg()[1], 1)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
