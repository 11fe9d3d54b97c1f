"""The tiles that a search asks about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.results.at_point import outside_error, tiles_at
from thor_geo.results.tiles import no_embedding_error, tile_vectors
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Float32Array

# A tile's id ends with its column and row; a row's id goes on after that.
_ENDING = re.compile(r"_x(-?\d{1,9})_y(-?\d{1,9})(?=_|$)")


class QueryTile(NamedTuple):
    """A tile: its index in the plan, and its vector (D,) float32."""

    tile: int
    vector: Float32Array


def query_tiles(
    opened: OpenedRun,
    places: Sequence[tuple[float, float]],
    ids: Sequence[str],
    time: int | None,
) -> list[QueryTile]:
    """Return the tiles that hold some points, and those with some ids; only theirs are read.

    Args:
        opened: A run with pooled files.
        places: Longitude and latitude, degrees.
        ids: Ids of tiles.
        time: Index of the time window; None for a run without a list of windows.

    Raises:
        ConfigError: If no tile with an embedding is there, or has such an id.
        RunDirectoryError: If a file cannot be read.
    """
    queries = []
    for place in places:
        holding = tiles_at(opened.plan, place)
        found = (_query(opened, tile, time) for tile in holding)
        query = next((each for each in found if each is not None), None)
        if query is None:
            raise _outside(opened, place, holding, time)
        queries.append(query)
    for tile_id in ids:
        index = _tile_named(opened.plan, tile_id)
        query = None if index is None else _query(opened, index, time)
        if query is None:
            raise ConfigError(
                "--tile",
                tile_id,
                "no tile with an embedding has this id",
                _remedy(opened, tile_id, time),
            )
        queries.append(query)
    return queries


def _outside(
    opened: OpenedRun, place: tuple[float, float], holding: Sequence[int], time: int | None
) -> Exception:
    """Return the error for a point without an embedding; vectors elsewhere are not looked at."""
    done = np.zeros(len(opened.plan), dtype=np.bool_)
    for shard in opened.plan.shards:
        done[shard.start : shard.stop] = opened.run.marker_path(shard).exists()
    missing = int((~done).sum())
    done[list(holding)] = False
    if not done.any():
        return no_embedding_error(opened, time, missing)
    return outside_error(opened.plan, place, "--at", planned=np.flatnonzero(done))


def _query(opened: OpenedRun, tile: int, time: int | None) -> QueryTile | None:
    shard = opened.plan.shards[opened.plan.shards.holding(tile)]
    vectors = tile_vectors(opened, shard, time)
    if vectors is None or not np.isfinite(vectors[tile - shard.start]).all():
        return None
    return QueryTile(tile, vectors[tile - shard.start])


def _tile_named(plan: Plan, tile_id: str) -> int | None:
    """Return the index of the tile with an id; None without one."""
    match = _ENDING.search(tile_id)
    if match is None:
        return None
    here = np.flatnonzero((plan.col == int(match[1])) & (plan.row == int(match[2])))
    return next((tile for tile in here.tolist() if plan.tile(tile).id == tile_id), None)


def _remedy(opened: OpenedRun, tile_id: str, time: int | None) -> str:
    match = _ENDING.search(tile_id)
    name = tile_id if match is None else tile_id[: match.end()]
    tile = _tile_named(opened.plan, name)
    if name == tile_id or tile is None or _query(opened, tile, time) is None:
        return "Give its place: --at."
    return f"It is a row's id; give its tile_id, {name}."
