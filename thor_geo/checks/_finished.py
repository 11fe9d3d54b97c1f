"""Which tiles of a run can be merged: those of shards with a marker and a pooled file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from thor_geo.ground.plan import Shard
from thor_geo.runs.markers import Marker
from thor_geo.runs.opened_run import THREADS, OpenedRun
from thor_geo.runs.pooled import row_ids
from thor_geo.storage.files import below
from thor_geo.support.progress import PATIENCE_S, Progress

_AT_ONCE = 4096

#: States of a row (a tile in a time window): not written yet, without a failure, failed.
MISSING, PRODUCED, FAILED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class FinishedRows:
    """The rows of a run that can be merged.

    Attributes:
        state: State of every row, tile-major, (n windows,) uint8.
        shards_missing: Shards that are not finished.
        first_missing: Id of the first of them, None without any.
        bytes: Size of the other shards' pooled files.
    """

    state: npt.NDArray[np.uint8]
    shards_missing: int
    first_missing: str | None
    bytes: int


def find_finished(opened: OpenedRun, *, progress: bool = False) -> FinishedRows:
    """Read all markers, and check that the pooled files they name exist.

    Args:
        opened: A run with pooled files.
        progress: Whether to show progress, if it takes long.
    """
    windows = len(opened.windows)
    state = np.zeros(len(opened.plan) * windows, dtype=np.uint8)
    missing, first, size = 0, None, 0
    shards = iter(opened.plan.shards)
    bar = Progress(
        len(opened.plan.shards), "shards", label="reading markers", shown=progress, delay=PATIENCE_S
    )
    with bar, ThreadPoolExecutor(THREADS, thread_name_prefix="thor-geo-markers") as pool:
        while batch := list(islice(shards, _AT_ONCE)):
            markers = pool.map(lambda shard: _usable(opened, shard), batch)
            for shard, marker in zip(batch, markers, strict=True):
                bar.advance()
                if marker is None:
                    missing, first = missing + 1, first or shard.id
                    continue
                size += marker.outputs[_name(opened, shard)].size
                rows = state[shard.start * windows : shard.stop * windows]
                rows[:] = PRODUCED
                if marker.failed:
                    failed = set(marker.failed_tiles)
                    ids = row_ids(opened.plan, shard, opened.windows)
                    rows[[row in failed for row in ids]] = FAILED
    return FinishedRows(state=state, shards_missing=missing, first_missing=first, bytes=size)


def _usable(opened: OpenedRun, shard: Shard) -> Marker | None:
    """Return a shard's marker if it belongs to this run and its pooled file has the right size."""
    marker = opened.marker(shard)
    if marker is None:
        return None
    output = marker.outputs.get(_name(opened, shard))
    whole = output is not None and output.matches(opened.run.pooled_path(shard))
    return marker if whole else None


def _name(opened: OpenedRun, shard: Shard) -> str:
    return below(opened.run.pooled_path(shard), opened.run.path)
