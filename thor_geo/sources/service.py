"""Whom blocks are asked of: Earth Engine (or its emulator), or a STAC catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import CONCURRENCY, Asker
from thor_geo.sources.earthengine.client import Client
from thor_geo.sources.earthengine.service import EarthEngine
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import FetchStats, RetryPolicy
from thor_geo.sources.scenes import AnyScene
from thor_geo.sources.stac import StacSpec
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor


class CompositeService(Protocol):
    """What `produce` asks; threads may share one."""

    @property
    def client(self) -> Asker:
        """The layer of retries, with the budget of concurrent requests."""
        ...

    def check(self, sensor: AnySensor, window: TemporalSpec) -> None:
        """See, before any block, that what a sensor asks for can be had."""
        ...

    def scenes(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        stats: FetchStats,
        *,
        order: int = 0,
    ) -> tuple[AnyScene, ...]:
        """List the scenes of a block, sorted by index; none is an answer."""
        ...

    def image(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        scenes: Sequence[AnyScene],
        catalogue: str,
    ) -> tuple[str, Any]:
        """Return the key of the pixels of pinned scenes, and what `pixels` computes them from."""
        ...

    def pixels(
        self, sensor: AnySensor, block: Block, image: Any, stats: FetchStats, *, order: int = 0
    ) -> BlockPixels:
        """Return the planes (bands, size, size) of a block: the sensor's, then observations."""
        ...


def open_service(
    session: SessionSpec | StacSpec,
    *,
    concurrency: int = CONCURRENCY,
    retry: RetryPolicy | None = None,
) -> CompositeService:
    """Return access to a source; nothing is contacted.

    Args:
        session: How to reach it.
        concurrency: Largest number of requests in flight.
        retry: How often and how patiently to ask again.
    """
    if isinstance(session, StacSpec):
        # A run from Earth Engine loads none of it.
        from thor_geo.sources.stac.client import StacClient
        from thor_geo.sources.stac.service import Stac
        from thor_geo.sources.stac.session import StacSession

        return Stac(StacClient(StacSession(session), concurrency=concurrency, retry=retry))
    return EarthEngine(Client(EarthEngineSession(session), concurrency=concurrency, retry=retry))


BlockPixels: TypeAlias = npt.NDArray[np.uint16 | np.int16]
