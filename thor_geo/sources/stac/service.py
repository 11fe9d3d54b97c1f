"""Blocks from a catalogue: its scenes listed, their bands read and reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from thor_geo.errors import BlockError, ConfigError, StacError, StacUnreachableError
from thor_geo.ground.lattice import Block
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import AnyScene, Scene, sentinel2_order, wrong_scenes
from thor_geo.sources.stac.client import StacClient
from thor_geo.sources.stac.compose import compose_planes
from thor_geo.sources.stac.items import StacItem
from thor_geo.sources.stac.recipe import block_key, check_supported
from thor_geo.sources.stac.reduce import harmonised
from thor_geo.sources.stac.sampling import CLASS_DTYPES, DTYPES, sample
from thor_geo.sources.stac.signing import signer
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor
from thor_geo.support.arrays import BoolArray, UInt16Array


class Stac:
    """Lists the scenes of blocks and computes their pixels; threads may share one."""

    def __init__(self, client: StacClient) -> None:
        """Initialize a new Stac instance; nothing is contacted.

        Args:
            client: Access to the catalogue.
        """
        self.client = client
        self._sign: Callable[[str], str] | None = None

    def check(self, sensor: AnySensor, window: TemporalSpec) -> None:
        """Refuse what is not supported, and scenes which a sensor names that cannot be used.

        Args:
            sensor: Bands and recipe.
            window: The window.

        Raises:
            ConfigError: If something is not supported.
            StacError: If a named scene cannot be used; names all such scenes, and why.
        """
        recipe = check_supported(sensor)
        ids = recipe.scenes
        if ids is None:
            return
        self.client.connect()
        try:
            items = self.client.call(
                lambda: self.client.session.existing(ids),
                "the scenes of `data.sentinel2.scenes`",
                FetchStats(),
            )
        except BlockError as error:
            raise StacUnreachableError(str(error)) from error
        listed = {name: item.scene for name, item in items.items()}
        wrong = list(wrong_scenes(recipe, window, listed, self.client.session.spec.endpoint))
        if wrong:
            raise StacError(
                f"`data.sentinel2.scenes` names scenes that cannot be used: {'; '.join(wrong)}. "
                "Correct the ids, or set data.start, data.end and data.sentinel2.cloudy_pct so "
                "that these scenes pass."
            )

    def scenes(
        self,
        sensor: AnySensor,
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
            order: Who is served first, see `Asker.call`.

        Returns:
            The scenes, sorted by id; none is an answer.

        Raises:
            BlockError: If the catalogue failed too often.
            StacError: If it refused, or its items are not as they should be.
        """
        recipe = check_supported(sensor)
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
            if (scene.cloudy_pct is None or scene.cloudy_pct <= recipe.cloudy_pct)
            and (recipe.scenes is None or scene.index in recipe.scenes)
        )
        return tuple(sorted(passing, key=lambda scene: scene.index))

    def image(
        self,
        sensor: AnySensor,
        window: TemporalSpec,
        block: Block,
        scenes: Sequence[AnyScene],
        catalogue: str,
    ) -> tuple[str, tuple[str, ...]]:
        """Return the key of a block's pixels, and what `pixels` computes them from: the items' ids.

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
                "scenes",
                scenes,
                "a composite needs at least one scene",
                "Record the block as empty instead.",
            )
        mine = [scene for scene in scenes if isinstance(scene, Scene)]
        ids = sentinel2_order(check_supported(sensor), mine)
        return block_key(sensor, block, ids, catalogue), tuple(ids)

    def pixels(
        self,
        sensor: AnySensor,
        block: Block,
        image: Sequence[str],
        stats: FetchStats,
        *,
        order: int = 0,
    ) -> UInt16Array:
        """Compute a block's pixels: each band over the scenes, and the observations.

        One band of all scenes is held at a time, 5 bytes for each pixel and scene, masks included;
        of a mosaic one scene.

        Args:
            sensor: Bands and recipe.
            block: The block.
            image: Ids of the items, in the order in which they are compose_planes.
            stats: Counts what it cost; a request is one band of one scene.
            order: Who is served first, see `Asker.call`.

        Returns:
            Pixels (bands, size, size), uint16.

        Raises:
            BlockError: If a file cannot be read, or was not answered for too often.
            StacError: If the catalogue refused, or an item does not say where a band is.
        """
        recipe = check_supported(sensor)
        self.client.connect()
        named = self.client.call(
            lambda: self.client.session.named(image),
            f"the items of block {block.id}",
            FetchStats(),
            order=order,
        )

        def read(item: StacItem, band: str) -> tuple[UInt16Array, BoolArray]:
            return self._read(item, band, block, stats, order)

        return compose_planes(recipe, [named[name] for name in image], read, block.size)

    def _read(
        self, item: StacItem, band: str, block: Block, stats: FetchStats, order: int
    ) -> tuple[npt.NDArray[Any], BoolArray]:
        """Return a band's values on a block, without offset, and where there are any."""
        raster = item.raster(band, self.client.session.spec)
        subject = f"{band} of item {item.id!r} for block {block.id}"

        tried = False

        def read() -> tuple[UInt16Array, BoolArray]:
            nonlocal tried
            again, tried = tried, True
            if self._sign is None:
                self._sign = signer(self.client.session.spec.sign)
            dtypes = CLASS_DTYPES if band == "SCL" else DTYPES
            href = self._sign(raster.href)
            band_sample = sample(href, raster.number, block, subject, dtypes, again=again)
            stats.bytes += band_sample.read
            return harmonised(band_sample.values, raster.offset), band_sample.seen

        return self.client.call(read, subject, stats, order=order)
