"""Blocks from a catalogue: its scenes listed, their bands read and reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
from rasterio.errors import RasterioError

from thor_geo.errors import (
    BlockError,
    ConfigError,
    SceneError,
    StacError,
    StacUnreachableError,
    first_line,
)
from thor_geo.ground.lattice import Block
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import (
    AnyScene,
    ListedScenes,
    Scene,
    sentinel2_order,
    wrong_scenes,
)
from thor_geo.sources.stac.client import StacClient, UnreadableFileError
from thor_geo.sources.stac.compose import compose_planes
from thor_geo.sources.stac.faults import check_there, none_usable, unreadable_file
from thor_geo.sources.stac.items import BandRaster, StacItem
from thor_geo.sources.stac.recipe import block_key, check_supported, needed_bands
from thor_geo.sources.stac.reduce import harmonised
from thor_geo.sources.stac.root import local_path
from thor_geo.sources.stac.sampling import CLASS_DTYPES, DTYPES, sample
from thor_geo.sources.stac.session import REMEMBERED
from thor_geo.sources.stac.signing import signer
from thor_geo.sources.stac.truncation import cut_short
from thor_geo.sources.stac.verdicts import classify_stac_error
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor
from thor_geo.support.arrays import BoolArray, UInt16Array
from thor_geo.support.redact import redact


class Stac:
    """Lists the scenes of blocks and computes their pixels; threads may share one."""

    reads_files = True

    def __init__(self, client: StacClient) -> None:
        """Initialize a new Stac instance; nothing is contacted.

        Args:
            client: Access to the catalogue.
        """
        self.client = client
        self._sign: Callable[[str], str] | None = None
        # Single dict operations only.
        self._unreadable: dict[str, SceneError] = {}

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
        faults = [self._fault_in(item, recipe) for item in items.values()]
        wrong += [f"{fault.scene} {fault.why}" for fault in faults if fault is not None]
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
    ) -> ListedScenes:
        """List the scenes of a block.

        All items that share ground with it, were acquired in the half-open window and are not
        cloudier than the limit; an item that states no cloud percentage passes. As on Earth Engine,
        products of one overpass by several processing baselines are several scenes. An item that
        cannot be used is left out.

        Args:
            sensor: Cloud limit.
            window: The window.
            block: The block.
            stats: Counts what it cost.
            order: Who is served first, see `Asker.call`.

        Returns:
            The scenes; none is an answer.

        Raises:
            BlockError: If the catalogue failed too often, or none of the items can be used.
            SceneError: If an item cannot be used that the sensor names.
            StacError: If it refused.
        """
        recipe = check_supported(sensor)
        self.client.connect()
        items = self.client.call(
            lambda: self.client.session.search(block, window),
            f"the scenes of block {block.id}",
            stats,
            order=order,
        )
        passing = [
            item
            for item in items
            if (item.scene.cloudy_pct is None or item.scene.cloudy_pct <= recipe.cloudy_pct)
            and (recipe.scenes is None or item.id in recipe.scenes)
        ]
        faults = {item.id: self._fault_in(item, recipe) for item in passing}
        scenes = [item.scene for item in passing if faults[item.id] is None]
        left_out = {name: fault for name, fault in sorted(faults.items()) if fault is not None}
        if left_out and recipe.scenes is not None:
            raise next(iter(left_out.values()))
        if not scenes and any(item.placed for item in passing):
            raise BlockError(none_usable(block, left_out.values()))
        return ListedScenes(
            scenes=tuple(sorted(scenes, key=lambda scene: scene.index)),
            left_out={name: fault.why for name, fault in left_out.items()},
        )

    def _fault_in(self, item: StacItem, recipe: SensorSpec) -> SceneError | None:
        """Return why an item cannot be used, None if nothing is known to be wrong with it."""
        known = self._unreadable.get(item.id)
        return known or item.fault_in(needed_bands(recipe), self.client.session.spec)

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
            SceneError: If an item cannot be used: it is gone, does not say where a band is, or
                one of its files cannot be read.
            BlockError: If a file was not answered for too often.
            StacError: If the catalogue refused.
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

        try:
            return compose_planes(recipe, [named[name] for name in image], read, block.size)
        except SceneError as error:
            if recipe.scenes is None:
                raise
            raise BlockError(f"{error} Or take it out of `data.sentinel2.scenes`.") from error

    def _read(
        self, item: StacItem, band: str, block: Block, stats: FetchStats, order: int
    ) -> tuple[npt.NDArray[Any], BoolArray]:
        """Return a band's values on a block, without offset, and where there are any."""
        raster = item.raster(band, self.client.session.spec)
        path = local_path(raster.href)
        if path is not None:
            check_there(path, item.id, band)

        tried = False

        def read() -> tuple[UInt16Array, BoolArray]:
            nonlocal tried
            again, tried = tried, True
            if self._sign is None:
                self._sign = signer(self.client.session.spec.sign)
            dtypes = CLASS_DTYPES if band == "SCL" else DTYPES
            href = self._sign(raster.href)
            try:
                band_sample = sample(
                    href, raster.number, block, band, dtypes, scene=item.id, again=again
                )
            except RasterioError as error:
                # What is on this machine need not be asked for again.
                reason = self._cut_short(error, href, raster) if path is None else first_line(error)
                if reason is None:
                    raise
                raise UnreadableFileError(redact(reason)) from error
            stats.bytes += band_sample.read
            return harmonised(band_sample.values, raster.offset), band_sample.seen

        subject = f"{band} of item {item.id!r} for block {block.id}"
        try:
            return self.client.call(read, subject, stats, order=order)
        except UnreadableFileError as error:
            fault = unreadable_file(item.id, band, error.reason)
            if error.whole:
                # Blocks that are listed from now on need not find it out again. A file of which
                # only a part is damaged is left out of the blocks that need that part.
                if len(self._unreadable) >= REMEMBERED:
                    self._unreadable.clear()
                self._unreadable[item.id] = fault
            raise fault from error

    def _cut_short(self, error: RasterioError, href: str, raster: BandRaster) -> str | None:
        """Return how a file on a server is too short, if that may be why it could not be read."""
        verdict = classify_stac_error(error)
        if verdict is None or verdict.kind != "transient" or verdict.status is not None:
            return None
        return cut_short(href, raster.number, self.client.session.spec.timeout_s)
