"""Tiles of a plan, read from the block cache that a prefetch process fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from shapely.geometry.base import BaseGeometry

from datamodules.source import Connection
from thor_geo.composites import BlockSource, BlockStore, Prefetcher, PrefetchSpec
from thor_geo.datasets import CompositeDataset, PlanDataset, composite_picture
from thor_geo.grid import Bounds, Lattice, Rect
from thor_geo.plan import Plan
from thor_geo.specs import SensorSpec, TemporalSpec


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """One recipe from one source, in one cache.

    Attributes:
        connection: The source.
        sensor: Bands and recipe.
        window: Time window.
        cache_dir: Folder of the block cache.
        block_size: Side of a block in pixels.
        strict: Refuse values outside the valid range.
    """

    connection: Connection
    sensor: SensorSpec
    window: TemporalSpec
    cache_dir: Path
    block_size: int
    strict: bool

    def prefetcher(self, *, concurrency: int, ahead: int) -> Prefetcher:
        """Return a prefetch process, not started yet, and without a plan."""
        spec = PrefetchSpec(
            root=self.cache_dir,
            session=self.connection.session,
            sensor=self.sensor,
            window=self.window,
            catalogue=self.connection.catalogue,
            concurrency=concurrency,
            ahead=ahead,
        )
        return Prefetcher(spec)

    def dataset(
        self, plan: Plan, footprints: Mapping[int, BaseGeometry], source: BlockSource
    ) -> PlanDataset:
        """Return the plan's tiles.

        Args:
            plan: The plan.
            footprints: The area in each UTM zone's own metres, by EPSG code.
            source: Where blocks come from.
        """
        zones = {
            lattice.epsg: CompositeDataset(
                source,
                footprints[lattice.epsg],
                lattice=lattice,
                sensor=self.sensor,
                window=self.window,
                block_size=self.block_size,
                strict=self.strict,
            )
            for lattice in plan.lattices
        }
        return PlanDataset(plan, zones, channels=len(self.sensor.bands))

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
            self.cache_dir,
            sensor=self.sensor,
            window=self.window,
            catalogue=self.connection.catalogue,
        )
        return composite_picture(store.get, self.sensor, rect, shape, block_size=self.block_size)
