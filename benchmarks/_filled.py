"""A cache of blocks that was never fetched: for runs that are about everything else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from thor_geo.composites import BlockStore, Pinned
from thor_geo.ground.lattice import Block, Rect, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import FetchStats, Scene


def fill(store: BlockStore, plan: Plan, block_size: int) -> None:
    """Write all blocks of a plan into a cache, on every core.

    Args:
        store: The cache.
        plan: A rectangle of tiles in one zone.
        block_size: Side of a block in pixels.
    """
    blocks, cores = blocks_under(plan, block_size), len(os.sched_getaffinity(0))
    store.prepare()
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(write, [store] * cores, [blocks[k::cores] for k in range(cores)]))


def blocks_under(plan: Plan, block_size: int) -> list[Block]:
    """Return the blocks of all tiles of a plan that is a rectangle of them."""
    first, last = plan.tile(0), plan.tile(len(plan) - 1)
    ground = Rect(
        epsg=first.epsg,
        resolution=first.resolution,
        left=first.left,
        top=first.top,
        width=last.left + last.width - first.left,
        height=first.top - last.top + last.height,
    )
    return list(blocks_meeting(ground, block_size))


def write(store: BlockStore, blocks: Sequence[Block]) -> None:
    """Write blocks into the cache, as the prefetch process does: random pixels of two scenes."""
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
