"""If these fail, a project gets more requests at once than it may have, or they never end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from thor_geo.composites import BlockStore
from thor_geo.composites.produce import produce
from thor_geo.emulator import EmulatorServer, FaultPlan, FaultRule
from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import StoppedError
from thor_geo.sources.earthengine import (
    EarthEngine,
    EarthEngineClient,
    EarthEngineSession,
    FetchStats,
    SessionSpec,
)

THREADS, SLOTS = 8, 2


@pytest.fixture
def client(session: SessionSpec, server: EmulatorServer) -> EarthEngineClient:
    client = EarthEngineClient(EarthEngineSession(session), concurrency=SLOTS)
    client.connect()
    server.statistics.reset()
    server.set_faults(FaultPlan(rules=(FaultRule(delay_s=0.1),)))
    return client


def test_threads_beyond_the_budget_ask_one_after_the_other(
    client: EarthEngineClient,
    store: BlockStore,
    block_at: Callable[[int], Block],
    server: EmulatorServer,
) -> None:
    costs = [FetchStats() for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(
            pool.map(
                lambda k: produce(store, EarthEngine(client), block_at(k), costs[k]), range(THREADS)
            )
        )
    assert server.statistics.summary()["peak_concurrency"] == SLOTS
    assert sum(cost.requests for cost in costs) == 2 * THREADS - 2  # two blocks have no scenes
    assert sum(cost.seconds_waiting for cost in costs) > 0.5


def test_who_waits_for_a_slot_asks_no_more_once_the_client_is_stopped(
    client: EarthEngineClient,
    store: BlockStore,
    block_at: Callable[[int], Block],
    server: EmulatorServer,
) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        work = [
            pool.submit(produce, store, EarthEngine(client), block_at(k)) for k in range(THREADS)
        ]
        while client.limiter.waiting < THREADS - SLOTS:
            time.sleep(0.001)
        client.stop()
        errors = [future.exception(20) for future in work]
    assert all(isinstance(error, StoppedError) for error in errors)
    assert client.asking == 0
    assert len([request for request in server.statistics.log if ":" in request.kind]) == SLOTS
    # What a thread held it gave back, and its connection can be used again.
    assert client.limiter.waiting == 0
    with client.limiter.place(), client.limiter.slot():
        pass
