"""How long a user waits for a help page, an import, and the first embedded tile.

Claim (docs/performance.md, "First tile"): help pages appear within 2 s, `import thor_geo` takes at
most 0.5 s, and the first tile of the quickstart is embedded within 25 s of the command.

    python -m benchmarks.startup            # 3 minutes
    python -m benchmarks.startup --quick    # one run of each: one minute

Every command runs in a process of its own, in turns. Beside the limits stand the imports that no
run can avoid, each alone in a fresh Python.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.support.commands import emulator, quickstart
from benchmarks.support.processes import Usage, python
from benchmarks.support.report import Report, parser
from benchmarks.support.timing import Timing, compare
from thor_geo.emulator import ensure_archive

#: Environment variable of `support.moments`, which is not imported here: it loads Lightning.
MOMENTS = "THOR_GEO_BENCHMARK_MOMENTS"

#: Seconds that a user may wait, median.
LIMITS = {
    "thor-geo --help": 2.0,
    "import thor_geo": 0.5,
    "thor-geo predict --help": 2.0,
    "thor-geo fetch --help": 2.0,
    "quickstart, archive generated: first tile embedded": 25.0,
    "quickstart, archive there: first tile embedded": 25.0,
}

#: Other packages that a run imports.
IMPORTS = ("torch", "lightning.pytorch.cli", "torchgeo.datasets", "ee")


class Counted:
    """A call that runs Python, and whose CPU seconds are kept."""

    def __init__(self, call: Callable[[], Usage]) -> None:
        self._call = call
        self.cpu: list[float] = []

    def __call__(self) -> None:
        """Call it."""
        self.cpu.append(self._call().cpu)

    @property
    def median(self) -> float:
        """Median over all calls, seconds."""
        return Timing(seconds=tuple(self.cpu)).median


class FirstTile:
    """Runs the quickstart with an empty cache; keeps when each run reached which moment.

    Attributes:
        moments: For each run, seconds after the command was given, by name.
    """

    def __init__(self, folder: Path, archive: Path | None) -> None:
        """Initialize a new FirstTile instance.

        Args:
            folder: For caches and run directories.
            archive: A generated archive; with None every run generates its own.
        """
        self._folder, self._archive = folder, archive
        self.moments: list[dict[str, float]] = []

    def __call__(self) -> Usage:
        """Run it once."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            place = Path(name)
            settings = {
                "data.cache_dir": place / "cache",
                "output.dir": place / "run",
                "trainer.callbacks+": "benchmarks.support.moments.Moments",
                **({} if self._archive is None else emulator(self._archive)),
            }
            began = time.time()
            env = {MOMENTS: str(place / "moments.json")}
            usage = python("-m", "thor_geo", *quickstart(settings), env=env)
            moments = json.loads((place / "moments.json").read_bytes())
            self.moments.append({what: when - began for what, when in moments.items()})
            self.moments[-1]["whole run"] = usage.seconds
        return usage


def measure_commands(report: Report, repeats: int) -> None:
    """Add the rows of help pages and imports."""
    lines = ("--help", "predict --help", "fetch --help", "status --help")
    calls = {
        "python alone": Counted(lambda: python("-c", "pass")),
        **{
            f"import {name}": Counted(lambda name=name: python("-c", f"import {name}"))
            for name in ("thor_geo", *IMPORTS)
        },
        **{
            f"thor-geo {line}": Counted(lambda line=line: python("-m", "thor_geo", *line.split()))
            for line in lines
        },
    }
    for what, timing in compare(calls, repeats=repeats).items():
        add(report, what, timing, calls[what].median)


def measure_quickstart(report: Report, folder: Path, archive: Path, repeats: int) -> None:
    """Add the rows of the quickstart, moment by moment."""
    runs = {
        "archive generated": FirstTile(folder, None),
        "archive there": FirstTile(folder, archive),
    }
    calls = {case: Counted(run) for case, run in runs.items()}
    compare(calls, repeats=repeats, warm_up=0)
    for case, run in runs.items():
        for moment in run.moments[0]:
            timing = Timing(seconds=tuple(moments[moment] for moments in run.moments))
            cpu = calls[case].median if moment == "whole run" else None
            add(report, f"quickstart, {case}: {moment}", timing, cpu)


def add(report: Report, what: str, timing: Timing, cpu: float | None) -> None:
    """Add a row, and a fault if it exceeds its limit."""
    limit = LIMITS.get(what)
    row = timing.row(what)
    row["CPU s"], row["limit"] = cpu, limit
    row["ratio"] = None if limit is None else timing.median / limit
    late = limit is not None and timing.median > limit
    report.add(row, [f"{what}: {timing.median:.1f} s, more than {limit:g} s."] if late else [])


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "one run each").parse_args().quick
    report = Report(
        name="startup",
        claim="Help pages are there within 2 s, `import thor_geo` within 0.5 s, and the first tile "
        "of the quickstart within 25 s of the command.",
        quick=quick,
        notes=[
            "Seconds. Medians are judged; ratio: the median to the limit. CPU s: of all processes "
            "of the command, median. Files have been read before: the very first start on a "
            "machine is slower by what its disk takes.",
        ],
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-startup-") as name:
        folder = Path(name)
        archive = ensure_archive(folder / "archive")
        measure_commands(report, 1 if quick else 3)
        measure_quickstart(report, folder, archive, 1 if quick else 3)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
