from __future__ import annotations

import pytest

from thor_geo.datamodules.sampler import ShardBatchSampler
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice, blocks_meeting
from thor_geo.ground.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    area = AreaSpec(bbox=(11.7, 59.9, 12.2, 60.1)).load()
    return Plan.from_area(area, Lattice(epsg=32601, shard_tiles=3))


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 100])
def test_every_tile_is_computed_once_over_all_ranks(plan: Plan, world_size: int) -> None:
    samplers = [
        ShardBatchSampler(plan, 4, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    seen = [index for sampler in samplers for batch in sampler for index in batch]
    assert seen == list(range(len(plan)))
    assert sum(map(len, samplers)) == sum(len(list(sampler)) for sampler in samplers)


def test_batches_never_cross_a_shard_and_do_not_depend_on_the_ranks(plan: Plan) -> None:
    owner = [k for k, shard in enumerate(plan.shards) for _ in range(len(shard))]
    alone = list(ShardBatchSampler(plan, 4))
    for batch in alone:
        assert len({owner[index] for index in batch}) == 1
    parts = [ShardBatchSampler(plan, 4, rank=rank, world_size=3) for rank in range(3)]
    assert [batch for part in parts for batch in part] == alone


def test_unfinished_shards_are_shared_out_and_keep_their_batches(plan: Plan) -> None:
    n = len(plan.shards)
    left = [0, n - 2, n - 1]
    samplers = [
        ShardBatchSampler(plan, 4, rank=rank, world_size=2, shards=left) for rank in range(2)
    ]
    assert [k for sampler in samplers for k in sampler.shards] == left
    assert [len(sampler.shards) for sampler in samplers] == [2, 1]
    batches = [batch for sampler in samplers for batch in sampler]
    assert all(batch in list(ShardBatchSampler(plan, 4)) for batch in batches)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_first_rank_is_never_idle_while_another_works(plan: Plan, count: int) -> None:
    sizes = [
        len(ShardBatchSampler(plan, 4, rank=rank, world_size=4, shards=range(count)).shards)
        for rank in range(4)
    ]
    assert sum(sizes) == count
    assert sizes[0] == max(sizes) > 0


def test_lightning_finds_nothing_to_rebuild(plan: Plan) -> None:
    sampler = ShardBatchSampler(plan, 4)
    assert not hasattr(sampler, "batch_size")
    assert not hasattr(sampler, "drop_last")


def test_blocks_come_once_in_the_order_of_need(plan: Plan) -> None:
    sampler = ShardBatchSampler(plan, 4)
    blocks = [block.id for block in sampler.blocks(576)]
    assert len(blocks) == len(set(blocks))
    position = {block: k for k, block in enumerate(blocks)}
    reached = -1
    for batch in sampler:
        for tile in plan.tiles(batch):
            needs = [position[block.id] for block in blocks_meeting(tile, 576)]
            new = [k for k in needs if k > reached]
            assert sorted(new) == list(range(reached + 1, reached + 1 + len(new)))
            reached = max(reached, *needs)


@pytest.mark.parametrize(("kwargs", "says"), [({"rank": 2, "world_size": 2}, "rank")])
def test_bad_ranks_are_refused(plan: Plan, kwargs: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ShardBatchSampler(plan, 4, **kwargs)
    with pytest.raises(ConfigError, match="batch_size"):
        ShardBatchSampler(plan, 0)


def test_windows_of_the_same_tiles_follow_one_another_in_the_batches_of_one_window(
    plan: Plan,
) -> None:
    alone = list(ShardBatchSampler(plan, 4))
    sampler = ShardBatchSampler(plan, 4, windows=3)
    listed = list(sampler)
    assert len(sampler) == len(listed) == 3 * len(alone)
    for k, batch in enumerate(listed):
        assert [index // 3 for index in batch] == alone[k // 3]
        assert {index % 3 for index in batch} == {k % 3}
    assert sampler.tiles == len(plan)
    assert list(sampler.blocks(576)) == list(ShardBatchSampler(plan, 4).blocks(576))
