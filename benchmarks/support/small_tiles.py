"""Runs of many small tiles, in which whatever is kept for each tile, block or shard would show."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.support.commands import box, emulator
from benchmarks.support.processes import cpu_seconds
from benchmarks.support.runs import Finished, Started, Workspace
from thor_geo.composites import BlockStore, Pinned
from thor_geo.emulator import Acquisition, Archive, ensure_archive
from thor_geo.ground.area import LONLAT, AreaSpec, transformer
from thor_geo.ground.lattice import Block, Lattice, Rect, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import FetchStats, Scene

TILE, ROLES = 32, ("main", "worker", "prefetch")
_EPSG, _CENTER = 32633, (15.0, 60.0)


def square(tiles: int) -> tuple[int, int, int, int]:
    """Return a square with about so many tiles: left, bottom, right, top in metres of zone 33."""
    x, y = transformer(LONLAT, f"EPSG:{_EPSG}").transform(*_CENTER)
    half = round(math.sqrt(tiles)) * TILE * 10 / 2 - 1
    return round(x - half), round(y - half), round(x + half), round(y + half)


def write_archive(folder: Path, size_m: int) -> None:
    """Generate the scenes of all runs in a folder, over a square of so many metres."""
    ensure_archive(
        folder / "scenes",
        center=_CENTER,
        size_m=size_m,
        zones=(_EPSG,),
        acquisitions=(Acquisition(date="2022-06-05", cloud_cover=0.1),),
    )


def workspace(
    folder: Path,
    tiles: int,
    *,
    name: str,
    cache: Path,
    block_size: int,
    backbone: str | None = None,
    **settings: object,
) -> Workspace:
    """Return a run over about so many tiles.

    Args:
        folder: The benchmark's folder, with the scenes.
        tiles: About how many.
        name: Name of the run's own folder.
        cache: Where its cache lies.
        block_size: Side of a block in pixels.
        backbone: Class of a model in place of THOR.
        settings: Further settings of the model.
    """
    place = folder / name
    place.mkdir(exist_ok=True)
    model: dict[str, object] = {"model.patch_size": 16}
    if backbone is not None:
        model = {
            "model.patch_size": None,
            "model": "thor_geo.tasks.BackboneEmbeddingTask",
            "model.backbone": backbone,
        }
    return Workspace(
        folder=place,
        cache_in=cache,
        settings={
            **emulator(folder / "scenes"),
            **box(square(tiles), _EPSG),
            "data.area.bbox": None,
            "data.tile_size": TILE,
            "data.shard_tiles": 8,
            "data.block_size": block_size,
            "data.batch_size": 32,
            "data.num_workers": 2,
            **model,
            **{f"model.{key}": value for key, value in settings.items()},
        },
    )


@dataclass(kw_only=True)
class Sample:
    """A run's processes at one moment.

    Attributes:
        time: Seconds since the epoch.
        cpu: CPU seconds of all processes so far.
        load: Load average of the machine, this run included, last minute.
        peaks: Largest resident set so far by role, MB.
        private: The most anonymous memory seen so far by role, MB.
    """

    time: float
    cpu: float
    load: float
    peaks: dict[str, float]
    private: dict[str, float]


def watch(started: Started, interval: float) -> Iterator[Sample]:
    """Look at a run's processes every so many seconds until it ends."""
    cpu: dict[int, float] = {}
    peaks: dict[str, float] = {}
    private: dict[str, float] = {}
    while started.running:
        for process in started.processes():
            try:
                cpu[process.pid] = cpu_seconds(process.pid)
            except FileNotFoundError:
                continue  # it has ended
            role = process.role
            peaks[role] = max(peaks.get(role, 0.0), process.peak_kb / 1000)
            private[role] = max(private.get(role, 0.0), process.private_kb / 1000)
        yield Sample(
            time=time.time(),
            cpu=sum(cpu.values()),
            load=os.getloadavg()[0],
            peaks=dict(peaks),
            private=dict(private),
        )
        time.sleep(interval)


def measure(place: Workspace, interval: float) -> tuple[list[Sample], Finished, int]:
    """Run once; return the samples, how it ended and the number of tiles.

    Raises:
        RuntimeError: If the run fails.
    """
    started = place.start()
    samples = list(watch(started, interval))
    done = started.wait()
    if done.code != 0:
        raise RuntimeError(f"A run failed: {done.output}")
    plan = json.loads((place.run / "run.json").read_bytes())["plan"]
    return samples, done, int(plan["tiles"])


def fill_cache(place: Workspace, tiles: int, block_size: int) -> None:
    """Write all blocks of a run into its cache, on every core: random pixels of two scenes.

    Args:
        place: The run; its own settings name the cache.
        tiles: As for `workspace`.
        block_size: Likewise.
    """
    from thor_geo.cli.predict import make_cli

    data = make_cli(place.arguments()[1:], run=False).datamodule
    store = BlockStore(
        data.feed.spec.source.cache_dir,
        sensor=data.sensor,
        window=data.windows.span,
        catalogue=f"emulator-{Archive.open(place.folder.parent / 'scenes').fingerprint()}",
    )
    area = AreaSpec(bbox=square(tiles), crs=f"EPSG:{_EPSG}").load()
    plan = Plan.from_area(area, Lattice(epsg=32601, tile_size=TILE))
    first, last = plan.tile(0), plan.tile(len(plan) - 1)
    ground = Rect(
        epsg=first.epsg,
        resolution=first.resolution,
        left=first.left,
        top=first.top,
        width=last.left + last.width - first.left,
        height=first.top - last.top + last.height,
    )
    blocks, cores = list(blocks_meeting(ground, block_size)), len(os.sched_getaffinity(0))
    store.prepare()
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write, [store] * cores, [blocks[k::cores] for k in range(cores)]))


def _write(store: BlockStore, blocks: Sequence[Block]) -> None:
    shape = (len(store.sensor.bands) + 1, blocks[0].size, blocks[0].size)
    planes = np.random.default_rng(0).integers(0, 9000, shape, np.uint16)
    planes[-1] = 2
    scenes = tuple(
        Scene(
            index=f"s{day}",
            time_start=f"2022-06-0{day}T10:00:00+00:00",
            mgrs_tile=None,
            processing_baseline=None,
            cloudy_pct=0.0,
        )
        for day in (1, 2)
    )
    for block in blocks:
        # The key names pixels: any will do where nobody computes them.
        pinned = Pinned(scenes=scenes, block_key=hashlib.sha256(block.id.encode()).hexdigest())
        store.pin(block, pinned)
        store.put(block, pinned, planes, FetchStats())
