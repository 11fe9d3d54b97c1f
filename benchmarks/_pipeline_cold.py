"""A run whose composites must be fetched first, against its two halves alone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import _pipeline_ours as ours
from benchmarks._emulated import cpu_seconds, write_scenes
from benchmarks._pipeline_data import BANDS, END, START, Ground
from thor_geo.composites import Prefetcher, PrefetchSpec
from thor_geo.datamodules.source import EMULATOR_URL
from thor_geo.emulator import Archive, EmulatorProcess, FaultPlan, FaultRule
from thor_geo.ground.blocks import BlockOrder
from thor_geo.sources.earthengine import SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec

LATENCY_S = 0.5
#: Both kinds of requests that a block needs: its scenes, then its pixels.
KINDS = ("value:compute", "image:computePixels")


#: Two shards.
TILES = 128


@dataclass(frozen=True, kw_only=True)
class Cold:
    """A run over ground that is not cached.

    Blocks as large as tiles: two requests for each tile, a second in a slot. Requests in flight are
    so few that fetching takes about as long as computing, and that the emulator, which runs on the
    same cores, takes little from the encoder.

    Attributes:
        folder: Where to keep archive and caches.
        model_key: Variant.
        concurrency: Requests in flight.
        batch: Tiles per batch: nothing can be computed before the first batch is fetched, nor
            fetched while the last is computed.
    """

    folder: Path
    model_key: str = "thor_v1_base"
    concurrency: int = 3
    batch: int = 2

    @property
    def ground(self) -> Ground:
        """Two shards."""
        return Ground(folder=self.folder, across=2, down=1, block_size=288)

    def measure(self) -> dict[str, float]:
        """Return seconds: ``cold``, ``fetch`` alone, and ``warm``, the same run once more.

        And ``emulator``: the CPU seconds that its process took for the cold run.
        """
        ground = self.ground
        archive = write_scenes(
            self.folder / "archive",
            side=ground.side,
            bands=BANDS,
            scenes=1,
            corner=ground.corner,
        )
        slow = FaultPlan(rules=tuple(FaultRule(kind=kind, delay_s=LATENCY_S) for kind in KINDS))
        settings = ours.Settings(
            ground=ground,
            model_key=self.model_key,
            batch=self.batch,
            extra=(f"--data.concurrency={self.concurrency}",),
        )
        with EmulatorProcess(archive, faults=slow) as emulator:
            os.environ[EMULATOR_URL] = emulator.url
            try:
                fetch = self._fetch(emulator.url, archive)
                assert emulator.pid is not None
                before = cpu_seconds(emulator.pid)
                cold = ours.predict(settings, self.folder / "run")["phase"]
                used = cpu_seconds(emulator.pid) - before
                warm = ours.predict(settings, self.folder / "run")["phase"]
            finally:
                del os.environ[EMULATOR_URL]
        return {"cold": cold, "fetch": fetch, "warm": warm, "emulator": used}

    def _fetch(self, url: str, archive: Path) -> float:
        """Return how long the run's blocks take where nobody computes."""
        ground = self.ground
        spec = PrefetchSpec(
            root=self.folder / "other-cache",
            session=SessionSpec(credentials="anonymous", url=url),
            sensor=SensorSpec(bands=BANDS),
            window=TemporalSpec.range(START, END),
            catalogue=f"emulator-{Archive.open(archive).fingerprint()}",
            concurrency=self.concurrency,
            ahead=None,
        )
        plan = ground.plan
        with Prefetcher(spec) as prefetcher:
            began = time.perf_counter()
            prefetcher.plan(BlockOrder.of(plan, range(len(plan.shards)), ground.block_size))
            while not prefetcher.stats().finished:
                prefetcher.check()
                time.sleep(0.02)
            seconds = time.perf_counter() - began
            failures = prefetcher.failures()
        assert not failures, failures
        return seconds


def measure(folder: Path, *, quick: bool = False) -> dict[str, float]:
    """Measure once: seconds ``cold``, ``fetch``, ``warm`` and ``emulator``.

    Args:
        folder: Where; made.
        quick: Take an encoder and so many requests in flight that it is over soon.
    """
    folder.mkdir(parents=True)
    if quick:
        return Cold(folder=folder, model_key="thor_v1_tiny", concurrency=16).measure()
    return Cold(folder=folder).measure()
