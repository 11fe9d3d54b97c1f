"""Places of a run in a store by its overview: on the map at once, their vectors when asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from thor_geo.errors import RunDirectoryError
from thor_geo.explorer.located import (
    DrawnColours,
    LocatedVectors,
    ProgressCallback,
    raster_of_tiles,
)
from thor_geo.explorer.points import points_of_chips
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.results.tiles import no_embedding_error
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.overview import read_overview
from thor_geo.runs.reading import VectorReader
from thor_geo.storage import StorePath
from thor_geo.storage.files import readers_of
from thor_geo.support.ahead import read_ahead
from thor_geo.support.arrays import BoolArray, Float32Array


def overview_places(
    opened: OpenedRun, window: int | None, report: ProgressCallback
) -> LocatedVectors | None:
    """Return the tiles or chips of a run as its overview has them.

    Args:
        opened: The run, with pooled files.
        window: Which time window; needed only if there are several.
        report: Called after each shard, when vectors are read.

    Returns:
        None for a run in a folder, whose vectors are near, and for one without an overview.

    Raises:
        ConfigError: If there are several windows and none is named, or there is no such window.
        RunDirectoryError: If the overview is damaged, or no tile has an embedding.
    """
    if not isinstance(opened.run.path, StorePath):
        return None
    time = opened.time_index(window)
    overview = read_overview(opened.run, opened.plan)
    if overview is None:
        return None
    rows = slice(time or 0, None, len(opened.windows))
    embedded = overview.embedded[rows]
    if not embedded.any():
        raise no_embedding_error(opened, time, 0)
    index = np.flatnonzero(embedded)
    source = _LaterVectors(opened, overview.dimension, embedded, time, report)
    colours = DrawnColours(overview.rgb[rows][index], overview.share)
    observations = overview.observations[rows][index]
    if not isinstance(opened.plan, PlacePlan):
        return raster_of_tiles(
            opened.plan, index, embedded, source, colours=colours, observations=observations
        )
    columns = pa.table({}) if overview.columns is None else overview.columns.take(pa.array(index))
    return points_of_chips(opened, "chips", index, source, observations, columns, colours=colours)


@dataclass(frozen=True)
class _LaterVectors:
    """Vectors of a run's tiles or chips that are read when they are asked for.

    Attributes:
        opened: The run.
        dimension: D.
        embedded: Which tiles of the plan have a vector.
        time: Index of the time window; None for a run without a list of windows.
        report: Called after each shard.
    """

    opened: OpenedRun
    dimension: int
    embedded: BoolArray
    time: int | None
    report: ProgressCallback

    def read(self) -> Float32Array:
        """Read them, several files at a time.

        Raises:
            RunDirectoryError: If a file cannot be read, or has other vectors than the overview is
                of.
        """
        run, shards = self.opened.run, self.opened.plan.shards
        reader = VectorReader(run)
        out = np.empty((int(self.embedded.sum()), self.dimension), dtype=np.float32)
        parts = read_ahead(
            lambda shard: reader.read(shard, self.time), shards, threads=readers_of(run.path)
        )
        filled = 0
        for done, (shard, values) in enumerate(zip(shards, parts, strict=True), start=1):
            there = np.isfinite(values).all(axis=1)
            if not np.array_equal(there, self.embedded[shard.start : shard.stop]):
                raise RunDirectoryError(
                    f"`{run.pooled_path(shard)}` has vectors of other tiles than "
                    f"`{run.overview.name}` says: the run has changed since it was made. Run the "
                    "same `thor-geo predict` command, which makes it again, and open the page anew."
                )
            out[filled : filled + int(there.sum())] = values[there]
            filled += int(there.sum())
            self.report(done, len(shards))
        return out
