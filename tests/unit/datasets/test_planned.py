"""If these fail, a batch holds other pixels than its tiles, or copies what need not be copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
import torch
from torch.utils.data import DataLoader

from thor_geo.composites import BlockStore, DirectSource, Pinned
from thor_geo.datasets import CompositeDataset, PlanDataset, collate
from thor_geo.errors import BlockError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Block, Lattice, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import FetchStats, Scene, SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec

SENSOR = SensorSpec(bands=("B4", "B3", "B2"))
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
SIDE, BLOCK = 32, 48
LEFT, TOP = 60_000, 664_032
SCENE = Scene(index="s", time_start=None, mgrs_tile=None, processing_baseline=None, cloudy_pct=None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BlockStore:
    """Two by two blocks of 48 px: tiles of 32 px lie across them."""
    store = BlockStore(tmp_path_factory.mktemp("cache"), sensor=SENSOR, window=WINDOW)
    store.prepare()
    random = np.random.default_rng(0)
    for k in range(4):
        block = Block(
            epsg=32632,
            resolution=10,
            size=BLOCK,
            left=LEFT + BLOCK * (k % 2),
            top=TOP - BLOCK * (k // 2),
        )
        pinned = store.pin(block, Pinned(scenes=(SCENE,), block_key=f"{k:064x}"))
        planes = random.integers(0, 12_000, (4, BLOCK, BLOCK), dtype=np.uint16)
        planes[3] %= 300
        store.put(block, pinned, planes, FetchStats())
    return store


@pytest.fixture
def tiles(store: BlockStore) -> PlanDataset:
    lattice = Lattice(epsg=32632, tile_size=SIDE)
    box = (LEFT * 10 + 1, (TOP - 96) * 10 + 1, (LEFT + 96) * 10 - 1, TOP * 10 - 1)
    source = DirectSource(store, SessionSpec(project="none"))
    zone = CompositeDataset(
        source,
        shapely.box(*box),
        lattice=lattice,
        sensor=SENSOR,
        window=WINDOW,
        block_size=BLOCK,
    )
    plan = Plan.from_area(AreaSpec(bbox=box, crs="EPSG:32632").load(), lattice)
    assert len(plan) == 9
    return PlanDataset(plan, {32632: zone}, channels=3)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    assert one.keys() == other.keys()
    return all(
        torch.equal(one[key], other[key])
        if isinstance(one[key], torch.Tensor)
        else one[key] == other[key]
        for key in one
    )


def test_a_batch_is_its_tiles(tiles: PlanDataset) -> None:
    indices = [4, 0, 8]
    batch = collate(tiles.__getitems__(indices))
    assert same(batch, collate([tiles[k] for k in indices]))
    zone = tiles.zones[32632]
    for image, counts, index in zip(batch["image"], batch["observations"], indices, strict=True):
        left, bottom, right, top = tiles.plan.tile(index).bounds
        sample = zone[left:right, bottom:top]
        assert torch.equal(image, sample["image"])
        assert torch.equal(counts, sample["observations"])
    assert batch["image"].dtype == torch.int16
    assert int(batch["image"].max()) == 10_000
    assert int(batch["observations"].max()) == 255


def test_a_batch_can_be_made_while_predicting(tiles: PlanDataset) -> None:
    expected = collate(tiles.__getitems__([0, 1]))
    with torch.inference_mode():
        samples = tiles.__getitems__([0, 1])
        batch = collate(samples)
    assert same(batch, expected)
    assert batch["image"].data_ptr() == samples[0]["image"].data_ptr()


def test_a_batch_read_in_one_go_is_not_copied(tiles: PlanDataset) -> None:
    samples = tiles.__getitems__([0, 1])
    batch = collate(samples)
    assert batch["image"].data_ptr() == samples[0]["image"].data_ptr()
    # Others are: in another order, only some of them, or changed on the way.
    for others in (samples[::-1], samples[:1]):
        copied = collate(others)["image"]
        assert torch.equal(copied, torch.stack([sample["image"] for sample in others]))
        assert copied.data_ptr() not in {sample["image"].data_ptr() for sample in samples}
    turned = [{**sample, "image": sample["image"].transpose(1, 2)} for sample in samples]
    assert torch.equal(collate(turned)["image"], batch["image"].transpose(2, 3))


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_give_the_same_batches(tiles: PlanDataset, workers: int) -> None:
    loader = DataLoader(tiles, batch_size=4, num_workers=workers, collate_fn=collate)
    batches = list(loader)
    assert [batch["tile"].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    for batch in batches:
        assert same(batch, collate([tiles[k] for k in batch["tile"].tolist()]))
        assert batch["image"].is_shared() == (workers > 0)


def test_a_failed_tile_is_zeros_whatever_was_read_before(
    tiles: PlanDataset, store: BlockStore
) -> None:
    last = list(blocks_meeting(tiles.plan.tile(4), BLOCK))[-1]

    class Source:
        """Gives three blocks of the tile, and fails at the last."""

        def get(self, block: Block) -> Any:
            if block == last:
                raise BlockError(f"{block.id}: the service said no")
            return store.get(block)

    expected = collate([tiles[0]])
    tiles.zones[32632].source = Source()
    batch = collate(tiles.__getitems__([0, 4]))
    assert batch["error"][0] is None
    assert "said no" in batch["error"][1]
    assert not batch["image"][1].any()
    assert not batch["observations"][1].any()
    assert torch.equal(batch["image"][0], expected["image"][0])
