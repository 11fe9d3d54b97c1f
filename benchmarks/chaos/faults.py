"""Everything that Earth Engine and the way to it can do wrong, one thing at a time.

Each plan fetches the same blocks from an emulator that fails in one way, with the retry policy that
users get, into an empty cache; the files must be those of a run without faults. After a refusal
that ends the run the message must name the remedy, what was fetched before must stay, and the next
run must fetch the rest and no more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._emulated import blocks, prefetch_spec, temporary_files, write_scenes
from benchmarks.report import Report
from thor_geo.composites import Prefetcher, PrefetchStats
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule
from thor_geo.errors import ThorGeoError

BANDS = ("B4", "B3")
PIXELS, LISTS = "image:computePixels", "value:compute"
RESTRICTED = {"x-earth-engine-quota-status": "parallelism_restricted=true"}
LATENCY_S = 0.05

#: Fewest requests of a plan.
FEWEST = 200

#: How long a run may take before it counts as hanging, seconds.
PATIENCE_S = 900.0

#: How long the server is gone, seconds.
GONE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to fail.

    Attributes:
        name: What it is called in the table.
        rules: What the emulator does wrong.
        size: Side of a block in pixels.
        across: Blocks in a row.
        read_timeout_s: How long the client waits for an answer.
        concurrency: Requests in flight.
        remedy: What the message must name, if it ends the run.
        holds: Says what is wrong with the statistics of a run that must have felt the faults.
    """

    name: str
    rules: tuple[FaultRule, ...]
    size: int = 64
    across: int = 12
    read_timeout_s: float = 330.0
    concurrency: int = 40
    remedy: str | None = None
    holds: Callable[[PrefetchStats], str | None] = lambda stats: (
        None if stats.retries else "No request was repeated."
    )


def _bursts(*starts: int, length: int) -> tuple[int, ...]:
    return tuple(number for start in starts for number in range(start, start + length))


def _split(stats: PrefetchStats) -> str | None:
    return None if stats.splits else "Nothing was quartered."


def _halved(stats: PrefetchStats) -> str | None:
    return None if stats.concurrency == 20 else f"{stats.concurrency} slots instead of 20."


def _anything(stats: PrefetchStats) -> str | None:
    return None


TRIALS = (
    Trial(
        name="429 in bursts, Retry-After 1 s",
        rules=(
            FaultRule(nth=_bursts(20, 120, 220, length=30), status=429,
                      headers={"Retry-After": "1"}, message="Too many requests."),
        ),
    ),
    Trial(
        name="429 without Retry-After",
        rules=(FaultRule(probability=0.15, seed=1, status=429, message="Too many requests."),),
    ),
    Trial(
        name="503",
        rules=(FaultRule(probability=0.15, seed=2, status=503, message="Unavailable."),),
    ),
    Trial(name="connection reset", rules=(FaultRule(probability=0.15, seed=3, reset=True),)),
    Trial(name="connection closed", rules=(FaultRule(probability=0.15, seed=4, drop=True),)),
    Trial(name="body cut in half", rules=(FaultRule(probability=0.15, seed=5, truncate=0.5),)),
    Trial(
        name="stalls of 30 s, waited out",
        rules=(FaultRule(probability=0.05, seed=6, first_times=1, delay_s=30),),
        holds=_anything,
    ),
    Trial(
        name="stalls of 30 s, given up after 5 s",
        rules=(FaultRule(probability=0.05, seed=6, first_times=1, delay_s=30),),
        read_timeout_s=5.0,
    ),
    Trial(
        name="memory limit above 64 px",
        rules=(FaultRule(kind=PIXELS, min_pixels=64 * 64, status=400,
                         message="User memory limit exceeded."),),
        size=256,
        across=6,
        holds=_split,
    ),
    Trial(
        name="time limit above 128 px",
        rules=(FaultRule(kind=PIXELS, min_pixels=128 * 128, status=400,
                         message="Computation timed out."),),
        size=256,
        across=7,
        holds=_split,
    ),
    Trial(
        name="restricted mode",
        rules=(FaultRule(headers=RESTRICTED),),
        holds=_halved,
    ),
    Trial(
        name="credentials expire (401)",
        rules=(FaultRule(after=160, status=401,
                         message="Request had invalid authentication credentials."),),
        remedy="earthengine authenticate",
        holds=_anything,
    ),
    Trial(
        name="permission withdrawn (403)",
        rules=(FaultRule(after=160, status=403, message="Caller does not have required permission "
                         "to use project {project}."),),
        remedy="roles/serviceusage.serviceUsageConsumer",
        holds=_anything,
    ),
    Trial(
        name="everything at once",
        rules=(
            FaultRule(probability=0.05, seed=11, status=503, message="Unavailable."),
            FaultRule(probability=0.05, seed=12, status=429, message="Too many requests."),
            FaultRule(probability=0.05, seed=13, reset=True),
            FaultRule(probability=0.05, seed=14, truncate=0.7),
            FaultRule(kind=PIXELS, min_pixels=128 * 128, status=400,
                      message="User memory limit exceeded."),
        ),
        size=256,
        across=7,
        holds=_split,
    ),
)  # fmt: skip


@dataclass(kw_only=True)
class Outcome:
    """What one run of the prefetch process did."""

    stats: PrefetchStats
    seconds: float
    failures: dict[str, str]
    error: Exception | None = None
    served: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The scenes, and where the caches go."""

    folder: Path
    archive: Path
    side: int

    def run(
        self,
        cache: Path,
        trial: Trial,
        rules: Sequence[FaultRule] = (),
        disturb: Callable[[EmulatorProcess, Prefetcher], None] | None = None,
    ) -> Outcome:
        """Fetch a trial's blocks into a cache from an emulator that follows *rules*.

        Raises:
            RuntimeError: If it does not come to an end.
        """
        plan = FaultPlan(latency_s=LATENCY_S, rules=tuple(rules))
        with EmulatorProcess(self.archive, faults=plan) as emulator:
            prefetcher = Prefetcher(
                prefetch_spec(
                    cache,
                    emulator.url,
                    BANDS,
                    concurrency=trial.concurrency,
                    read_timeout_s=trial.read_timeout_s,
                ),
                blocks(trial.across, trial.size),
            )
            began, error = time.monotonic(), None
            with prefetcher:
                disturber = threading.Thread(
                    target=disturb or (lambda *_: None), args=(emulator, prefetcher)
                )
                disturber.start()
                try:
                    while not prefetcher.stats().finished:
                        prefetcher.check()
                        if time.monotonic() - began > PATIENCE_S:
                            raise RuntimeError(f"{trial.name}: no end after {PATIENCE_S:.0f} s")
                        time.sleep(0.05)
                except ThorGeoError as caught:
                    error = caught
                seconds = time.monotonic() - began
                disturber.join()
            return Outcome(
                stats=prefetcher.stats(),
                seconds=seconds,
                failures=prefetcher.failures(),
                error=error,
                served=_served(emulator.url),
            )


def _served(url: str) -> dict[str, Any]:
    """Return what came to the server, once it has done with requests that nobody waits for."""
    while True:
        with urllib.request.urlopen(f"{url}/_emulator/stats", timeout=30) as answer:
            report = json.load(answer)
        if not report["in_flight"]:
            break
        time.sleep(0.5)
    kinds = report["kinds"]
    counts = [kinds[kind] for kind in (LISTS, PIXELS) if kind in kinds]
    return {name: sum(count[name] for count in counts) for name in ("requests", "faults")}


def digests(cache: Path) -> dict[str, str]:
    """Return what must be the same after every run: pixels by name, and the pinned scenes."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cache.rglob("*.tif")
    }
    for path in (cache / "scenes").rglob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[path.name] = json.dumps([record["scenes"], record["block_key"]])
    return found


def damage(cache: Path) -> list[str]:
    """Return what a run must not leave behind: temporary files, pixels without a sidecar."""
    wrong = [f"{path.name} was left behind." for path in temporary_files(cache)]
    for path in cache.rglob("*.tif"):
        sidecar = path.with_suffix(".json")
        if not sidecar.exists():
            wrong.append(f"{path.name} has no sidecar.")
    return wrong


def _row(trial: Trial, outcome: Outcome, same: bool) -> dict[str, Any]:
    stats = outcome.stats
    return {
        "plan": trial.name,
        "blocks": trial.across**2,
        "requests": stats.requests,
        "faults met": outcome.served.get("faults"),
        "retries": stats.retries,
        "splits": stats.splits,
        "seconds": outcome.seconds,
        "blocks failed": len(outcome.failures),
        "slots at the end": stats.concurrency,
        "bytes as without faults": "yes" if same else "NO",
    }


def play(bench: Bench, trial: Trial, wanted: dict[str, str], report: Report) -> None:
    """Run a trial, and the run after it where it ends the first; add rows and faults."""
    cache = bench.folder / hashlib.sha256(trial.name.encode()).hexdigest()[:12]
    outcome = bench.run(cache, trial, trial.rules)
    wrong: list[str] = []
    requests, blocks_before = outcome.stats.requests, len(list(cache.rglob("*.tif")))
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
        report.rows.append(_row(trial, outcome, digests(cache).items() <= wanted.items()))
        outcome = bench.run(cache, trial)
        requests += outcome.stats.requests
        if outcome.error is not None:
            wrong.append(f"The next run ended: {outcome.error}")
        found = outcome.stats.blocks_cached
        if found != blocks_before:
            wrong.append(f"{found} of {blocks_before} blocks were used by the next run.")
    same = digests(cache) == wanted
    report.rows.append(_row(trial, outcome, same))
    if trial.remedy is not None:
        report.rows[-1] = {**report.rows[-1], "plan": f"{trial.name}: the run after it"}
    if not same:
        wrong.append("The files differ from those without faults.")
    if outcome.failures:
        wrong.append(
            f"{len(outcome.failures)} blocks failed: {next(iter(outcome.failures.items()))}"
        )
    if requests < FEWEST and not report.quick:
        wrong.append(f"Only {requests} requests.")
    if outcome.stats.requests != outcome.served["requests"] and trial.remedy is None:
        wrong.append(
            f"{outcome.stats.requests} requests were counted, {outcome.served['requests']} came."
        )
    wrong += filter(None, [trial.holds(outcome.stats)])
    wrong += damage(cache)
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong]


def growing_list(bench: Bench, report: Report) -> None:
    """Add a scene between two runs: what was pinned before stays as it was."""
    trial = Trial(name="a scene is added between two runs", rules=())
    before = FaultRule(kind=LISTS, hide=("s1",))
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
    report.rows.append({**_row(trial, first, True), "plan": f"{trial.name}: before"})
    report.rows.append({**_row(trial, second, same), "plan": f"{trial.name}: after"})
    wrong = []
    if not same:
        wrong.append("The files are not those of the first list.")
    if digests(fresh) == digests(reference):
        wrong.append("The list did not grow: the test shows nothing.")
    if not first.failures or second.failures:
        wrong.append(f"{len(first.failures)} and then {len(second.failures)} blocks failed.")
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong + damage(cache)]


def server_gone(bench: Bench, wanted: dict[str, str], report: Report, seconds: float) -> None:
    """Kill the server in the middle, and start it again on the same port."""
    trial = Trial(name=f"server gone for {seconds:.0f} s", rules=(), concurrency=8)
    cache = bench.folder / "gone"
    again: list[EmulatorProcess] = []

    def disturb(emulator: EmulatorProcess, prefetcher: Prefetcher) -> None:
        while prefetcher.stats().blocks_fetched < 30:
            time.sleep(0.02)
        port = int(emulator.url.rsplit(":", 1)[1])
        assert emulator._process is not None
        emulator._process.kill()
        emulator._process.wait()
        time.sleep(seconds)
        again.append(EmulatorProcess(bench.archive, port, FaultPlan(latency_s=LATENCY_S)).start())

    try:
        outcome = bench.run(cache, trial, disturb=disturb)
    finally:
        for emulator in again:
            emulator.stop()
    outcome.served = {}
    same = digests(cache) == wanted
    report.rows.append(_row(trial, outcome, same))
    wrong = [] if same else ["The files differ from those without faults."]
    if outcome.failures or outcome.error:
        wrong.append(f"{len(outcome.failures)} blocks failed; it ended by {outcome.error}")
    if outcome.seconds < seconds or not outcome.stats.retries:
        wrong.append("Nobody noticed that the server was gone.")
    report.faults += [f"{trial.name}: {sentence}" for sentence in wrong + damage(cache)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few of the plans")
    parser.add_argument("--only", help="plans whose name holds this")
    options = parser.parse_args()
    report = Report(
        name="chaos_faults",
        claim="Whatever the service does wrong, the cache ends with the bytes of a run without "
        "faults; a refusal ends the run with its remedy, and what was fetched stays.",
        command="python -m benchmarks.chaos.faults",
        quick=options.quick or options.only is not None,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-faults-") as name:
        side = 7 * 256
        folder = Path(name)
        archive = write_scenes(folder / "archive", side=side, bands=BANDS)
        bench = Bench(folder=folder, archive=archive, side=side)
        trials = [
            trial
            for trial in (TRIALS[2:6] + TRIALS[8:9] + TRIALS[11:12] if options.quick else TRIALS)
            if options.only is None or options.only in trial.name
        ]
        wanted = {}
        for size, across in sorted({(64, 12), *((trial.size, trial.across) for trial in trials)}):
            plain = Trial(name=f"no faults, {size} px", rules=(), size=size, across=across)
            cache = folder / f"plain-{size}-{across}"
            outcome = bench.run(cache, plain)
            wanted[size, across] = digests(cache)
            report.rows.append(_row(plain, outcome, True))
            if outcome.stats.retries or outcome.failures or outcome.error:
                report.faults.append(f"{plain.name}: {outcome}")
        for trial in trials:
            print(trial.name, flush=True)
            play(bench, trial, wanted[trial.size, trial.across], report)
        if options.only is None or options.only in "a scene is added":
            growing_list(bench, report)
        if options.only is None or options.only in "server gone":
            server_gone(bench, wanted[64, 12], report, 5.0 if options.quick else GONE_S)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
