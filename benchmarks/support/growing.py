"""A growing catalogue: a block is made from the scenes it was pinned with, whatever comes later."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.support.fault_plans import LISTS, PIXELS, Trial
from benchmarks.support.fault_runs import Bench, Outcome, damage, digests, row
from benchmarks.support.report import Report
from thor_geo.emulator import FaultRule

#: The scene that comes later; earlier answers do not contain it.
LATER = ("s1",)

BETWEEN_RUNS = Trial(name="a scene is added between two runs", rules=())

#: Requests of the run that are answered without the scene, of about 650.
GROWS_AFTER = 300

#: With few slots, and blocks in quarters of quarters, some of which are asked for before the scene
#: is there and some after.
WITHIN_A_RUN = Trial(
    name="a scene is added within a run",
    rules=(
        FaultRule(kind=PIXELS, min_pixels=64 * 64, status=400,
                  message="User memory limit exceeded."),
        FaultRule(nth=tuple(range(1, GROWS_AFTER + 1)), hide=LATER),
    ),
    size=256,
    across=6,
    concurrency=4,
)  # fmt: skip

#: Fewest requests of such a block: its list, and its pieces of 64 px.
_REQUESTS = 1 + (256 // 64) ** 2


def added_between_runs(bench: Bench, report: Report) -> None:
    """Add a scene between two runs: what was pinned before stays as it was."""
    trial = BETWEEN_RUNS
    before = FaultRule(kind=LISTS, hide=LATER)
    reference, cache, fresh = (bench.folder / f"growing-{k}" for k in range(3))
    bench.run(reference, trial, (before,))
    # Every list is pinned; then pixels are refused until the blocks are given up.
    first = bench.run(
        cache,
        trial,
        (before, FaultRule(kind=PIXELS, after=60, status=503, message="Unavailable.")),
    )
    second = bench.run(cache, trial)
    bench.run(fresh, trial)
    same = digests(cache) == digests(reference)
    report.rows.append({**row(trial, first, True), "plan": f"{trial.name}: before"})
    report.rows.append({**row(trial, second, same), "plan": f"{trial.name}: after"})
    wrong = []
    if not same:
        wrong.append("The files are not those of the first list.")
    if digests(fresh) == digests(reference):
        wrong.append("The list did not grow: the test shows nothing.")
    if not first.failures or second.failures:
        wrong.append(f"{len(first.failures)} and then {len(second.failures)} blocks failed.")
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong + damage(cache)]


def added_within_a_run(bench: Bench, report: Report) -> None:
    """Add a scene between two requests of one run, and between those of one block."""
    trial = WITHIN_A_RUN
    limit = trial.rules[0]
    without, cache, complete = (bench.folder / f"grown-{k}" for k in range(3))
    bench.run(without, trial, (limit, FaultRule(hide=LATER)))
    outcome = bench.run(cache, trial, trial.rules)
    bench.run(complete, trial, (limit,))
    short, long = digests(without), digests(complete)
    actual = digests(cache)
    same = all(actual[name] in (short.get(name), long.get(name)) for name in actual)
    early = sum(actual[path.name] == short[path.name] for path in _lists(cache))
    late = sum(actual[path.name] == long[path.name] for path in _lists(cache))
    report.rows.append(row(trial, outcome, same))
    report.notes.append(
        f"{trial.name}: {early} blocks were made from the first list and {late} from the second; "
        f"those of the first took at least {early * _REQUESTS} requests, {GROWS_AFTER} came before."
    )
    wrong = _incomplete(cache, outcome, trial)
    if not same:
        wrong.append("Some files belong to neither list.")
    if early + late != trial.across**2 or not early or not late:
        wrong.append(f"{early} blocks are of the first list, {late} of the second.")
    if early * _REQUESTS <= GROWS_AFTER:
        wrong.append("It may be that no block was asked for on both sides: it shows nothing.")
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong + damage(cache)]


def _lists(cache: Path) -> list[Path]:
    return list((cache / "scenes").rglob("*.json"))


def _incomplete(cache: Path, outcome: Outcome, trial: Trial) -> list[str]:
    """Return what is missing: the cache holds exactly the pixels that the lists name."""
    wrong = []
    if outcome.error or outcome.failures:
        wrong.append(f"{len(outcome.failures)} blocks failed; it ended by {outcome.error}")
    named = {json.loads(path.read_text(encoding="utf-8"))["block_key"] for path in _lists(cache)}
    stored = {path.stem for path in cache.rglob("*.tif")}
    if named != stored or len(stored) != trial.across**2:
        wrong.append(f"The lists name {len(named)} files, {len(stored)} are stored.")
    return wrong


#: What to run, by the name of its trial.
GROWING = {BETWEEN_RUNS.name: added_between_runs, WITHIN_A_RUN.name: added_within_a_run}
