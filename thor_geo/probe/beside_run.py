"""Another run's vectors at the samples of a probe."""

from __future__ import annotations

import datetime as dt

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import zone_of
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.beside import ARGUMENT
from thor_geo.probe.beside_columns import TableVectors
from thor_geo.probe.beside_join import JoinedVectors, sample_lonlat
from thor_geo.probe.beside_table import PlacedVectors, texts_of
from thor_geo.probe.place_vectors import place_vectors, read_done, read_vectors
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.results import ZoneCells, read_tiles, zone_cells
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import id_column
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NAMES = {"pooled": "pooled vectors", "centre": "vectors of cells", "both": "both vectors"}


def placed_run(other: OpenedRun, samples: Samples, *, progress: bool) -> PlacedVectors:
    """Return the vectors of a run of places, to be joined as a table's are.

    They are of the same kind as those of the samples where the other run has it.

    Args:
        other: A run of places.
        samples: The samples.
        progress: Whether to draw a progress bar.

    Raises:
        RunDirectoryError: If a file cannot be read, or no place has a vector.
    """
    plan = other.plan
    assert isinstance(plan, PlacePlan)
    wanted = samples.kind if isinstance(samples, PlaceSamples) else None
    if not other.centre:
        wanted = "pooled"
    kind = place_vectors(other, ProbeSpec(vectors=wanted))
    index, values = read_vectors(other, kind, progress=progress)
    ids = {}
    own = id_column(other.run)
    if own is not None:
        rows = read_done(other, [own])
        ids[own] = texts_of(rows.columns[own])[np.searchsorted(rows.index, index)]
    ids["place"] = plan.place[index].astype(str).astype(object)
    return PlacedVectors(
        path=other.run.path,
        found=TableVectors(
            words=_NAMES[kind],
            values=values,
            usable=np.ones(len(values), dtype=np.bool_),
            left_out={"null": len(plan) - len(values), "not_finite": 0, "constant": 0},
        ),
        ids=ids,
        lon=plan.lon[index],
        lat=plan.lat[index],
    )


def probed_span(opened: OpenedRun, samples: Samples, window: int | None) -> TemporalSpec:
    """Return the time of some samples: their run's window, or all windows of places.

    Args:
        opened: The run that is probed.
        samples: Its samples.
        window: Which of its time windows is probed; None if there is only one.
    """
    if not isinstance(samples, PlaceSamples):
        return opened.windows.spans[window or 0]
    first, last = (int(t) for t in (samples.starts.min(), samples.ends.max()))
    return TemporalSpec(
        start=_EPOCH + dt.timedelta(microseconds=first),
        end=_EPOCH + dt.timedelta(microseconds=last),
    )


def beside_window(other: OpenedRun, span: TemporalSpec) -> int:
    """Return the index of the window of another run that goes with a span.

    It has the same dates, or is the only one, or else overlaps most.

    Args:
        other: A run of an area.
        span: The time of the samples.

    Raises:
        ConfigError: If there are several windows and none overlaps.
    """
    spans = other.windows.spans
    if span in spans:
        return spans.index(span)
    if len(spans) == 1:
        return 0
    overlaps = [min(each.end, span.end) - max(each.start, span.start) for each in spans]
    longest = max(overlaps)
    if longest <= dt.timedelta():
        raise ConfigError(
            ARGUMENT,
            str(other.run.path),
            f"the samples are of {_dates(span)}, and none of its {len(spans)} time windows "
            f"overlaps that: they are of {_dates(other.span)}",
            "Compare with a run of the same time, or of a single window.",
        )
    return overlaps.index(longest)


def area_vectors(
    other: OpenedRun, samples: Samples, span: TemporalSpec, *, progress: bool
) -> tuple[str, int, JoinedVectors]:
    """Return the vectors of a run of an area at some samples, of the window of `beside_window`.

    Cells, and the cells that hold places, take those of its maps: the mean of the cells in a
    sample's square, or the cell that holds its middle. Tiles, and the chips of places, take the
    pooled vector of the tile that holds their middle. Where the other run has only one of the two,
    that one is taken.

    Args:
        other: The run.
        samples: The samples.
        span: The time of the samples.
        progress: Whether to draw a progress bar.

    Returns:
        What its vectors are, with the window unless it is the samples' own and the only one; how
        many were read; and those of the samples.

    Raises:
        ConfigError: If there are several time windows and none overlaps, or there is no vector.
        RunDirectoryError: If a file cannot be read.
    """
    cells = samples.unit == "cells" or (
        isinstance(samples, PlaceSamples) and samples.kind == "centre"
    )
    window = beside_window(other, span)
    taken = other.windows.spans[window]
    when = f", window {window} ({_dates(taken)})"
    if len(other.windows) == 1 and taken == span:
        when = ""
    if other.grid and (cells or not other.pooled):
        words, rows, joined = _cells(other, samples, window)
        return f"{words}{when}", rows, joined
    if not other.pooled:
        raise ConfigError(
            ARGUMENT, str(other.run.path), "the run has no vectors", "Give one that has."
        )
    tiles = read_tiles(other, window=window, progress=progress)
    side = float(tiles.bounds[0, 2] - tiles.bounds[0, 0])
    at = _tiles_around(tiles.bounds, tiles.epsg.astype(np.int64), tiles.primary, samples, side)
    joined = JoinedVectors(
        tiles.vectors[np.maximum(at, 0)], at >= 0, "by place: the tile that holds the middle"
    )
    return f"tiles of {side:g} m{when}", len(tiles), joined


def _tiles_around(
    bounds: Float64Array, epsg: Int64Array, primary: BoolArray, samples: Samples, side: float
) -> Int64Array:
    """Return the tile that holds each sample's middle, the nearest of several, or -1, (N,)."""
    from scipy.spatial import KDTree

    lonlat = np.stack(sample_lonlat(samples), axis=1)
    centres = np.stack([bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)], axis=1)
    found = np.full(len(samples), -1, dtype=np.int64)
    for first in (True, False):
        # Where two zones overlap, tiles of both may hold a middle.
        best = np.where(found < 0, side / 2 * (1 + 1e-9), -np.inf)
        for code in np.unique(epsg).tolist():
            members = np.flatnonzero((epsg == code) & (primary == first))
            xy = np.stack(transformer(LONLAT, f"EPSG:{code}").transform(*lonlat.T), axis=1)
            known = np.flatnonzero(np.isfinite(xy).all(axis=1))
            if not len(members) or not len(known):
                continue
            apart, nearest = KDTree(centres[members]).query(xy[known], p=np.inf)
            closer = apart < best[known]
            best[known[closer]] = apart[closer]
            found[known[closer]] = members[nearest[closer]]
    return found


def _dates(span: TemporalSpec) -> str:
    return f"{span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}"


def _cells(other: OpenedRun, samples: Samples, window: int) -> tuple[str, int, JoinedVectors]:
    zones = zone_cells(other, window=window)
    lonlat = np.stack(sample_lonlat(samples), axis=1)
    own = np.array([zone_of(lon, lat) for lon, lat in lonlat.tolist()], dtype=np.int64)
    cell = next(iter(zones.values())).cell
    dimension = next(iter(zones.values())).dimension
    vectors = np.zeros((len(samples), dimension), dtype=np.float32)
    counts = np.zeros(len(samples), dtype=np.int64)
    half = 0.0 if isinstance(samples, PlaceSamples) else samples.side / 2
    read: dict[str, int] = {}
    # Ground on a zone's edge is in two maps; its own zone's goes first.
    for same in (True, False):
        for code, zone in zones.items():
            left = np.flatnonzero((counts == 0) & ((own == code) == same))
            if len(left):
                read |= _add_cells(zone, lonlat[left], left, half, vectors, counts)
    has = counts > 0
    vectors[has] /= counts[has, None]
    most = int(counts.max(initial=0))
    how = "the cell that holds the middle" if most <= 1 else f"means of up to {most:,} cells"
    rows = sum(read.values())
    return f"cells of {cell:g} m", rows, JoinedVectors(vectors, has, f"by place: {how}")


def _add_cells(
    zone: ZoneCells,
    lonlat: Float64Array,
    samples: Int64Array,
    half: float,
    vectors: np.ndarray,
    counts: Int64Array,
) -> dict[str, int]:
    """Add the cells of a map in squares of ground; return how many each shard has that was read."""
    x, y = transformer(LONLAT, f"EPSG:{zone.epsg}").transform(*lonlat.T)
    known = np.isfinite(x) & np.isfinite(y)
    x, y, samples = x[known], y[known], samples[known]
    col, row = (x - zone.bounds[0]) / zone.cell, (zone.bounds[3] - y) / zone.cell
    reach = half / zone.cell
    # Cells whose centres lie in the square; at least the one that holds its middle.
    spans = []
    for middle in (row, col):
        first = np.ceil(middle - reach - 0.5 - 1e-6).astype(np.int64)
        last = np.ceil(middle + reach - 0.5 - 1e-6).astype(np.int64)
        alone = last <= first
        first[alone] = np.floor(middle[alone]).astype(np.int64)
        last[alone] = first[alone] + 1
        spans.append((first, last))
    (top, bottom), (left, right) = spans
    read = {}
    for shard in zone.shards:
        rows, cols = zone.shard_cells(shard)
        meets = (
            (top < rows.stop) & (bottom > rows.start) & (left < cols.stop) & (right > cols.start)
        )
        if not meets.any():
            continue
        values = zone.read(shard)
        finite: BoolArray = np.asarray(np.isfinite(values).all(axis=2))
        read[shard.id] = int(finite.sum())
        for k in np.flatnonzero(meets).tolist():
            part = (
                slice(max(top[k] - rows.start, 0), max(bottom[k] - rows.start, 0)),
                slice(max(left[k] - cols.start, 0), max(right[k] - cols.start, 0)),
            )
            vectors[samples[k]] += values[part][finite[part]].sum(axis=0)
            counts[samples[k]] += int(finite[part].sum())
    return read
