"""The prefetch process itself: `python -m thor_geo.composites.prefetch_process STATE_DIR PARENT`.

Started by `prefetch.Prefetcher`, which sends the work through standard input and ends the process
through it.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeAlias

import rasterio

from thor_geo.composites._folder import end_writing
from thor_geo.composites._schedule import URGENT, BlockTask, Schedule
from thor_geo.composites.prefetch import PrefetchSpec, PrefetchStats
from thor_geo.composites.produce import produce
from thor_geo.composites.state import StateDir
from thor_geo.composites.store import BlockStore
from thor_geo.errors import BlockError, PrefetchError
from thor_geo.ground.blocks import NeededBlock
from thor_geo.ground.lattice import Block
from thor_geo.sources.opening import open_service
from thor_geo.sources.policy import FetchStats
from thor_geo.specs import TemporalSpec
from thor_geo.support.redact import redact, redact_output

#: Seconds between looks at the readers' files, at the parent, and between writing the statistics.
_LOOK_S, _PARENT_S, _STATS_S = 0.02, 0.5, 0.5

#: Seconds that blocks which are being stored get when the process ends.
_WIND_UP_S = 2.0

#: Windows of which the caches are remembered; where rows have their own, there are thousands.
_REMEMBERED = 1024

#: Of a block that counts as one, what the smallest counts at least: so many may be ahead of the
#: readers that the schedule still remembers those which they come to.
_LEAST_SHARE = 1 / 16

#: A block of one of the sensors in one of the windows: its cache, and the block.
_Wanted: TypeAlias = tuple[BlockStore, Block]


class PrefetchService:
    """Fetches blocks with a pool of threads until it is told to stop."""

    def __init__(self, spec: PrefetchSpec, state: StateDir) -> None:
        """Initialize a new Service instance, without a plan.

        Args:
            spec: What to fetch, from where, and into which cache.
            state: The folder through which it is observed.
        """
        self._spec = spec
        self._stores = spec.stores()
        self._stores_in: dict[TemporalSpec, tuple[BlockStore, ...]] = {}
        self._state = state
        self._service = open_service(spec.session, concurrency=spec.concurrency, retry=spec.retry)
        self._client = self._service.client
        # Readers go through the plan once, whatever the number of sensors and windows.
        self._ahead = None if spec.ahead is None else spec.ahead * len(self._stores)
        self._schedule = self._scheduled(())
        self._plan_number = 0
        self._plans: deque[tuple[int, Schedule[_Wanted]]] = deque()
        self._seen: dict[str, str] = {}
        self._failed: set[str] = set()
        # More than there are slots for requests: while some threads build requests, decode and
        # write, others keep the slots busy.
        self._threads = spec.concurrency + max(4, spec.concurrency // 2)
        self._running: dict[Future[bool], str] = {}
        self._stats = PrefetchStats()
        self._left_out: dict[str, str] = {}
        self._stats_lock = threading.Lock()
        self._finished = False
        self._error: Exception | None = None
        self._wake = threading.Event()

    def _scheduled(self, blocks: Iterable[NeededBlock]) -> Schedule[_Wanted]:
        return Schedule(
            self._wanted(blocks),
            lambda wanted: wanted[0].query_key(wanted[1]),
            self._ahead,
            self._share,
        )

    def _wanted(self, blocks: Iterable[NeededBlock]) -> Iterator[_Wanted]:
        for needed in blocks:
            if isinstance(needed, Block):
                stores, block = self._stores, needed
            else:
                stores, block = self._in(needed[0]), needed[1]
            yield from ((store, block) for store in stores)

    def _share(self, wanted: _Wanted) -> float:
        whole = self._spec.block_size
        share = 1.0 if whole is None else (wanted[1].size / whole) ** 2
        return min(max(share, _LEAST_SHARE), 1.0)

    def _in(self, window: TemporalSpec) -> tuple[BlockStore, ...]:
        """Return the caches of a window; called from one thread."""
        stores = self._stores_in.get(window)
        if stores is None:
            if len(self._stores_in) >= _REMEMBERED:
                self._stores_in.clear()
            stores = self._stores_in[window] = self._spec.stores_in(window)
        return stores

    def plan(self, number: int, blocks: Iterable[NeededBlock]) -> None:
        """Take these blocks in place of the plan so far; called from another thread.

        Args:
            number: How many plans were sent, this one included; 0 for none.
            blocks: The blocks in the order in which they will be read.
        """
        self._plans.append((number, self._scheduled(blocks)))
        self._wake.set()

    def fail(self, error: Exception) -> None:
        """Make `run` raise an error; called from another thread."""
        self._error = error
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Set the session up, then fetch until *stop* is set.

        Args:
            stop: Tells when to stop.

        Raises:
            EarthEngineError: If Earth Engine refuses.
            StacError: If a STAC catalogue refuses.
            CacheError: If the cache cannot be written.
            StoreError: If it cannot, and lies in an object store.
            Exception: Whatever else goes wrong beyond a single block.
        """
        self._client.connect()
        for store in self._stores:
            self._service.check(store.sensor, store.window)
        self._state.set_ready()
        # In an environment of its own a thread need not set one up for each file.
        pool = ThreadPoolExecutor(
            self._threads,
            thread_name_prefix="fetch",
            initializer=lambda: rasterio.Env().__enter__(),
        )
        looked = written = float("-inf")
        searching = False
        while not stop.is_set():
            if self._error is not None:
                raise self._error
            while self._plans:
                self._replace_plan(*self._plans.popleft())
            now = time.monotonic()
            if now - looked >= _LOOK_S:
                self._look_at_readers()
                looked = now
            searching = self._schedule.look()
            self._collect()
            while len(self._running) < self._threads and (todo := self._schedule.next()):
                future = pool.submit(self._fetch, todo)
                self._running[future] = todo.key
                future.add_done_callback(lambda _: self._wake.set())
            finished = self._schedule.finished and self._plan_number > 0
            if finished != self._finished or now - written >= _STATS_S:
                self._finished = finished
                self.write_stats()
                written = now
            if not searching:
                self._wake.wait(_LOOK_S)
            self._wake.clear()

    def _replace_plan(self, number: int, schedule: Schedule[_Wanted]) -> None:
        # Readers may be faster than the plan: what they missed meanwhile is not fetched twice.
        schedule.take_over(self._schedule)
        self._plan_number, self._schedule = number, schedule
        self._seen.clear()
        self._finished = False

    def _look_at_readers(self) -> None:
        for key, block, sensor, window in self._state.take_requests():
            self._schedule.request(key, (self._in(window)[sensor], block))
        for reader, key in self._state.progress().items():
            # Once for each step of a reader: looking for an unplanned block costs a search.
            if self._seen.get(reader) != key:
                self._seen[reader] = key
                self._schedule.seen(key)

    def _collect(self) -> None:
        for future in [future for future in self._running if future.done()]:
            # Anything but a block's own failure ends the process.
            self._schedule.finished_with(self._running.pop(future), checked=future.result())

    def _fetch(self, todo: BlockTask[_Wanted]) -> bool:
        """Put a block into the cache unless it is there; return whether its pixels were checked."""
        key, (store, block), order = todo
        cost, count = FetchStats(), PrefetchStats()
        # Whoever reads a block checks it, and misses it if it is damaged: to check it here, too,
        # would take as long again. Where nobody reads, nobody else will.
        check = order == URGENT or self._ahead is None
        try:
            cached = store.get(block) is not None if check else store.has(block)
            left_out: Mapping[str, str] = {}
            if cached:
                count.blocks_cached = 1
                pinned = store.pinned(block) if self._service.reads_files else None
                left_out = {} if pinned is None else pinned.left_out
            else:
                check = True
                stored = produce(store, self._service, block, cost, order=order)
                count.blocks_fetched = 1
                count.blocks_empty = int(stored.path is None)
                count.blocks_other_pass = int(stored.orbit_fallback)
                left_out = stored.left_out
            self._note(left_out)
            if key in self._failed:
                self._state.clear_failed(key)
                self._failed.discard(key)
        except BlockError as error:
            self._failed.add(key)
            self._state.set_failed(key, block, str(error))
            count.blocks_failed = 1
        finally:
            with self._stats_lock:
                self._stats.add(count)
                self._stats.add(cost)
        return check

    def _note(self, left_out: Mapping[str, str]) -> None:
        """Record scenes that are left out of a block."""
        with self._stats_lock:
            if left_out.keys() - self._left_out.keys():
                self._left_out = dict(sorted({**left_out, **self._left_out}.items()))
                self._state.set_left_out(self._left_out)

    def wind_up(self) -> None:
        """Make no more requests, store what has been answered, and leave no block half stored."""
        self._client.stop()
        deadline = time.monotonic() + _WIND_UP_S
        # Whoever is not asking has its pixels, and encodes or writes them.
        while time.monotonic() < deadline:
            if sum(not future.done() for future in self._running) <= self._client.asking:
                break
            time.sleep(0.005)
        end_writing(max(0.0, deadline - time.monotonic()))

    def write_stats(self) -> None:
        """Write the statistics for the parent to read."""
        with self._stats_lock:
            self._stats.blocks_planned = self._schedule.planned
            self._stats.concurrency = self._client.limiter.limit
            self._stats.finished = self._finished
            self._state.set_stats({**asdict(self._stats), "plan": self._plan_number})


def _watch_parent(parent: int) -> None:
    # PR_SET_PDEATHSIG would fire when the *thread* that started this process ends, which need not
    # be the main one; and a closed pipe is not seen while forked workers hold copies of it.
    while os.getppid() == parent:
        time.sleep(_PARENT_S)
    os._exit(1)


def _receive() -> Any:
    """Return the next message of the parent; None when it hangs up, or says that it does."""
    header = sys.stdin.buffer.read(8)
    if len(header) < 8:
        return None
    return pickle.loads(sys.stdin.buffer.read(int.from_bytes(header, "little")))


def _watch_input(service: PrefetchService, stop: threading.Event) -> None:
    try:
        while (message := _receive()) is not None:
            service.plan(*message)
    except Exception as error:  # such as a plan whose class cannot be imported here
        service.fail(error)
    else:
        stop.set()


def main() -> None:
    """Run the process; it leaves with `os._exit`, as threads may be waiting for an answer."""
    # Ctrl-C reaches the whole terminal; the parent decides, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redact_output()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    state = StateDir(sys.argv[1])
    threading.Thread(target=_watch_parent, args=(int(sys.argv[2]),), daemon=True).start()
    stop = threading.Event()
    code = 1
    try:
        state.hold()
        spec = _receive()
        if spec is None:  # the parent gave up before it said anything
            os._exit(0)
        service = PrefetchService(spec, state)
        threading.Thread(target=_watch_input, args=(service, stop), daemon=True).start()
        try:
            service.run(stop)
        finally:
            service.wind_up()
            service.write_stats()
        code = 0
    except Exception as error:
        _leave_word(state, error)
    finally:
        with suppress(OSError):  # nothing may keep it from leaving
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _leave_word(state: StateDir, error: Exception) -> None:
    """Record why the process ends, in the log and in its own file.

    On a full disk neither may succeed; `StateDir.death` then finds the disk full, and says so.
    """
    with suppress(OSError):
        print(redact(traceback.format_exc()), file=sys.stderr, flush=True)
    with suppress(PrefetchError):
        state.set_error(error, traceback.format_exc())


if __name__ == "__main__":
    main()
