from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.composites import BlockStore, Prefetcher, PrefetchSpec
from thor_geo.emulator import EmulatorServer, FaultPlan, FaultRule
from thor_geo.errors import (
    AuthenticationError,
    BlockError,
    ConfigError,
    PrefetchError,
    ProjectError,
    UnreachableError,
)
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import RetryPolicy, SessionSpec
from thor_geo.specs import TemporalSpec
from thor_geo.support.processes import child_environment

Start = Callable[..., Prefetcher]


@pytest.fixture
def spec(store: BlockStore, session: SessionSpec, tmp_path: Path) -> PrefetchSpec:
    return PrefetchSpec(
        root=store.root,
        session=session,
        sensor=store.sensor,
        window=store.window,
        concurrency=4,
        retry=RetryPolicy(base_s=0.001),
        state_dir=tmp_path / "state",
    )


@pytest.fixture
def start(spec: PrefetchSpec, block_at: Callable[[int], Block]) -> Iterator[Start]:
    started: list[Prefetcher] = []

    def start(blocks: range | None = range(8), **changes: Any) -> Prefetcher:
        plan = None if blocks is None else [block_at(k) for k in blocks]
        prefetcher = Prefetcher(replace(spec, **changes), plan)
        started.append(prefetcher)
        prefetcher.start()
        return prefetcher

    yield start
    for prefetcher in started:
        prefetcher.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def process(prefetcher: Prefetcher) -> subprocess.Popen[bytes]:
    assert prefetcher._process is not None
    return prefetcher._process


def test_blocks_are_fetched_ahead_and_read_by_forked_workers(
    start: Start, block_at: Callable[[int], Block], server: EmulatorServer
) -> None:
    prefetcher = start()
    source = prefetcher.source()
    children = []
    for worker in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for k in range(worker, 6, 2):
                    pixels, _ = source.get(block_at(k)).read()
                    assert pixels[0, 3, 0] == k * 64 + 1
                assert source.get(block_at(7)).path is None
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]
    wait_for(lambda: prefetcher.stats().blocks_fetched == 8)
    prefetcher.check()
    prefetcher.close()
    stats = prefetcher.stats()
    assert stats.finished
    assert (stats.blocks_planned, stats.blocks_fetched, stats.blocks_empty) == (8, 8, 2)
    assert (stats.requests, stats.retries, stats.blocks_failed) == (8 + 6, 0, 0)
    assert stats.bytes > 6 * 64 * 64 * 3 * 2
    # A second run finds everything.
    server.statistics.reset()
    again = start()
    wait_for(lambda: again.stats().blocks_cached == 8)
    assert not [request for request in server.statistics.log if "compute" in request.kind]


def test_fetching_keeps_its_distance_from_the_reader(
    start: Start, block_at: Callable[[int], Block]
) -> None:
    prefetcher = start(ahead=2)
    wait_for(lambda: prefetcher.stats().blocks_fetched == 2)
    time.sleep(0.7)
    assert prefetcher.stats().blocks_fetched == 2
    prefetcher.source().get(block_at(3))
    wait_for(lambda: prefetcher.stats().blocks_fetched == 6)


def test_a_plan_may_be_any_iterable_that_can_be_pickled(
    start: Start, block_at: Callable[[int], Block]
) -> None:
    prefetcher = start(None)
    time.sleep(0.6)
    assert not prefetcher.stats().finished  # nothing was planned yet
    # An iterator pickles as what is left of it.
    prefetcher.plan(iter([block_at(k) for k in range(4)]))
    assert not prefetcher.stats().finished
    wait_for(lambda: prefetcher.stats().finished)
    assert prefetcher.stats().blocks_fetched == 4
    prefetcher.plan(())
    wait_for(lambda: prefetcher.stats().finished)
    assert prefetcher.stats().blocks_planned == 0


def test_without_a_bound_all_is_fetched_though_nobody_reads(start: Start) -> None:
    prefetcher = start(ahead=None)
    wait_for(lambda: prefetcher.stats().finished)
    assert prefetcher.stats().blocks_fetched == prefetcher.stats().blocks_planned == 8


def test_readers_that_fly_through_the_cache_are_followed(
    start: Start, block_at: Callable[[int], Block], server: EmulatorServer
) -> None:
    first = start(range(4), ahead=None)
    wait_for(lambda: first.stats().finished)
    prefetcher = start(ahead=1)
    prefetcher.source().get(block_at(3))
    wait_for(lambda: prefetcher.stats().blocks_fetched == 1)  # block 4: no reader asked for it
    assert prefetcher.stats().blocks_planned >= 5


def test_a_plan_that_cannot_be_walked_ends_the_process_with_its_traceback(start: Start) -> None:
    prefetcher = start(None)
    prefetcher.plan([None])  # type: ignore[list-item] # no block
    with pytest.raises(PrefetchError, match=r"Traceback(.|\n)*TypeError"):
        wait_for(lambda: prefetcher.check() or False)  # type: ignore[func-returns-value] # raises


def test_blocks_outside_the_plan_are_fetched_when_they_are_asked_for(
    start: Start, block_at: Callable[[int], Block]
) -> None:
    source = start(range(0)).source()
    assert source.get(block_at(4)).read()[0][0, 0, 0] == 4 * 64 + 1


def test_a_damaged_file_is_replaced_while_the_reader_waits(
    start: Start, block: Block, caplog: pytest.LogCaptureFixture
) -> None:
    source = start().source()
    stored = source.get(block)
    before = stored.read()[0]
    damage(stored.path)
    np.testing.assert_array_equal(source.get(block).read()[0], before)
    assert "Damaged file" in caplog.text


def damage(path: Path | None) -> None:
    assert path is not None
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 255
    path.write_bytes(raw)


def test_a_file_that_was_damaged_before_is_replaced_by_whoever_reads_it(
    start: Start, block: Block
) -> None:
    first = start(range(1))
    before = first.source().get(block)
    pixels = before.read()[0]
    first.close()
    damage(before.path)
    again = start(range(1))
    wait_for(lambda: again.stats().finished)
    np.testing.assert_array_equal(again.source().get(block).read()[0], pixels)
    wait_for(lambda: again.stats().blocks_fetched == 1)
    assert again.stats().blocks_cached == 1  # at first sight


def test_fetching_alone_looks_at_every_file_itself(start: Start, block: Block) -> None:
    first = start(range(1), ahead=None)
    wait_for(lambda: first.stats().finished)
    damage(first.source().get(block).path)
    again = start(range(1), ahead=None)
    wait_for(lambda: again.stats().finished)
    assert (again.stats().blocks_cached, again.stats().blocks_fetched) == (0, 1)


def test_a_failing_block_fails_its_reader_and_no_other(
    start: Start, block_at: Callable[[int], Block], server: EmulatorServer
) -> None:
    fault = FaultRule(kind="image:computePixels", nth=(1, 2, 3, 4, 5, 6), status=503)
    server.set_faults(FaultPlan(rules=(fault,)))
    prefetcher = start(range(1), concurrency=1)
    source = prefetcher.source()
    with pytest.raises(BlockError, match=r"in 6 tries.*HTTP 503"):
        source.get(block_at(0))
    assert source.get(block_at(1)).read()[0][0, 0, 0] == 65
    prefetcher.check()
    wait_for(lambda: prefetcher.stats().finished)
    assert (prefetcher.stats().blocks_fetched, prefetcher.stats().blocks_failed) == (1, 1)
    assert list(prefetcher.failures()) == [block_at(0).id]
    assert "HTTP 503" in prefetcher.failures()[block_at(0).id]
    # The failure is this run's: the next one tries again.
    prefetcher.close()
    assert list(prefetcher.failures()) == [block_at(0).id]
    assert start(range(1)).source().get(block_at(0)).read()[0][0, 0, 0] == 1


def test_a_refusal_becomes_the_runs_error_in_parent_and_readers(
    start: Start, block: Block, server: EmulatorServer
) -> None:
    prefetcher = start(range(0))
    source = prefetcher.source()
    text = "Caller does not have required permission to use project x."
    server.set_faults(FaultPlan(rules=(FaultRule(kind="value:compute", status=403, message=text),)))
    with pytest.raises(ProjectError, match="serviceUsageConsumer"):
        source.get(block)
    wait_for(lambda: process(prefetcher).poll() is not None)
    with pytest.raises(ProjectError, match="serviceUsageConsumer"):
        prefetcher.check()


def test_a_missing_login_is_raised_where_the_run_is_started(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(AuthenticationError, match="Run `earthengine authenticate`"):
        start(session=SessionSpec(project="p"))


def test_a_project_that_may_not_be_used_is_raised_where_the_run_is_started(
    start: Start, server: EmulatorServer
) -> None:
    text = "Earth Engine API has not been used in project 42 before or it is disabled."
    server.set_faults(FaultPlan(rules=(FaultRule(kind="algorithms", status=403, message=text),)))
    with pytest.raises(ProjectError, match="gcloud services enable"):
        start()


def test_an_unreachable_service_is_raised_where_the_run_is_started_as_worth_another_try(
    start: Start, spec: PrefetchSpec
) -> None:
    # Nothing listens on the port of a socket that was closed.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UnreachableError, match="could not be reached") as caught:
        start(
            session=replace(spec.session, url=url),
            retry=RetryPolicy(unreachable_s=0.1, base_s=0.001),
        )
    assert caught.value.retryable


def test_a_cache_that_cannot_be_written_is_named_before_anything_starts(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"data\.cache_dir"):
        start(root=tmp_path / "file" / "cache")


def test_a_killed_process_is_noticed_by_parent_and_waiting_readers(
    start: Start, block: Block, server: EmulatorServer
) -> None:
    server.set_faults(FaultPlan(latency_s=30))
    prefetcher = start()
    source = prefetcher.source()
    caught: list[Exception] = []

    def read() -> None:
        try:
            source.get(block)
        except PrefetchError as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    # Not yet reaped by its parent, as in a run: to look for its process id would find it.
    os.kill(process(prefetcher).pid, signal.SIGKILL)
    reader.join(10)
    assert len(caught) == 1
    with pytest.raises(PrefetchError, match="exit code -9"):
        wait_for(lambda: prefetcher.check() or False)  # type: ignore[func-returns-value] # raises


def test_what_goes_wrong_in_the_process_arrives_with_its_traceback(start: Start) -> None:
    prefetcher = start(range(0))
    (prefetcher.source().state.path / "progress").rmdir()
    with pytest.raises(PrefetchError, match=r"Traceback(.|\n)*FileNotFoundError.*progress"):
        wait_for(lambda: prefetcher.check() or False)  # type: ignore[func-returns-value] # raises


PARENT = """
import os, pathlib, pickle, sys, time
from thor_geo.composites import Prefetcher
if __name__ == "__main__":
    spec, blocks = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
    prefetcher = Prefetcher(spec, blocks)
    prefetcher.start()
    # A DataLoader worker that outlives its parent, and holds a copy of the pipe to the process.
    worker = os.fork()
    if worker:
        print(prefetcher._process.pid, worker, flush=True)
    time.sleep(60)
else:
    raise RuntimeError("the user's main module was imported a second time")
"""


def test_the_process_dies_with_its_parent_and_leaves_main_alone(
    spec: PrefetchSpec, block_at: Callable[[int], Block], tmp_path: Path
) -> None:
    script, work = tmp_path / "main.py", tmp_path / "work.pickle"
    script.write_text(PARENT)
    work.write_bytes(pickle.dumps((spec, [block_at(0)])))
    parent = subprocess.Popen(
        [sys.executable, str(script), str(work)],
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    assert parent.stdout is not None
    child, worker = map(int, parent.stdout.readline().split())
    assert Path(f"/proc/{child}").exists() or sys.platform != "linux"
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        # An orphan that nobody reaps here stays as a zombie.
        stat = Path(f"/proc/{child}/stat")
        return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"

    try:
        wait_for(gone)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_closing_ends_the_process_even_in_the_middle_of_requests(
    start: Start, server: EmulatorServer
) -> None:
    server.set_faults(FaultPlan(latency_s=30))
    prefetcher = start()
    one = process(prefetcher)
    begun = time.monotonic()
    prefetcher.close()
    prefetcher.close()
    assert one.poll() == 0
    assert time.monotonic() - begun < 3


def test_a_temporary_state_folder_is_removed(start: Start) -> None:
    prefetcher = start(state_dir=None)
    state = prefetcher.source().state.path
    assert state.is_dir()
    prefetcher.close()
    assert not state.exists()


def test_misuse_is_named(start: Start, spec: PrefetchSpec) -> None:
    idle = Prefetcher(spec, [])
    for call in (idle.check, idle.source):
        with pytest.raises(PrefetchError, match=r"start\(\)"):
            call()
    with pytest.raises(PrefetchError, match="already"):
        start().start()
    with pytest.raises(ConfigError, match="ahead"):
        replace(spec, ahead=0)


def test_the_parent_never_loads_the_client(spec: PrefetchSpec) -> None:
    code = (
        "import sys, thor_geo.composites; "
        "assert not {'ee', 'googleapiclient', 'requests', 'torch'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_blocks_of_thousands_of_windows_are_fetched_each_in_its_own(
    start: Start, spec: PrefetchSpec, block_at: Callable[[int], Block]
) -> None:
    # The scene is of 2022-06-01 16:00: half of the windows begin too late.
    windows = [
        TemporalSpec.range(f"2022-06-{1 + k % 2:02d}", f"2022-07-{1 + k:02d}") for k in range(20)
    ]
    prefetcher = start(None)
    prefetcher.plan([(window, block_at(0)) for window in windows])
    opened = prefetcher.opener()
    for k, window in enumerate(windows):
        (source,) = pickle.loads(pickle.dumps(opened))(window)
        assert bool(source.get(block_at(0)).scenes) == (k % 2 == 0)
    wait_for(lambda: prefetcher.stats().finished)
    assert prefetcher.stats().blocks_planned == 20
    # What no plan names is fetched in the window of the reader that misses it.
    elsewhen = TemporalSpec.range("2022-05-01", "2022-08-01")
    assert prefetcher.source(0, elsewhen).get(block_at(2)).scenes


def test_a_table_of_windows_costs_one_check_of_the_scenes_it_names(
    start: Start, server: EmulatorServer, store: BlockStore, block_at: Callable[[int], Block]
) -> None:
    sensor = replace(store.sensor, scenes=("one",))
    prefetcher = start(None, sensor=sensor)
    asked = len([request for request in server.statistics.log if "compute" in request.kind])
    assert asked == 1
    windows = [TemporalSpec.range("2022-06-01", f"2022-07-{1 + k:02d}") for k in range(5)]
    prefetcher.plan([(window, block_at(0)) for window in windows])
    wait_for(lambda: prefetcher.stats().finished)
    compute = [request.kind for request in server.statistics.log if "compute" in request.kind]
    assert len(compute) == asked + 2 * 5, "a list and pixels for each block, and nothing more"
