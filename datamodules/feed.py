"""Composites for a datamodule: the source, the process that asks it, and the cache between."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from datamodules.source import Connection, SourceSpec, disconnect
from thor_geo.composites import BlockStore, Prefetcher, PrefetchSpec
from thor_geo.composites.prefetch import PrefetchStats
from thor_geo.datasets import CompositeDataset, PlanDataset, composite_picture
from thor_geo.earthengine.policy import FetchStats
from thor_geo.grid import Block, Bounds, Lattice, Rect
from thor_geo.plan import Plan
from thor_geo.specs import SensorSpec, TemporalSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FeedSpec:
    """Which composites, from where; nothing is contacted.

    Attributes:
        source: Where they come from.
        sensor: Bands and recipe.
        window: Time window.
        block_size: Side of a block in pixels.
    """

    source: SourceSpec
    sensor: SensorSpec
    window: TemporalSpec
    block_size: int


def warn_of_crowding(processes: int, concurrency: int) -> None:
    """Say so where there are more processes than requests that may be in flight.

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
    """One recipe from one source, in one cache.

    Attributes:
        spec: Which composites, from where.
        connection: The source, once connected.
        prefetcher: The process that fetches, once started.
    """

    def __init__(self, spec: FeedSpec) -> None:
        """Initialize a new Feed instance; nothing is started.

        Args:
            spec: Which composites, from where.
        """
        self.spec = spec
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
            spec = PrefetchSpec(
                root=self.spec.source.cache_dir,
                session=connection.session,
                sensor=self.spec.sensor,
                window=self.spec.window,
                catalogue=connection.catalogue,
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
    ) -> PlanDataset:
        """Have blocks fetched, by the process that was started, and return the plan's tiles.

        Args:
            plan: The plan.
            footprints: The area in each UTM zone's own metres, by EPSG code.
            blocks: The blocks in the order in which they will be read; picklable.
            clamp: Clamp values outside the valid range, instead of refusing them.
            strict: Stop at a tile that cannot be produced.
        """
        assert self.prefetcher is not None, "start() comes first"
        self.prefetcher.plan(blocks)
        source = self.prefetcher.source()
        zones = {
            lattice.epsg: CompositeDataset(
                source,
                footprints[lattice.epsg],
                lattice=lattice,
                sensor=self.spec.sensor,
                window=self.spec.window,
                block_size=self.spec.block_size,
                clamp=clamp,
            )
            for lattice in plan.lattices
        }
        return PlanDataset(plan, zones, channels=len(self.spec.sensor.bands), strict=strict)

    def picture(
        self, lattice: Lattice, epsg: int, bounds: Bounds, shape: tuple[int, int]
    ) -> npt.NDArray[np.uint8] | None:
        """Return a true-colour picture of cached blocks; see `composite_picture`.

        Args:
            lattice: Resolution and anchor of the pixel grid.
            epsg: UTM zone.
            bounds: Left, bottom, right, top in metres, on the pixel grid.
            shape: Height and width of the picture in pixels.
        """
        x, y = Lattice(epsg=epsg, anchor=lattice.anchor).origin
        res = lattice.resolution
        left, bottom, right, top = bounds
        rect = Rect(
            epsg=epsg,
            resolution=res,
            left=round((left - x) / res),
            top=round((top - y) / res),
            width=round((right - left) / res),
            height=round((top - bottom) / res),
            anchor=lattice.anchor,
        )
        store = BlockStore(
            self.spec.source.cache_dir,
            sensor=self.spec.sensor,
            window=self.spec.window,
            catalogue=self.connect().catalogue,
        )
        return composite_picture(
            store.get, self.spec.sensor, rect, shape, block_size=self.spec.block_size
        )

    def close(self) -> None:
        """End the prefetch process, and the emulator if this process started it."""
        if self.prefetcher is not None:
            self.prefetcher.close()
            self.prefetcher = None
        if self.connection is not None:
            disconnect(self.connection)
            self.connection = None
