"""A run of the prefetch process against an emulator that fails, and what it must leave behind."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.support.emulated import blocks, prefetch_spec
from benchmarks.support.fault_plans import LISTS, PIXELS, Trial
from thor_geo.composites import Prefetcher, PrefetchStats
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule
from thor_geo.errors import ThorGeoError
from thor_geo.support.files import file_sha256

BANDS = ("B4", "B3")
LATENCY_S = 0.05

#: How long a run may take before it counts as hanging, seconds.
PATIENCE_S = 900.0


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
                served=served(emulator.url),
            )


def served(url: str) -> dict[str, Any]:
    """Return what the server received, after the requests that nobody waits for have ended."""
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
    digests = {path.name: file_sha256(path) for path in cache.rglob("*.tif")}
    for path in (cache / "scenes").rglob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        digests[path.name] = json.dumps([record["scenes"], record["block_key"]])
    return digests


def damage(cache: Path) -> list[str]:
    """Return what a run must not leave behind: temporary files, pixels without a sidecar."""
    wrong = [f"{path.name} was left behind." for path in cache.rglob("*.tmp")]
    return wrong + [
        f"{path.name} has no sidecar."
        for path in cache.rglob("*.tif")
        if not path.with_suffix(".json").exists()
    ]


def row(trial: Trial, outcome: Outcome, same: bool) -> dict[str, Any]:
    """Return a row of the table."""
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
