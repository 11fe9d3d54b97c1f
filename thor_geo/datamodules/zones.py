"""How the composites of a UTM zone in a time window become a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.composites import BlockSource, PrefetchedSources, StrictSource
from thor_geo.datasets import CompositeDataset, SensorStack
from thor_geo.ground.lattice import Lattice
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor

# Of a dataset whose chips are known nobody asks where it lies.
_ALL_OF_A_ZONE = shapely.box(-1e6, -1e7, 2e6, 2e7)


@dataclass(frozen=True, kw_only=True)
class Composites:
    """How datasets are made of the composites of some sensors; picklable.

    Attributes:
        sensors: Bands and recipes.
        block_size: Side of a block in pixels.
        clamp: Whether values outside the valid range are clamped, instead of refused.
        every_scene: Whether composites from which a scene was left out are refused.
    """

    sensors: tuple[AnySensor, ...]
    block_size: int
    clamp: bool
    every_scene: bool

    def dataset(
        self,
        lattice: Lattice,
        window: TemporalSpec,
        footprint: BaseGeometry,
        sources: Sequence[BlockSource],
    ) -> CompositeDataset | SensorStack:
        """Return the dataset of a UTM zone in a time window.

        Args:
            lattice: Zone, resolution and anchor.
            window: Time window.
            footprint: The area in the zone's metres.
            sources: Where each sensor's blocks come from.
        """
        datasets = [
            CompositeDataset(
                StrictSource(source) if self.every_scene else source,
                footprint,
                lattice=lattice,
                sensor=sensor,
                window=window,
                block_size=self.block_size,
                clamp=self.clamp,
            )
            for sensor, source in zip(self.sensors, sources, strict=True)
        ]
        return datasets[0] if len(datasets) == 1 else SensorStack(datasets)


@dataclass(frozen=True, kw_only=True)
class PlaceComposites:
    """Makes the dataset of a UTM zone in any time window, for a `PlaceDataset`; picklable.

    Attributes:
        lattices: The lattice of each zone, by EPSG code.
        composites: How datasets are made.
        sources: Where the blocks of a window come from.
    """

    lattices: Mapping[int, Lattice]
    composites: Composites
    sources: PrefetchedSources

    def __call__(self, epsg: int, window: TemporalSpec) -> CompositeDataset | SensorStack:
        """Return the dataset of a zone in a window.

        Args:
            epsg: EPSG code of the zone.
            window: Time window.
        """
        sources = self.sources(window)
        return self.composites.dataset(self.lattices[epsg], window, _ALL_OF_A_ZONE, sources)
