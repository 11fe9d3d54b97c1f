from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from thor_geo.ground import blocks as order
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.blocks import BlockOrder
from thor_geo.ground.lattice import Block, Lattice, blocks_meeting
from thor_geo.ground.plan import Plan

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
