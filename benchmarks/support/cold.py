"""A run whose composites must be fetched first, against its two halves alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.support.emulated import write_scenes
from benchmarks.support.ground import BANDS, END, START, Ground
from benchmarks.support.predicting import Settings, predict
from benchmarks.support.processes import cpu_seconds
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


def measure(folder: Path, *, quick: bool = False) -> dict[str, float]:
    """Measure once.

    Blocks are as large as tiles: two requests for each tile, a second in a slot. So few requests
    are in flight that fetching takes about as long as computing, and that the emulator, which runs
    on the same cores, takes little from the encoder. Batches are small: nothing can be computed
    before the first batch is fetched, nor fetched while the last is computed.

    Args:
        folder: For archive and caches; created.
        quick: Take a small encoder and many requests in flight.

    Returns:
        Seconds: ``cold``, ``fetch`` alone, and ``warm``, the same run once more; and ``emulator``,
        the CPU seconds that its process took for the cold run.
    """
    ground = Ground(folder=folder, across=2, down=1, block_size=288)
    settings = Settings(
        ground=ground,
        model_key="thor_v1_tiny" if quick else "thor_v1_base",
        batch=2,
        concurrency=16 if quick else 3,
    )
    archive = write_scenes(
        folder / "archive", side=max(ground.size), bands=BANDS, scenes=1, corner=ground.corner
    )
    slow = FaultPlan(rules=tuple(FaultRule(kind=kind, delay_s=LATENCY_S) for kind in KINDS))
    with EmulatorProcess(archive, faults=slow) as emulator:
        os.environ[EMULATOR_URL] = emulator.url
        try:
            fetch = _fetch(settings, emulator.url, archive)
            assert emulator.pid is not None
            before = cpu_seconds(emulator.pid)
            cold = predict(settings, folder / "run")["phase"]
            used = cpu_seconds(emulator.pid) - before
            warm = predict(settings, folder / "run")["phase"]
        finally:
            del os.environ[EMULATOR_URL]
    return {"cold": cold, "fetch": fetch, "warm": warm, "emulator": used}


def _fetch(settings: Settings, url: str, archive: Path) -> float:
    """Return the seconds that the run's blocks take where nobody computes."""
    ground, concurrency = settings.ground, settings.concurrency
    assert concurrency is not None
    spec = PrefetchSpec(
        root=ground.folder / "other-cache",
        session=SessionSpec(credentials="anonymous", url=url),
        sensor=SensorSpec(bands=BANDS),
        window=TemporalSpec.range(START, END),
        catalogue=f"emulator-{Archive.open(archive).fingerprint()}",
        concurrency=concurrency,
        ahead=None,
    )
    with Prefetcher(spec) as prefetcher:
        began = time.perf_counter()
        shards = range(len(ground.plan.shards))
        prefetcher.plan(BlockOrder.from_shards(ground.plan, shards, ground.block_size))
        while not prefetcher.stats().finished:
            prefetcher.check()
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        failures = prefetcher.failures()
    assert not failures, failures
    return seconds
