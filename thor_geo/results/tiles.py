"""The vectors of a run's tiles, with their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.meeting import tile_bounds
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import VectorReader
from thor_geo.storage.files import readers_of
from thor_geo.support.ahead import read_ahead
from thor_geo.support.arrays import Float32Array, Int64Array
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


class TileGround(NamedTuple):
    """EPSG codes (n,), bounds (n, 4) and centres (n, 2) of tiles, as in `Tiles`."""

    epsg: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.float64]
    lonlat: npt.NDArray[np.float64]


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
    plan, time = opened.plan, opened.time_index(window)
    parts, missing = [], 0
    for shard, part in tile_parts(opened, window=window, progress=progress):
        if part is None:
            missing += len(shard)
        else:
            parts.append(part)
    if not sum(len(index) for index, _ in parts):
        raise no_embedding_error(opened, time, missing)
    index = np.concatenate([index for index, _ in parts])
    ground = tile_ground(plan, index)
    return Tiles(
        index=index,
        vectors=np.concatenate([vectors for _, vectors in parts]),
        epsg=ground.epsg,
        bounds=ground.bounds,
        lonlat=ground.lonlat,
        primary=plan.primary[index],
        missing=missing,
        without=len(plan) - missing - len(index),
    )


def tile_parts(
    opened: OpenedRun, *, window: int | None = None, progress: bool = False
) -> Iterator[tuple[Shard, tuple[Int64Array, Float32Array] | None]]:
    """Yield shards, with index in the plan (n,) and vectors (n, D) of tiles with an embedding.

    Args:
        opened: A run with pooled files; it may be unfinished: None stands for a shard's vectors
            that are not done yet.
        window: Which time window, 0 for the first; may be left out if there is only one.
        progress: Whether to show progress on standard error.

    Raises:
        RunDirectoryError: If the run has no pooled files, or a file cannot be read.
        ConfigError: If there are several windows and none is chosen, or there is no such window.
    """
    time = opened.time_index(window)
    check_pooled(opened)
    shards = opened.plan.shards
    parts = read_ahead(
        lambda shard: (shard, tile_vectors(opened, shard, time)),
        shards,
        threads=readers_of(opened.run.path),
    )
    for shard, values in track(
        parts,
        "shards",
        total=len(shards),
        label="reading vectors",
        shown=progress,
        delay=PATIENCE_S,
    ):
        if values is None:
            yield shard, None
        else:
            valid = np.flatnonzero(np.isfinite(values).all(axis=1))
            yield shard, (valid + shard.start, values[valid])


def tile_vectors(opened: OpenedRun, shard: Shard, time: int | None) -> Float32Array | None:
    """Return vectors of a shard's tiles (n, D), NaN where there is none; None if it is not done.

    Args:
        opened: A run with pooled files.
        shard: The shard.
        time: Index of the time window; None for a run without a list of windows.

    Raises:
        RunDirectoryError: If the file cannot be read.
    """
    if opened.marker(shard) is None:
        return None
    values = VectorReader(opened.run).read(shard, time)
    if len(values) != len(shard):
        raise RunDirectoryError(
            f"`{opened.run.pooled_path(shard)}` has {len(values):,} rows, the plan has "
            f"{len(shard):,} tiles. `thor-geo validate {opened.run.path}` shows what is wrong."
        )
    return values


def tile_ground(plan: Plan, index: Int64Array) -> TileGround:
    """Return where tiles are.

    Args:
        plan: The plan.
        index: Indices in it, (n,).
    """
    bounds, lonlat = np.empty((len(index), 4)), np.empty((len(index), 2))
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
    return TileGround(epsg, bounds, lonlat)


def check_pooled(opened: OpenedRun) -> None:
    """Refuse a run that writes no vectors.

    Raises:
        RunDirectoryError: If it does not.
    """
    if not opened.pooled:
        raise RunDirectoryError(
            f"`{opened.run.path}` has no pooled vectors (output.pooled=false). Use a run with "
            "output.pooled=true."
        )


def no_embedding_error(opened: OpenedRun, time: int | None, missing: int) -> NoEmbeddingError:
    """Return the error for a run in which no tile has an embedding.

    Args:
        opened: The run.
        time: Index of the time window.
        missing: Number of tiles that are not done yet.
    """
    when = f" in time window {time}" if len(opened.windows) > 1 else ""
    why = (
        f" yet ({missing:,} of {len(opened.plan):,} tiles are not done)"
        if missing
        else ": all of them are empty or failed"
    )
    return NoEmbeddingError(
        f"`{opened.run.path}` has no tile with an embedding{when}{why}. "
        f"`thor-geo status {opened.run.path}` shows more."
    )
