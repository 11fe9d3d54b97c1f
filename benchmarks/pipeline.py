"""How much of the time of a whole run is not the encoder's, and how it compares with TerraTorch.

Claims (docs/performance.md, "A whole run"): the predict phase from a warm cache takes at most 3 %
(base) and 8 % (tiny) more than its encoder alone; with an encoder that costs nothing it is 10 times
as fast as TerraTorch's embedding task, with tiny 1.1 times, with equal vectors; from a cold cache
it takes at most 10 % more than the longer of fetching and computing.

    python -m benchmarks.pipeline                   # 16 minutes on 2 cores
    python -m benchmarks.pipeline --quick           # few tiles, once each: 5 minutes
    python -m benchmarks.pipeline --only overhead   # one of: overhead, ceiling, tiny, cold

All sides take turns in this run, on the same pixels.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support import cold, terratorch
from benchmarks.support import predicting as ours
from benchmarks.support.ground import Ground
from benchmarks.support.report import Report, parser
from benchmarks.support.side import Side
from benchmarks.support.timing import Timing, compare
from thor_geo.cli.main import ENVIRONMENT

#: Most that the phase may take beyond the encoder alone.
OVERHEAD = {"thor_v1_base": 0.03, "thor_v1_tiny": 0.08}
#: Least factor over TerraTorch with an encoder that costs nothing, and with thor_v1_tiny.
CEILING, TINY = 10.0, 1.1
#: Largest difference of two sides' vectors, and most of a cold run over its longer half.
TOLERANCE, COLD = 1e-5, 0.10

WORKERS = 2
#: What is compared.
OURS, THEIRS, ALONE = "thor-geo predict", "TerraTorch", "the encoder alone"
PARTS = ("overhead", "ceiling", "tiny", "cold")

NOTES = (
    "A phase is counted from before Lightning starts the DataLoader's workers until the last "
    "marker (or TerraTorch's last file) is written: forking, reading, normalising, encoding, "
    "pooling, merging, collecting, packing, checksums, syncing to the disk, the progress bar, the "
    "summary. Before it: imports, parsing, planning, signing in, weights, opening the run, warming "
    "nothing. Quicklooks are off.",
    "The encoder alone gets the batches of the run, normalised, in memory, on the same threads; "
    "tokens are neither pooled nor merged nor kept.",
    "Ours runs with what the command sets for its libraries (OMP_WAIT_POLICY=PASSIVE, "
    "THP_MEM_ALLOC_ENABLE=1), the encoder alone too; TerraTorch as its own command would.",
    "TerraTorch reads every chip twice, the second time as a mask that it does not use, and runs "
    "the first batch twice, to describe it: there is no switch for either. It is asked for no "
    "georeference; its chips are not compressed. Ours writes georeferenced files with checksums.",
    "In `cold` the emulator and the fetching process share the two cores with the encoder; three "
    "requests in flight make fetching take about as long as computing.",
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the parts share.

    Attributes:
        report: Where rows and faults go.
        ground: What is cached.
        folder: For runs, and chips: the same tiles as files.
        quick: Whether to do little.
        us: Process of ours.
        them: Process of TerraTorch's.
    """

    report: Report
    ground: Ground
    folder: Path
    quick: bool
    us: Side
    them: Side

    def compare(
        self,
        part: str,
        tiles: int,
        calls: Mapping[str, Callable[[], float]],
        repeats: Mapping[str, int],
    ) -> dict[str, Timing]:
        """Time calls in turns; add a row for each, whose ratio is to the first."""
        turns = {name: 1 if self.quick else repeats[name] for name in calls}
        timings = compare(calls, repeats=turns, warm_up=0)
        first = next(iter(timings.values()))
        for what, timing in timings.items():
            self.row(part, what, tiles, timing, first)
        return timings

    def row(self, part: str, what: str, tiles: int, timing: Timing, against: Timing) -> None:
        """Add a row."""
        self.report.add(
            {
                "part": part,
                "what": what,
                "tiles": tiles,
                **timing.seconds_row(),
                "tiles/s": tiles / timing.median,
                "ratio": timing.median / against.median,
            }
        )

    def ours(self, settings: ours.Settings) -> float:
        """Run the command; return the phase's seconds."""
        taken: dict[str, float] = self.us(ours.predict, settings, self.folder / "ours")
        self.report.figures.setdefault(
            "seconds before the first phase, imports not counted", round(taken["before"], 1)
        )
        return taken["phase"]

    def theirs(self, model_key: str | None, *, grid: bool) -> float:
        """Run TerraTorch's task; return the phase's seconds."""
        chips, out = self.folder / "chips", self.folder / "theirs"
        seconds: float = self.them(
            terratorch.predict, chips, out, model_key=model_key, grid=grid, workers=WORKERS
        )
        return seconds

    def overhead(self) -> None:
        """Time the whole against the encoder alone."""
        sizes = {"thor_v1_tiny": (4, 2, 3), "thor_v1_base": (2, 1, 2)}
        for model_key, (across, down, repeats) in sizes.items():
            ground = self.ground.part(1, 1) if self.quick else self.ground.part(across, down)
            settings = ours.Settings(ground=ground, model_key=model_key)
            calls = {
                ALONE: lambda s=settings: self.us(ours.encode, s),
                OURS: lambda s=settings: self.ours(s),
            }
            part = f"overhead, {model_key}"
            timings = self.compare(part, ground.tiles, calls, dict.fromkeys(calls, repeats))
            share = timings[OURS].median / timings[ALONE].median - 1
            self.report.figures[f"overhead of {model_key}, %"] = round(100 * share, 1)
            if share > OVERHEAD[model_key]:
                self.report.faults.append(
                    f"{model_key}: {share:.1%} beyond the encoder alone, at most "
                    f"{OVERHEAD[model_key]:.0%} is wanted."
                )

    def ceiling(self) -> None:
        """Time both sides with an encoder that costs nothing."""
        for name, grid in (("pooled", False), ("grid", True)):
            settings = ours.Settings(
                ground=self.ground, model_key=None, pooled=not grid, grid=grid, workers=WORKERS
            )
            calls = {
                THEIRS: lambda g=grid: self.theirs(None, grid=g),
                OURS: lambda s=settings: self.ours(s),
            }
            timings = self.compare(
                f"ceiling, {name}", self.ground.tiles, calls, {THEIRS: 1, OURS: 3}
            )
            factor = timings[THEIRS].median / timings[OURS].median
            self.report.figures[f"ceiling, {name}: times TerraTorch's tiles/s"] = round(factor, 1)
            if factor < CEILING:
                self.report.faults.append(
                    f"{name}: {factor:.1f} times TerraTorch's tiles/s, {CEILING:.0f} are wanted."
                )

    def tiny(self) -> None:
        """Time both sides with the same small encoder, and compare what they wrote."""
        settings = ours.Settings(
            ground=self.ground, model_key="thor_v1_tiny", grid=False, workers=WORKERS
        )
        calls = {
            THEIRS: lambda: self.theirs("thor_v1_tiny", grid=False),
            OURS: lambda: self.ours(settings),
        }
        timings = self.compare("tiny, pooled", self.ground.tiles, calls, dict.fromkeys(calls, 2))
        factor = timings[THEIRS].median / timings[OURS].median
        self.report.figures["thor_v1_tiny: times TerraTorch's speed"] = round(factor, 2)
        if factor < TINY:
            self.report.faults.append(
                f"thor_v1_tiny: {factor:.2f} times TerraTorch's speed, {TINY} are wanted."
            )
        difference = largest_difference(
            self.us(ours.vectors, self.folder / "ours"),
            self.them(terratorch.vectors, self.folder / "theirs"),
        )
        self.report.figures["largest difference of the vectors"] = float(f"{difference:.2g}")
        if not difference <= TOLERANCE:
            self.report.faults.append(f"The two sides' vectors differ by up to {difference:.2g}.")

    def cold(self) -> None:
        """Time a run that must fetch first."""
        taken: dict[str, float] = self.us(cold.measure, self.folder / "cold", quick=self.quick)
        names = {
            "fetch": "fetching alone",
            "warm": "computing alone (warm cache)",
            "cold": "thor-geo predict, cold cache",
        }
        longer = Timing(seconds=(max(taken["fetch"], taken["warm"]),))
        for key, what in names.items():
            timing = Timing(seconds=(taken[key],))
            self.row(f"cold, {cold.LATENCY_S} s an answer", what, cold.TILES, timing, longer)
        share = taken["cold"] / longer.median - 1
        self.report.figures["cold run beyond the longer of its halves, %"] = round(100 * share, 1)
        self.report.figures["CPU seconds of the emulator in the cold run"] = round(
            taken["emulator"], 1
        )
        if share > COLD:
            self.report.faults.append(
                f"The cold run takes {share:.1%} more than the longer of fetching and computing, "
                f"at most {COLD:.0%} is wanted."
            )


def largest_difference(vectors: Mapping[str, Any], others: Mapping[str, Any]) -> float:
    """Return the largest difference of any element; infinite if the ids differ."""
    if set(vectors) != set(others):
        return float("inf")
    return max(float(np.abs(vectors[name] - others[name]).max()) for name in others)


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__, "few tiles, once each")
    arguments.add_argument(
        "--only", choices=PARTS, nargs="+", default=PARTS, help="some parts; writes nothing"
    )
    options = arguments.parse_args()
    report = Report(
        name="pipeline",
        claim="The predict phase from a warm cache takes at most "
        f"{OVERHEAD['thor_v1_base']:.0%} more than its encoder for thor_v1_base and "
        f"{OVERHEAD['thor_v1_tiny']:.0%} for thor_v1_tiny; with an encoder that costs nothing it "
        f"is {CEILING:.0f} times as fast as TerraTorch's embedding task, with thor_v1_tiny {TINY} "
        f"times, with equal vectors; from a cold cache it takes at most {COLD:.0%} more than the "
        "longer of fetching and computing.",
        quick=options.quick or tuple(options.only) != PARTS,
        notes=list(NOTES),
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-pipeline-") as name:
        folder = Path(name)
        across, down = (1, 1) if options.quick else (4, 2)
        ground = Ground(folder=folder / "ground", across=across, down=down)
        us, them = Side(ENVIRONMENT), Side({})
        try:
            us(ours.start)
            us(Ground.fill, ground)
            if {"ceiling", "tiny"} & set(options.only):
                us(Ground.write_chips, ground, folder / "chips")
                them(terratorch.start)
            bench = Bench(
                report=report,
                ground=ground,
                folder=folder,
                quick=options.quick,
                us=us,
                them=them,
            )
            for part in options.only:
                getattr(bench, part)()
        finally:
            us.close()
            them.close()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
