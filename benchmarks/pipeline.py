"""How much of the time of a whole run is not the encoder's.

    python -m benchmarks.pipeline

Four questions, each with both sides in this run, in turns, on the same pixels:

* overhead: the predict phase of `thor-geo predict` from a warm cache, against its encoder alone on
  the same batches in memory
* ceiling: tiles a second with an encoder that costs nothing, against TerraTorch's
  EmbeddingGenerationTask on the same tiles as GeoTIFF chips
* tiny: the same with thor_v1_tiny, the same weights on both sides
* cold: nothing in the cache and half a second for every answer, against fetching alone and
  computing alone
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks import _pipeline_cold as cold
from benchmarks import _pipeline_ours as ours
from benchmarks import _pipeline_theirs as theirs
from benchmarks._pipeline_data import Ground
from benchmarks._timing import Timing
from benchmarks.report import Report
from thor_geo.cli.main import ENVIRONMENT

#: Most that the phase may take beyond the encoder alone.
OVERHEAD = {"thor_v1_base": 0.03, "thor_v1_tiny": 0.08}
#: Least factor over TerraTorch with an encoder that costs nothing, and with thor_v1_tiny.
CEILING, TINY = 10.0, 1.1
#: Largest difference of two sides' vectors, and most of a cold run over its longer half.
TOLERANCE, COLD = 1e-5, 0.10

WORKERS, CORES = 2, 2
#: What is compared.
OURS, THEIRS, ALONE = "thor-geo predict", "TerraTorch", "the encoder alone"
#: Floors: what must be done in any case.
READING = "floor: reading and normalising alone, if two cores shared it out evenly"
PACKING = "floor: packing and writing the maps alone"
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


def _like_a_command() -> None:
    # A spawned process would spawn its DataLoader's workers, too, with all their imports.
    multiprocessing.set_start_method(None, force=True)


class Side:
    """A process of its own that does what it is told: one for ours, one for TerraTorch's."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start the process.

        Args:
            environment: What the command sets for libraries that read it when they are loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            max_workers=1, mp_context=context, initializer=_like_a_command
        )
        with patch.dict(os.environ, {**environment, **os.environ}):
            self(os.getpid)  # starts it

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a function of a module returns there."""
        return self._pool.submit(call, *args, **kwargs).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def in_turns(
    alternatives: Mapping[str, Callable[[], float]], repeats: Mapping[str, int]
) -> dict[str, Timing]:
    """Call alternatives in turns; each says itself how long it took."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    names = list(alternatives)
    for turn in range(max(repeats.values())):
        first = turn % len(names)  # another one goes first in every turn
        for name in names[first:] + names[:first]:
            if turn < repeats[name]:
                seconds[name].append(alternatives[name]())
    return {name: Timing(seconds=tuple(found)) for name, found in seconds.items()}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the parts share.

    Attributes:
        report: Where rows and faults go.
        ground: What is cached.
        chips: The same tiles as files.
        out: Where runs write.
        quick: Whether to do little.
        us: Process of ours.
        them: Process of TerraTorch's.
    """

    report: Report
    ground: Ground
    chips: Path
    out: Path
    quick: bool
    us: Side
    them: Side

    def row(self, part: str, what: str, tiles: int, timing: Timing, against: Timing) -> None:
        """Add a row; its ratio is this one's median over the other's."""
        self.report.rows.append(
            {
                "part": part,
                "what": what,
                "tiles": tiles,
                "median s": timing.median,
                "min s": timing.min,
                "max s": timing.max,
                "repeats": len(timing.seconds),
                "tiles/s": tiles / timing.median,
                "ratio": timing.median / against.median,
            }
        )

    def ours(self, settings: ours.Settings) -> float:
        """Run the command; return the phase's seconds."""
        told: dict[str, float] = self.us(ours.predict, settings, self.out / "ours")
        self.report.figures.setdefault(
            "seconds before the first phase, imports not counted", round(told["before"], 1)
        )
        return told["phase"]

    def theirs(self, model_key: str | None, *, grid: bool) -> float:
        """Run TerraTorch's task; return the phase's seconds."""
        out = self.out / "theirs"
        told: dict[str, float] = self.them(
            theirs.predict, self.chips, out, model_key=model_key, grid=grid, workers=WORKERS
        )
        return told["phase"]

    def overhead(self) -> None:
        """Time the whole against the encoder alone."""
        sizes = {"thor_v1_tiny": (4, 2, 3), "thor_v1_base": (2, 1, 2)}
        for model_key, (across, down, repeats) in sizes.items():
            ground = self.ground.part(1, 1) if self.quick else self.ground.part(across, down)
            settings = ours.Settings(ground=ground, model_key=model_key)
            alternatives = {
                ALONE: lambda s=settings: self.us(ours.encode, s),
                OURS: lambda s=settings: self.ours(s),
                READING: lambda g=ground: self.read(g),
            }
            turns = 1 if self.quick else repeats
            times = in_turns(alternatives, {ALONE: turns, OURS: turns, READING: 1})
            alone = times[ALONE]
            for what, timing in times.items():
                self.row(f"overhead, {model_key}", what, ground.tiles, timing, alone)
            share = times[OURS].median / alone.median - 1
            self.report.figures[f"overhead of {model_key}, %"] = round(100 * share, 1)
            if share > OVERHEAD[model_key]:
                self.report.faults.append(
                    f"{model_key}: {share:.1%} beyond the encoder alone, at most "
                    f"{OVERHEAD[model_key]:.0%} is wanted. Floor: reading and normalising on the "
                    f"same cores, {times[READING].median / alone.median:.1%}."
                )

    def ceiling(self) -> None:
        """Time both sides with an encoder that costs nothing."""
        for name, grid in (("pooled", False), ("grid", True)):
            settings = ours.Settings(
                ground=self.ground, model_key=None, pooled=not grid, grid=grid, workers=WORKERS
            )
            half = replace(settings, extra=("--output.dtype=float16",))
            turns = 1 if self.quick else 3
            alternatives = {
                THEIRS: lambda g=grid: self.theirs(None, grid=g),
                OURS: lambda s=settings: self.ours(s),
            }
            repeats = {THEIRS: 1, OURS: turns}
            if grid:
                alternatives["the same, float16"] = lambda s=half: self.ours(s)
                alternatives[PACKING] = self.pack
                repeats |= {"the same, float16": turns, PACKING: 1}
            else:
                alternatives[READING] = lambda: self.read(self.ground)
                repeats[READING] = 1
            times = in_turns(alternatives, repeats)
            for what, timing in times.items():
                self.row(f"ceiling, {name}", what, self.ground.tiles, timing, times[THEIRS])
            factor = times[THEIRS].median / times[OURS].median
            self.report.figures[f"ceiling, {name}: times TerraTorch's tiles/s"] = round(factor, 1)
            if factor < CEILING:
                floor = times[PACKING if grid else READING].median
                self.report.faults.append(
                    f"{name}: {factor:.1f} times TerraTorch's tiles/s, {CEILING:.0f} are wanted. "
                    f"Floor: {times[THEIRS].median / floor:.1f} times with "
                    f"{'packing' if grid else 'reading and normalising'} alone."
                )

    def read(self, ground: Ground) -> float:
        """Read and normalise tiles alone; return half the seconds of one thread."""
        seconds: float = self.us(ours.read, ground)
        return seconds / CORES

    def pack(self) -> float:
        """Pack and write the maps alone; return the seconds."""
        seconds: float = self.us(ours.pack, self.ground, self.out / "pack")
        return seconds

    def tiny(self) -> None:
        """Time both sides with the same small encoder, and compare what they wrote."""
        settings = ours.Settings(
            ground=self.ground, model_key="thor_v1_tiny", grid=False, workers=WORKERS
        )
        alternatives = {
            THEIRS: lambda: self.theirs("thor_v1_tiny", grid=False),
            OURS: lambda: self.ours(settings),
        }
        times = in_turns(alternatives, dict.fromkeys(alternatives, 1 if self.quick else 2))
        for what, timing in times.items():
            self.row("tiny, pooled", what, self.ground.tiles, timing, times[THEIRS])
        factor = times[THEIRS].median / times[OURS].median
        self.report.figures["thor_v1_tiny: times TerraTorch's speed"] = round(factor, 2)
        if factor < TINY:
            self.report.faults.append(
                f"thor_v1_tiny: {factor:.2f} times TerraTorch's speed, {TINY} are wanted."
            )
        found = self.us(ours.vectors, self.out / "ours")
        wanted = self.them(theirs.vectors, self.out / "theirs")
        difference = largest_difference(found, wanted)
        self.report.figures["largest difference of the vectors"] = float(f"{difference:.2g}")
        if not difference <= TOLERANCE:
            self.report.faults.append(f"The two sides' vectors differ by up to {difference:.2g}.")

    def cold(self) -> None:
        """Time a run that must fetch first."""
        told: dict[str, float] = self.us(cold.measure, self.out / "cold", quick=self.quick)
        tiles, longer = cold.TILES, max(told["fetch"], told["warm"])
        names = {
            "fetch": "fetching alone",
            "warm": "computing alone (warm cache)",
            "cold": "thor-geo predict, cold cache",
        }
        against = Timing(seconds=(longer,))
        for key, what in names.items():
            part = "cold, 0.5 s an answer"
            self.row(part, what, tiles, Timing(seconds=(told[key],)), against)
        share = told["cold"] / longer - 1
        self.report.figures["cold run beyond the longer of its halves, %"] = round(100 * share, 1)
        self.report.figures["CPU seconds of the emulator in the cold run"] = round(
            told["emulator"], 1
        )
        if share > COLD:
            self.report.faults.append(
                f"The cold run takes {share:.1%} more than the longer of fetching and computing, "
                f"at most {COLD:.0%} is wanted."
            )


def largest_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> float:
    """Return the largest difference of any element; infinite if the ids differ."""
    if set(found) != set(wanted):
        return float("inf")
    return max(float(np.abs(found[name] - wanted[name]).max()) for name in wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few tiles, once each")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="writes nothing")
    options = parser.parse_args()
    report = Report(
        name="pipeline",
        claim="The predict phase from a warm cache takes at most "
        f"{OVERHEAD['thor_v1_base']:.0%} more than its encoder for thor_v1_base and "
        f"{OVERHEAD['thor_v1_tiny']:.0%} for thor_v1_tiny; with an encoder that costs nothing it "
        f"is {CEILING:.0f} times as fast as TerraTorch's embedding task, with thor_v1_tiny {TINY} "
        f"times, with equal vectors; from a cold cache it takes at most {COLD:.0%} more than the "
        "longer of fetching and computing.",
        command="python -m benchmarks.pipeline",
        quick=options.quick or tuple(options.only) != PARTS,
    )
    report.notes += NOTES
    with tempfile.TemporaryDirectory(prefix="thor-geo-pipeline-") as name:
        folder = Path(name)
        size = (1, 1) if options.quick else (4, 2)
        ground = Ground(folder=folder / "ground", across=size[0], down=size[1])
        us, them = Side(ENVIRONMENT), Side({})
        try:
            began = time.perf_counter()
            us(ours.start)
            seconds = round(time.perf_counter() - began, 1)
            report.figures["seconds of a new process with the command's imports"] = seconds
            us(Ground.fill, ground)
            if {"ceiling", "tiny"} & set(options.only):
                us(Ground.write_chips, ground, folder / "chips")
                them(theirs.start)
            bench = Bench(
                report=report,
                ground=ground,
                chips=folder / "chips",
                out=folder / "out",
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
