"""Runs with more vectors than the explorer holds: some are shown, an index finds the others."""

from __future__ import annotations

import logging

from thor_geo.errors import RunDirectoryError
from thor_geo.explorer.compare import Comparison
from thor_geo.explorer.indexed import IndexedPlaces
from thor_geo.explorer.located import (
    MOST_BYTES,
    ProgressCallback,
    RasterVectors,
    cell_places,
    thinning,
    tile_places,
)
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.similar_index import IndexUnit

_log = logging.getLogger(__name__)


def compared_tiles(opened: OpenedRun, window: int | None, *, progress: bool) -> Comparison:
    """Read the tiles of a run; if there is an index, only as many as fit in `MOST_BYTES`.

    Args:
        opened: The run.
        window: Which time window.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Raises:
        ConfigError: If there are several windows and none is named, or there is no such window.
        RunDirectoryError: If no tile has an embedding yet, or a file cannot be read.
    """
    index, step = _open_index(opened, "tiles", window), 1
    if index is not None and 4 * index.about.rows * index.about.dimension > MOST_BYTES:
        shards = opened.plan.shards
        side = opened.plan.lattices[0].shard_tiles
        step = thinning(side, len(shards), index.about.dimension)
    places = tile_places(opened, window=window, progress=progress, step=step)
    return _compared(opened, places, index, window)


def compared_cells(opened: OpenedRun, window: int | None, report: ProgressCallback) -> Comparison:
    """Read as many cells of a run as fit in `MOST_BYTES`.

    Args:
        opened: The run.
        window: Which time window.
        report: Called after each shard.

    Raises:
        ConfigError: If there are several windows and none is named, or there is no such window.
        RunDirectoryError: If no cell has an embedding yet, or a file cannot be read.
    """
    places = cell_places(opened, window=window, report=report)
    index = None if places.step == 1 else _open_index(opened, "cells", window)
    return _compared(opened, places, index, window)


def _compared(
    opened: OpenedRun, places: RasterVectors, index: NeighbourIndex | None, window: int | None
) -> Comparison:
    if index is None or places.step == 1:
        return Comparison(places)
    return Comparison(places, IndexedPlaces(opened, places, index, window))


def _open_index(opened: OpenedRun, unit: IndexUnit, window: int | None) -> NeighbourIndex | None:
    """Open the index of a run; None without one, or with a warning if it cannot answer."""
    try:
        return NeighbourIndex.of_run(opened, unit, opened.time_index(window))
    except RunDirectoryError as error:
        _log.warning("The explorer goes without the index. %s", error)
        return None
