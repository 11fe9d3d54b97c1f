"""Labels joined to a run: the samples of a probe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Shard
from thor_geo.probe.joining import JoinableLabels, Joined, Squares
from thor_geo.probe.spec import ProbeSpec
from thor_geo.results import ZoneCells, read_tiles, zone_cells
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.specs.choices import Unit
from thor_geo.support.arrays import Float64Array, Int64Array
from thor_geo.support.progress import track


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of tiles or cells of a run that became samples, or why they did not.

    Attributes:
        labelled: With a label and an embedding.
        unlabelled: Without a label.
        thin: Labelled on too little of their ground (`ProbeSpec.min_cover`).
        without_embedding: With a label, but failed, empty, outside the area or not done yet.
        tied: Labelled, with several classes that are equally frequent.
        thinned: Labelled, but left out at random (`ProbeSpec.max_samples`).
    """

    labelled: int
    unlabelled: int
    thin: int
    without_embedding: int
    tied: int
    thinned: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Tiles or cells with an embedding and a label.

    Attributes:
        unit: Whether they are tiles or cells.
        side: Side of a sample, metres.
        vectors: Embeddings, (N, D) float32.
        values: Codes of classes, or numbers, (N,) float64.
        tile: Index of the tile in the plan, (N,) int64.
        epsg: UTM zone, (N,) int64.
        x: Easting of the centre, metres, (N,).
        y: Northing of the centre, metres, (N,).
        counts: What became of all tiles or cells.
    """

    unit: Unit
    side: float
    vectors: npt.NDArray[np.float32]
    values: Float64Array
    tile: Int64Array
    epsg: Int64Array
    x: Float64Array
    y: Float64Array
    counts: Counts

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.values)

    def take(self, chosen: npt.NDArray[Any]) -> Samples:
        """Return some of the samples.

        Args:
            chosen: Indices or a mask.
        """
        return replace(
            self,
            **{
                n: getattr(self, n)[chosen] for n in ("vectors", "values", "tile", "epsg", "x", "y")
            },
        )


def sample_unit(opened: OpenedRun, labels: JoinableLabels, spec: ProbeSpec) -> Unit:
    """Return whether the samples of a probe are tiles or cells.

    Args:
        opened: The run.
        labels: The labels.
        spec: Settings; `on` decides if it is set.

    Raises:
        ConfigError: If the run has no such embeddings.
    """
    unit: Unit = spec.on or ("cells" if labels.kind == "raster" and opened.grid else "tiles")
    if spec.on is None and not opened.pooled:
        unit = "cells"
    key = {"tiles": "pooled", "cells": "grid"}[unit]
    if not getattr(opened, key):
        raise ConfigError(
            "--on", unit, f"the run was made with output.{key}=false", f"Use output.{key}=true."
        )
    return unit


def collect_samples(
    opened: OpenedRun, labels: JoinableLabels, spec: ProbeSpec, *, progress: bool = False
) -> Samples:
    """Join labels to the tiles or cells of a run.

    Where UTM zones overlap, ground counts once: tiles that are `primary`, cells in the zone's own
    strip.

    Args:
        opened: The run; it may be unfinished.
        labels: The labels.
        spec: Settings.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Raises:
        ConfigError: If the run has no such embeddings, or no label meets it.
        RunDirectoryError: If a file of the run cannot be read.
    """
    unit = sample_unit(opened, labels, spec)
    gather = _tiles if unit == "tiles" else _cells
    samples = gather(opened, labels, spec, progress)
    if not len(samples):
        counts = samples.counts
        if not counts.thin + counts.without_embedding:
            raise _apart(opened, labels, unit)
        raise ConfigError(
            "--labels",
            labels.source,
            f"no {unit[:-1]} of {opened.run.path} has a usable label ({counts.unlabelled:,} have "
            f"none, {counts.thin:,} are labelled on less than {spec.min_cover:g} of their ground, "
            f"{counts.without_embedding:,} have no embedding)",
            "Lower the share with --min-cover, or finish the run.",
        )
    return samples


def _apart(opened: OpenedRun, labels: JoinableLabels, unit: Unit) -> ConfigError:
    """Return the error for labels that do not meet the run, with both extents."""
    ours = opened.plan.rings().reshape(-1, 2)
    run = (*ours.min(axis=0).tolist(), *ours.max(axis=0).tolist())
    labels_extent = labels.extent()
    (west, south, east, north), (left, bottom, right, top) = run, labels_extent
    meet = left <= east and right >= west and bottom <= north and top >= south
    swapped = bottom <= east and top >= west and left <= north and right >= south
    extents = [
        f"{b[0]:.4f} to {b[2]:.4f} E, {b[1]:.4f} to {b[3]:.4f} N" for b in (labels_extent, run)
    ]
    remedy = "Check that the labels lie in the run's area and have the right CRS."
    if swapped and not meet:
        remedy = "They would meet with latitude and longitude exchanged: write longitude first."
    return ConfigError(
        "--labels",
        labels.source,
        f"no {unit[:-1]} of {opened.run.path} has a label: labels lie at {extents[0]}, the run at "
        f"{extents[1]}",
        remedy,
    )


class _Tally:
    """Counts the squares without a usable label."""

    def __init__(self, least: float) -> None:
        self._least = least
        self.unlabelled = self.thin = 0

    def accept(self, joined: Joined, eligible: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which of the eligible squares have a usable label."""
        labelled = np.isfinite(joined.value)
        thick = labelled & (joined.cover >= self._least)
        self.unlabelled += int((eligible & ~labelled).sum())
        self.thin += int((eligible & labelled & ~thick).sum())
        return eligible & thick


def _thinned(count: int, spec: ProbeSpec) -> Int64Array:
    """Return the indices of the samples to use, ascending."""
    if count <= spec.max_samples:
        return np.arange(count)
    chosen = np.random.default_rng(spec.seed).choice(count, spec.max_samples, replace=False)
    return np.sort(chosen)


def _tiles(opened: OpenedRun, labels: JoinableLabels, spec: ProbeSpec, progress: bool) -> Samples:
    tiles = read_tiles(opened, window=spec.window, progress=progress)
    primary = np.flatnonzero(tiles.primary)
    lattice = opened.plan.lattices[0]
    side = lattice.tile_size * lattice.resolution
    tally, chosen, values, tied = _Tally(spec.min_cover), [], [], []
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
    kept = _thinned(len(chosen), spec)
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
        counts=Counts(
            labelled=len(chosen),
            unlabelled=tally.unlabelled,
            thin=tally.thin,
            without_embedding=tiles.without + tiles.missing,
            tied=sum(tied),
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


def _cells(opened: OpenedRun, labels: JoinableLabels, spec: ProbeSpec, progress: bool) -> Samples:
    zones, tally = zone_cells(opened, window=spec.window), _Tally(spec.min_cover)
    shards = [(zone, shard) for zone in zones.values() for shard in zone.shards]
    parts = [
        _labelled(opened, labels, zone, shard, tally)
        for zone, shard in track(shards, "shards", label="labels", shown=progress)
    ]
    total = sum(len(part.values) for part in parts)
    chosen = _thinned(total, spec)
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
        counts=Counts(
            labelled=total - without,
            unlabelled=tally.unlabelled,
            thin=tally.thin,
            without_embedding=without,
            tied=int(tied.sum()),
            thinned=total - len(chosen),
        ),
    )


def _labelled(
    opened: OpenedRun, labels: JoinableLabels, zone: ZoneCells, shard: Shard, tally: _Tally
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
