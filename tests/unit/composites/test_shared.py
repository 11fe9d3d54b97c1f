"""If one of these fails, a cache in an object store is read wrongly, paid for twice, or not shared.

Requests are counted by the door of `benchmarks.support.faulty_store`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.faulty_store import Fault, FaultyStore, Plan, faulty_store
from benchmarks.support.object_store import ObjectStore
from thor_geo.composites import (
    BlockStore,
    DirectSource,
    Pinned,
    Prefetcher,
    PrefetchSpec,
    SharedBlockStore,
    StoredBlock,
)
from thor_geo.composites.state import StateDir
from thor_geo.emulator import EmulatorServer
from thor_geo.errors import ConfigError, StoreError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import FetchStats, RetryPolicy, Scene, SessionSpec
from thor_geo.storage import StoreAddress, StoreOptions, StorePath, requests

Put = Callable[..., StoredBlock]
Shared = Callable[[str], SharedBlockStore]
FAST = RetryPolicy(base_s=0.001)


@pytest.fixture
def machine(store: BlockStore, bucket: ObjectStore, tmp_path: Path) -> Shared:
    """Return a function from a machine's name to the cache in the bucket as it sees it."""

    def on(name: str) -> SharedBlockStore:
        return SharedBlockStore(
            tmp_path / name,
            shared=bucket.path("cache"),
            sensor=store.sensor,
            window=store.window,
        )

    return on


@contextmanager
def door(
    store: SharedBlockStore, bucket: ObjectStore, plan: dict[Fault, float] | None = None
) -> Iterator[tuple[SharedBlockStore, FaultyStore]]:
    """Give the same cache through a door that counts and fails."""
    with faulty_store(bucket.endpoint, Plan(shares=plan or {})) as behind:
        options = StoreOptions(endpoint=behind.url)
        address = StoreAddress(url=store.shared.address.url, options=options)
        path = StorePath(address, store.shared.key)
        yield (
            SharedBlockStore(store.root, shared=path, sensor=store.sensor, window=store.window),
            behind,
        )


def composite_requests(server: EmulatorServer) -> int:
    return sum("compute" in request.kind for request in server.statistics.log)


def test_what_one_machine_makes_another_reads_without_the_source(
    machine: Shared,
    bucket: ObjectStore,
    session: SessionSpec,
    server: EmulatorServer,
    block_at: Callable[[int], Block],
) -> None:
    one = DirectSource(machine("one"), session)
    made = [one.get(block_at(k)).read() for k in (2, 7)]
    asked = composite_requests(server)
    other = DirectSource(machine("other"), session)
    for (pixels, observations), k in zip(made, (2, 7), strict=True):
        found = other.get(block_at(k)).read()
        np.testing.assert_array_equal(found[0], pixels)
        np.testing.assert_array_equal(found[1], observations)
    assert composite_requests(server) == asked
    assert {name.split("/")[0] for name in bucket.contents("cache")} == {"scenes", "blocks"}


def test_the_names_and_bytes_are_those_of_a_folder(
    machine: Shared,
    store: BlockStore,
    bucket: ObjectStore,
    session: SessionSpec,
    block_at: Callable[[int], Block],
) -> None:
    for k in (0, 7):
        DirectSource(store, session).get(block_at(k))
        DirectSource(machine("one"), session).get(block_at(k))
    inside = bucket.contents("cache")
    folder = {
        path.relative_to(store.root).as_posix(): path.read_bytes()
        for part in ("scenes", "blocks")
        for path in (store.root / part).rglob("*.*")
    }
    assert inside.keys() == folder.keys()
    pixels = [name for name in inside if name.endswith(".tif")]
    assert pixels
    assert all(inside[name] == folder[name] for name in pixels)


def test_a_folder_copied_up_is_used_as_it_is_and_a_bucket_copied_down(
    machine: Shared,
    store: BlockStore,
    bucket: ObjectStore,
    block: Block,
    put: Put,
    tmp_path: Path,
) -> None:
    pixels = put(store, block).read()[0]
    for path in store.root.rglob("*.*"):
        name = path.relative_to(store.root).as_posix()
        bucket.client.put_object(Bucket=bucket.bucket, Key=f"cache/{name}", Body=path.read_bytes())
    found = machine("one").get(block)
    assert found is not None
    np.testing.assert_array_equal(found.read()[0], pixels)

    for name, content in bucket.contents("cache").items():
        target = tmp_path / "down" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    down = BlockStore(tmp_path / "down", sensor=store.sensor, window=store.window).get(block)
    assert down is not None
    np.testing.assert_array_equal(down.read()[0], pixels)


def test_requests_for_a_block_are_counted_and_few(
    machine: Shared, bucket: ObjectStore, session: SessionSpec, block_at: Callable[[int], Block]
) -> None:
    with door(machine("one"), bucket) as (one, asked):
        source = DirectSource(one, session)
        source.get(block_at(0))
        # The check at the start: two conditional PUTs, the content compared, an object that is not
        # there, the probe removed.
        assert asked.asked == {"GET": 2 + 1, "PUT": 3 + 2, "HEAD": 1, "POST": 1}
        asked.asked.clear()
        source.get(block_at(1))
        assert asked.asked == {"GET": 2, "PUT": 3}
        asked.asked.clear()
        source.get(block_at(7))  # no scenes, so no pixels
        assert asked.asked == {"GET": 2, "PUT": 1}
        asked.asked.clear()
        for k in (0, 1, 7):
            source.get(block_at(k))
            assert one.has(block_at(k))
        assert not asked.asked, "they are in the folder"
    for look in ("get", "has"):
        with door(machine(look), bucket) as (other, asked):
            for k, gets in ((0, 3), (7, 1), (3, 1)):
                assert bool(getattr(other, look)(block_at(k))) == (k != 3)
                assert asked.asked == {"GET": gets}, k
                asked.asked.clear()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".tif", None), (".tif", b"rubbish"), (".json", b"{}"), (".json", b"rubbish")],
    ids=["flipped", "short", "empty sidecar", "no sidecar"],
)
def test_damaged_objects_are_reported_and_written_again(
    machine: Shared,
    bucket: ObjectStore,
    session: SessionSpec,
    server: EmulatorServer,
    block: Block,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    content: bytes | None,
) -> None:
    before = DirectSource(machine("one"), session).get(block).read()[0]
    inside = bucket.contents("cache")
    (name,) = (n for n in inside if n.startswith("blocks") and n.endswith(suffix))
    if content is None:
        flipped = bytearray(inside[name])
        flipped[len(flipped) // 2] ^= 1
        content = bytes(flipped)
    bucket.client.put_object(Bucket=bucket.bucket, Key=f"cache/{name}", Body=content)
    server.statistics.reset()
    caplog.set_level(logging.WARNING)
    again = DirectSource(machine("other"), session).get(block)
    np.testing.assert_array_equal(again.read()[0], before)
    assert f"a copy of {bucket.url('cache')}/blocks" in caplog.text
    assert composite_requests(server) == 1, "the scenes were pinned"
    server.statistics.reset()
    third = DirectSource(machine("third"), session).get(block)
    np.testing.assert_array_equal(third.read()[0], before)
    assert composite_requests(server) == 0


def test_a_damaged_list_of_scenes_is_replaced(
    machine: Shared, bucket: ObjectStore, block: Block, scene: Scene, put: Put
) -> None:
    put(machine("one"), block)
    (name,) = (n for n in bucket.contents("cache") if n.startswith("scenes"))
    bucket.client.put_object(Bucket=bucket.bucket, Key=f"cache/{name}", Body=b'{"scenes": []}')
    other, pinned = machine("other"), Pinned(scenes=(scene,), block_key="ab" * 32)
    assert other.get(block) is None
    assert other.pin(block, pinned) == pinned
    assert machine("third").pinned(block) == pinned


def test_the_first_list_of_scenes_holds_for_all(
    machine: Shared, block: Block, scene: Scene
) -> None:
    first = Pinned(scenes=(scene,), block_key="aa" * 32, cost=FetchStats(requests=3))
    late = Pinned(scenes=(replace(scene, index="s2"),), block_key="bb" * 32)
    one, other = machine("one"), machine("other")
    assert other.pinned(block) is None
    assert one.pin(block, first) == first
    held = other.pin(block, late)
    assert held == first
    assert held.cost == first.cost
    assert other.pinned(block) == first
    # The same scenes under another release's key are no other list.
    renamed = replace(first, block_key="cc" * 32)
    assert other.pin(block, renamed) == renamed
    assert machine("third").pinned(block) == renamed


def test_readers_need_the_folder_alone_and_find_what_was_copied(
    machine: Shared, block: Block, put: Put
) -> None:
    pixels = put(machine("one"), block).read()[0]
    other = machine("other")
    reader = BlockStore(other.root, sensor=other.sensor, window=other.window)
    assert reader.get(block) is None
    assert other.has(block)
    before = requests.counted()
    found = reader.get(block)
    assert found is not None
    np.testing.assert_array_equal(found.read()[0], pixels)
    assert requests.counted() == before


def test_a_copy_that_is_damaged_comes_from_the_store_again(
    machine: Shared, session: SessionSpec, server: EmulatorServer, block: Block
) -> None:
    source = DirectSource(machine("one"), session)
    stored = source.get(block)
    before = stored.read()[0]
    assert stored.path is not None
    stored.path.write_bytes(b"rubbish")
    asked = composite_requests(server)
    np.testing.assert_array_equal(source.get(block).read()[0], before)
    assert composite_requests(server) == asked


FAULTS: dict[str, dict[Fault, float]] = {
    "busy": {"503": 0.2, "429": 0.1, "500": 0.1},
    "reset": {"reset": 0.2, "late reset": 0.2},
    "cut": {"cut": 0.4},
}


@pytest.mark.parametrize("plan", FAULTS.values(), ids=FAULTS)
def test_a_store_that_fails_now_and_then_costs_only_time(
    machine: Shared,
    bucket: ObjectStore,
    session: SessionSpec,
    server: EmulatorServer,
    block_at: Callable[[int], Block],
    plan: dict[Fault, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "_FIRST_WAIT_S", 0.01)
    wanted = (0, 1, 2, 7)
    with door(machine("one"), bucket, plan) as (one, met):
        source = DirectSource(one, session, retry=FAST)
        made = [source.get(block_at(k)).read()[0] for k in wanted]
    assert set(met.met) - {"none"}, "no fault was met"
    asked = composite_requests(server)
    with door(machine("other"), bucket, plan) as (other, met):
        source = DirectSource(other, session, retry=FAST)
        for k, pixels in zip(wanted, made, strict=True):
            np.testing.assert_array_equal(source.get(block_at(k)).read()[0], pixels)
    assert set(met.met) - {"none"}, "no fault was met"
    assert composite_requests(server) == asked


def test_a_store_that_keeps_failing_ends_the_prefetch_process_with_its_error(
    machine: Shared,
    bucket: ObjectStore,
    spec: PrefetchSpec,
    block: Block,
) -> None:
    one = machine("one")
    with Prefetcher(replace(spec, root=one.root, shared=one.shared)) as prefetcher:
        source = prefetcher.source()
        bucket.client.delete_bucket(Bucket=bucket.bucket)
        with pytest.raises(StoreError, match=r"no such bucket"):
            source.get(block)


def test_whether_a_second_attempt_may_succeed_reaches_the_parent(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    for retryable in (True, False):
        state.reset()
        state.set_error(StoreError("The store is busy.", retryable=retryable), "")
        death = state.death()
        assert isinstance(death, StoreError)
        assert death.retryable == retryable


@pytest.fixture
def spec(store: BlockStore, session: SessionSpec) -> PrefetchSpec:
    return PrefetchSpec(
        root=store.root,
        session=session,
        sensor=store.sensor,
        window=store.window,
        concurrency=4,
        retry=FAST,
    )


def test_two_machines_at_once_make_one_cache(
    machine: Shared,
    bucket: ObjectStore,
    store: BlockStore,
    session: SessionSpec,
    spec: PrefetchSpec,
    block_at: Callable[[int], Block],
) -> None:
    blocks = [block_at(k) for k in range(8)]
    ones = [machine(name) for name in ("one", "other")]
    runs = [Prefetcher(replace(spec, root=one.root, shared=one.shared), blocks) for one in ones]
    try:
        for run in runs:
            run.start()
        read = [[run.source().get(block).read()[0] for block in blocks] for run in runs]
    finally:
        for run in runs:
            run.close()
    for k, (first, second) in enumerate(zip(*read, strict=True)):
        np.testing.assert_array_equal(first, second, err_msg=str(k))
    direct = DirectSource(store, session)
    for k, pixels in enumerate(read[0]):
        np.testing.assert_array_equal(direct.get(blocks[k]).read()[0], pixels)
    lists = [name for name in bucket.contents("cache") if name.startswith("scenes")]
    assert len(lists) == 8
    # What was read is in the store, however soon the process was ended.
    shutil.rmtree(ones[0].root)
    third = machine("third")
    assert all(third.has(block) for block in blocks)


def test_what_was_not_read_either_is_whole(
    machine: Shared, bucket: ObjectStore, spec: PrefetchSpec, block_at: Callable[[int], Block]
) -> None:
    one = machine("one")
    blocks = [block_at(k) for k in range(6)]
    with Prefetcher(replace(spec, root=one.root, shared=one.shared), blocks) as run:
        run.source().get(blocks[0])
    inside = bucket.contents("cache")
    for name, content in inside.items():
        if name.startswith("blocks") and name.endswith(".json"):
            assert json.loads(content)["file"]["size"] == len(inside[name[:-5] + ".tif"])


def test_a_store_that_cannot_be_written_is_refused_at_the_start(
    machine: Shared, session: SessionSpec, spec: PrefetchSpec, bucket: ObjectStore
) -> None:
    one = machine("one")
    web = StorePath(StoreAddress.parse("https://example.org/cache"))
    with pytest.raises(ConfigError, match=r"data\.cache_dir=.*can only be read"):
        Prefetcher(replace(spec, shared=web)).start()
    missing = StorePath(StoreAddress.parse("s3://no-such-bucket/cache"))
    refused = SharedBlockStore(one.root, shared=missing, sensor=one.sensor, window=one.window)
    with pytest.raises(StoreError, match=r"no such bucket"):
        DirectSource(refused, session).connect()
