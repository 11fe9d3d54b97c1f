"""Whole runs from 1,000 to 100,000 tiles: does the last tile cost what the first did?

    python -m benchmarks.growth [--quick]

Tiles of 32 px and an encoder that costs nothing, so that what is kept for each tile, block and
shard would show. The blocks are written into the cache before. `thor-geo predict` then does
everything else: it plans, checks and reads every block, writes vectors, grids and markers, and sums
up.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._emulated import cpu_seconds
from benchmarks._filled import fill
from benchmarks.chaos._common import Started, Workspace, end_on_sigterm, markers
from benchmarks.report import Report
from thor_geo.composites import BlockStore
from thor_geo.emulator import Acquisition, Archive, ensure_archive
from thor_geo.ground.area import LONLAT, AreaSpec, transformer
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan

SIZES, SHORT = (1_000, 10_000, 100_000), (300, 1_000, 3_000)
#: What the second half of the largest run may take more than the first, of time and of memory.
ALLOWED = 0.10

_TILE, _BLOCK, _EPSG, _CENTER = 32, 128, 32633, (15.0, 60.0)
_LOOK_S = 0.5
_ROLES = ("main", "worker", "prefetch")

_PLAN = """
import json, sys, time
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
area = AreaSpec(**json.loads(sys.argv[1])).load()
began = time.perf_counter()
plan = Plan.of(area, Lattice(epsg=32601, tile_size=int(sys.argv[2])))
plan.digest
seconds = time.perf_counter() - began
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps([len(plan), seconds, int(peak[0].split()[1]) / 1000]))
"""


def area(tiles: int) -> dict[str, Any]:
    """Return a square in UTM metres around the middle with about *tiles* tiles."""
    x, y = transformer(LONLAT, f"EPSG:{_EPSG}").transform(*_CENTER)
    half = round(math.sqrt(tiles)) * _TILE * 10 / 2 - 1
    box = [round(v) for v in (x - half, y - half, x + half, y + half)]
    return {"bbox": box, "crs": f"EPSG:{_EPSG}"}


def workspace(folder: Path, tiles: int) -> Workspace:
    """Return the run over about *tiles* tiles; all runs share a cache.

    Args:
        folder: Of the benchmark, with an archive of scenes.
        tiles: About how many.
    """
    place = folder / f"{tiles}"
    place.mkdir()
    return Workspace(
        folder=place,
        cache_in=folder,
        settings={
            "data.emulator_archive": folder / "scenes",
            "data.area": json.dumps(area(tiles)),
            "data.area.bbox": None,
            "data.tile_size": _TILE,
            "data.shard_tiles": 8,
            "data.block_size": _BLOCK,
            "data.batch_size": 32,
            "model.patch_size": 16,
            "model.backbone": "benchmarks._free.FreeEncoder",
        },
    )


@dataclass(kw_only=True)
class Sample:
    """A run's processes at one moment.

    Attributes:
        at: Seconds since the epoch.
        cpu: Seconds of work so far, of all processes.
        load: Of the machine, this run's included: processes that ran or wanted to, last minute.
        peaks: Largest resident set so far by role, MB.
    """

    at: float
    cpu: float
    load: float
    peaks: dict[str, float] = field(default_factory=dict)


def watch(started: Started) -> Iterator[Sample]:
    """Look at a run's processes until it ends."""
    cpu: dict[int, float] = {}
    peaks: dict[str, float] = {}
    while started.running:
        for one in started.processes():
            try:
                cpu[one.pid] = cpu_seconds(one.pid)
            except FileNotFoundError:
                continue  # it has ended
            peaks[one.role] = max(peaks.get(one.role, 0.0), one.peak_kb / 1000)
        load = os.getloadavg()[0]
        yield Sample(at=time.time(), cpu=sum(cpu.values()), load=load, peaks=dict(peaks))
        time.sleep(_LOOK_S)


def halves(ends: Sequence[tuple[float, int]]) -> tuple[float, float, float, float, float]:
    """Return when a run was at its beginning, middle and end, and seconds a tile of both halves.

    The first shard's end is the beginning: start-up is before it.

    Args:
        ends: When each shard was finished, and its tiles, in any order; three at least.
    """
    ordered = sorted(ends)
    times = [at for at, _ in ordered]
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
    started = place.start()
    samples = list(watch(started))
    done = started.wait()
    if done.code != 0:
        raise RuntimeError(f"A run failed: {done.said}")
    ends, planned = [], json.loads((place.run / "run.json").read_bytes())["plan"]["tiles"]
    for file in markers(place.run):
        marker = json.loads(file.read_bytes())
        if marker["ok"] != marker["tiles"]:
            raise RuntimeError(f"{file.name}: tiles without data; the cache is another run's.")
        ends.append((dt.datetime.fromisoformat(marker["finished_at"]).timestamp(), marker["tiles"]))
    start, middle, end, first, second = halves(ends)
    looks = [min(samples, key=lambda one, at=at: abs(one.at - at)) for at in (start, middle, end)]
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
    for role in _ROLES:
        row[f"{role}, peak MB in the middle"] = looks[1].peaks[role]
        row[f"{role}, peak MB at the end"] = looks[2].peaks[role]
    row["main, peak MB after all"] = samples[-1].peaks["main"]
    return row


def planning(tiles: int) -> tuple[int, float, float]:
    """Plan a square in a process of its own; return tiles, seconds and peak MB."""
    out = subprocess.run(
        [sys.executable, "-c", _PLAN, json.dumps(area(tiles)), str(_TILE)],
        capture_output=True,
        text=True,
        check=True,
    )
    found, seconds, peak = json.loads(out.stdout)
    return int(found), float(seconds), float(peak)


def judge(report: Report) -> None:
    """Add the slopes and the faults."""
    small, *_, before, large = report.rows
    for a, b in ((small, before), (before, large)):
        seconds = (b["whole run, s"] - a["whole run, s"]) / (b["tiles"] - a["tiles"])
        name = f"from {a['tiles']:,} to {b['tiles']:,} tiles"
        report.figures[f"a thousand tiles more, {name}, s"] = round(1000 * seconds, 3)
        peak = (b["main, peak MB after all"] - a["main, peak MB after all"]) / (
            b["tiles"] - a["tiles"]
        )
        report.figures[f"main's peak for a thousand tiles more, {name}, MB"] = round(1000 * peak, 3)
    ratios = {
        "seconds a tile": large["second to first"],
        "CPU seconds a tile": large["second half, CPU s/1,000 tiles"]
        / large["first half, CPU s/1,000 tiles"],
        **{
            f"peak memory, {role}": large[f"{role}, peak MB at the end"]
            / large[f"{role}, peak MB in the middle"]
            for role in _ROLES
        },
    }
    for name, ratio in ratios.items():
        report.figures[f"{name}, second half to first, {large['tiles']:,} tiles"] = round(ratio, 3)
        # Less memory than before is no fault, less time means that the halves were not alike.
        if ratio > 1 + ALLOWED or ("seconds" in name and ratio < 1 - ALLOWED):
            report.faults.append(f"{name}: {ratio:.2f} of the first half in the second.")


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few tiles, nothing written")
    options = parser.parse_args()
    end_on_sigterm()
    sizes = SHORT if options.quick else SIZES
    report = Report(
        name="growth",
        claim=f"In a run of {sizes[-1]:,} tiles the second half takes the time of the first for "
        f"each tile, within {ALLOWED:.0%}, and no process takes more memory.",
        command="python -m benchmarks.growth",
        quick=options.quick,
        notes=[
            f"Tiles of {_TILE} px, blocks of {_BLOCK} px from a full cache, shards of 8 x 8 tiles, "
            "an encoder that costs nothing, vectors and grids of 64 values, two workers. A run "
            "before, not shown, has warmed the disk's cache.",
            "The first half begins when the first shard is finished. Memory is VmHWM, the largest "
            "resident set so far. The run alone makes a load of two to three: where there is more, "
            "other work slowed that half down.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-growth-") as name:
        folder = Path(name)
        ensure_archive(
            folder / "scenes",
            center=_CENTER,
            size_m=960,
            zones=(_EPSG,),
            acquisitions=(Acquisition(date="2022-06-05", cloud_cover=0.1),),
        )
        prepare(folder, sizes[-1])
        measure(workspace(folder, 200))
        for tiles in sizes:
            report.rows.append(measure(workspace(folder, tiles)))
            print(report.rows[-1], flush=True)
    for tiles in (*sizes, 10 * sizes[-1]):
        found, seconds, peak = planning(tiles)
        report.figures[f"planning alone, {found:,} tiles, s and peak MB"] = (
            f"{seconds:.3f} s, {peak:.0f} MB"
        )
    judge(report)
    return report.finish()


def prepare(folder: Path, tiles: int) -> None:
    """Fill the cache for a run over about *tiles* tiles, with its own settings."""
    from thor_geo.cli.predict import make_cli

    place = workspace(folder, tiles)
    data = make_cli(place.arguments()[1:], run=False).datamodule
    place.folder.rmdir()
    store = BlockStore(
        data.feed.spec.source.cache_dir,
        sensor=data.sensor,
        window=data.windows.span,
        catalogue=f"emulator-{Archive.open(folder / 'scenes').fingerprint()}",
    )
    plan = Plan.of(AreaSpec(**area(tiles)).load(), Lattice(epsg=32601, tile_size=_TILE))
    fill(store, plan, _BLOCK)


if __name__ == "__main__":
    sys.exit(main())
