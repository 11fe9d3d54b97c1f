"""If one of these fails, a tile shows the pixels of another time window."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import GeoDataset

from thor_geo.datasets import PlanDataset, WindowDataset, collate
from thor_geo.errors import BlockError, CacheError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan

SIDE = 32


class Constant(GeoDataset):
    """Pixels that are a number, or an error in their place."""

    def __init__(self, number: int, error: Exception | None = None) -> None:
        self.number, self.error = number, error

    def __getitem__(self, query: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {
            "image": torch.full((2, SIDE, SIDE), self.number, dtype=torch.int16),
            "observations": torch.ones(1, SIDE, SIDE, dtype=torch.uint8),
            "scenes": (f"scene {self.number}",),
            "bounds": query,
        }


@pytest.fixture(scope="module")
def plan() -> Plan:
    area = AreaSpec(bbox=(500_001, 6_600_001, 501_000, 6_601_000), crs="EPSG:32632").load()
    return Plan.from_area(area, Lattice(epsg=32632, tile_size=SIDE, shard_tiles=2))


def windowed(plan: Plan, *zones: GeoDataset) -> WindowDataset:
    return WindowDataset([PlanDataset(plan, {32632: zone}, channels=2) for zone in zones])


def test_an_index_is_a_tile_and_a_window(plan: Plan) -> None:
    dataset = windowed(plan, Constant(10), Constant(20), Constant(30))
    assert len(dataset) == 3 * len(plan)
    for index in (0, 1, 5, len(dataset) - 1):
        tile, window = divmod(index, 3)
        sample = dataset[index]
        assert (int(sample["tile"]), sample["window"]) == (tile, window)
        assert (sample["image"] == 10 * (window + 1)).all()
        assert sample["scenes"] == (f"scene {10 * (window + 1)}",)


def test_batches_of_one_window_and_of_several_come_collated(plan: Plan) -> None:
    dataset = windowed(plan, Constant(10), Constant(20))
    loader = DataLoader(dataset, batch_sampler=[[1, 3, 5], [0, 1]], collate_fn=collate)
    single, both = loader
    assert single["window"] == [1, 1, 1]
    assert single["tile"].tolist() == [0, 1, 2]
    assert (single["image"] == 20).all()
    assert both["window"] == [0, 1]
    assert both["image"][:, 0, 0, 0].tolist() == [10, 20]


def test_a_tile_fails_in_the_window_that_cannot_be_produced(plan: Plan) -> None:
    broken = Constant(0, BlockError("no such block"))
    first, second = (windowed(plan, Constant(10), broken)[k] for k in (0, 1))
    assert (first["error"], second["error"]) == (None, "no such block")
    assert (second["image"] == 0).all()
    # What must stop the run reaches the main process from any window.
    fatal = windowed(plan, Constant(10), Constant(0, CacheError("disk full")))
    assert set(collate([fatal[0], fatal[1]])) == {"fatal"}
