from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thor_geo.composites import BlockSource, BlockStore, DirectSource, PrefetchedSource
from thor_geo.composites.state import StateDir
from thor_geo.emulator import EmulatorServer, FaultPlan, FaultRule
from thor_geo.errors import BlockError, EarthEngineError, PrefetchError, ProjectError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import RetryPolicy, SessionSpec

FAST = RetryPolicy(base_s=0.001)


@pytest.fixture
def direct(store: BlockStore, session: SessionSpec) -> DirectSource:
    return DirectSource(store, session, retry=FAST)


def served(server: EmulatorServer, kind: str) -> int:
    return sum(request.kind == kind for request in server.statistics.log)


def test_a_missing_block_is_fetched_and_kept(
    direct: DirectSource, server: EmulatorServer, block_at: Callable[[int], Block]
) -> None:
    assert isinstance(direct, BlockSource)
    pixels, observations = direct.get(block_at(2)).read()
    assert pixels[0, 0].tolist() == list(range(129, 193))
    assert pixels[1, 5, 7] == pixels[0, 5, 7] + 1000
    assert np.unique(observations).tolist() == [1]
    asked = len(server.statistics.log)
    direct.get(block_at(2)).read()
    assert len(server.statistics.log) == asked


def test_ground_without_scenes_costs_one_request_and_is_remembered(
    direct: DirectSource, server: EmulatorServer, block_at: Callable[[int], Block]
) -> None:
    for _ in range(2):
        stored = direct.get(block_at(7))
        assert (stored.path, stored.scenes) == (None, ())
    assert served(server, "value:compute") == 1
    assert served(server, "image:computePixels") == 0
    (record,) = (direct.store.root / "scenes").rglob("*.json")
    cost = json.loads(record.read_text())["fetch"]
    assert (cost["requests"], cost["retries"], cost["bytes"]) == (1, 0, 0)
    assert cost["seconds"] > 0


def test_a_damaged_file_is_fetched_again_with_the_same_scenes(
    direct: DirectSource, server: EmulatorServer, block: Block
) -> None:
    stored = direct.get(block)
    before = stored.read()[0]
    assert stored.path is not None
    stored.path.write_bytes(b"rubbish")
    again = direct.get(block)
    np.testing.assert_array_equal(again.read()[0], before)
    assert again.scenes == stored.scenes
    assert served(server, "value:compute") == 1
    assert served(server, "image:computePixels") == 2


def test_passing_trouble_is_outlived_and_noted(
    direct: DirectSource, server: EmulatorServer, block: Block
) -> None:
    rules = (
        FaultRule(kind="value:compute", status=503, times=2),
        FaultRule(kind="image:computePixels", drop=True, times=1),
        FaultRule(kind="image:computePixels", truncate=0.5, times=1),
        FaultRule(kind="image:computePixels", status=429, headers={"Retry-After": "0"}, times=3),
        FaultRule(
            kind="image:computePixels",
            status=400,
            message="User memory limit exceeded.",
            times=1,
        ),
    )
    server.set_faults(FaultPlan(rules=rules))
    # 64 px are not split: the refusal for memory fails the block, after all else was outlived.
    with pytest.raises(BlockError, match="cannot compute"):
        direct.get(block)
    stored = direct.get(block)
    assert stored.read()[0][0, 0, 0] == 1
    assert stored.path is not None
    fetch = json.loads(stored.path.with_suffix(".json").read_text())["fetch"]
    # Its list took three, its pixels one; what was given up before is counted by that run.
    assert (fetch["requests"], fetch["retries"]) == (3 + 1, 2)
    assert served(server, "image:computePixels") == 7


def test_memory_refusals_are_answered_by_smaller_requests(
    direct: DirectSource, server: EmulatorServer
) -> None:
    # The scene covers its rows 128 to 191, from column 128 on.
    big = Block(epsg=32632, size=256, resolution=10, left=512, top=6528)
    message = "User memory limit exceeded."
    server.set_faults(
        FaultPlan(rules=(FaultRule(min_pixels=64 * 64, status=400, message=message),))
    )
    pixels, observations = direct.get(big).read()
    assert observations.sum() == 128 * 64
    assert pixels[0, 130].tolist() == [0] * 128 + list(range(1, 129))
    answered = [r.pixels for r in server.statistics.log if r.pixels and r.status == 200]
    assert answered == [64 * 64] * 16


def test_a_refusal_ends_the_run_with_cause_and_remedy(
    direct: DirectSource, server: EmulatorServer, block: Block
) -> None:
    text = "Caller does not have required permission to use project x."
    server.set_faults(FaultPlan(rules=(FaultRule(kind="value:compute", status=403, message=text),)))
    with pytest.raises(ProjectError, match=r"serviceUsageConsumer"):
        direct.get(block)


def test_an_unknown_collection_is_named(session: SessionSpec, store: BlockStore) -> None:
    sensor = replace(store.sensor, collection="NO/SUCH_COLLECTION")
    other = BlockStore(store.root, sensor=sensor, window=store.window)
    block = Block(epsg=32632, size=64, resolution=10, left=640, top=6400)
    with pytest.raises(EarthEngineError, match=r"data\.sentinel2\.collection"):
        DirectSource(other, session).get(block)


def test_a_direct_source_travels_without_its_client(direct: DirectSource, block: Block) -> None:
    direct.get(block)
    again = pickle.loads(pickle.dumps(direct))
    assert again.get(block).read()[0].shape == (2, 64, 64)


def test_a_forked_child_does_not_wait_for_threads_that_were_left_behind(
    direct: DirectSource, block_at: Callable[[int], Block]
) -> None:
    direct.get(block_at(0))
    assert direct._service is not None
    # Another thread is about to take or give back a slot at the moment of the fork.
    limiter, held, release = direct._service[1].client.limiter, threading.Event(), threading.Event()

    def hold() -> None:
        with limiter._lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            code = int(direct.get(block_at(1)).read()[0][0, 0, 0] != 65)
        finally:
            os._exit(code)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_waiting_without_a_prefetch_process_ends_at_once(
    store: BlockStore, block: Block, tmp_path: Path
) -> None:
    state = StateDir(tmp_path / "state")
    state.reset()
    with pytest.raises(PrefetchError, match="not running"):
        PrefetchedSource(store, state).get(block)


def test_what_is_cached_is_read_though_the_prefetch_process_is_gone(
    store: BlockStore, direct: DirectSource, block: Block, tmp_path: Path
) -> None:
    direct.get(block)
    state = StateDir(tmp_path / "state")
    state.reset()
    assert PrefetchedSource(store, state).get(block).read()[0].shape == (2, 64, 64)


def test_readers_never_load_the_client(
    store: BlockStore, direct: DirectSource, block: Block, tmp_path: Path
) -> None:
    direct.get(block)
    state = StateDir(tmp_path / "state")
    state.reset()
    work = tmp_path / "work.pickle"
    work.write_bytes(pickle.dumps((PrefetchedSource(store, state), block)))
    code = (
        "import pickle, sys, pathlib; "
        f"source, block = pickle.loads(pathlib.Path({str(work)!r}).read_bytes()); "
        "stored = source.get(block); "
        "assert 'torch' not in sys.modules; "
        "stored.read(); "
        "assert not {'ee', 'googleapiclient', 'requests'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
