"""Blocks from a catalogue: its scenes listed, their bands read and reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.earthengine.policy import FetchStats
from thor_geo.earthengine.recipe import OBSERVATIONS, Scene
from thor_geo.errors import ConfigError
from thor_geo.grid import Block
from thor_geo.specs import SCL_MASKED, SensorSpec, TemporalSpec
from thor_geo.stac.client import StacClient
from thor_geo.stac.items import Item
from thor_geo.stac.recipe import block_key
from thor_geo.stac.reduce import Mask, Pixels, harmonised, observations, reduced
from thor_geo.stac.sampling import CLASS_DTYPES, DTYPES, sample
from thor_geo.stac.signing import signer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A composite that has not been computed.

    Attributes:
        sensor: Bands and recipe.
        scenes: The pinned scenes, not empty.
    """

    sensor: SensorSpec
    scenes: tuple[Scene, ...]


class Stac:
    """Lists the scenes of blocks and computes their pixels; threads may share one."""

    def __init__(self, client: StacClient) -> None:
        """Initialize a new Stac instance; nothing is contacted.

        Args:
            client: Access to the catalogue.
        """
        self.client = client
        self._sign: Callable[[str], str] | None = None

    def scenes(
        self,
        sensor: SensorSpec,
        window: TemporalSpec,
        block: Block,
        stats: FetchStats,
        *,
        order: int = 0,
    ) -> tuple[Scene, ...]:
        """List the scenes of a block.

        All items that share ground with it, were acquired in the half-open window and are not
        cloudier than the limit; an item that states no cloud percentage passes. As on Earth Engine,
        products of one overpass by several processing baselines are several scenes.

        Args:
            sensor: Cloud limit.
            window: The window.
            block: The block.
            stats: Counts what it cost.
            order: Who is served first, see `Client.call`.

        Returns:
            The scenes, sorted by id; none is an answer.

        Raises:
            BlockError: If the catalogue failed too often.
            StacError: If it refused, or its items are not as they should be.
        """
        self.client.connect()
        items = self.client.call(
            lambda: self.client.session.search(block, window),
            f"the scenes of block {block.id}",
            stats,
            order=order,
        )
        scenes = (item.scene for item in items)
        passing = (
            scene
            for scene in scenes
            if scene.cloudy_pct is None or scene.cloudy_pct <= sensor.cloudy_pct
        )
        return tuple(sorted(passing, key=lambda scene: scene.index))

    def image(
        self,
        sensor: SensorSpec,
        window: TemporalSpec,
        block: Block,
        scenes: Sequence[Scene],
        catalogue: str,
    ) -> tuple[str, Plan]:
        """Return the key of a block's pixels, and what `pixels` computes them from.

        Args:
            sensor: Bands and recipe.
            window: The window, which selects nothing more: the scenes are pinned.
            block: The block.
            scenes: The pinned scenes.
            catalogue: Where they are from.

        Raises:
            ConfigError: If *scenes* is empty.
        """
        del window
        if not scenes:
            raise ConfigError(
                "scenes", scenes, "a composite of no scenes", "Record the block as empty instead."
            )
        key = block_key(sensor, block, scenes, catalogue)
        return key, Plan(sensor=sensor, scenes=tuple(scenes))

    def pixels(
        self,
        block: Block,
        image: Plan,
        bands: Sequence[str],
        stats: FetchStats,
        *,
        order: int = 0,
    ) -> Pixels:
        """Compute a block's pixels: each band over the scenes, and the observations.

        One band of all scenes is held at a time: 5 bytes for each pixel and scene, masks included.

        Args:
            block: The block.
            image: What to compute.
            bands: Names of the planes: the sensor's bands, then `OBSERVATIONS`.
            stats: Counts what it cost; a request is one band of one scene.
            order: Who is served first, see `Client.call`.

        Returns:
            Pixels (bands, size, size), uint16.

        Raises:
            BlockError: If a file cannot be read, or was not answered for too often.
            StacError: If the catalogue refused, or an item does not say where a band is.
        """
        assert tuple(bands) == (*image.sensor.bands, OBSERVATIONS), bands
        self.client.connect()
        ids = sorted(scene.index for scene in image.scenes)
        named = self.client.call(
            lambda: self.client.session.named(ids),
            f"the items of block {block.id}",
            FetchStats(),
            order=order,
        )
        items = [named[name] for name in ids]
        shape = (len(items), block.size, block.size)
        clear = np.ones(shape, bool)
        if image.sensor.mask == "scl":
            for k, item in enumerate(items):
                classes, there = self._read(item, "SCL", block, stats, order)
                clear[k] = there & ~np.isin(classes, SCL_MASKED)
        planes = np.empty((len(bands), block.size, block.size), np.uint16)
        complete = clear.copy()
        values, seen = np.empty(shape, np.uint16), np.empty(shape, bool)
        for plane, band in zip(planes, image.sensor.bands, strict=False):
            for k, item in enumerate(items):
                values[k], seen[k] = self._read(item, band, block, stats, order)
            seen &= clear
            complete &= seen
            plane[:] = reduced(image.sensor.composite, values, seen, image.sensor.fill_value)
        planes[-1] = observations(complete)
        return planes

    def _read(
        self, item: Item, band: str, block: Block, stats: FetchStats, order: int
    ) -> tuple[npt.NDArray[Any], Mask]:
        """Return a band's values on a block, without offset, and where there are any."""
        raster = item.raster(band, self.client.session.spec)
        what = f"{band} of item {item.id!r} for block {block.id}"

        def read() -> tuple[Pixels, Mask]:
            if self._sign is None:
                self._sign = signer(self.client.session.spec.sign)
            dtypes = CLASS_DTYPES if band == "SCL" else DTYPES
            found = sample(self._sign(raster.href), raster.number, block, what, dtypes)
            stats.bytes += found.read
            return harmonised(found.values, raster.offset), found.seen

        return self.client.call(read, what, stats, order=order)
