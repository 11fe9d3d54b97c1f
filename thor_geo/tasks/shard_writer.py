"""Writing the shards of one process: some are written while the next is collected."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from thor_geo.errors import ThorGeoError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.failures import Failure
from thor_geo.runs.grid import GridStore
from thor_geo.runs.markers import Marker, ShardFile, failures_bytes
from thor_geo.runs.place_store import PlaceStore
from thor_geo.runs.pooled import interleave_windows, pooled_bytes, pooled_table, row_ids
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.shard import Shapes, ShardResult
from thor_geo.specs import Windows
from thor_geo.storage import StorePath
from thor_geo.storage.files import below, write_all
from thor_geo.storage.requests import NewRequests

_log = logging.getLogger(__name__)

#: Shards that are written at a time: to a store two, because most of that time is spent waiting
#: for answers; to a folder one, because two would only share the disk.
_WRITING_TO_STORE, _WRITING_TO_FOLDER = 2, 1


def write_shard(
    run: RunDirectory,
    plan: Plan,
    results: Sequence[ShardResult],
    *,
    shapes: Shapes,
    windows: Windows,
    store: GridStore | PlaceStore | None,
    places: Places | None = None,
    started_at: dt.datetime,
    compute_seconds: float,
    session: str = "",
    fetch: Mapping[str, float] | None = None,
    left_out: Mapping[str, str] | None = None,
    asked: NewRequests | None = None,
    marked: bool = True,
) -> Marker:
    """Write a complete shard: pooled file, map and failures, and last the marker.

    Args:
        run: The prepared run directory.
        plan: The plan.
        results: The complete shard in each window, in order.
        shapes: Shapes of the arrays in *results*.
        windows: Time windows of the composites.
        store: The store, if maps are written.
        places: The table of a plan of places.
        started_at: When the shard's first batch came, UTC.
        compute_seconds: Time from the end of the previous shard to the end of this one.
        session: Id of the launch.
        fetch: Cost of fetching since the previous marker.
        left_out: Scenes left out of its composites, and why.
        asked: Counts what the process asks of stores, and was told by the previous marker.
        marked: Whether it may have a marker already; in a folder it costs nothing to make sure.

    Returns:
        The marker.

    Raises:
        RunDirectoryError: If a file cannot be written; names the remedy.
    """
    import torch

    began = time.monotonic()
    shard = results[0].shard
    # If a shard with failures is computed again, it has a marker, whose files now change.
    with run.explain_errors(f"shard {shard.id}"):
        if marked or not isinstance(run.path, StorePath):
            run.marker_path(shard).unlink(missing_ok=True)
        outputs = _encoded(
            run, plan, results, shapes=shapes, windows=windows, store=store, places=places
        )
        tiles = [tile.id for tile in plan.tiles(range(shard.start, shard.stop))]
        # Tile and result of each row, in the order of `row_ids`.
        rows = [(tile, result) for tile in range(len(shard)) for result in results]
        status = [result.status[tile] for tile, result in rows]
        ids = row_ids(plan, shard, windows)
        # A tile's id names its row, unless it has several, or is the chip of several places.
        named = windows.listed or isinstance(plan, PlacePlan)
        failures = [
            Failure(tile=tiles[tile], error=error, row=row if named else None)
            for row, (tile, result) in zip(ids, rows, strict=True)
            if (error := result.error[tile]) is not None
        ]
        held = _finished_elsewhere(run, shard) if failures else None
        if held is not None:
            return held
        listed = below(run.failures_path(shard), run.path)
        write_all(run.path, {**outputs, listed: failures_bytes(failures)})
        marker = Marker(
            shard_id=shard.id,
            fingerprint=run.fingerprint,
            tiles=len(rows),
            ok=status.count("ok"),
            empty=status.count("empty"),
            failed=len(failures),
            empty_tiles=tuple(row for row, s in zip(ids, status, strict=True) if s == "empty"),
            failed_tiles=tuple(failure.name for failure in failures),
            observations_mean=tuple(
                None if s == "failed" else round(float(result.observations_mean[tile]), 2)
                for s, (tile, result) in zip(status, rows, strict=True)
            ),
            scenes=tuple(sorted({name for tile, result in rows for name in result.scenes[tile]})),
            outputs={name: ShardFile.of(content) for name, content in outputs.items()},
            started_at=started_at.isoformat(),
            finished_at=dt.datetime.now(dt.UTC).isoformat(),
            compute_seconds=round(compute_seconds, 3),
            write_seconds=round(time.monotonic() - began, 3),
            session=session,
            batches=tuple(shape for result in results for shape in result.batches),
            threads=torch.get_num_threads(),
            fetch=dict(fetch or {}),
            left_out=dict(left_out or {}),
            store={} if asked is None else asked.take(),
        )
        marker.write(run.marker_path(shard))
    return marker


def _finished_elsewhere(run: RunDirectory, shard: Shard) -> Marker | None:
    """Return the marker of another process that had no failures in a shard meanwhile.

    A store has no locks. Two processes on one shard write the same, unless tiles failed in one of
    them: then what the other has finished must stay.
    """
    if not isinstance(run.path, StorePath):
        return None
    held = Marker.read(run.marker_path(shard))
    sound = held is not None and held.failed == 0 and held.fingerprint == run.fingerprint
    return held if sound else None


def _encoded(
    run: RunDirectory,
    plan: Plan,
    results: Sequence[ShardResult],
    *,
    shapes: Shapes,
    windows: Windows,
    store: GridStore | PlaceStore | None,
    places: Places | None,
) -> dict[str, bytes]:
    """Return the contents of a shard's files, by path below the run directory."""
    outputs: dict[str, bytes] = {}
    shard = results[0].shard
    if shapes.pooled is not None:
        tables = [
            pooled_table(result, plan, window, shapes.dtype, run.metadata, places)
            for result, window in zip(results, windows, strict=True)
        ]
        content = pooled_bytes(interleave_windows(tables))
        outputs[f"{run.pooled.name}/{run.pooled_path(shard).name}"] = content
    for result, time_index in zip(results, windows.times, strict=True):
        if result.grid is not None and store is not None:
            encoded = store.encode(shard, result.grid, time_index)
            outputs |= {f"{store.path.name}/{name}": each for name, each in encoded.items()}
    return outputs


class ShardWriter:
    """Collects batches into shards and writes them in threads of its own.

    At most two shards are in memory, one being collected and one being written; three where the run
    lies in a store, in which two are written side by side.

    Attributes:
        written: Shards that are written, markers included.
    """

    def __init__(
        self,
        run: RunDirectory,
        plan: Plan,
        shapes: Shapes,
        windows: Windows,
        store: GridStore | PlaceStore | None,
        *,
        places: Places | None = None,
        session: str = "",
        strict: bool = False,
        fetch_cost: Callable[[], Mapping[str, float]] | None = None,
        left_out: Callable[[Iterable[int]], Mapping[str, str]] | None = None,
        asked: NewRequests | None = None,
        marked: Container[str] | None = None,
    ) -> None:
        """Initialize a new ShardWriter instance.

        Args:
            run: The prepared run directory.
            plan: The plan.
            shapes: What to collect.
            windows: Time windows of the composites.
            store: The created store, or None if no maps are written.
            places: The table of a plan of places.
            session: Id of the launch.
            strict: Refuse a tile without a finite embedding.
            fetch_cost: Returns the cost of this process's fetching so far.
            left_out: Returns the scenes left out of the composites of some tiles, and why.
            asked: Counts what this process asks of stores.
            marked: Ids of the shards that may have a marker already; None for all.
        """
        self._run, self._plan, self._shapes = run, plan, shapes
        self._windows, self._store, self._places = windows, store, places
        self._session, self._strict = session, strict
        self._fetch_cost, self._left_out = fetch_cost, left_out
        self._asked, self._marked = asked, marked
        self._recorded_cost: Mapping[str, float] = {}
        self.written = 0
        self._complete: set[str] = set()
        # The shard that is being collected, in each window.
        self._current: list[ShardResult] | None = None
        self._started_at = dt.datetime.now(dt.UTC)
        self._previous_end = time.monotonic()
        in_store = isinstance(run.path, StorePath)
        self._at_a_time = _WRITING_TO_STORE if in_store else _WRITING_TO_FOLDER
        self._threads = ThreadPoolExecutor(
            max_workers=self._at_a_time, thread_name_prefix="thor-geo-writer"
        )
        # Those that are being written, the oldest first.
        self._writing: deque[Future[Marker]] = deque()

    def add(self, prediction: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a batch, and write its shard if it is complete now.

        Args:
            prediction: Result of `predict_step`.
            batch: The batch; with a list of windows, its ``window`` holds the index of one window.

        Raises:
            ThorGeoError: If the batch does not fit the shard that is being collected.
            RunDirectoryError: If a previous shard could not be written.
        """
        if self._current is None:
            shard = self._shard_of(int(prediction["tile"][0]))
            if shard.id in self._complete:
                raise ThorGeoError(
                    f"Shard {shard.id} came twice: every tile must come once. Use the datamodule's "
                    "own batch sampler, with `trainer.use_distributed_sampler=false`."
                )
            self._current = [
                ShardResult(self._plan, shard, self._shapes, strict=self._strict)
                for _ in self._windows
            ]
            self._started_at = dt.datetime.now(dt.UTC)
        self._current[self._window_index(batch)].add(prediction, batch)
        if not all(result.complete for result in self._current):
            return
        results, self._current = self._current, None
        shard = results[0].shard
        self._complete.add(shard.id)
        now = time.monotonic()
        seconds, self._previous_end = now - self._previous_end, now
        self._wait(beyond=self._at_a_time - 1)
        self._writing.append(
            self._threads.submit(
                write_shard,
                self._run,
                self._plan,
                results,
                shapes=self._shapes,
                windows=self._windows,
                store=self._store,
                places=self._places,
                started_at=self._started_at,
                compute_seconds=seconds,
                session=self._session,
                fetch=self._fetched(),
                left_out=self._missed(shard),
                asked=self._asked,
                marked=self._marked is None or shard.id in self._marked,
            )
        )

    def wait(self) -> None:
        """Wait until every complete shard is written; raise the error of writing one, if any."""
        self._wait(beyond=0)

    def _wait(self, *, beyond: int) -> None:
        """Wait until at most so many shards are being written."""
        while len(self._writing) > beyond:
            writing = self._writing.popleft()
            try:
                writing.result()
            finally:
                if not writing.done():  # a signal's handler raised while this waited
                    self._writing.appendleft(writing)
            self.written += 1

    def close(self) -> None:
        """Wait, and drop an incomplete shard."""
        try:
            self.wait()
        finally:
            self._threads.shutdown()
            # Those that were not waited for, because one before failed.
            self.written += sum(writing.exception() is None for writing in self._writing)
            self._writing.clear()
        if self._current is not None:
            _log.warning(
                "Shard %s is incomplete and was not written; run the same command again.",
                self._current[0].shard.id,
            )
            self._current = None

    def _window_index(self, batch: Mapping[str, Any]) -> int:
        """Return the index of a batch's window; 0 without a list of windows."""
        if not self._windows.listed:
            return 0
        indices = set(batch.get("window", ()))
        if len(indices) != 1 or not indices <= set(range(len(self._windows))):
            raise ThorGeoError(
                f"A batch has `window` {sorted(map(str, indices))}, the run has windows 0 to "
                f"{len(self._windows) - 1}: each batch must be of one of them. Use the "
                "datamodule's own batch sampler, with `trainer.use_distributed_sampler=false`."
            )
        (window,) = indices
        return int(window)

    def _shard_of(self, tile: int) -> Shard:
        return self._plan.shards[self._plan.shards.holding(tile)]

    def _missed(self, shard: Shard) -> Mapping[str, str]:
        """Return the scenes left out of a shard's composites, and why."""
        return {} if self._left_out is None else self._left_out(range(shard.start, shard.stop))

    def _fetched(self) -> dict[str, float]:
        """Return the cost of fetching since the previous shard."""
        now = {} if self._fetch_cost is None else dict(self._fetch_cost())
        before, self._recorded_cost = self._recorded_cost, now
        return {name: round(value - before.get(name, 0), 3) for name, value in now.items()}
