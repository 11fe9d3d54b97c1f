"""Making a block that is not in the store: pin its scenes, fetch its pixels, put it there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from thor_geo.composites.store import BlockStore
from thor_geo.composites.stored import Pinned, StoredBlock
from thor_geo.ground.lattice import Block
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.service import CompositeService


def produce(
    store: BlockStore,
    service: CompositeService,
    block: Block,
    stats: FetchStats | None = None,
    *,
    order: int = 0,
) -> StoredBlock:
    """Fetch a block into the store, whether or not it is there.

    Scenes that were pinned before stay pinned: the rest of an interrupted fetch, or a damaged
    file's replacement, is made of the same scenes.

    The record of newly pinned scenes says what listing them cost. The sidecar says what the block
    cost in all: the pixels, and that listing, even if an earlier run made it. What was given up
    is in the statistics of its run alone.

    Args:
        store: The store.
        service: Whom to ask.
        block: The block.
        stats: Counts what this call cost, added to what is there.
        order: Who is served first where several ask at once: the lowest.

    Returns:
        The stored block; without a file if no scene passes the filters.

    Raises:
        BlockError: If the service failed too often or cannot compute the block.
        EarthEngineError: If Earth Engine refused.
        StacError: If a STAC catalogue refused.
        CacheError: If the cache cannot be written.
    """
    stats = FetchStats() if stats is None else stats
    service.client.connect()
    pinned = store.pinned(block)
    now, image = _named(
        store, service, block, pinned or _listed(store, service, block, stats, order)
    )
    # Another release of the client may write the same graph differently, and so change the key.
    if pinned != now:
        held = store.pin(block, now)
        if held.scenes != now.scenes:
            # Another process was first, and was told other scenes: both keep to the first list.
            now, image = _named(store, service, block, held)
    if image is None:
        return store.block(block, ())
    cost = FetchStats()
    try:
        planes = service.pixels(store.sensor, block, image, cost, order=order)
    finally:
        stats.add(cost)
    if now.cost is not None:
        cost.add(now.cost)
    return store.put(block, now, planes, cost)


def _listed(
    store: BlockStore, service: CompositeService, block: Block, stats: FetchStats, order: int
) -> Pinned:
    """Return the scenes of a block as the service lists them now, without the key of the pixels."""
    cost = FetchStats()
    try:
        scenes = service.scenes(store.sensor, store.window, block, cost, order=order)
    finally:
        stats.add(cost)
    return Pinned(scenes=scenes, block_key=None, cost=cost)


def _named(
    store: BlockStore, service: CompositeService, block: Block, pinned: Pinned
) -> tuple[Pinned, Any]:
    """Return scenes with the key of their pixels, and the image; None for both without scenes."""
    if not pinned.scenes:
        return replace(pinned, block_key=None), None
    key, image = service.image(store.sensor, store.window, block, pinned.scenes, store.catalogue)
    return replace(pinned, block_key=key), image
