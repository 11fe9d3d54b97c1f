"""Composites for a datamodule: the source, the process that asks it, and the cache between."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

from thor_geo.composites import BlockSource, BlockStore, Prefetcher, PrefetchSpec, StrictSource
from thor_geo.composites.prefetch import PrefetchStats
from thor_geo.datamodules.source import CompositeSource, Connection, disconnect
from thor_geo.datasets import (
    CompositeDataset,
    PlanDataset,
    SensorStack,
    WindowDataset,
    composite_picture,
)
from thor_geo.ground.lattice import Block, Bounds, Lattice, Rect, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.policy import FetchStats
from thor_geo.specs import TemporalSpec, Windows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FeedSpec:
    """Which composites, from where; nothing is contacted.

    Attributes:
        source: Where they come from, with bands and recipe of each sensor.
        windows: Time windows.
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
            ahead: Blocks it may be ahead of the readers; None for any number.

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
                root=self.spec.source.cache_dir,
                session=connection.session,
                sensor=first[0],
                window=window,
                catalogue=first[1],
                beside=tuple(others),
                later=tuple(later),
                concurrency=concurrency,
                ahead=ahead,
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
        blocks: Iterable[Block],
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
        sensors = list(self.sensors.by_kind.values())
        first = number * len(sensors)
        sources: list[BlockSource] = [
            self.prefetcher.source(first + place) for place in range(len(sensors))
        ]
        if every_scene:
            sources = [StrictSource(source) for source in sources]
        zones: dict[int, GeoDataset] = {}
        for lattice in plan.lattices:
            datasets = [
                CompositeDataset(
                    source,
                    footprints[lattice.epsg],
                    lattice=lattice,
                    sensor=sensor,
                    window=self.spec.windows.spans[number],
                    block_size=self.spec.block_size,
                    clamp=clamp,
                )
                for sensor, source in zip(sensors, sources, strict=True)
            ]
            zones[lattice.epsg] = datasets[0] if len(datasets) == 1 else SensorStack(datasets)
        channels = sum(len(sensor.bands) for sensor in sensors)
        return PlanDataset(plan, zones, channels=channels, sensors=len(sensors), strict=strict)

    def left_out(self, rects: Iterable[Rect]) -> dict[str, str]:
        """Return the scenes that are left out of the cached blocks under some tiles, and why.

        Args:
            rects: The tiles.

        Returns:
            Reasons by the scenes' ids, sorted.
        """
        if self.prefetcher is None or self.spec.source.name != "stac":
            return {}  # no other source leaves scenes out
        blocks = {block for rect in rects for block in blocks_meeting(rect, self.spec.block_size)}
        reasons: dict[str, str] = {}
        for store in self.prefetcher.spec.stores():
            for block in sorted(blocks, key=lambda block: block.id):
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
        store = BlockStore(
            self.spec.source.cache_dir,
            sensor=sensor,
            window=window,
            catalogue=self.connect().catalogues[kind],
        )
        return composite_picture(store.get, sensor, rect, shape, block_size=self.spec.block_size)

    def close(self) -> None:
        """End the prefetch process, and the emulator if this process started it."""
        if self.prefetcher is not None:
            self.prefetcher.close()
            self.prefetcher = None
        if self.connection is not None:
            disconnect(self.connection)
            self.connection = None
