"""The prefetch process: fills the block store ahead of the DataLoader workers.

One process per rank talks to Earth Engine, so that no process which forks ever does. It is started
as `python -m thor_geo.composites.prefetch_process` rather than through multiprocessing: that would
import the user's main module again, with whatever it starts.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from thor_geo.composites._folder import STATE_PREFIX, remove_dead_states
from thor_geo.composites.shared import block_store
from thor_geo.composites.source import PrefetchedSource
from thor_geo.composites.state import StateDir
from thor_geo.composites.store import BlockStore
from thor_geo.errors import ConfigError, PrefetchError
from thor_geo.ground.blocks import NeededBlock
from thor_geo.sources.asking import CONCURRENCY
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import FetchStats, RetryPolicy
from thor_geo.sources.stac import CatalogueSpec
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor
from thor_geo.storage import StorePath
from thor_geo.support.processes import child_environment

logger = logging.getLogger(__name__)

_PROCESS = "thor_geo.composites.prefetch_process"

#: Seconds that setting the session up may take, with all its retries.
START_TIMEOUT_S = 600.0

#: Seconds after which the user is told that it takes longer than usual.
PATIENCE_S = 10.0

#: Seconds that the process gets to end when asked to.
CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class PrefetchSpec:
    """What a prefetch process needs to know; picklable.

    Attributes:
        root: Folder of the cache, which readers read.
        shared: Root of the cache in an object store, of which `root` holds copies; None where the
            folder is the cache.
        session: How to reach the source.
        sensor: Collection, bands and recipe.
        window: Time window.
        catalogue: Where the scenes are from, see `BlockStore`.
        beside: Further sensors, each with the catalogue of its scenes: every block of the plan is
            fetched of all of them, one after the other.
        later: Further windows: every block is fetched of all sensors in all windows. Blocks that
            the plan names a window with are fetched in that one alone, which need be none of these.
        concurrency: Largest number of requests in flight; a project may have 40, so ranks and
            jobs share that number out.
        ahead: Blocks to fetch beyond the furthest one that a reader asked for, of each sensor in
            each window; None for all of the plan, as when nobody reads. Smaller blocks count for
            less, see `block_size`.
        block_size: Side in pixels of a block that counts as one in `ahead`; None where every block
            does.
        retry: How often and how patiently to ask again.
        state_dir: Folder for the files of `StateDir`, on a local disk; None for a temporary one.

    Raises:
        ConfigError: If a number is out of range.
    """

    root: Path
    shared: StorePath | None = None
    session: SessionSpec | CatalogueSpec
    sensor: AnySensor
    window: TemporalSpec
    catalogue: str = "earthengine"
    beside: tuple[tuple[AnySensor, str], ...] = ()
    later: tuple[TemporalSpec, ...] = ()
    concurrency: int = CONCURRENCY
    ahead: int | None = 256
    block_size: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    state_dir: Path | None = None

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("concurrency", "ahead", "block_size"):
            value = getattr(self, name)
            if name != "concurrency" and value is None:
                continue
            if not (isinstance(value, int) and value >= 1):
                raise ConfigError(name, value, "not a positive whole number", "Give 1 or more.")

    def store(self) -> BlockStore:
        """Return the cache of the first sensor."""
        return self.stores()[0]

    def stores(self) -> tuple[BlockStore, ...]:
        """Return the caches, all in one folder: of every sensor, window by window."""
        windows = (self.window, *self.later)
        return tuple(store for window in windows for store in self.stores_in(window))

    def stores_in(self, window: TemporalSpec) -> tuple[BlockStore, ...]:
        """Return the cache of each sensor in a window, as whoever fills it sees it.

        Args:
            window: Time window; any.
        """
        return tuple(
            block_store(self.root, self.shared, sensor=sensor, window=window, catalogue=catalogue)
            for sensor, catalogue in ((self.sensor, self.catalogue), *self.beside)
        )

    def read_in(self, window: TemporalSpec) -> tuple[BlockStore, ...]:
        """Return the cache of each sensor in a window, as readers see it: the folder alone.

        Args:
            window: Time window; any.
        """
        return replace(self, shared=None).stores_in(window)


@dataclass(kw_only=True)
class PrefetchStats(FetchStats):
    """What a prefetch process has done.

    Attributes:
        blocks_planned: Different blocks taken from the plan so far: it is walked as it is needed.
            Blocks of several sensors count once for each, and so in several windows.
        blocks_fetched: Blocks fetched, those without scenes included.
        blocks_empty: Blocks fetched without any scene.
        blocks_cached: Blocks found in the cache, those that a reader then finds damaged included.
        blocks_failed: Blocks given up in this run.
        blocks_other_pass: Sentinel-1 blocks fetched that are of the other orbit pass than was asked
            for, by `orbit_fallback`.
        concurrency: Requests that may be in flight now.
        finished: Whether everything that was planned last is fetched, found or given up, and
            nothing that a reader misses is left to do. False before the first plan.
    """

    blocks_planned: int = 0
    blocks_fetched: int = 0
    blocks_empty: int = 0
    blocks_cached: int = 0
    blocks_failed: int = 0
    blocks_other_pass: int = 0
    concurrency: int = 0
    finished: bool = False


@dataclass(frozen=True)
class PrefetchedSources:
    """Makes the sources of any time window, where there may be thousands; picklable.

    Attributes:
        spec: What the prefetch process fetches.
        state: The folder through which it is observed.
    """

    spec: PrefetchSpec
    state: StateDir

    def __call__(self, window: TemporalSpec) -> tuple[PrefetchedSource, ...]:
        """Return the source of each sensor in a window.

        Args:
            window: Time window.
        """
        return tuple(
            PrefetchedSource(store, self.state, sensor)
            for sensor, store in enumerate(self.spec.read_in(window))
        )


class Prefetcher:
    """Starts, watches and ends the prefetch process of one rank."""

    def __init__(self, spec: PrefetchSpec, blocks: Iterable[NeededBlock] | None = None) -> None:
        """Initialize a new Prefetcher instance; nothing is started yet.

        Args:
            spec: What the process needs to know.
            blocks: The plan, see `plan`, which may also name it later.
        """
        self.spec = spec
        self._blocks = blocks
        self._plans = 0
        self._state: StateDir | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._last_stats = PrefetchStats()
        self._last_failures: dict[str, str] = {}
        self._last_left_out: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the process."""
        self.close()

    def start(self) -> None:
        """Start the process; return when its session is set up.

        What runs that were killed left behind is removed: their temporary folders, and half-written
        files in the cache, once they are certainly dead (see `_folder`).

        Raises:
            ConfigError: If the cache folder cannot be written.
            StoreError: If the cache lies in an object store, and it refuses or keeps failing.
            AuthenticationError: If there are no usable credentials.
            ProjectError: If the project is missing or may not be used.
            UnreachableError: If Earth Engine cannot be reached.
            EarthEngineError: If it refuses.
            StacError: If a STAC catalogue cannot be reached, or refuses.
            PrefetchError: If the process is running already, or did not come up.
        """
        if self._process is not None:
            raise PrefetchError("The prefetch process has been started already; close it first.")
        self.spec.store().prepare()
        if self.spec.state_dir is None:
            remove_dead_states()
        state = StateDir(
            self.spec.state_dir or tempfile.mkdtemp(prefix=f"{STATE_PREFIX}{os.getpid()}-")
        )
        state.reset()
        self._state = state
        self._plans = 0
        with state.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROCESS, str(state.path), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(),
            )
        try:
            self._send(self._process, self.spec)
            if self._blocks is not None:
                self._send_plan(self._process, self._blocks)
            self._wait_until_ready(self._process, state)
        except BaseException:
            self.close()
            raise

    def plan(self, blocks: Iterable[NeededBlock]) -> None:
        """Replace the list of blocks to fetch.

        Args:
            blocks: The blocks in the order in which they will be read, with or without a time
                window each: a list, or any other iterable that can be pickled. The process walks it
                as far as it needs to, and holds no more than a part of it.

        Raises:
            EarthEngineError: If the process has ended because Earth Engine refused.
            StacError: If it has ended because a STAC catalogue refused.
            CacheError: If it has ended because the cache cannot be written.
            StoreError: If it has, and the cache lies in an object store.
            PrefetchError: If it ended otherwise, or was never started.
        """
        self.check()
        assert self._process is not None
        self._send_plan(self._process, blocks)

    def _send_plan(self, process: subprocess.Popen[bytes], blocks: Iterable[NeededBlock]) -> None:
        self._plans += 1
        self._send(process, (self._plans, blocks))

    def _send(self, process: subprocess.Popen[bytes], message: object) -> None:
        assert process.stdin is not None
        work = pickle.dumps(message)
        try:
            process.stdin.write(len(work).to_bytes(8, "little") + work)
            process.stdin.flush()
        except BrokenPipeError as error:
            raise self._death(process) from error

    def _wait_until_ready(self, process: subprocess.Popen[bytes], state: StateDir) -> None:
        begun, logged = time.monotonic(), False
        deadline = begun + START_TIMEOUT_S
        while not state.ready():
            if process.poll() is not None:
                raise self._death(process)
            if time.monotonic() > deadline:
                raise PrefetchError(
                    f"The prefetch process did not reach {self.spec.session.endpoint} within "
                    f"{START_TIMEOUT_S:.0f} s. Check the network and the proxy settings.",
                    retryable=True,
                )
            if not logged and time.monotonic() - begun > PATIENCE_S:
                logged = True
                lines = state.log.read_text(encoding="utf-8", errors="replace").splitlines()
                logger.warning(
                    "Waiting for %s. %s", self.spec.session.endpoint, lines[-1] if lines else ""
                )
            time.sleep(0.01)

    def _death(self, process: subprocess.Popen[bytes]) -> Exception:
        assert self._state is not None
        return self._state.death(process.wait())

    def source(self, sensor: int = 0, window: TemporalSpec | None = None) -> PrefetchedSource:
        """Return the source through which datasets read; give it to the DataLoader's dataset.

        Args:
            sensor: 0 for the spec's first sensor, then those beside it.
            window: Time window; None for the spec's first.

        Raises:
            PrefetchError: If the process has not been started.
        """
        return self.sources(window)[sensor]

    def sources(self, window: TemporalSpec | None = None) -> tuple[PrefetchedSource, ...]:
        """Return the sources of all sensors in a window; see `source`.

        Args:
            window: Time window; None for the spec's first.

        Raises:
            PrefetchError: If the process has not been started.
        """
        return self.opener()(window or self.spec.window)

    def opener(self) -> PrefetchedSources:
        """Return what makes the sources of any window; give it to a dataset of many.

        Raises:
            PrefetchError: If the process has not been started.
        """
        if self._state is None:
            raise PrefetchError("The prefetch process has not been started; call start() first.")
        return PrefetchedSources(self.spec, self._state)

    def check(self) -> None:
        """Raise the error of the process if it has ended; cheap enough for every batch.

        Raises:
            EarthEngineError: If Earth Engine refused (its subclasses too).
            StacError: If a STAC catalogue refused.
            CacheError: If the cache cannot be written.
            StoreError: If it cannot, and lies in an object store.
            PrefetchError: If it ended otherwise, with its traceback or its last output; or was
                never started.
        """
        if self._process is None:
            raise PrefetchError("The prefetch process has not been started; call start() first.")
        if self._process.poll() is not None:
            raise self._death(self._process)

    def stats(self) -> PrefetchStats:
        """Return what the process has done, up to half a second ago; all of it after `close`."""
        if self._state is not None:
            values = self._state.stats()
            # What is written may still be about the plan before the last one.
            current = values.pop("plan", 0) == self._plans
            stats = PrefetchStats(**values)
            self._last_stats = replace(stats, finished=stats.finished and current)
        return self._last_stats

    def failures(self) -> dict[str, str]:
        """Return the blocks that were given up in this run: messages by block id."""
        if self._state is not None:
            self._last_failures = self._state.failures()
        return dict(self._last_failures)

    def left_out(self) -> dict[str, str]:
        """Return the scenes that are left out of blocks of this run's plan, and why, by id."""
        if self._state is not None:
            self._last_left_out = self._state.left_out()
        return dict(self._last_left_out)

    def close(self) -> None:
        """End the process; it leaves the cache as it is. Repeating it does no harm."""
        process, state = self._process, self._state
        if process is None or state is None:
            return
        assert process.stdin is not None
        try:
            # Said, not only hung up: a forked worker may hold a copy of this end of the pipe.
            process.stdin.write(b"close")
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.stats()
        self.failures()
        self.left_out()
        self._process = self._state = None
        if self.spec.state_dir is None:
            shutil.rmtree(state.path, ignore_errors=True)
