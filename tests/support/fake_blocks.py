"""A CompositeDataset whose blocks are made up as they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.datasets import CompositeDataset
from thor_geo.errors import BlockError
from thor_geo.ground.lattice import Block, Lattice
from thor_geo.specs import SensorSpec, TemporalSpec

LATTICE = Lattice(epsg=32632, tile_size=32)
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
SENSOR = SensorSpec(bands=("B4", "B3", "B2"))
LEFT, BOTTOM = 600_000.0, 6_640_000.0
# 96 x 64 px, its lower-left corner on the pixel grid.
FOOTPRINT = shapely.box(LEFT, BOTTOM, LEFT + 960, BOTTOM + 640)


@dataclass(frozen=True)
class Scene:
    index: str


@dataclass(frozen=True)
class FakeBlock:
    block: Block
    scenes: tuple[Scene, ...]

    def read_into(
        self,
        pixels: npt.NDArray[np.uint16],
        observations: npt.NDArray[np.uint8],
        rows: slice,
        cols: slice,
    ) -> None:
        x = self.block.left + np.arange(self.block.size)[cols]
        y = self.block.top - np.arange(self.block.size)[rows]
        band = (37 * x[None, :] + 101 * y[:, None]) % 11_000
        pixels[:] = np.stack([band, band + 1, band + 2])
        observations[:] = 3


class FakeSource:
    """Pixels that name their own place, and scenes that name their block."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.asked: list[str] = []

    def get(self, block: Block) -> Any:
        self.asked.append(block.id)
        if self.broken:
            raise BlockError(f"{block.id}: the service said no")
        return FakeBlock(block, (Scene("common"), Scene(block.id)))


def dataset(source: FakeSource | None = None, sensor: SensorSpec = SENSOR) -> CompositeDataset:
    return CompositeDataset(
        source or FakeSource(),
        FOOTPRINT,
        lattice=LATTICE,
        sensor=sensor,
        window=WINDOW,
        block_size=64,
    )
