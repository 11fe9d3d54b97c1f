"""If one of these fails, copies fill a machine's disk, or go while a reader needs them."""

from __future__ import annotations

import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.object_store import ObjectStore
from thor_geo.composites import BlockStore, SharedBlockStore, StoredBlock, _latest
from thor_geo.ground.lattice import Block

Put = Callable[..., StoredBlock]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def shared(store: BlockStore, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> BlockStore:
    """Return a cache in the bucket, of which two blocks are kept here."""
    monkeypatch.setattr(_latest, "LEAST_BLOCKS", 2)
    monkeypatch.setattr(_latest, "MOST_BYTES", 0)
    monkeypatch.setattr(_latest, "GRACE_S", 0.2)
    return SharedBlockStore(
        store.root, shared=bucket.path("cache"), sensor=store.sensor, window=store.window
    )


@pytest.fixture
def reader(store: BlockStore) -> BlockStore:
    return store


def kept(root: Path, suffix: str) -> int:
    return len(list((root / "blocks").rglob(f"*{suffix}")))


def test_the_latest_blocks_are_kept_and_all_can_be_had(
    shared: SharedBlockStore, reader: BlockStore, block_at: Callable[[int], Block], put: Put
) -> None:
    blocks = [block_at(k) for k in range(5)]
    pixels = [put(shared, block, seed).read()[0] for seed, block in enumerate(blocks)]
    assert kept(shared.root, ".json") == 2
    assert [reader.has(block) for block in blocks] == [False] * 3 + [True] * 2
    time.sleep(0.3)
    for block, expected in zip(blocks, pixels, strict=True):
        stored = shared.get(block)
        assert stored is not None
        np.testing.assert_array_equal(stored.read()[0], expected)
        found = reader.get(block)
        assert found is not None
        np.testing.assert_array_equal(found.read()[0], expected)
    assert kept(shared.root, ".json") == 2
    time.sleep(0.3)
    put(shared, block_at(6), 9)
    assert kept(shared.root, ".tif") <= 3  # one goes in a moment


def test_who_has_found_a_block_can_read_it_when_its_time_has_come(
    shared: SharedBlockStore,
    reader: BlockStore,
    block_at: Callable[[int], Block],
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_latest, "GRACE_S", 60.0)
    expected = put(shared, block_at(0), 0).read()[0]
    found = reader.get(block_at(0))
    assert found is not None
    for k in (1, 2, 3):
        put(shared, block_at(k), k)
    assert reader.get(block_at(0)) is None, "who comes now asks for it"
    np.testing.assert_array_equal(found.read()[0], expected)


def test_what_is_wanted_again_in_time_stays(
    shared: SharedBlockStore, reader: BlockStore, block_at: Callable[[int], Block], put: Put
) -> None:
    expected = put(shared, block_at(0), 0).read()[0]
    for k in (1, 2):
        put(shared, block_at(k), k)
    assert shared.get(block_at(0)) is not None
    found = reader.get(block_at(0))
    assert found is not None
    time.sleep(0.3)
    put(shared, block_at(3), 3)
    np.testing.assert_array_equal(found.read()[0], expected)


def test_half_of_the_disk_is_left_to_others(
    shared: SharedBlockStore,
    block_at: Callable[[int], Block],
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_latest, "MOST_BYTES", 10**12)
    for k in range(4):
        put(shared, block_at(k), k)
    assert kept(shared.root, ".json") == 4
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6, 0))
    put(shared, block_at(4), 4)
    assert kept(shared.root, ".json") == 2
