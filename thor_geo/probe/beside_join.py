"""Somebody's vectors joined to the samples of a probe: by id, or by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import shapely

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.probe.beside import ARGUMENT
from thor_geo.probe.beside_table import PlacedVectors
from thor_geo.probe.folds import geocentric
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.support.arrays import BoolArray, Float32Array, Float64Array, Int64Array

# Rows whose ids agree lie where the samples do: a survey's point of a field may be its gate.
_ELSEWHERE_M = 1_000.0
# Rows that are averaged at once.
_AT_ONCE = 200_000
# Outlines at least as large as a sample hold its middle; of smaller ones there are several in it.
_AS_LARGE = 0.99


class JoinedVectors(NamedTuple):
    """Vectors by sample.

    Attributes:
        vectors: (N, D); meaningless where `has` is false.
        has: Which samples have one, (N,).
        how: How they were joined, for people.
    """

    vectors: Float32Array
    has: BoolArray
    how: str


#: Ids that a sample may have in a column, by the column's name.
SampleIds = Mapping[str, Sequence[tuple[str, ...]]]


def join_vectors(
    placed: PlacedVectors, samples: Samples, ids: SampleIds, reach_m: float
) -> JoinedVectors:
    """Join vectors to samples.

    By the first column of ids that names a sample. Else by place: a tile or cell takes the mean of
    the points in it, or the outline that holds its middle, and a place the nearest point within
    *reach_m*, or the outline that holds it.

    Args:
        placed: The vectors.
        samples: The samples.
        ids: Their ids.
        reach_m: How far from a place its point may be, metres.

    Raises:
        ConfigError: If rows with different vectors have one id or place, or ids agree with rows
            that lie elsewhere.
    """
    for name, wanted in ids.items():
        if name in placed.ids:
            rows = _rows_by_id(placed, name, wanted)
            if (rows >= 0).any():
                _check_ground(placed, samples, name, rows)
                return _taken(placed, rows, f"by {name}")
    if placed.lon is None:
        return JoinedVectors(
            placed.found.values[:1].repeat(len(samples), axis=0),
            np.zeros(len(samples), dtype=np.bool_),
            f"by {' or '.join(name for name in ids if name in placed.ids)}",
        )
    _check_repeated(placed)
    if placed.polygons is not None and placed.side_m >= _AS_LARGE * samples.side:
        return _taken(placed, _rows_around(placed, samples), "by outline")
    if isinstance(samples, PlaceSamples):
        if placed.polygons is not None:
            return _taken(placed, _rows_around(placed, samples), "by outline")
        rows = _nearest_rows(placed, samples, reach_m)
        return _taken(placed, rows, f"by place, at most {reach_m:g} m away")
    return _means(placed, samples)


def sample_lonlat(samples: Samples) -> tuple[Float64Array, Float64Array]:
    """Return longitude and latitude of the places, or of the middles of tiles or cells, degrees.

    Args:
        samples: The samples.
    """
    if isinstance(samples, PlaceSamples):
        return samples.lon, samples.lat
    lon, lat = np.empty(len(samples)), np.empty(len(samples))
    for epsg in np.unique(samples.epsg).tolist():
        in_zone = samples.epsg == epsg
        change = transformer(f"EPSG:{epsg}", LONLAT).transform
        lon[in_zone], lat[in_zone] = change(samples.x[in_zone], samples.y[in_zone])
    return lon, lat


def _taken(placed: PlacedVectors, rows: Int64Array, how: str) -> JoinedVectors:
    """Return the vectors of rows, -1 for none."""
    return JoinedVectors(placed.found.values[np.maximum(rows, 0)], rows >= 0, how)


def _rows_by_id(placed: PlacedVectors, name: str, wanted: Sequence[tuple[str, ...]]) -> Int64Array:
    """Return the row of each sample, -1 for none, (N,)."""
    found, values = placed.ids[name], placed.found.values
    needed = {text for texts in wanted for text in texts}
    by_id: dict[str, int] = {}
    for row in np.flatnonzero(placed.found.usable).tolist():
        text = found[row]
        if text not in needed:
            continue
        first = by_id.setdefault(text, row)
        if first != row and not np.array_equal(values[first], values[row]):
            raise ConfigError(
                ARGUMENT,
                str(placed.path),
                f"rows {first + 1:,} and {row + 1:,} both have {name} {text}, and different "
                "vectors",
                "Keep one row for each, e.g. those of one year.",
            )
    rows = (next((by_id[t] for t in texts if t in by_id), -1) for texts in wanted)
    return np.fromiter(rows, dtype=np.int64, count=len(wanted))


def _check_ground(placed: PlacedVectors, samples: Samples, name: str, rows: Int64Array) -> None:
    """Refuse ids that agree by chance: row numbers of another table, say."""
    if placed.lon is None or placed.lat is None:
        return
    lon, lat = sample_lonlat(samples)
    known = (rows >= 0) & np.isfinite(placed.lon[np.maximum(rows, 0)])
    at = rows[known]
    if not len(at):
        return
    apart = np.linalg.norm(
        geocentric(lon[known], lat[known]) - geocentric(placed.lon[at], placed.lat[at]), axis=1
    )
    far = apart > max(_ELSEWHERE_M, samples.side, placed.side_m)
    if far.mean() > 0.5:
        raise ConfigError(
            ARGUMENT,
            str(placed.path),
            f"{name} agrees, but {far.sum():,} of {len(at):,} rows lie elsewhere, "
            f"{np.median(apart[far]) / 1000:,.1f} km away on median",
            f"Leave {name} out, so that rows are joined by place.",
        )


def _check_repeated(placed: PlacedVectors) -> None:
    """Refuse rows with different vectors at one place: their mean would be of two years, say."""
    assert placed.lon is not None
    assert placed.lat is not None
    rows = np.flatnonzero(placed.placed)
    order = rows[np.lexsort((placed.lat[rows], placed.lon[rows]))]
    a, b = order[:-1], order[1:]
    same = (placed.lon[a] == placed.lon[b]) & (placed.lat[a] == placed.lat[b])
    a, b = a[same], b[same]
    differ = (placed.found.values[a] != placed.found.values[b]).any(axis=1)
    if differ.any():
        first, second = sorted((int(a[differ][0]), int(b[differ][0])))
        raise ConfigError(
            ARGUMENT,
            str(placed.path),
            f"rows {first + 1:,} and {second + 1:,} lie at one place and have different vectors"
            + (f", as {differ.sum():,} pairs do" if differ.sum() > 1 else ""),
            "Keep one row for each place, e.g. those of one year, or join them by an id.",
        )


def _rows_around(placed: PlacedVectors, samples: Samples) -> Int64Array:
    """Return the row whose outline holds each sample's middle, the nearest of several, (N,)."""
    assert placed.polygons is not None
    assert placed.lon is not None
    assert placed.lat is not None
    rows = np.flatnonzero(placed.found.usable & ~shapely.is_missing(placed.polygons))
    lon, lat = sample_lonlat(samples)
    tree = shapely.STRtree(placed.polygons[rows])
    sample, hit = tree.query(shapely.points(lon, lat), predicate="intersects")
    hit = rows[hit]
    squeeze = np.cos(np.radians(lat[sample]))
    apart = np.hypot((placed.lon[hit] - lon[sample]) * squeeze, placed.lat[hit] - lat[sample])
    found = np.full(len(samples), -1, dtype=np.int64)
    order = np.lexsort((hit, -apart))  # the nearest is written last
    found[sample[order]] = hit[order]
    return found


def _nearest_rows(placed: PlacedVectors, samples: PlaceSamples, reach_m: float) -> Int64Array:
    """Return the row of the nearest point of each place, -1 beyond *reach_m*, (N,)."""
    from scipy.spatial import KDTree

    assert placed.lon is not None
    assert placed.lat is not None
    rows = np.flatnonzero(placed.placed)
    if not len(rows):
        return np.full(len(samples), -1, dtype=np.int64)
    tree = KDTree(geocentric(placed.lon[rows], placed.lat[rows]))
    apart, nearest = tree.query(geocentric(samples.lon, samples.lat))
    found: Int64Array = np.where(apart <= reach_m, rows[nearest], -1)
    return found


def _means(placed: PlacedVectors, samples: Samples) -> JoinedVectors:
    """Return the mean of the points in each square; western and northern edges belong to it."""
    from scipy.spatial import KDTree

    assert placed.lon is not None
    assert placed.lat is not None
    usable = np.flatnonzero(placed.placed)
    vectors = np.zeros((len(samples), placed.found.values.shape[1]), dtype=np.float32)
    counts, half = np.zeros(len(samples), dtype=np.int64), samples.side / 2
    for epsg in np.unique(samples.epsg).tolist():
        to_zone = transformer(LONLAT, f"EPSG:{epsg}").transform
        xy = np.stack(to_zone(placed.lon[usable], placed.lat[usable]), axis=1)
        near = np.isfinite(xy).all(axis=1)
        rows, xy = usable[near], xy[near]
        members = np.flatnonzero(samples.epsg == epsg)
        if not len(rows):
            continue
        tree = KDTree(xy)
        centres = np.stack([samples.x[members], samples.y[members]], axis=1)
        lengths = tree.query_ball_point(centres, half, p=np.inf, return_length=True)
        for part in _parts(lengths):
            found = tree.query_ball_point(centres[part], half, p=np.inf)
            sample = np.repeat(part, lengths[part])
            hit = np.concatenate([np.asarray(each, dtype=np.int64) for each in found])
            east, north = (xy[hit] - centres[sample]).T
            inside = (east < half) & (north > -half)
            sample, hit = members[sample[inside]], rows[hit[inside]]
            np.add.at(vectors, sample, placed.found.values[hit])
            np.add.at(counts, sample, 1)
    has = counts > 0
    vectors[has] /= counts[has, None]
    most = int(counts.max(initial=0))
    how = "the point in each" if most <= 1 else f"means of up to {most:,} points"
    return JoinedVectors(vectors, has, f"by place: {how}")


def _parts(lengths: Int64Array) -> list[Int64Array]:
    """Return indices of samples in parts with some thousand points each."""
    part = np.cumsum(lengths) // _AT_ONCE
    return [np.flatnonzero(part == k) for k in np.unique(part).tolist()]
