"""Labels joined to the tiles or cells of a run of an area, by the ground that both cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.plan import Shard
from thor_geo.probe.joining import JoinableLabels, Squares
from thor_geo.probe.samples import Counts, LabelTally, Samples, thinned
from thor_geo.probe.spec import ProbeSpec
from thor_geo.results import ZoneCells, read_tiles, zone_cells
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Float64Array, Int64Array
from thor_geo.support.progress import track


def tile_samples(
    opened: OpenedRun, labels: JoinableLabels, spec: ProbeSpec, progress: bool
) -> Samples:
    """Return the tiles of a run that have a label and are `primary`.

    Args:
        opened: The run, with vectors.
        labels: The labels.
        spec: Settings.
        progress: Whether to draw a progress bar.

    Raises:
        RunDirectoryError: If a file of the run cannot be read.
    """
    tiles = read_tiles(opened, window=spec.window, progress=progress)
    primary = np.flatnonzero(tiles.primary)
    lattice = opened.plan.lattices[0]
    side = lattice.tile_size * lattice.resolution
    tally, chosen, values, tied = LabelTally(spec.min_cover), [], [], []
    yes = np.ones((1, 1), dtype=np.bool_)
    for k in track(primary.tolist(), "tiles", label="labels", shown=progress):
        left, _, _, top = tiles.bounds[k].tolist()
        edge = float(side)
        if labels.kind == "points":  # only the tile whose middle holds the point
            centre = opened.plan.tile(int(tiles.index[k])).centre
            left, top, edge = (
                centre.bounds[0],
                centre.bounds[3],
                centre.bounds[2] - centre.bounds[0],
            )
        joined = labels.join(Squares(int(tiles.epsg[k]), left, top, edge, 1, 1))
        if tally.accept(joined, yes)[0, 0]:
            chosen.append(int(k))
            values.append(float(joined.value[0, 0]))
            tied.append(bool(joined.tied[0, 0]))
    kept = thinned(len(chosen), spec)
    used = np.array(chosen, dtype=np.int64)[kept]
    bounds = tiles.bounds[used]
    return Samples(
        unit="tiles",
        side=side,
        vectors=tiles.vectors[used],
        values=np.array(values)[kept],
        tile=tiles.index[used],
        epsg=tiles.epsg[used].astype(np.int64),
        x=(bounds[:, 0] + bounds[:, 2]) / 2,
        y=(bounds[:, 1] + bounds[:, 3]) / 2,
        tied=np.array(tied, dtype=np.bool_)[kept],
        counts=Counts(
            labelled=len(chosen),
            unlabelled=tally.unlabelled,
            thin=tally.thin,
            without_embedding=tiles.without + tiles.missing,
            thinned=len(chosen) - len(used),
        ),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _ShardCells:
    """The labelled cells of one shard: rows and columns of the zone's map, values, tiles."""

    zone: ZoneCells
    shard: Shard
    row: Int64Array
    col: Int64Array
    values: Float64Array
    tied: npt.NDArray[np.bool_]
    tile: Int64Array


def cell_samples(
    opened: OpenedRun, labels: JoinableLabels, spec: ProbeSpec, progress: bool
) -> Samples:
    """Return the cells of a run's maps that have a label and lie in their zone's strip.

    Args:
        opened: The run, with maps.
        labels: The labels.
        spec: Settings.
        progress: Whether to draw a progress bar.

    Raises:
        RunDirectoryError: If a file of the run cannot be read.
    """
    zones, tally = zone_cells(opened, window=spec.window), LabelTally(spec.min_cover)
    shards = [(zone, shard) for zone in zones.values() for shard in zone.shards]
    parts = [
        _labelled(opened, labels, zone, shard, tally)
        for zone, shard in track(shards, "shards", label="labels", shown=progress)
    ]
    total = sum(len(part.values) for part in parts)
    chosen = thinned(total, spec)
    columns: list[tuple[Any, ...]] = []
    without = first = 0
    for part in track(parts, "shards", label="embeddings", shown=progress):
        a, b = np.searchsorted(chosen, (first, first + len(part.values)))
        used = chosen[a:b] - first
        first += len(part.values)
        if not len(used):
            continue
        rows, cols = part.zone.shard_cells(part.shard)
        vectors = part.zone.read(part.shard)[
            part.row[used] - rows.start, part.col[used] - cols.start
        ]
        embedded = np.isfinite(vectors).all(axis=1)
        without += int((~embedded).sum())
        used = used[embedded]
        zone = part.zone
        columns.append(
            (
                vectors[embedded],
                part.values[used],
                part.tile[used],
                np.full(len(used), zone.epsg, dtype=np.int64),
                zone.bounds[0] + (part.col[used] + 0.5) * zone.cell,
                zone.bounds[3] - (part.row[used] + 0.5) * zone.cell,
                part.tied[used],
            )
        )
    zone = next(iter(zones.values()))
    if not columns:
        columns = [(np.empty((0, zone.dimension), dtype=np.float32), *[np.empty(0)] * 6)]
    vectors, values, tile, epsg, x, y, tied = map(np.concatenate, zip(*columns, strict=True))
    return Samples(
        unit="cells",
        side=zone.cell,
        vectors=vectors,
        values=values,
        tile=tile,
        epsg=epsg,
        x=x,
        y=y,
        tied=tied.astype(np.bool_),
        counts=Counts(
            labelled=total - without,
            unlabelled=tally.unlabelled,
            thin=tally.thin,
            without_embedding=without,
            thinned=total - len(chosen),
        ),
    )


def _labelled(
    opened: OpenedRun, labels: JoinableLabels, zone: ZoneCells, shard: Shard, tally: LabelTally
) -> _ShardCells:
    rows, cols = zone.shard_cells(shard)
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    squares = Squares(
        zone.epsg,
        zone.bounds[0] + cols.start * zone.cell,
        zone.bounds[3] - rows.start * zone.cell,
        zone.cell,
        *shape,
    )
    tile = np.full(shape, -1, dtype=np.int64)
    for index, top, left, side in _centres(opened, shard, squares):
        tile[top : top + side, left : left + side] = index
    joined = labels.join(squares)
    kept = tally.accept(joined, zone.in_strip(rows, cols) & (tile >= 0))
    row, col = np.nonzero(kept)
    return _ShardCells(
        zone=zone,
        shard=shard,
        row=row + rows.start,
        col=col + cols.start,
        values=joined.value[kept],
        tied=joined.tied[kept],
        tile=tile[kept],
    )


def _centres(
    opened: OpenedRun, shard: Shard, squares: Squares
) -> Iterator[tuple[int, int, int, int]]:
    """Yield plan index, first row, first column and side in cells of the shard's tiles."""
    for index in range(shard.start, shard.stop):
        left, bottom, _, top = opened.plan.tile(index).centre.bounds
        yield (
            index,
            round((squares.top - top) / squares.side),
            round((left - squares.left) / squares.side),
            round((top - bottom) / squares.side),
        )
