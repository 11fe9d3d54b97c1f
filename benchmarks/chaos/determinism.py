"""The same bytes for any number of ranks, jobs and workers.

Claim (docs/performance.md, "Robustness"): they agree file by file. A control run with other batches
shows that equal bytes mean something: it changes the values.

    python -m benchmarks.chaos.determinism                  # 8 minutes
    python -m benchmarks.chaos.determinism --quick          # three runs: 3 minutes
    python -m benchmarks.chaos.determinism --only torchrun  # some runs; writes nothing
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.support.report import Report, Row, parser
from benchmarks.support.runs import (
    THOR_GEO,
    Finished,
    Workspace,
    differences,
    end_on_sigterm,
    markers,
    message,
    outputs,
)

_JOBS = 4
# Shards of four tiles in batches of three and one. With patches of 16 px and two threads, THOR tiny
# gives other bits in other batches on the machines tried; with others it may not: see `control`.
_SETTINGS = {"model.patch_size": 16, "data.batch_size": 3, "model.threads": 2}
# The program that runs two processes by torchrun.
_TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    *("-m", "thor_geo"),
)


#: A way to spread the run: starts it and returns the ends of its commands.
Way = Callable[[Workspace, random.Random], list[Finished]]


def single(*more: str, command: Sequence[str] = THOR_GEO) -> Way:
    """Run one command."""
    return lambda place, rng: [place.finish(*more, command=command)]


def ranks(number: int, workers: int, command: Sequence[str] = THOR_GEO) -> Way:
    """Run several ranks, by Lightning's own launcher unless another command is given, with gloo."""
    strategy = (f"--trainer.devices={number}", "--trainer.strategy=ddp")
    return single(*strategy, f"--data.num_workers={workers}", command=command)


def jobs_one_by_one(place: Workspace, rng: random.Random) -> list[Finished]:
    """Run all jobs, one after the other, in random order."""
    order = rng.sample(range(1, _JOBS + 1), _JOBS)
    return [place.finish("--job", f"{job}/{_JOBS}", "--data.num_workers=1") for job in order]


def jobs_in_pairs(place: Workspace, rng: random.Random) -> list[Finished]:
    """Run all jobs, two at a time, each pair started at one moment."""
    order = rng.sample(range(1, _JOBS + 1), _JOBS)
    ends = []
    for pair in (order[:2], order[2:]):
        started = [place.start("--job", f"{job}/{_JOBS}%2", "--data.num_workers=1") for job in pair]
        ends += [command.wait() for command in started]
    return ends


def jobs_of_ranks(place: Workspace, rng: random.Random) -> list[Finished]:
    """Run two jobs of two ranks each."""
    more = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=0")
    return [place.finish("--job", f"{job}/2", *more) for job in (2, 1)]


VARIANTS: dict[str, Way] = {
    "1 process, 0 workers, again": single("--data.num_workers=0"),
    "1 process, 2 workers": single("--data.num_workers=2"),
    "1 process, 4 workers": single("--data.num_workers=4"),
    "2 ranks": ranks(2, 0),
    "2 ranks, 2 workers each": ranks(2, 2),
    "3 ranks": ranks(3, 0),
    "torchrun, 2 processes": ranks(2, 1, command=_TORCHRUN),
    f"{_JOBS} jobs in random order": jobs_one_by_one,
    f"{_JOBS} jobs, two at a time": jobs_in_pairs,
    "2 jobs of 2 ranks": jobs_of_ranks,
}
_SHORT = ("1 process, 4 workers", "3 ranks", f"{_JOBS} jobs, two at a time")


def about_run(run: Path) -> dict[str, Any]:
    """Return run.json without the command's own config, which records how the run was spread."""
    document: dict[str, Any] = json.loads((run / "run.json").read_bytes())
    document["info"].pop("config", None)
    return document


def recorded(run: Path, key: str) -> list[str]:
    """Return the different values of a key in the markers, as text."""
    values = (json.loads(file.read_bytes()).get(key) for file in markers(run))
    return sorted({json.dumps(value) for value in values})


def _embeddings(run: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    columns = [
        pq.read_table(file, columns=["embedding"])["embedding"].combine_chunks()
        for file in sorted(run.glob("pooled/*.parquet"))
    ]
    return np.concatenate([column.flatten().to_numpy() for column in columns])


def row_of(name: str, run: Path, reference: Path, ends: list[Finished], seconds: float) -> Row:
    """Compare a run with the reference."""
    different = differences(run, reference, apart_from={"run.json"})
    if about_run(run) != about_run(reference):
        different.append("run.json")
    return {
        "run": name,
        "exit": ", ".join(str(end.code) for end in ends),
        "s": round(seconds, 1),
        "markers": len(markers(run)),
        "sessions": len(recorded(run, "session")),
        "files": len(outputs(run)),
        "other bytes": len(different),
        "batch shapes": len(recorded(run, "batches")),
        "threads": "; ".join(recorded(run, "threads")),
        "which": ", ".join(different[:3]),
    }


def control(place: Workspace, reference: Path) -> tuple[float, float]:
    """Run with another batch shape: if its numbers were the same, equal bytes would show little.

    Returns:
        The share of values that differ, and by how much at most.
    """
    place.clear()
    end = place.finish("--data.batch_size=1")
    if end.code != 0:
        raise RuntimeError(f"The control run failed: {end.output}")
    ours, theirs = _embeddings(place.run), _embeddings(reference)
    return float(np.mean(ours != theirs)), float(np.abs(ours - theirs).max())


def main() -> int:
    """Run the campaign; return the exit code."""
    arguments = parser(__doc__, "three runs")
    arguments.add_argument("--seed", type=int, default=0, help="of the jobs' order (default: 0)")
    arguments.add_argument("--only", default="", help="runs with this in their name")
    options = arguments.parse_args()
    quick = options.quick or bool(options.only)
    end_on_sigterm()
    report = Report(
        name="chaos_determinism",
        claim="Any number of ranks, jobs and workers gives the same bytes, file by file.",
        command=f"python -m benchmarks.chaos.determinism --seed {options.seed}",
        quick=quick,
        notes=[
            "Compared: plan.parquet, overview.parquet, every file of pooled/ and grid.zarr/, "
            "quicklook.png, run.json without the command's own config, and markers without times "
            "and sessions, hence with the recorded batch shapes and threads. Each run has an empty "
            "cache.",
        ],
    )
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="thor-geo-determinism-") as folder:
        place = Workspace(folder=Path(folder), settings=_SETTINGS)
        first = place.finish("--data.num_workers=0")
        if first.code != 0:
            raise RuntimeError(f"The reference run failed: {first.output}")
        reference = place.keep("reference")
        report.add(row_of("1 process, 0 workers", reference, reference, [first], first.seconds))
        for key in ("batches", "threads"):
            if recorded(reference, key) == ["null"]:
                report.faults.append(f"markers do not record `{key}`")
        for name, start in VARIANTS.items():
            if options.only not in name or (options.quick and name not in _SHORT):
                continue
            place.clear()
            began = time.monotonic()
            ends = start(place, rng)
            row = row_of(name, place.run, reference, ends, time.monotonic() - began)
            faults = []
            # A job whose siblings have not run yet leaves shards to do, and its code reports that.
            if ends[-1].code != 0:
                faults.append(f"{name}: {message(ends[-1].output)}")
            if row["other bytes"]:
                faults.append(f"{name}: {row['other bytes']} differ: {row['which']}")
            report.add(row, faults)
        if not quick:
            share, most = control(place, reference)
            report.figures["control: one tile a batch"] = (
                f"{share:.0%} of the values differ, by at most {most:.1e}"
            )
            if share == 0:
                report.faults.append("equal bytes show little: other batches give the same ones")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
