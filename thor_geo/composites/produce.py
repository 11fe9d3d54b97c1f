"""Making a block that is not in the store: pin its scenes, fetch its pixels, put it there."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from thor_geo.composites.store import BlockStore
from thor_geo.composites.stored import Pinned, StoredBlock
from thor_geo.errors import BlockError, SceneError
from thor_geo.ground.lattice import Block
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.service import BlockPixels, CompositeService

logger = logging.getLogger(__name__)


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
    file's replacement, is made of the same scenes. A source that reads files may find that a scene
    cannot be used; it is left out if the scenes are not pinned yet, so they are pinned after their
    pixels were read. Who pins first decides for all: a process that read other scenes meanwhile
    reads again.

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
        BlockError: If the service failed too often or cannot compute the block, or no scene that
            passes the filters can be used.
        SceneError: If a pinned scene cannot be used any more.
        EarthEngineError: If Earth Engine refused.
        StacError: If a STAC catalogue refused.
        CacheError: If the cache cannot be written.
        StoreError: If it cannot, and lies in an object store.
    """
    stats = FetchStats() if stats is None else stats
    service.client.connect()
    making = _Making(store, service, block, order)
    try:
        return making.stored(stats)
    finally:
        stats.add(making.cost)


class _Making:
    """One block being made.

    Attributes:
        cost: What its pixels cost so far.
    """

    def __init__(
        self, store: BlockStore, service: CompositeService, block: Block, order: int
    ) -> None:
        self._store, self._service = store, service
        self._block, self._order = block, order
        self.cost = FetchStats()

    def stored(self, stats: FetchStats) -> StoredBlock:
        """Pin the scenes, get the pixels, and put them into the store."""
        store, block = self._store, self._block
        pinned = store.pinned(block)
        now, image = self._named(pinned or self._listed(stats))
        planes = None
        if pinned is None and image is not None and self._service.reads_files:
            now, planes = self._read_usable(now, image)
        # Another release of the client may write the same graph differently, and so change the key.
        if pinned != now:
            held = store.pin(block, now)
            if held.scenes != now.scenes:
                # Another process was first, and was told other scenes: both keep to its list.
                now, image = self._named(held)
                planes = None
            now = replace(now, left_out=held.left_out)
            for scene, why in now.left_out.items():
                logger.warning("Block %s is made without the scene %s: it %s", block.id, scene, why)
        if image is None:
            return store.block(block, now)
        if planes is None:
            planes = self._pixels(image)
        cost = replace(self.cost)
        if now.cost is not None:
            cost.add(now.cost)
        return store.put(block, now, planes, cost)

    def _listed(self, stats: FetchStats) -> Pinned:
        """Return the scenes as the service lists them now, without the key of the pixels."""
        store, cost = self._store, FetchStats()
        try:
            listed = self._service.scenes(
                store.sensor, store.window, self._block, cost, order=self._order
            )
        finally:
            stats.add(cost)
        return Pinned(scenes=listed.scenes, block_key=None, left_out=listed.left_out, cost=cost)

    def _named(self, pinned: Pinned) -> tuple[Pinned, Any]:
        """Return scenes with the key of their pixels, and the image; None for both without any."""
        if not pinned.scenes:
            return replace(pinned, block_key=None), None
        store = self._store
        key, image = self._service.image(
            store.sensor, store.window, self._block, pinned.scenes, store.catalogue
        )
        return replace(pinned, block_key=key), image

    def _pixels(self, image: Any) -> BlockPixels:
        return self._service.pixels(
            self._store.sensor, self._block, image, self.cost, order=self._order
        )

    def _read_usable(self, listed: Pinned, image: Any) -> tuple[Pinned, BlockPixels]:
        """Return the scenes that can be used, those left out with them, and the pixels.

        Raises:
            BlockError: If none can be used.
        """
        left_out = dict(listed.left_out)
        while True:
            try:
                return listed, self._pixels(image)
            except SceneError as error:
                left_out[error.scene] = error.why
                usable = tuple(scene for scene in listed.scenes if scene.index != error.scene)
                if len(usable) == len(listed.scenes):
                    raise
                if not usable:
                    raise BlockError(
                        f"Block {self._block.id}: none of the {len(left_out)} scenes that pass the "
                        f"filters can be used. The last one: {error}"
                    ) from error
            # Sorted: where several cannot be used, the order in which they are met says nothing.
            reasons = dict(sorted(left_out.items()))
            listed, image = self._named(replace(listed, scenes=usable, left_out=reasons))
