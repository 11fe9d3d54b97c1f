"""Composites for a datamodule: the source, the process that asks it, and the cache between."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from thor_geo.composites import Prefetcher, PrefetchSpec, block_store
from thor_geo.composites.prefetch import PrefetchStats
from thor_geo.datamodules.source import CompositeSource, Connection, disconnect
from thor_geo.datamodules.zones import Composites, PlaceComposites
from thor_geo.datasets import PlaceDataset, PlanDataset, WindowDataset, composite_picture
from thor_geo.ground.blocks import NeededBlock, blocks_of, own_block
from thor_geo.ground.lattice import Block, Bounds, Lattice, Rect
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.sources.policy import FetchStats
from thor_geo.specs import TemporalSpec, Windows
from thor_geo.support.arrays import ObjectArray

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FeedSpec:
    """Which composites, from where; nothing is contacted.

    Attributes:
        source: Where they come from, with bands and recipe of each sensor.
        windows: Time windows. Of a table of places one, from the first start to the last end, in
            which scenes that a sensor names must lie: the windows of rows come with the plan.
        block_size: Side of a block in pixels.
    """

    source: CompositeSource
    windows: Windows
    block_size: int


def warn_of_crowding(processes: int, concurrency: int) -> None:
    """Warn if more processes fetch than requests may be in flight.

    Args:
        processes: Processes that fetch at once.
        concurrency: Requests that all of them together may have in flight.
    """
    if processes > concurrency:
        _log.warning(
            "%d processes share data.concurrency=%d: with one request each there may be more "
            "at once. Fill the cache with `thor-geo fetch` first, or run fewer at once.",
            processes,
            concurrency,
        )


class Feed:
    """The recipes of all sensors from one source, in one cache.

    One process fetches for all of them: they share a sign-in, the budget of concurrent requests and
    what the service said of it, and a tile's blocks of all sensors and windows come one after the
    other.

    Attributes:
        spec: Which composites, from where.
        sensors: Bands and recipe of each sensor.
        connection: The source, once connected.
        prefetcher: The process that fetches, once started.
    """

    def __init__(self, spec: FeedSpec) -> None:
        """Initialize a new Feed instance; nothing is started.

        Args:
            spec: Which composites, from where.
        """
        self.spec = spec
        self.sensors = spec.source.sensors
        self.connection: Connection | None = None
        self.prefetcher: Prefetcher | None = None

    def connect(self) -> Connection:
        """Connect to the source; later calls return the same connection.

        Raises:
            ConfigError: If the cache folder cannot be made.
        """
        if self.connection is None:
            self.connection = self.spec.source.connect()
        return self.connection

    def start(self, *, concurrency: int, ahead: int | None) -> Prefetcher:
        """Start the prefetch process, which signs in; later calls return the same.

        Args:
            concurrency: Requests that it may have in flight.
            ahead: Blocks it may be ahead of the readers, or as many pixels of single chips; None
                for any number.

        Raises:
            AuthenticationError: If there are no usable credentials.
            ProjectError: If the project is missing or may not be used.
            EarthEngineError: If the service cannot be reached or refuses.
        """
        if self.prefetcher is None:
            connection = self.connect()
            first, *others = (
                (sensor, connection.catalogues[kind])
                for kind, sensor in self.sensors.by_kind.items()
            )
            window, *later = self.spec.windows
            spec = PrefetchSpec(
                root=connection.cache,
                shared=connection.shared,
                session=connection.session,
                sensor=first[0],
                window=window,
                catalogue=first[1],
                beside=tuple(others),
                later=tuple(later),
                concurrency=concurrency,
                ahead=ahead,
                block_size=self.spec.block_size,
            )
            prefetcher = Prefetcher(spec)
            prefetcher.start()
            self.prefetcher = prefetcher
        return self.prefetcher

    def check(self) -> None:
        """Raise what ended the prefetch process, if it was started and has ended."""
        if self.prefetcher is not None:
            self.prefetcher.check()

    def stats(self) -> PrefetchStats:
        """Return what has been done so far; all zero before `start`."""
        return PrefetchStats() if self.prefetcher is None else self.prefetcher.stats()

    def cost(self) -> dict[str, float]:
        """Return what fetching has cost so far; see `FetchStats`."""
        stats = self.stats()
        return {field.name: getattr(stats, field.name) for field in fields(FetchStats)}

    def dataset(
        self,
        plan: Plan,
        footprints: Mapping[int, BaseGeometry],
        blocks: Iterable[NeededBlock],
        *,
        clamp: bool,
        strict: bool,
        every_scene: bool = False,
    ) -> PlanDataset | WindowDataset:
        """Ask the started process to fetch blocks, and return the plan's tiles.

        With a list of windows, each tile comes once for every window.

        Args:
            plan: The plan.
            footprints: The area in each UTM zone's own metres, by EPSG code.
            blocks: The blocks in the order in which they will be read; picklable.
            clamp: Clamp values outside the valid range, instead of refusing them.
            strict: Stop at a tile that cannot be produced.
            every_scene: Fail tiles of a composite from which a scene was left out.
        """
        assert self.prefetcher is not None, "start() comes first"
        self.prefetcher.plan(blocks)
        datasets = [
            self._in_window(
                number, plan, footprints, clamp=clamp, strict=strict, every_scene=every_scene
            )
            for number in range(len(self.spec.windows))
        ]
        return WindowDataset(datasets) if self.spec.windows.listed else datasets[0]

    def _in_window(
        self,
        number: int,
        plan: Plan,
        footprints: Mapping[int, BaseGeometry],
        *,
        clamp: bool,
        strict: bool,
        every_scene: bool,
    ) -> PlanDataset:
        assert self.prefetcher is not None, "start() comes first"
        window = self.spec.windows.spans[number]
        sources = self.prefetcher.sources(window)
        composites = self._composites(clamp=clamp, every_scene=every_scene)
        zones = {
            lattice.epsg: composites.dataset(lattice, window, footprints[lattice.epsg], sources)
            for lattice in plan.lattices
        }
        return PlanDataset(
            plan, zones, channels=self._channels, sensors=len(sources), strict=strict
        )

    def place_dataset(
        self,
        plan: PlacePlan,
        blocks: Iterable[NeededBlock],
        *,
        clamp: bool,
        strict: bool,
        every_scene: bool = False,
        polygons: ObjectArray | None = None,
    ) -> PlaceDataset:
        """Ask the started process to fetch chips, and return a plan's places, each in its window.

        Whatever the number of windows, nothing is made for one before a chip of it is read.

        Args:
            plan: The chips.
            blocks: What they are fetched as, in the order in which they will be read: a
                `PlaceOrder`, as `ShardBatchSampler.blocks` returns it.
            clamp: Clamp values outside the valid range, instead of refusing them.
            strict: Stop at a chip that cannot be produced.
            every_scene: Fail chips of a composite from which a scene was left out.
            polygons: What each row of the table covers, for samples that say which pixels lie in it
                (see `Places.polygons`); None for points, or where chips are pooled whole.
        """
        assert self.prefetcher is not None, "start() comes first"
        self.prefetcher.plan(blocks)
        zones = PlaceComposites(
            lattices={lattice.epsg: lattice for lattice in plan.lattices},
            composites=self._composites(clamp=clamp, every_scene=every_scene),
            sources=self.prefetcher.opener(),
        )
        return PlaceDataset(
            plan,
            zones,
            channels=self._channels,
            sensors=len(self.sensors.by_kind),
            strict=strict,
            polygons=polygons,
        )

    def _composites(self, *, clamp: bool, every_scene: bool) -> Composites:
        return Composites(
            sensors=tuple(self.sensors.by_kind.values()),
            block_size=self.spec.block_size,
            clamp=clamp,
            every_scene=every_scene,
        )

    @property
    def _channels(self) -> int:
        return sum(len(sensor.bands) for sensor in self.sensors.by_kind.values())

    def left_out(self, plan: Plan, tiles: Iterable[int]) -> dict[str, str]:
        """Return the scenes that are left out of the cached blocks of some tiles, and why.

        Args:
            plan: The plan.
            tiles: Indices in the plan.

        Returns:
            Reasons by the scenes' ids, sorted.
        """
        if self.prefetcher is None or self.spec.source.name != "stac":
            return {}  # no other source leaves scenes out
        blocks: dict[TemporalSpec, set[Block]] = {}
        for index in tiles:
            under = set(blocks_of(plan.tile(index), self.spec.block_size))
            in_plan = (plan.window_of(index),) if isinstance(plan, PlacePlan) else None
            for window in in_plan or self.spec.windows:
                blocks.setdefault(window, set()).update(under)
        reasons: dict[str, str] = {}
        for window in sorted(blocks, key=lambda window: (window.start, window.end)):
            for store in self.prefetcher.spec.stores_in(window):
                for block in sorted(blocks[window], key=lambda block: block.id):
                    pinned = store.pinned(block)
                    for scene, why in () if pinned is None else pinned.left_out.items():
                        reasons.setdefault(scene, why)
        return dict(sorted(reasons.items()))

    def picture(
        self,
        lattice: Lattice,
        epsg: int,
        bounds: Bounds,
        shape: tuple[int, int],
        window: TemporalSpec,
    ) -> npt.NDArray[np.uint8] | None:
        """Return a picture of cached blocks of one sensor; see `Sensors.pictured`.

        Args:
            lattice: Resolution and anchor of the pixel grid.
            epsg: UTM zone.
            bounds: Left, bottom, right, top in metres, on the pixel grid.
            shape: Height and width of the picture in pixels.
            window: Time window.
        """
        kind = self.sensors.pictured
        if kind is None:
            return None
        sensor = self.sensors.by_kind[kind]
        rect = Rect.covering(
            bounds, epsg=epsg, resolution=lattice.resolution, anchor=lattice.anchor
        )
        connection = self.connect()
        store = block_store(
            connection.cache,
            connection.shared,
            sensor=sensor,
            window=window,
            catalogue=connection.catalogues[kind],
        )
        blocks = list(blocks_of(rect, self.spec.block_size))
        if rect.width == rect.height:
            # A chip of a place may have been fetched as one block of its own.
            alone = own_block(rect)
            blocks = [alone] if store.has(alone) else blocks
        return composite_picture(store.get, sensor, rect, shape, blocks=blocks)

    def close(self) -> None:
        """End the prefetch process, and what this process started or made for it."""
        if self.prefetcher is not None:
            self.prefetcher.close()
            self.prefetcher = None
        if self.connection is not None:
            disconnect(self.connection)
            self.connection = None
