from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.places import place_plan
from thor_geo.ground import blocks as order
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.blocks import BlockOrder, PlaceOrder, blocks_of, needed_blocks
from thor_geo.ground.lattice import Block, Lattice, blocks_meeting
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.specs import TemporalSpec

AREAS = {
    "two zones": (11.8, 59.9, 12.2, 60.0),
    "both hemispheres": (10.0, -0.1, 10.2, 0.1),
    "west and south": (-70.3, -30.2, -70.0, -30.0),
}


def plan_of(bbox: tuple[float, float, float, float], **lattice: int) -> Plan:
    return Plan.from_area(AreaSpec(bbox=bbox).load(), Lattice(epsg=32601, **lattice))


def one_by_one(plan: Plan, shards: Sequence[int], block_size: int) -> list[Block]:
    """Every block once, by the definition."""
    found: dict[str, Block] = {}
    for index in shards:
        shard = plan.shards[index]
        for tile in plan.tiles(range(shard.start, shard.stop)):
            for block in blocks_meeting(tile, block_size):
                found.setdefault(block.id, block)
    return list(found.values())


@pytest.mark.parametrize("bbox", AREAS.values(), ids=AREAS.keys())
@pytest.mark.parametrize(("stride", "block_size"), [(288, 576), (288, 100), (96, 500), (288, 288)])
def test_blocks_come_once_in_the_order_in_which_tiles_need_them(
    bbox: tuple[float, float, float, float], stride: int, block_size: int
) -> None:
    plan = plan_of(bbox, stride=stride, shard_tiles=3)
    shards = [*range(2, len(plan.shards)), 0]
    assert list(BlockOrder.from_shards(plan, shards, block_size)) == one_by_one(
        plan, shards, block_size
    )


def test_it_is_the_same_every_time_and_in_another_process() -> None:
    plan = plan_of(AREAS["two zones"])
    blocks = BlockOrder.from_shards(plan, range(len(plan.shards)), 576)
    assert list(blocks) == list(blocks) == list(pickle.loads(pickle.dumps(blocks)))


def test_it_travels_with_its_own_tiles_only() -> None:
    plan = plan_of((10.0, 50.0, 12.5, 51.5))
    few = BlockOrder.from_shards(plan, [3], 576)
    assert len(few.col) == len(plan.shards[3])
    assert len(pickle.dumps(few)) < 2000 < len(plan) * 9


def test_nothing_to_do_needs_no_blocks() -> None:
    plan = plan_of(AREAS["two zones"])
    assert list(BlockOrder.from_shards(plan, np.empty(0, np.int64), 576)) == []


def test_a_forgotten_block_comes_again_and_none_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(AREAS["two zones"], shard_tiles=1)
    whole = one_by_one(plan, range(len(plan.shards)), 300)
    monkeypatch.setattr(order, "_REMEMBERED", 4)
    blocks = list(BlockOrder.from_shards(plan, range(len(plan.shards)), 300))
    assert len(blocks) > len(whole)
    assert list(dict.fromkeys(block.id for block in blocks)) == [block.id for block in whole]


def field_and_strays(shard_places: int = 8) -> PlacePlan:
    """A dense field in two windows, across the edge of two zones, and strays far from it."""
    rng = np.random.default_rng(0)
    field = rng.uniform((11.96, 59.97), (12.04, 60.0), (60, 2))
    strays = rng.uniform((3.0, 40.0), (20.0, 50.0), (20, 2))
    points = np.concatenate([field, strays, field[:10]])
    windows = [
        [("2022-06-01", "2022-07-01"), ("2021-06-01", "2021-07-02")][k % 2] for k in range(90)
    ]
    return place_plan(points.tolist(), windows, shard_places=shard_places)


def pairs_one_by_one(
    plan: PlacePlan, shards: Sequence[int], block_size: int
) -> list[tuple[TemporalSpec, Block]]:
    """Every window and block once, by the definition."""
    pairs: dict[tuple[TemporalSpec, Block], None] = {}
    for shard in shards:
        for index in range(plan.shards[shard].start, plan.shards[shard].stop):
            for block in blocks_of(plan.tile(index), block_size):
                pairs[plan.window_of(index), block] = None
    return list(pairs)


@pytest.mark.parametrize("shards", [range(12), [3], [7, 8, 2], []])
def test_each_block_comes_once_with_its_window_in_the_order_in_which_chips_need_it(
    shards: Sequence[int],
) -> None:
    plan = field_and_strays()
    order = needed_blocks(plan, shards, 576)
    assert isinstance(order, PlaceOrder)
    assert list(order) == pairs_one_by_one(plan, shards, 576)
    assert list(pickle.loads(pickle.dumps(order))) == list(order)


def test_an_order_holds_single_chips_and_blocks_that_chips_share() -> None:
    plan = field_and_strays()
    sizes = [block.size for _, block in needed_blocks(plan, range(len(plan.shards)), 576)]
    chips = {(plan.window_of(k), plan.tile(k).id) for k in np.flatnonzero(plan.alone)}
    assert {288, 576} == set(sizes)
    assert sizes.count(288) == len(chips) >= 20


def test_an_order_of_places_travels_with_its_own_windows_only() -> None:
    days = [f"{2000 + k // 300}-{1 + k // 25 % 12:02d}-{1 + k % 25:02d}" for k in range(3000)]
    windows = [(day, "2030-01-01") for day in days]
    plan = place_plan([(10.0 + 1e-3 * k, 50.0) for k in range(3000)], windows)
    order = needed_blocks(plan, [5], 576)
    assert len(pickle.dumps(order)) < 6000
    assert list(order) == pairs_one_by_one(plan, [5], 576)


def test_memory_for_the_blocks_of_places_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = field_and_strays()
    all_shards = range(len(plan.shards))
    monkeypatch.setattr(order, "_REMEMBERED", 4)
    pairs = list(needed_blocks(plan, all_shards, 576))
    assert set(pairs) == set(pairs_one_by_one(plan, all_shards, 576))
