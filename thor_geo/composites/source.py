"""Where a dataset gets its blocks: by itself, or from the cache that a prefetch process fills."""

from __future__ import annotations

import os
import time
from typing import Any, Protocol, runtime_checkable

from thor_geo.composites.produce import produce
from thor_geo.composites.state import BlockRequest, StateDir
from thor_geo.composites.store import BlockStore
from thor_geo.composites.stored import StoredBlock
from thor_geo.errors import BlockError, SceneError
from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import CONCURRENCY
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.opening import open_service
from thor_geo.sources.policy import RetryPolicy
from thor_geo.sources.service import CompositeService
from thor_geo.sources.stac import CatalogueSpec

#: Waits of a reader for a missing block, seconds: the first, the longest, and how often it asks.
_FIRST_WAIT_S, _LONGEST_WAIT_S, _ASK_AGAIN_S = 0.002, 0.1, 5.0


@runtime_checkable
class BlockSource(Protocol):
    """Gives blocks to a dataset; picklable, and usable in forked processes."""

    def get(self, block: Block) -> StoredBlock:
        """Return a block.

        Args:
            block: The block.

        Raises:
            BlockError: If this block could not be produced; others may be.
            EarthEngineError: If Earth Engine refuses everything.
            StacError: If a STAC catalogue does.
            CacheError: If the cache cannot be used.
            StoreError: If it cannot, and lies in an object store.
        """
        ...


class StrictSource:
    """Gives the blocks of another source; refuses those that are made without a scene."""

    def __init__(self, source: BlockSource) -> None:
        """Initialize a new StrictSource instance.

        Args:
            source: Where the blocks come from.
        """
        self._source = source

    def get(self, block: Block) -> StoredBlock:
        """Return a block.

        Args:
            block: The block.

        Raises:
            SceneError: If a scene that passes the filters could not be used.
            ThorGeoError: What the other source raises.
        """
        stored = self._source.get(block)
        for scene, why in stored.left_out.items():
            raise left_out_error(scene, why)
        return stored


def left_out_error(scene: str, why: str) -> SceneError:
    """Return the error of a strict run for a scene that was left out.

    Args:
        scene: Its id.
        why: Why it could not be used.
    """
    return SceneError(
        scene,
        why,
        "It was left out, where `data.strict` wants every scene: name it in `data.stac.exclude`, "
        "or run without --strict.",
    )


class DirectSource:
    """Fetches what is missing by itself, in this process: for notebooks, tests and single places.

    The `ee` client is loaded when the first block is missing. Do not fork afterwards other than
    into processes that use this class or no `ee` at all; for a DataLoader with workers use
    `PrefetchedSource`.
    """

    def __init__(
        self,
        store: BlockStore,
        session: SessionSpec | CatalogueSpec,
        *,
        concurrency: int = CONCURRENCY,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Initialize a new DirectSource instance; nothing is touched yet.

        Args:
            store: The cache, with sensor, window and catalogue.
            session: How to reach the source.
            concurrency: Largest number of requests in flight.
            retry: How often and how patiently to ask again.
        """
        self.store = store
        self.session = session
        self._concurrency = concurrency
        self._retry = retry
        self._service: tuple[int, CompositeService] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what is open."""
        return {**self.__dict__, "_service": None}

    def connect(self) -> CompositeService:
        """Make the folder and the service, once; before threads ask for blocks side by side.

        Raises:
            ConfigError: If the cache cannot be written.
            EarthEngineError: If the service refused, or a scene that the sensor names cannot be
                used.
            StacError: If a STAC catalogue refused.
        """
        if self._service is None or self._service[0] != os.getpid():
            # A new client for each process: threads left behind may hold the locks of a forked one.
            self.store.prepare()
            service = open_service(self.session, concurrency=self._concurrency, retry=self._retry)
            service.check(self.store.sensor, self.store.window)
            self._service = (os.getpid(), service)
        return self._service[1]

    def get(self, block: Block) -> StoredBlock:
        """Return a block; fetch it if it is missing or damaged.

        Args:
            block: The block.

        Raises:
            ConfigError: If the cache cannot be written.
            BlockError: If the service failed too often or cannot compute the block.
            AuthenticationError: If there are no usable credentials.
            ProjectError: If the project is missing or may not be used.
            EarthEngineError: If the service refused for another reason, or a scene that the sensor
                names cannot be used.
            StacError: If a STAC catalogue refused.
            CacheError: If the cache cannot be used.
            StoreError: If it cannot, and lies in an object store.
        """
        stored = self.store.get(block)
        if stored is not None:
            return stored
        return produce(self.store, self.connect(), block)


class PrefetchedSource:
    """Reads the cache and waits for the prefetch process; never loads the `ee` client."""

    def __init__(self, store: BlockStore, state: StateDir, sensor: int = 0) -> None:
        """Initialize a new PrefetchedSource instance; see `Prefetcher.source`.

        Args:
            store: The cache, with sensor, window and catalogue.
            state: The folder through which the prefetch process is observed.
            sensor: Place of the sensor among those of the prefetch process.
        """
        self.store = store
        self.state = state
        self._sensor = sensor

    def get(self, block: Block) -> StoredBlock:
        """Return a block; wait until the cache has it.

        A missing block is asked for before all others, planned or not, so that any order works
        and a damaged file is fetched again.

        Args:
            block: The block.

        Raises:
            BlockError: If this block could not be produced in this run.
            EarthEngineError: If the prefetch process ended because Earth Engine refused.
            StacError: If it ended because a STAC catalogue refused.
            CacheError: If the cache cannot be used.
            StoreError: If it cannot, and lies in an object store.
            PrefetchError: If it ended otherwise, or was never started.
        """
        key = self.store.query_key(block)
        pause, asked = _FIRST_WAIT_S, float("-inf")
        while True:
            alive = self.state.alive()
            if alive:
                self.state.report(key)
            stored = self.store.get(block)
            if stored is not None:
                return stored
            failure = self.state.failure(key)
            if failure is not None:
                raise BlockError(failure)
            # Looked up before the cache: what a process stored last is found after its end.
            if not alive:
                raise self.state.death()
            if time.monotonic() - asked >= _ASK_AGAIN_S:
                self.state.request(BlockRequest(key, block, self._sensor, self.store.window))
                asked = time.monotonic()
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_WAIT_S)
