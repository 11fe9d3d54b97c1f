"""Making a block that is not in the store: pin its scenes, fetch its pixels, put it there."""

from __future__ import annotations

from thor_geo.composites.store import BlockStore
from thor_geo.composites.stored import Pinned, StoredBlock
from thor_geo.earthengine.client import Client
from thor_geo.earthengine.fetch import fetch_block, fetch_scenes
from thor_geo.earthengine.policy import FetchStats
from thor_geo.earthengine.recipe import OBSERVATIONS, block_key, composite
from thor_geo.grid import Block


def produce(
    store: BlockStore, client: Client, block: Block, stats: FetchStats | None = None
) -> StoredBlock:
    """Fetch a block into the store, whether or not it is there.

    Scenes that were pinned before stay pinned: the rest of an interrupted fetch, or a damaged
    file's replacement, is made of the same scenes.

    Args:
        store: The store.
        client: Access to Earth Engine.
        block: The block.
        stats: Counts what it cost.

    Returns:
        The stored block; without a file if no scene passes the filters.

    Raises:
        BlockError: If the service failed too often or cannot compute the block.
        EarthEngineError: If the service refused.
    """
    stats = FetchStats() if stats is None else stats
    sensor, window = store.sensor, store.window
    client.connect()
    pinned = store.pinned(block)
    scenes = fetch_scenes(client, sensor, window, block, stats) if pinned is None else pinned.scenes
    if not scenes:
        store.pin(block, Pinned(scenes=(), block_key=None))
        return StoredBlock(block=block, bands=sensor.bands, scenes=(), fill_value=sensor.fill_value)
    image = composite(sensor, window, block, scenes)
    now = Pinned(scenes=scenes, block_key=block_key(image, sensor, block, store.catalogue))
    # Another release of the client may write the same graph differently, and so change the key.
    if pinned != now:
        store.pin(block, now)
    planes = fetch_block(client, block, image, (*sensor.bands, OBSERVATIONS), stats)
    return store.put(block, now, planes, stats)
