"""Everything that Earth Engine and the way to it can do wrong, one thing at a time.

Claim (docs/performance.md, "Robustness"): whatever the service does wrong, the cache ends with the
bytes of a run without faults; a refusal ends the run with its remedy, and what was fetched stays.

    python -m benchmarks.chaos.faults            # 6 minutes
    python -m benchmarks.chaos.faults --quick    # a few of the plans: 1 minute
    python -m benchmarks.chaos.faults --only 429 # plans with this in their name; writes nothing

Each plan fetches the same blocks from an emulator that fails in one way, with the retry policy that
users get, into an empty cache. After a refusal the next run must fetch the rest and no more.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.support.emulated import write_scenes
from benchmarks.support.fault_plans import TRIALS, Trial
from benchmarks.support.fault_runs import BANDS, LATENCY_S, Bench, damage, digests, row
from benchmarks.support.growing import GROWING
from benchmarks.support.report import Report, parser
from thor_geo.composites import Prefetcher
from thor_geo.emulator import EmulatorProcess, FaultPlan

#: Fewest requests of a plan; of a run that is refused, and of the run after it, each.
FEWEST = 200

#: How long the server is gone, seconds.
GONE_S = 60.0


def play(bench: Bench, trial: Trial, wanted: dict[str, str], report: Report) -> None:
    """Run a trial, and the run after it where it ends the first; add rows and faults."""
    cache = bench.folder / hashlib.sha256(trial.name.encode()).hexdigest()[:12]
    outcome = bench.run(cache, trial, trial.rules)
    wrong: list[str] = []
    requests, blocks_before = [outcome.stats.requests], len(list(cache.rglob("*.tif")))
    if trial.remedy is None:
        if outcome.error is not None:
            wrong.append(f"It ended: {outcome.error}")
    elif outcome.error is None:
        wrong.append("It did not end.")
    else:
        message = str(outcome.error)
        report.notes.append(f"{trial.name}: {type(outcome.error).__name__}: {message}")
        if trial.remedy not in message:
            wrong.append(f"No remedy in: {message}")
        if not 0 < blocks_before < trial.across**2:
            wrong.append(f"{blocks_before} blocks were there when it ended.")
        report.rows.append(row(trial, outcome, digests(cache).items() <= wanted.items()))
        outcome = bench.run(cache, trial)
        requests.append(outcome.stats.requests)
        if outcome.error is not None:
            wrong.append(f"The next run ended: {outcome.error}")
        cached = outcome.stats.blocks_cached
        if cached != blocks_before:
            wrong.append(f"{cached} of {blocks_before} blocks were used by the next run.")
    same = digests(cache) == wanted
    report.rows.append(row(trial, outcome, same))
    if trial.remedy is not None:
        report.rows[-1] = {**report.rows[-1], "plan": f"{trial.name}: the run after it"}
    if not same:
        wrong.append("The files differ from those without faults.")
    if outcome.failures:
        wrong.append(
            f"{len(outcome.failures)} blocks failed: {next(iter(outcome.failures.items()))}"
        )
    if min(requests) < FEWEST:
        wrong.append(f"Only {min(requests)} requests.")
    if outcome.stats.requests != outcome.served["requests"] and trial.remedy is None:
        wrong.append(
            f"{outcome.stats.requests} requests were counted, {outcome.served['requests']} arrived."
        )
    wrong += filter(None, [trial.problem(outcome.stats)])
    wrong += damage(cache)
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong]


def server_gone(bench: Bench, wanted: dict[str, str], report: Report, seconds: float) -> None:
    """Kill the server in the middle, and start it again on the same port."""
    trial = Trial(name=f"server gone for {seconds:.0f} s", rules=(), concurrency=8)
    cache = bench.folder / "gone"
    again: list[EmulatorProcess] = []

    def disturb(emulator: EmulatorProcess, prefetcher: Prefetcher) -> None:
        while prefetcher.stats().blocks_fetched < 30:
            time.sleep(0.02)
        port = int(emulator.url.rsplit(":", 1)[1])
        assert emulator.pid is not None
        os.kill(emulator.pid, signal.SIGKILL)
        os.waitid(os.P_PID, emulator.pid, os.WEXITED | os.WNOWAIT)
        time.sleep(seconds)
        again.append(EmulatorProcess(bench.archive, port, FaultPlan(latency_s=LATENCY_S)).start())

    try:
        outcome = bench.run(cache, trial, disturb=disturb)
    finally:
        for emulator in again:
            emulator.stop()
    outcome.served = {}
    same = digests(cache) == wanted
    report.rows.append(row(trial, outcome, same))
    wrong = [] if same else ["The files differ from those without faults."]
    if outcome.failures or outcome.error:
        wrong.append(f"{len(outcome.failures)} blocks failed; it ended by {outcome.error}")
    if outcome.seconds < seconds or not outcome.stats.retries:
        wrong.append("The run did not notice that the server was gone.")
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong + damage(cache)]


def main() -> int:
    """Run the campaign; return the exit code."""
    arguments = parser(__doc__, "a few of the plans")
    arguments.add_argument("--only", default="", help="plans with this in their name")
    options = arguments.parse_args()
    report = Report(
        name="chaos_faults",
        claim="Whatever the service does wrong, the cache ends with the bytes of a run without "
        "faults; a refusal ends the run with its remedy, and what was fetched stays.",
        quick=options.quick or bool(options.only),
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-faults-") as name:
        side = 7 * 256
        folder = Path(name)
        archive = write_scenes(folder / "archive", side=side, bands=BANDS)
        bench = Bench(folder=folder, archive=archive, side=side)
        trials = [
            trial
            for trial in (TRIALS[2:6] + TRIALS[8:9] + TRIALS[11:12] if options.quick else TRIALS)
            if options.only in trial.name
        ]
        wanted = {}
        for size, across in sorted({(64, 12), *((trial.size, trial.across) for trial in trials)}):
            plain = Trial(name=f"no faults, {size} px", rules=(), size=size, across=across)
            cache = folder / f"plain-{size}-{across}"
            outcome = bench.run(cache, plain)
            wanted[size, across] = digests(cache)
            report.rows.append(row(plain, outcome, True))
            if outcome.stats.retries or outcome.failures or outcome.error:
                report.faults.append(f"{plain.name}: {outcome}")
        for trial in trials:
            print(trial.name, flush=True)
            play(bench, trial, wanted[trial.size, trial.across], report)
        for title, grow in GROWING.items():
            if options.only in title:
                print(title, flush=True)
                grow(bench, report)
        if options.only in "server gone":
            server_gone(bench, wanted[64, 12], report, 5.0 if options.quick else GONE_S)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
