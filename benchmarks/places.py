"""How fast the chips of a table of places come, beside the tiles of an area.

Claim (docs/performance.md, "Places"): from a warm cache and with an encoder that costs nothing, a
run of 2,000 places embeds at no less than 0.9 of the tiles per second of a run over an area.

    python -m benchmarks.places            # 6 minutes on 2 cores
    python -m benchmarks.places --quick    # 64 places, once each: 1 minute

The runs take turns, on pixels of the same kind in one cache.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.support import predicting
from benchmarks.support.ground import Ground
from benchmarks.support.place_ground import PlaceGround
from benchmarks.support.predicting import Settings
from benchmarks.support.report import Report, parser
from benchmarks.support.side import Side
from benchmarks.support.timing import compare
from thor_geo.cli.main import ENVIRONMENT

#: Least rate of places over that of tiles, and how many there are.
WANTED, PLACES = 0.9, 2_000

AREA = "tiles of an area"
SPREADS: tuple[Literal["scattered", "dense"], ...] = ("scattered", "dense")

NOTES = (
    "Vectors alone; tiles and chips of 288 px, shards of 64, batches of 32, two workers. A phase "
    "is counted from before the workers start until the last marker is written.",
    "Scattered places have a block of their own each, in 22 windows; dense ones lie on the area's "
    "blocks and in its window: four to a block, and each chip on up to four of them.",
    "Both have an id and two more columns, which are written beside the vectors.",
)


def embed(us: Side, settings: Settings, out: Path) -> float:
    """Run the command; return the seconds of its predict phase."""
    taken: dict[str, float] = us(predicting.predict, settings, out)
    return taken["phase"]


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "64 places, once each").parse_args().quick
    count, (across, down), repeats = (64, (1, 1), 1) if quick else (PLACES, (8, 4), 5)
    report = Report(
        name="places",
        claim="From a warm cache and with an encoder that costs nothing, a run of "
        f"{count:,} places embeds at no less than {WANTED} of the tiles per second of a run over "
        "an area.",
        quick=quick,
        notes=list(NOTES),
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-places-") as name:
        folder, us = Path(name), Side(ENVIRONMENT)
        ground = Ground(folder=folder / "ground", across=across, down=down)
        grounds: dict[str, Ground | PlaceGround] = {AREA: ground}
        for spread in SPREADS:
            grounds[f"{spread} places"] = PlaceGround(ground=ground, count=count, spread=spread)
        try:
            us(predicting.start)
            calls: dict[str, Callable[[], float]] = {}
            for what, each in grounds.items():
                us(type(each).fill, each)
                settings = Settings(ground=each, model_key=None, grid=False)
                calls[what] = partial(embed, us, settings, folder / "out")
            timings = compare(calls, repeats=repeats, warm_up=0)
        finally:
            us.close()
    rates = {what: grounds[what].tiles / timing.median for what, timing in timings.items()}
    for what, timing in timings.items():
        report.add(
            {
                "what": what,
                "tiles or places": grounds[what].tiles,
                **timing.seconds_row(),
                "each/s": rates[what],
                "share of the area's rate": rates[what] / rates[AREA],
            }
        )
        if rates[what] < WANTED * rates[AREA]:
            report.faults.append(
                f"{what}: {rates[what] / rates[AREA]:.2f} of the area's rate, {WANTED} is wanted."
            )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
