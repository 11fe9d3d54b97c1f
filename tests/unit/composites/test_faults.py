"""What the service does wrong ends in the bytes of a run without faults.

A quick part of `benchmarks/chaos/faults.py`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from thor_geo.composites import BlockStore, DirectSource, Prefetcher, PrefetchSpec
from thor_geo.composites.produce import produce
from thor_geo.emulator import EmulatorProcess, EmulatorServer, FaultPlan, FaultRule
from thor_geo.errors import AuthenticationError, BlockError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import (
    EarthEngine,
    EarthEngineClient,
    EarthEngineSession,
    FetchStats,
    RetryPolicy,
    SessionSpec,
)

FAST = RetryPolicy(base_s=0.001, cap_s=0.01, unreachable_cap_s=0.01)
PIXELS, LISTS = "image:computePixels", "value:compute"


def digests(root: Path) -> dict[str, str]:
    """Return the content of every file of pixels, and the names of the lists of scenes."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.tif")
    }
    return {**found, **{path.name: "" for path in (root / "scenes").rglob("*.json")}}


@pytest.fixture
def blocks(block_at: Callable[[int], Block]) -> list[Block]:
    # Six of the usual size, and one that memory limits quarter.
    return [
        *(block_at(k) for k in range(6)),
        Block(epsg=32632, size=128, resolution=10, left=640, top=6400),
    ]


@pytest.fixture
def fetch(
    session: SessionSpec, blocks: list[Block]
) -> Callable[..., tuple[FetchStats, EarthEngineClient]]:
    """Fetch the blocks with four threads, as the prefetch process does."""

    def fetch(store: BlockStore, **changes: float) -> tuple[FetchStats, EarthEngineClient]:
        client = EarthEngineClient(
            EarthEngineSession(replace(session, **changes)), concurrency=4, retry=FAST
        )
        client.connect()
        costs = [FetchStats() for _ in blocks]
        with ThreadPoolExecutor(4) as pool:
            work = [
                pool.submit(produce, store, EarthEngine(client), block, cost)
                for block, cost in zip(blocks, costs, strict=True)
            ]
        for one in work:
            one.result()
        total = FetchStats()
        for cost in costs:
            total.add(cost)
        return total, client

    return fetch


CASES = {
    "429": FaultRule(probability=0.4, seed=1, status=429, headers={"Retry-After": "0"}),
    "503": FaultRule(probability=0.4, seed=2, status=503),
    "reset": FaultRule(probability=0.4, seed=3, reset=True),
    "closed": FaultRule(probability=0.4, seed=4, drop=True),
    "cut short": FaultRule(probability=0.4, seed=5, truncate=0.5),
    "stalled": FaultRule(probability=0.4, seed=6, first_times=1, delay_s=1.0),
    "memory": FaultRule(
        kind=PIXELS, min_pixels=64 * 64, status=400, message="User memory limit exceeded."
    ),
    "timed out": FaultRule(
        kind=PIXELS, min_pixels=64 * 64, status=400, message="Computation timed out."
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_passing_faults_change_no_byte(
    store: BlockStore,
    fetch: Callable[..., tuple[FetchStats, EarthEngineClient]],
    server: EmulatorServer,
    name: str,
) -> None:
    plain = BlockStore(store.root.with_name("plain"), sensor=store.sensor, window=store.window)
    fetch(plain)
    server.set_faults(FaultPlan(rules=(CASES[name],)))
    server.statistics.reset()
    cost, _ = fetch(store, read_timeout_s=0.5 if name == "stalled" else 330.0)
    assert digests(store.root) == digests(plain.root)
    assert len(digests(store.root)) == 14
    log = [request for request in server.statistics.log if ":" in request.kind]
    assert any(request.fault for request in log)
    if name in ("memory", "timed out"):
        assert cost.splits == 1
    else:
        assert cost.retries == cost.requests - 14 > 0
    if name not in (
        "stalled",
        "memory",
        "timed out",
    ):  # requests may come to their end after others
        assert cost.requests == len(log)


@pytest.mark.filterwarnings("ignore:Your project has exceeded")  # the client says it too
def test_restricted_mode_slows_down_and_changes_no_byte(
    store: BlockStore,
    fetch: Callable[..., tuple[FetchStats, EarthEngineClient]],
    server: EmulatorServer,
) -> None:
    headers = {"x-earth-engine-quota-status": "parallelism_restricted=true"}
    server.set_faults(FaultPlan(rules=(FaultRule(headers=headers),)))
    cost, client = fetch(store)
    assert client.limiter.limit == 2
    assert cost.retries == 0


def test_a_scene_that_is_added_later_changes_nothing_that_was_pinned(
    store: BlockStore, session: SessionSpec, block: Block, server: EmulatorServer
) -> None:
    # When the list was asked for there was no scene; then the pixels would have shown one.
    hidden = FaultRule(kind=LISTS, first_times=1, hide=("one",))
    server.set_faults(FaultPlan(rules=(hidden,)))
    assert DirectSource(store, session, retry=FAST).get(block).scenes == ()
    assert DirectSource(store, session, retry=FAST).get(block).scenes == ()
    other = BlockStore(store.root.with_name("other"), sensor=store.sensor, window=store.window)
    assert len(DirectSource(other, session, retry=FAST).get(block).scenes) == 1


def test_pixels_that_were_given_up_are_made_of_the_list_that_was_pinned_then(
    store: BlockStore, session: SessionSpec, block: Block, server: EmulatorServer
) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(kind=PIXELS, status=503, times=6),)))
    source = DirectSource(store, session, retry=FAST)
    with pytest.raises(BlockError, match="in 6 tries"):
        source.get(block)
    # From now on the list would be another one.
    server.set_faults(FaultPlan(rules=(FaultRule(kind=LISTS, hide=("one",)),)))
    client, cost = EarthEngineClient(EarthEngineSession(session), retry=FAST), FetchStats()
    stored = produce(store, EarthEngine(client), block, cost)
    assert [scene.index for scene in stored.scenes] == ["one"]
    # This run asked for the pixels alone; the block cost its list as well.
    assert cost.requests == 1
    assert stored.path is not None
    assert json.loads(stored.path.with_suffix(".json").read_text())["fetch"]["requests"] == 2


@pytest.fixture
def spec(store: BlockStore, session: SessionSpec, tmp_path: Path) -> PrefetchSpec:
    return PrefetchSpec(
        root=store.root,
        session=session,
        sensor=store.sensor,
        window=store.window,
        concurrency=1,
        ahead=None,
        retry=FAST,
        state_dir=tmp_path / "state",
    )


def finish(prefetcher: Prefetcher) -> None:
    deadline = time.monotonic() + 60
    while not prefetcher.stats().finished:
        prefetcher.check()
        assert time.monotonic() < deadline, "it did not come to its end"
        time.sleep(0.02)


def test_credentials_that_expire_halfway_stop_the_run_and_lose_nothing(
    spec: PrefetchSpec, blocks: list[Block], server: EmulatorServer
) -> None:
    server.set_faults(FaultPlan(rules=(FaultRule(kind=PIXELS, after=3, status=401),)))
    with (
        Prefetcher(spec, blocks) as prefetcher,
        pytest.raises(AuthenticationError, match="earthengine authenticate"),
    ):
        finish(prefetcher)
    assert len(list(spec.root.rglob("*.tif"))) == 3
    assert not list(spec.root.rglob("*.tmp"))
    server.set_faults(None)
    with Prefetcher(spec, blocks) as prefetcher:
        finish(prefetcher)
        stats = prefetcher.stats()
    assert (stats.blocks_cached, stats.blocks_fetched) == (3, 4)


def test_a_server_that_is_gone_for_a_while_fails_no_block(
    spec: PrefetchSpec, blocks: list[Block], archive: Path
) -> None:
    slow = FaultPlan(latency_s=0.2)
    # A process: a thread's open connections would outlive the server.
    with EmulatorProcess(archive, faults=slow) as emulator:
        here = replace(spec, session=replace(spec.session, url=emulator.url))
        with Prefetcher(here, blocks) as prefetcher:
            while prefetcher.stats().blocks_fetched < 1:
                prefetcher.check()
                time.sleep(0.01)
            port = int(emulator.url.rsplit(":", 1)[1])
            emulator.stop()
            time.sleep(1.0)
            assert not prefetcher.stats().finished
            with EmulatorProcess(archive, port):
                finish(prefetcher)
            stats, failures = prefetcher.stats(), prefetcher.failures()
    assert (stats.blocks_fetched, failures) == (7, {})
    assert stats.retries > 0
