"""Peak memory of every process of a run at 1,000 and at 10,000 tiles.

Claim (docs/performance.md, "Memory and large runs"): the peak resident memory of main, prefetch and
worker processes at 10,000 tiles is within 10 % of that at 1,000.

    python -m benchmarks.chaos.memory            # 4 minutes
    python -m benchmarks.chaos.memory --quick    # a tenth of the tiles: 2 minutes
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

from benchmarks.support import small_tiles
from benchmarks.support.report import Report, parser
from benchmarks.support.runs import end_on_sigterm
from benchmarks.support.small_tiles import ROLES, TILE, Sample

_FEW, _MANY = 1_000, 10_000
_ALLOWED = 0.10
_LOOK_S = 0.1
_LATTICE_M = 120


def measure(folder: Path, tiles: int, cache: str) -> tuple[Sample, float, int]:
    """Run once; return the last sample, the seconds and the number of tiles."""
    place = small_tiles.workspace(
        folder,
        tiles,
        name=f"{cache}-{tiles}",
        cache=folder / f"cache-{tiles}",
        block_size=2 * TILE,
    )
    samples, done, planned = small_tiles.measure(place, _LOOK_S)
    return samples[-1], done.seconds, planned


def main() -> int:
    """Run the campaign; return the exit code."""
    quick = parser(__doc__, "a tenth of the tiles").parse_args().quick
    end_on_sigterm()
    few, many = (_FEW // 10, _MANY // 10) if quick else (_FEW, _MANY)
    report = Report(
        name="chaos_memory",
        claim="Peak resident memory of main, prefetch and worker processes at "
        f"{many:,} tiles is within {_ALLOWED:.0%} of that at {few:,}.",
        quick=quick,
        notes=[
            f"Tiles of {TILE} px, blocks of {2 * TILE} px (4 tiles each, as by default), shards "
            "of 8 x 8 tiles, THOR tiny, pooled vectors and grids, two workers; MB is 10^6 bytes.",
            "Peak: VmHWM, which the kernel keeps. Private: the most anonymous memory that was seen "
            f"(RssAnon, every {_LOOK_S:g} s); the rest are files and pages shared with the parent.",
            "A run before these, not shown, has warmed the disk's cache.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-memory-") as name:
        folder = Path(name)
        # Wide enough for the lattice's shifts, and on the generator's own lattice.
        side = math.ceil((math.sqrt(many) + 4) * TILE * 10 / _LATTICE_M) * _LATTICE_M
        small_tiles.write_archive(folder, side)
        measure(folder, 64, "warm-up")
        for cache in ("cold", "warm"):
            small, large = (_measured(report, folder, tiles, cache) for tiles in (few, many))
            for role in ROLES:
                growth = large.peaks[role] / small.peaks[role] - 1
                row = {
                    "process": role,
                    "cache": cache,
                    f"peak at {few:,}, MB": round(small.peaks[role], 1),
                    f"peak at {many:,}, MB": round(large.peaks[role], 1),
                    "growth": f"{growth:+.1%}",
                    f"private at {few:,}, MB": round(small.private[role], 1),
                    f"private at {many:,}, MB": round(large.private[role], 1),
                }
                grown = f"{role}, {cache} cache: grows by {growth:.1%}"
                report.add(row, [grown] if growth > _ALLOWED else [])
    return report.finish()


def _measured(report: Report, folder: Path, tiles: int, cache: str) -> Sample:
    sample, seconds, planned = measure(folder, tiles, cache)
    name = f"{cache} cache, tiles and seconds, {tiles:,}"
    report.figures[name] = (planned, round(seconds, 1))
    return sample


if __name__ == "__main__":
    sys.exit(main())
