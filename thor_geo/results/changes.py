"""How much embeddings of the same place differ between two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.results.cells import ZoneCells, with_progress
from thor_geo.results.cosine import unit_vectors
from thor_geo.results.tiles import Tiles
from thor_geo.runs.fingerprint import json_differences
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Float32Array

# Settings in which compared runs may differ: the window, the choice of scenes and their source, and
# settings that change the last bits only.
_FREE = {
    "data": {
        *(
            "start",
            "end",
            "windows",
            "catalogues",
            "files_sha256",
        ),
        *("batch_size", "block_size"),
    },
    "model": {"device", "threads"},
}
_FREE_OF_SENSOR = {"cloudy_pct", "catalogue", "scenes"}
# Differing settings that a message names.
_NAMED = 8


def cosine_distance(ours: Float32Array, theirs: Float32Array) -> Float32Array:
    """Return 1 - cos of the angle between embeddings, 0 to 2; equal directions give 0.

    Half the squared distance of vectors of length one is the same number, but keeps the digits that
    1 - cos loses for small changes. A vector of zeros is at distance 1 from all others.

    Args:
        ours: (..., D).
        theirs: (..., D), of the same shape.

    Returns:
        (...) float32; NaN if either is NaN.
    """
    a, b = unit_vectors(ours), unit_vectors(theirs)
    distance: Float32Array = (((a - b).astype(np.float64) ** 2).sum(axis=-1) / 2).astype(np.float32)
    zero = ~ours.any(axis=-1) | ~theirs.any(axis=-1)
    return np.where(zero & np.isfinite(distance), np.float32(1), distance)


def check_comparable(ours: OpenedRun, theirs: OpenedRun) -> None:
    """Refuse two runs whose embeddings differ for other reasons than changes on the ground.

    Args:
        ours: One run.
        theirs: The other.

    Raises:
        RunDirectoryError: If anything but window, area and scenes differs; names it.
    """
    our, their = ({part: _bound(run, part) for part in ("data", "model")} for run in (ours, theirs))
    problems = [f"{key} is {a} and {b}" for key, a, b in json_differences(our, their)]
    names = [
        {lattice.epsg: lattice.name for lattice in run.plan.lattices} for run in (ours, theirs)
    ]
    problems += [
        f"the tile lattice is {names[0][epsg]} and {names[1][epsg]}"
        for epsg in sorted(names[0].keys() & names[1].keys())
        if names[0][epsg] != names[1][epsg]
    ]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise RunDirectoryError(
            f"`{ours.run.path}` and `{theirs.run.path}` cannot be compared: "
            f"{'; '.join(problems[:_NAMED])}{more}. Only window, area and scenes may differ: run "
            "one of them again with the settings of the other."
        )


def _bound(run: OpenedRun, part: str) -> dict[str, Any]:
    settings = run.document["settings"].get(part, {})
    bound = {key: value for key, value in settings.items() if key not in _FREE[part]}
    if isinstance(bound.get("places"), dict):
        # Which places, and when, is what may differ; what is pooled may not.
        bound["places"] = {"within": bound["places"].get("within")}
    for name in ("sentinel2", "sentinel1"):
        if isinstance(bound.get(name), dict):
            sensor = bound[name].items()
            bound[name] = {key: value for key, value in sensor if key not in _FREE_OF_SENSOR}
    return bound


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedTiles:
    """Tiles that have an embedding in both runs, in the first one's order.

    Attributes:
        ours: Positions in the first run's tiles, (n,).
        theirs: Positions in the second's, (n,).
        distance: Cosine distance, (n,) float32.
    """

    ours: npt.NDArray[np.int64]
    theirs: npt.NDArray[np.int64]
    distance: Float32Array


def shared_tiles(ours: Tiles, theirs: Tiles) -> SharedTiles:
    """Match tiles of two runs of one lattice by their footprints.

    Args:
        ours: Tiles of one run.
        theirs: Tiles of the other.
    """
    keys = [
        np.rec.fromarrays([tiles.epsg, tiles.bounds[:, 0], tiles.bounds[:, 3]])
        for tiles in (ours, theirs)
    ]
    _, first, second = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    order = np.argsort(first)
    first, second = first[order], second[order]
    distance = cosine_distance(ours.vectors[first], theirs.vectors[second])
    return SharedTiles(ours=first, theirs=second, distance=distance)


def shared_zones(
    ours: Mapping[int, ZoneCells], theirs: Mapping[int, ZoneCells]
) -> dict[int, tuple[ZoneCells, ZoneCells]]:
    """Return the zones whose maps of two runs meet, by EPSG code.

    Args:
        ours: Maps of one run.
        theirs: Maps of the other, on the same lattice.
    """
    shared = {}
    for epsg in sorted(ours.keys() & theirs.keys()):
        a, b = ours[epsg], theirs[epsg]
        beside = a.bounds[0] < b.bounds[2] and b.bounds[0] < a.bounds[2]
        if beside and a.bounds[1] < b.bounds[3] and b.bounds[1] < a.bounds[3]:
            shared[epsg] = (a, b)
    return shared


def cell_distances(
    ours: ZoneCells, theirs: ZoneCells
) -> Iterator[tuple[slice, slice, Float32Array]]:
    """Yield rows and columns of our map and the distances there, shard by shard.

    Memory holds one shard of each run. Cells of only one run are NaN, or left out.

    Args:
        ours: A zone's map in one run.
        theirs: In the other, on the same lattice.

    Raises:
        RunDirectoryError: If a shard cannot be read, or the cells of the maps do not align.
    """
    down = (ours.bounds[3] - theirs.bounds[3]) / ours.cell
    right = (theirs.bounds[0] - ours.bounds[0]) / ours.cell
    if ours.cell != theirs.cell or not (down.is_integer() and right.is_integer()):
        raise RunDirectoryError(
            f"The maps of EPSG:{ours.epsg} do not align: cells of {ours.cell:g} m from "
            f"{ours.bounds} and of {theirs.cell:g} m from {theirs.bounds}."
        )
    # Our row and column of their row and column 0.
    shift = (int(down), int(right))
    others = [(shard, *theirs.shard_cells(shard)) for shard in theirs.shards]
    for shard in with_progress(ours.shards, ours.epsg, True):
        rows, cols = ours.shard_cells(shard)
        values: Float32Array | None = None
        for other, their_rows, their_cols in others:
            r, c = _overlap(rows, their_rows, shift[0]), _overlap(cols, their_cols, shift[1])
            if r is None or c is None:
                continue
            if values is None:
                values = ours.read(shard, rows, cols)
            our_values = values[r.start - rows.start : r.stop - rows.start]
            our_values = our_values[:, c.start - cols.start : c.stop - cols.start]
            their_values = theirs.read(
                other,
                slice(r.start - shift[0], r.stop - shift[0]),
                slice(c.start - shift[1], c.stop - shift[1]),
            )
            yield r, c, cosine_distance(our_values, their_values)


def _overlap(ours: slice, theirs: slice, shift: int) -> slice | None:
    start, stop = max(ours.start, theirs.start + shift), min(ours.stop, theirs.stop + shift)
    return slice(start, stop) if start < stop else None
