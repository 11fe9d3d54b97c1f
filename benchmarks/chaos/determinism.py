"""The same bytes for any number of ranks, jobs and workers.

`python -m benchmarks.chaos.determinism [--quick] [--seed N]`
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.chaos._common import (
    Finished,
    Workspace,
    differences,
    end_on_sigterm,
    markers,
    message,
    outputs,
)
from benchmarks.report import Report, Row

_JOBS = 4
# Shards of four tiles in batches of three and one. With patches of 16 px and on two threads, THOR
# tiny gives other bits in other batches on the machines tried, otherwise it may not: see `control`.
_SETTINGS = {"model.patch_size": 16, "data.batch_size": 3, "model.threads": 2}
# What a run of two processes by torchrun is started with.
_TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    *("-m", "thor_geo"),
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to spread the run.

    Attributes:
        name: What a reader calls it.
        start: Runs it and returns its commands' ends.
    """

    name: str
    start: Callable[[Workspace, random.Random], list[Finished]]


def alone(*more: str) -> Callable[[Workspace, random.Random], list[Finished]]:
    """Return what runs one command."""
    return lambda place, rng: [place.finish(*more)]


def ranks(number: int, workers: int) -> Callable[[Workspace, random.Random], list[Finished]]:
    """Return what runs several ranks of Lightning's own launcher, with gloo."""
    return alone(
        f"--trainer.devices={number}", "--trainer.strategy=ddp", f"--data.num_workers={workers}"
    )


def torchrun(place: Workspace, rng: random.Random) -> list[Finished]:
    """Run two processes by torchrun."""
    more = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=1")
    return [place.finish(*more, command=_TORCHRUN)]


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
        ends += [one.wait() for one in started]
    return ends


def jobs_of_ranks(place: Workspace, rng: random.Random) -> list[Finished]:
    """Run two jobs of two ranks each."""
    more = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=0")
    return [place.finish("--job", f"{job}/2", *more) for job in (2, 1)]


VARIANTS = (
    Variant(name="1 process, 0 workers, again", start=alone("--data.num_workers=0")),
    Variant(name="1 process, 2 workers", start=alone("--data.num_workers=2")),
    Variant(name="1 process, 4 workers", start=alone("--data.num_workers=4")),
    Variant(name="2 ranks", start=ranks(2, 0)),
    Variant(name="2 ranks, 2 workers each", start=ranks(2, 2)),
    Variant(name="3 ranks", start=ranks(3, 0)),
    Variant(name="torchrun, 2 processes", start=torchrun),
    Variant(name=f"{_JOBS} jobs in random order", start=jobs_one_by_one),
    Variant(name=f"{_JOBS} jobs, two at a time", start=jobs_in_pairs),
    Variant(name="2 jobs of 2 ranks", start=jobs_of_ranks),
)


def about_run(run: Path) -> dict[str, Any]:
    """Return run.json without the command's own config, which says how it was spread."""
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
    """Run with another batch shape: were its numbers the same, equal bytes would show little.

    Returns:
        The share of values that differ, and by how much at most.
    """
    place.clear()
    end = place.finish("--data.batch_size=1")
    if end.code != 0:
        raise RuntimeError(f"The control run failed: {end.said}")
    ours, theirs = _embeddings(place.run), _embeddings(reference)
    return float(np.mean(ours != theirs)), float(np.abs(ours - theirs).max())


def run(variants: tuple[Variant, ...], seed: int, *, quick: bool) -> int:
    """Run the campaign.

    Args:
        variants: Ways to spread the run.
        seed: Of the jobs' order.
        quick: Whether this is the short form.
    """
    report = Report(
        name="chaos_determinism",
        claim="Any number of ranks, jobs and workers gives the same bytes, file by file.",
        command=f"python -m benchmarks.chaos.determinism --seed {seed}",
        quick=quick,
        notes=[
            "Compared: plan.parquet, every file of pooled/ and grid.zarr/, quicklook.png, run.json "
            "without the command's own config, and markers without times and sessions, hence with "
            "the recorded batch shapes and threads. Each run has an empty cache.",
        ],
    )
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="thor-geo-determinism-") as folder:
        place = Workspace(folder=Path(folder), settings=_SETTINGS)
        undisturbed = place.finish("--data.num_workers=0")
        if undisturbed.code != 0:
            raise RuntimeError(f"The reference run failed: {undisturbed.said}")
        reference = place.keep("reference")
        first = row_of(
            "1 process, 0 workers", reference, reference, [undisturbed], undisturbed.seconds
        )
        report.rows.append(first)
        for key in ("batches", "threads"):
            if recorded(reference, key) == ["null"]:
                report.faults.append(f"markers do not record `{key}`")
        for variant in variants:
            place.clear()
            began = time.monotonic()
            ends = variant.start(place, rng)
            row = row_of(variant.name, place.run, reference, ends, time.monotonic() - began)
            report.rows.append(row)
            print(*(f"{key}={value}" for key, value in row.items() if value != ""), flush=True)
            # A job whose siblings have not run yet leaves shards to do, and says so by its code.
            if ends[-1].code != 0:
                report.faults.append(f"{variant.name}: {message(ends[-1].said)}")
            if row["other bytes"]:
                report.faults.append(f"{variant.name}: {row['other bytes']} differ: {row['which']}")
        if not quick:
            share, apart = control(place, reference)
            report.figures["control: one tile a batch"] = (
                f"{share:.0%} of the values differ, by at most {apart:.1e}"
            )
            if share == 0:
                report.faults.append("equal bytes show little: other batches give the same ones")
    return report.finish()


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three runs, nothing written")
    parser.add_argument("--seed", type=int, default=0, help="of the jobs' order (default: 0)")
    parser.add_argument("--only", default="", help="runs with this in their name")
    options = parser.parse_args()
    end_on_sigterm()
    chosen = tuple(variant for variant in VARIANTS if options.only in variant.name)
    if options.quick and not options.only:
        chosen = (VARIANTS[2], VARIANTS[5], VARIANTS[8])
    return run(chosen, options.seed, quick=options.quick or bool(options.only))


if __name__ == "__main__":
    sys.exit(main())
