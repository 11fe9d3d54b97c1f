"""Peak memory of every process of a run at 1,000 and at 10,000 tiles.

`python -m benchmarks.chaos.memory [--quick]`
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos._common import Started, Workspace, end_on_sigterm
from benchmarks.report import Report
from thor_geo.emulator import Acquisition, ensure_archive
from thor_geo.ground.area import LONLAT, transformer

_FEW, _MANY = 1_000, 10_000
_ALLOWED = 0.10
_LOOK_S = 0.1
_TILE, _EPSG, _CENTER = 32, 32633, (15.0, 60.0)
_LATTICE_M = 120

_ROLES = ("main", "prefetch", "worker")


@dataclass(kw_only=True)
class Peak:
    """The largest memory of the processes of one role, MB.

    Attributes:
        resident: Resident set, with the pages of libraries and those shared with the parent.
        private: Its part that is no file's and no shared memory's.
    """

    resident: float = 0.0
    private: float = 0.0


def peaks(started: Started) -> dict[str, Peak]:
    """Wait for a command, and return the peaks of its processes by role."""
    found: dict[str, Peak] = {}
    while started.running:
        for one in started.processes():
            peak = found.setdefault(one.role, Peak())
            peak.resident = max(peak.resident, one.peak_kb / 1000)
            peak.private = max(peak.private, one.private_kb / 1000)
        time.sleep(_LOOK_S)
    return found


def area(tiles: int) -> str:
    """Return a box in UTM metres around the middle with about *tiles* tiles, as an argument."""
    x, y = transformer(LONLAT, f"EPSG:{_EPSG}").transform(*_CENTER)
    half = round(math.sqrt(tiles)) * _TILE * 10 / 2 - 1
    box = [round(v) for v in (x - half, y - half, x + half, y + half)]
    return f"{{bbox: {box}, crs: 'EPSG:{_EPSG}'}}"


def workspace(folder: Path, tiles: int, name: str) -> Workspace:
    """Return the run over *tiles* small tiles.

    Args:
        folder: Folder of the campaign, with scenes that are enough for all its runs.
        tiles: About how many.
        name: Of the run's own folder.
    """
    place = folder / name
    place.mkdir(exist_ok=True)
    return Workspace(
        folder=place,
        cache_in=folder / f"cache-{tiles}",
        settings={
            "data.emulator_archive": folder / "scenes",
            "data.area": area(tiles),
            "data.area.bbox": None,
            "data.tile_size": _TILE,
            "data.shard_tiles": 8,
            "data.block_size": 2 * _TILE,
            "data.batch_size": 32,
            "data.num_workers": 2,
            "model.patch_size": 16,
        },
    )


def measure(place: Workspace) -> tuple[Mapping[str, Peak], float, int]:
    """Run once; return the peaks, the seconds and the number of tiles.

    Raises:
        RuntimeError: If the run fails.
    """
    started = place.start()
    found = peaks(started)
    done = started.wait()
    if done.code != 0:
        raise RuntimeError(f"A run failed: {done.said}")
    plan = json.loads((place.run / "run.json").read_bytes())["plan"]
    return found, done.seconds, int(plan["tiles"])


def run(few: int, many: int, *, quick: bool) -> int:
    """Run the campaign.

    Args:
        few: Tiles of the small runs.
        many: Tiles of the large runs.
        quick: Whether this is the short form.
    """
    report = Report(
        name="chaos_memory",
        claim=(
            f"Peak resident memory of main, prefetch and worker processes at {many:,} tiles is "
            f"within {_ALLOWED:.0%} of that at {few:,}."
        ),
        command="python -m benchmarks.chaos.memory",
        quick=quick,
        notes=[
            f"Tiles of {_TILE} px, blocks of {2 * _TILE} px (4 tiles each, as by default), shards "
            "of 8 x 8 tiles, THOR tiny, pooled vectors and grids, two workers; MB is 10^6 bytes.",
            "Peak: VmHWM, which the kernel keeps. Private: the most anonymous memory that was seen "
            f"(RssAnon, every {_LOOK_S:g} s); the rest are files and pages shared with the parent.",
            "A run before these, not shown, has warmed the disk's cache.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-memory-") as name:
        folder = Path(name)
        # Wide enough for the lattice's shifts, and on the generator's own lattice.
        side = math.ceil((math.sqrt(many) + 4) * _TILE * 10 / _LATTICE_M) * _LATTICE_M
        ensure_archive(
            folder / "scenes",
            center=_CENTER,
            size_m=side,
            zones=(_EPSG,),
            acquisitions=(Acquisition(date="2022-06-05", cloud_cover=0.1),),
        )
        measure(workspace(folder, 64, "warm-up"))
        found: dict[tuple[str, int], Mapping[str, Peak]] = {}
        for cache in ("cold", "warm"):
            for tiles in (few, many):
                place = workspace(folder, tiles, f"{cache}-{tiles}")
                found[cache, tiles], seconds, planned = measure(place)
                report.figures[f"{cache} cache, tiles and seconds, {tiles:,}"] = (
                    planned,
                    round(seconds, 1),
                )
                print(cache, planned, found[cache, tiles], f"{seconds:.0f} s", flush=True)
            for role in _ROLES:
                small, large = (found[cache, tiles][role] for tiles in (few, many))
                growth = large.resident / small.resident - 1
                report.rows.append(
                    {
                        "process": role,
                        "cache": cache,
                        f"peak at {few:,}, MB": round(small.resident, 1),
                        f"peak at {many:,}, MB": round(large.resident, 1),
                        "growth": f"{growth:+.1%}",
                        f"private at {few:,}, MB": round(small.private, 1),
                        f"private at {many:,}, MB": round(large.private, 1),
                    }
                )
                if growth > _ALLOWED:
                    report.faults.append(f"{role}, {cache} cache: grows by {growth:.1%}")
    return report.finish()


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, nothing written")
    options = parser.parse_args()
    end_on_sigterm()
    few, many = (_FEW // 10, _MANY // 10) if options.quick else (_FEW, _MANY)
    return run(few, many, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
