"""The vectors of a run's tiles, with their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.meeting import tile_bounds
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import VectorReader
from thor_geo.support.progress import PATIENCE_S, track


class NoEmbeddingError(RunDirectoryError):
    """No tile of a run, in a time window, has an embedding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiles:
    """Tiles with an embedding, in the plan's order.

    Attributes:
        index: Index in the plan, (N,) int64, ascending.
        vectors: Embeddings, (N, D) float32, finite.
        epsg: EPSG code of each tile's UTM zone, (N,) int32.
        bounds: Left, bottom, right, top of the footprints, metres in that zone, (N, 4) float64.
        lonlat: Longitude and latitude of the centres, degrees, (N, 2) float64.
        primary: Whether the centre lies in the zone's own strip, (N,) bool: ground on a zone's edge
            is in tiles of both zones.
        missing: Number of tiles of the plan that are not done yet.
        without: Number of tiles that are done but have no embedding: failed or empty.
    """

    index: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    epsg: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.float64]
    lonlat: npt.NDArray[np.float64]
    primary: npt.NDArray[np.bool_]
    missing: int
    without: int

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.index)


def read_tiles(opened: OpenedRun, *, window: int | None = None, progress: bool = False) -> Tiles:
    """Read the vectors of all shards that are done.

    Args:
        opened: A run with pooled files; it may be unfinished.
        window: Which time window, 0 for the first; may be left out if there is only one.
        progress: Whether to show progress on standard error.

    Returns:
        The tiles that have an embedding; at least one.

    Raises:
        NoEmbeddingError: If no tile has an embedding.
        RunDirectoryError: If the run has no pooled files, or a file cannot be read.
        ConfigError: If there are several windows and none is chosen, or there is no such window.
    """
    run, plan = opened.run, opened.plan
    if not opened.pooled:
        raise RunDirectoryError(
            f"`{run.path}` has no pooled vectors (output.pooled=false). Use a run with "
            "output.pooled=true."
        )
    reader, missing, time = VectorReader(run), 0, opened.time_index(window)
    indices: list[npt.NDArray[np.int64]] = []
    vectors: list[npt.NDArray[np.float32]] = []
    for shard in track(
        plan.shards, "shards", label="reading vectors", shown=progress, delay=PATIENCE_S
    ):
        if opened.marker(shard) is None:
            missing += len(shard)
            continue
        values = reader.read(shard, time)
        if len(values) != len(shard):
            raise RunDirectoryError(
                f"`{run.pooled_path(shard)}` has {len(values):,} rows, the plan has {len(shard):,} "
                f"tiles. `thor-geo validate {run.path}` shows what is wrong."
            )
        valid = np.flatnonzero(np.isfinite(values).all(axis=1))
        indices.append(valid + shard.start)
        vectors.append(values[valid])
    index = np.concatenate(indices) if indices else np.empty(0, dtype=np.int64)
    if not len(index):
        when = f" in time window {time}" if len(opened.windows) > 1 else ""
        why = (
            f" yet ({missing:,} of {len(plan):,} tiles are not done)"
            if missing
            else ": all of them are empty or failed"
        )
        raise NoEmbeddingError(
            f"`{run.path}` has no tile with an embedding{when}{why}. `thor-geo status {run.path}` "
            "shows more."
        )
    bounds = np.empty((len(index), 4))
    lonlat = np.empty((len(index), 2))
    epsg = np.empty(len(index), dtype=np.int32)
    zones = plan.zone[index]
    for k in np.unique(zones):
        in_zone, lattice = zones == k, plan.lattices[k]
        edges = tile_bounds(lattice, plan.col[index[in_zone]], plan.row[index[in_zone]])
        bounds[in_zone] = np.stack(edges, axis=1)
        x, y = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
        transform = transformer(f"EPSG:{lattice.epsg}", LONLAT).transform
        lonlat[in_zone] = np.stack(transform(x, y), axis=1)
        epsg[in_zone] = lattice.epsg
    return Tiles(
        index=index,
        vectors=np.concatenate(vectors),
        epsg=epsg,
        bounds=bounds,
        lonlat=lonlat,
        primary=plan.primary[index],
        missing=missing,
        without=len(plan) - missing - len(index),
    )
