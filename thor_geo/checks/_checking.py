"""Checking all shards of a run on every core, a bounded number at a time."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TYPE_CHECKING

from thor_geo.checks._marked import Checked, Expected, check_shard, seam_reader
from thor_geo.errors import ThorGeoError
from thor_geo.ground.plan import Plan
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import own_columns
from thor_geo.runs.place_rows import PlaceFields
from thor_geo.runs.vectors import EMBEDDING, vector_length
from thor_geo.storage.files import readable

if TYPE_CHECKING:
    import pyarrow as pa

# Shards of a task: many enough that handing it over costs nothing, few enough that cores finish
# together. Seams between shards are measured within a task, so the number of seams depends on it.
_AT_ONCE = 16
# Pooled files read to learn the length of an embedding.
_SAMPLE_FILES = 9

_expected: Expected | None = None


def check_shards(
    opened: OpenedRun, expected: Expected, workers: int
) -> Iterator[tuple[Checked, int]]:
    """Yield the results of some shards at a time, in plan order, with their number of tiles.

    Args:
        opened: The run.
        expected: What all shards have in common.
        workers: Processes.

    Raises:
        ThorGeoError: If a process dies.
    """
    shards = opened.plan.shards
    parts = (
        opened.plan.part(int(part.starts[0]), int(part.stops[-1]))
        for part in (shards[k : k + _AT_ONCE] for k in range(0, len(shards), _AT_ONCE))
    )
    waiting: deque[tuple[Future[Checked], int]] = deque()
    # Not forked, because pyarrow and zarr have threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(expected,)
    )
    try:
        waiting.extend(
            (pool.submit(_check, part), len(part)) for part in islice(parts, 2 * workers)
        )
        while waiting:
            future, tiles = waiting.popleft()
            yield future.result(), tiles
            waiting.extend((pool.submit(_check, part), len(part)) for part in islice(parts, 1))
    except BrokenProcessPool as error:
        raise ThorGeoError(
            f"A process of `thor-geo validate {opened.run.path}` died, perhaps because it ran out "
            "of memory (the map of a shard is decoded as a whole). Use fewer processes: "
            f"--workers {max(1, workers // 2)}."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def common_dimension(opened: OpenedRun, column: str = EMBEDDING) -> int | None:
    """Return the length of a vector in most of the first finished pooled files.

    Args:
        opened: The run.
        column: `EMBEDDING` or `CENTRE`.

    Returns:
        D; None if no shard is finished, or none of the files can be read.
    """
    lengths: Counter[int] = Counter()
    for schema in _sample_schemas(opened):
        try:
            lengths[vector_length(schema, column)] += 1
        except ValueError:
            continue  # reported as a fault when the file is checked
    return lengths.most_common(1)[0][0] if lengths else None


def common_fields(opened: OpenedRun) -> PlaceFields:
    """Return the columns that most of the first finished pooled files of a run of places have.

    Args:
        opened: The run.

    Returns:
        The columns that run.json names, with the types in those files; if there are none, columns
        of no file.
    """
    import pyarrow as pa

    found: Counter[PlaceFields] = Counter()
    names = own_columns(opened.run)
    for schema in _sample_schemas(opened):
        if set(names) <= set(schema.names):
            columns = pa.schema([schema.field(name) for name in names])
            found[PlaceFields.of(columns, centre=opened.centre)] += 1
    nothing = pa.schema([(name, pa.null()) for name in names])
    if not found:
        return PlaceFields.of(nothing, centre=opened.centre)
    return found.most_common(1)[0][0]


def _sample_schemas(opened: OpenedRun) -> Iterator[pa.Schema]:
    """Yield the schemas of the first finished pooled files that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    looked = 0
    for shard in opened.plan.shards:
        if looked == _SAMPLE_FILES:
            break
        if not opened.run.marker_path(shard).exists():
            continue
        looked += 1
        try:
            yield pq.read_schema(readable(opened.run.pooled_path(shard)))
        except (pa.ArrowException, OSError, ValueError):
            continue  # reported as a fault when the file is checked


def _start(expected: Expected) -> None:
    global _expected
    # A damaged marker is a fault here, and reported as one.
    logging.getLogger("thor_geo").setLevel(logging.ERROR)
    _expected = expected
    # The parent handles Ctrl-C; without a parent there is nobody to work for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _check(part: Plan) -> Checked:
    assert _expected is not None, "_start sets it"
    checked, reader = Checked(), seam_reader(_expected)
    for shard in part.shards:
        checked.add(check_shard(_expected, part, shard, reader))
    return checked
