"""How long a user waits for the first sign of life: help pages, imports, the first embedded tile.

    python -m benchmarks.startup [--quick]

Every command runs in a process of its own, in turns. Below the limits stand the floors: what other
packages take to be imported at all, alone in a fresh Python. Last, whose modules a run imports, and
on whose behalf.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks._timing import Timing, compare
from benchmarks.report import ROOT, Report
from thor_geo.emulator import ensure_archive

#: Environment variable of `_moments`, which is not imported here: it loads Lightning.
MOMENTS = "THOR_GEO_BENCHMARK_MOMENTS"

QUICKSTART = ("predict", "-c", "configs/quickstart.yaml")

#: Seconds that a user may wait, median.
LIMITS = {
    "thor-geo --help": 2.0,
    "import thor_geo": 0.5,
    "thor-geo predict --help": 2.0,
    "thor-geo fetch --help": 2.0,
    "quickstart, archive generated: first tile embedded": 25.0,
    "quickstart, archive there: first tile embedded": 25.0,
}

#: What a run imports of others, each alone in a fresh Python.
FLOORS = ("torch", "lightning.pytorch.cli", "torchgeo.datasets", "ee")

# Packages that take less than this much of a run's imports are not listed, seconds.
_LISTED_S = 0.05


def python(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run Python in the repository; return what it printed.

    Raises:
        RuntimeError: If it fails.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class FirstTile:
    """Runs the quickstart; keeps when each run came how far.

    Attributes:
        moments: Of each run, seconds after the command was given, by name.
    """

    def __init__(self, folder: Path, archive: Path | None) -> None:
        """Initialize a new FirstTile instance.

        Args:
            folder: For caches and run directories.
            archive: A generated archive; None has every run generate its own.
        """
        self._folder, self._archive = folder, archive
        self.moments: list[dict[str, float]] = []

    def __call__(self) -> None:
        """Run it once, with an empty cache."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            place = Path(name)
            archive = [] if self._archive is None else [f"--data.emulator_archive={self._archive}"]
            began = time.time()
            python(
                "-m",
                "thor_geo",
                *QUICKSTART,
                f"--data.cache_dir={place / 'cache'}",
                f"--output.dir={place / 'run'}",
                "--trainer.callbacks+=benchmarks._moments.Moments",
                *archive,
                env={MOMENTS: str(place / "moments.json")},
            )
            moments = json.loads((place / "moments.json").read_bytes())
            self.moments.append({what: at - began for what, at in moments.items()})
            self.moments[-1]["whole run"] = time.time() - began

    def timings(self) -> dict[str, Timing]:
        """Return how long after the command each moment was."""
        names = self.moments[0]
        return {what: Timing(seconds=tuple(run[what] for run in self.moments)) for what in names}


class Counted:
    """A call whose processes' CPU seconds are counted.

    Attributes:
        cpu: Of each call.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        """Initialize a new Counted instance.

        Args:
            call: Starts processes, and waits for them.
        """
        self._call = call
        self.cpu: list[float] = []

    def __call__(self) -> None:
        """Call it."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._call()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    @property
    def median(self) -> float:
        """Median over all calls, seconds."""
        return Timing(seconds=tuple(self.cpu)).median


def imported(log: str) -> tuple[dict[str, float], dict[str, str]]:
    """Read what ``python -X importtime`` wrote.

    Args:
        log: Its standard error.

    Returns:
        Seconds spent in each package's own modules, and the package that imported it first (empty:
        the command itself).
    """
    lines = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|( +)(\S+)$", log, re.MULTILINE)
    own: dict[str, float] = defaultdict(float)
    by: dict[str, str] = {}
    # A line follows those of the modules that it imports: read from the end, importers come first.
    above: list[str] = []
    first: dict[str, str] = {}
    for micros, indent, module in reversed(lines):
        package, depth = module.split(".")[0], len(indent) // 2
        del above[depth:]
        own[package] += int(micros) / 1e6
        importer = next((one for one in reversed(above) if one != package), "")
        first[package] = importer  # read backwards, the last one is the first
        above += [package] * (depth - len(above) + 1)
    for package in own:
        by[package] = first[package]
    return dict(own), by


def imports(arguments: list[str]) -> dict[str, str]:
    """Return the packages that a run's first process imports: seconds, and for whom."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "thor_geo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    own, by = imported(done.stderr)
    ours = sum(own.values())
    listed = sorted((one for one in own.items() if one[1] >= _LISTED_S), key=lambda one: -one[1])
    return {
        "imports of a run's first process, s": f"{ours:.2f} (slower than usual: they are traced)",
        **{
            f"of it {package}, s": f"{seconds:.2f}" + f", for {by[package]}" * bool(by[package])
            for package, seconds in listed
        },
    }


def measure_commands(report: Report, repeats: int) -> None:
    """Add the rows of help pages, and of imports."""
    lines = ("--help", "predict --help", "fetch --help", "status --help")
    counted = {
        "python alone": Counted(lambda: python("-c", "pass")),
        "import thor_geo": Counted(lambda: python("-c", "import thor_geo")),
        **{
            f"thor-geo {line}": Counted(lambda line=line: python("-m", "thor_geo", *line.split()))
            for line in lines
        },
        **{
            f"import {name}": Counted(lambda name=name: python("-c", f"import {name}"))
            for name in FLOORS
        },
    }
    for what, timing in compare(counted, repeats=repeats).items():
        add(report, what, timing, counted[what].median)


def measure_quickstart(report: Report, folder: Path, archive: Path, repeats: int) -> None:
    """Add the rows of the quickstart, moment by moment."""
    runs = {
        "archive generated": FirstTile(folder, None),
        "archive there": FirstTile(folder, archive),
    }
    counted = {case: Counted(run) for case, run in runs.items()}
    compare(counted, repeats=repeats, warm_up=0)
    for case, run in runs.items():
        for moment, timing in run.timings().items():
            cpu = counted[case].median if moment == "whole run" else None
            add(report, f"quickstart, {case}: {moment}", timing, cpu)


def add(report: Report, what: str, timing: Timing, cpu: float | None) -> None:
    """Add a row, and a fault if it exceeds its limit."""
    limit = LIMITS.get(what)
    row = timing.row(what)
    row["CPU s"], row["limit"] = cpu, limit
    row["ratio"] = None if limit is None else timing.median / limit
    report.rows.append(row)
    print(f"{what}: {timing.median:.2f} s", flush=True)
    if limit is not None and timing.median > limit:
        report.faults.append(f"{what}: {timing.median:.1f} s, more than {limit:g} s.")


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run each, nothing written")
    options = parser.parse_args()
    report = Report(
        name="startup",
        claim="Help pages are there within 2 s, `import thor_geo` within 0.5 s, and the first tile "
        "of the quickstart within 25 s of the command.",
        command="python -m benchmarks.startup",
        quick=options.quick,
        notes=[
            "Seconds. Medians are judged; ratio: the median to the limit. CPU s: of all processes "
            "of the command, median. Files have been read before: the very first start on a "
            "machine is slower by what its disk takes.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-startup-") as name:
        folder = Path(name)
        archive = ensure_archive(folder / "archive")
        measure_commands(report, 1 if options.quick else 3)
        measure_quickstart(report, folder, archive, 1 if options.quick else 3)
        report.figures |= imports(
            [
                *QUICKSTART,
                f"--data.cache_dir={folder / 'cache'}",
                f"--data.emulator_archive={archive}",
                f"--output.dir={folder / 'run'}",
            ]
        )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
