"""Blocks from Earth Engine: its scenes listed, its composites computed there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.fetch import fetch_block, fetch_scenes
from thor_geo.sources.earthengine.named import check_named_scenes
from thor_geo.sources.earthengine.recipe import block_key
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import OBSERVATIONS, AnyScene, ListedScenes
from thor_geo.sources.service import BlockPixels
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, storage_of


class EarthEngine:
    """Lists the scenes of blocks and has their pixels computed; threads may share one."""

    reads_files = False

    def __init__(self, client: EarthEngineClient) -> None:
        """Initialize a new EarthEngine instance; nothing is contacted.

        Args:
            client: Access to Earth Engine.
        """
        self.client = client

    def check(self, sensor: AnySensor, window: TemporalSpec) -> None:
        """Check that the scenes which a sensor names can be used; see `check_named_scenes`."""
        if isinstance(sensor, SensorSpec):
            check_named_scenes(self.client, sensor, window)

    def scenes(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        stats: FetchStats,
        *,
        order: int = 0,
    ) -> ListedScenes:
        """List the scenes of a block; see `fetch_scenes`."""
        return ListedScenes(
            scenes=fetch_scenes(self.client, sensor, window, block, stats, order=order)
        )

    def image(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        scenes: Sequence[AnyScene],
        catalogue: str,
    ) -> tuple[str, Any]:
        """Return the key of a block's pixels, and the graph that computes them."""
        # Loads the client, which a process that finds everything in the cache never needs.
        from thor_geo.sources.earthengine._expression import prepared_composite

        image = prepared_composite(sensor, window, block, tuple(scenes))
        return block_key(image, sensor, block, catalogue), image

    def pixels(
        self, sensor: AnySensor, block: Block, image: Any, stats: FetchStats, *, order: int = 0
    ) -> BlockPixels:
        """Fetch a block's pixels: the sensor's bands, then the observations; see `fetch_block`."""
        names, dtype = (*sensor.bands, OBSERVATIONS), storage_of(sensor).disk
        return fetch_block(self.client, block, image, names, stats, order=order, dtype=dtype)
