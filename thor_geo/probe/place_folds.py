"""Folds of a run of places: by distance, by the groups of a column, by date, or at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.probe.folds import (
    Folds,
    Parts,
    check_classes,
    check_count,
    check_labels,
    check_training,
    divide,
    geocentric,
)
from thor_geo.probe.joining import Labels
from thor_geo.probe.place_blocks import PlaceBlocks, kilometres, place_blocks
from thor_geo.probe.samples import PlaceSamples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array
from thor_geo.support.words import counted

# Training places whose neighbours are looked up at once.
_AT_ONCE = 1000


def place_folds(samples: PlaceSamples, labels: Labels, spec: ProbeSpec) -> Folds:
    """Divide places into folds.

    * by distance (`place_blocks`), unless asked otherwise;
    * `ProbeSpec.group`: whole groups, one after the other if there are no more of them than folds;
    * `ProbeSpec.split_date`: those whose window has its middle before that day train, the others
      test, in one fold;
    * ``split="random"``.

    Unless places are divided at random, training places whose chips share pixels with a test
    place's are left out: those that are near and whose windows overlap. `ProbeSpec.buffer_m` in its
    place leaves out all that are nearer than that, whatever their windows.

    Args:
        samples: The places.
        labels: Their labels.
        spec: Settings.

    Raises:
        ConfigError: If there is only one class or value, or the places cannot be divided so.
    """
    check_labels(samples, labels)
    if spec.group is not None:
        return _buffered(samples, _by_group(samples, labels, spec), spec)
    if spec.split_date is not None:
        return _buffered(samples, _by_date(samples, spec), spec)
    if spec.split == "random":
        folds = _at_random(samples, labels, spec)
        return folds if spec.buffer_m is None else _buffered(samples, folds, spec)
    folds = _by_distance(samples, labels, spec)
    return _buffered(samples, folds, spec, apart=folds.block_m or 0.0)


def _by_distance(samples: PlaceSamples, labels: Labels, spec: ProbeSpec) -> Folds:
    check_count(samples, labels, spec)
    blocks = place_blocks(samples, spec)
    check_classes(
        samples,
        labels,
        blocks.block,
        "--block-m",
        round(blocks.distance_m, 1),
        f"lie in one of the {blocks.drawn}",
        "Give a smaller distance, or",
    )
    splits = divide(samples, labels, spec, blocks.block, spec.folds)
    return _folds(blocks, splits, f"{len(splits)} folds of {blocks.words}")


def _folds(blocks: PlaceBlocks, splits: list[Parts], words: str) -> Folds:
    return Folds(
        block=blocks.block,
        blocks=blocks.count,
        block_m=blocks.distance_m,
        buffer_m=blocks.buffer_m,
        across_m=0.0,
        splits=tuple(splits),
        buffered=0,
        words=words,
        detail=blocks.detail,
        drawn=blocks.drawn,
    )


def _by_group(samples: PlaceSamples, labels: Labels, spec: ProbeSpec) -> Folds:
    name = str(spec.group)
    assert samples.group is not None
    groups, block = np.unique(samples.group.astype(str), return_inverse=True)
    if len(groups) < 2:
        raise ConfigError(
            "--group",
            name,
            f"all {len(samples):,} places have {str(groups[0])!r}",
            "Choose a column with several groups.",
        )
    check_classes(
        samples, labels, block, "--group", name, f"have the same {name}", "Choose another, or"
    )
    count = min(spec.folds, len(groups))
    splits = divide(samples, labels, spec, block, count)
    one = count == len(groups)
    if one:  # in the order of the groups
        splits = [(np.flatnonzero(block != k), np.flatnonzero(block == k)) for k in range(count)]
    return Folds(
        block=block.astype(np.int64),
        blocks=len(groups),
        block_m=None,
        buffer_m=0.0,
        across_m=0.0,
        splits=tuple(splits),
        buffered=0,
        words=f"{count} folds, one for each {name}"
        if one
        else f"{count} folds of {len(groups):,} groups by {name}",
        drawn=f"groups by {name}",
    )


def _by_date(samples: PlaceSamples, spec: ProbeSpec) -> Folds:
    day = spec.split_date
    assert day is not None
    middle = samples.starts + (samples.ends - samples.starts) // 2
    midnight = np.datetime64(day, "us").astype(np.int64)
    before = middle < midnight
    if before.all() or not before.any():
        first, last = (str(np.datetime64(int(t), "us"))[:10] for t in (middle.min(), middle.max()))
        raise ConfigError(
            "--split-date",
            str(day),
            f"the windows of all {len(samples):,} places have their middles "
            f"{'before' if before.all() else 'on or after'} it ({first} to {last})",
            "Give a day in between.",
        )
    train, test = np.flatnonzero(before), np.flatnonzero(~before)
    splits: list[Parts] = [(train, test)]
    blocks = _drawn(samples, spec)
    words = f"trained before {day}, tested on {len(test):,} places from then on"
    across = int(((samples.starts < midnight) & (samples.ends > midnight)).sum())
    detail = "a place's day is the middle of its window" + (
        f"; {counted(across, 'window')} {'reaches' if across == 1 else 'reach'} across {day}"
        if across
        else ""
    )
    return replace(_folds(blocks, splits, words), buffer_m=0.0, detail=detail)


def _at_random(samples: PlaceSamples, labels: Labels, spec: ProbeSpec) -> Folds:
    check_count(samples, labels, spec)
    splits = divide(samples, labels, spec, None, spec.folds)
    folds = _folds(_drawn(samples, spec), splits, f"{len(splits)} random folds")
    return replace(folds, buffer_m=0.0, detail="")


def _drawn(samples: PlaceSamples, spec: ProbeSpec) -> PlaceBlocks:
    """Return blocks for the bootstrap alone; single places where they make too few."""
    try:
        return place_blocks(samples, spec)
    except ConfigError:
        single = np.arange(len(samples))
        return PlaceBlocks(
            block=single,
            count=len(samples),
            distance_m=0.0,
            buffer_m=0.0,
            drawn="places",
            words=counted(len(samples), "place"),
        )


def _buffered(samples: PlaceSamples, folds: Folds, spec: ProbeSpec, apart: float = 0.0) -> Folds:
    """Return the folds without the training places that are too near to test places.

    Args:
        samples: The places.
        folds: The folds; their `buffer_m` is the least that is kept.
        spec: Settings.
        apart: Places of different blocks are this far apart, or will be by the folds' `buffer_m`.
    """
    distance = max(folds.buffer_m, spec.buffer_m or 0.0)
    # Without a distance of the user's, no pixel is in both.
    shares = spec.buffer_m is None and samples.reach_m > apart
    positions = geocentric(samples.lon, samples.lat)
    splits, buffered = [], 0
    for train, test in folds.splits:
        near = _nearer(positions, train, test, distance)
        if shares:
            near |= _sharing(samples, positions, train, test)
        buffered += int(near.sum())
        splits.append((train[~near], test))
        check_training(
            samples,
            train[~near],
            spec,
            f"{counted(int(near.sum()), 'place')} near test places left out" if near.any() else "",
            "Divide them otherwise, or give --buffer-m, which then decides what is left out."
            if shares
            else "Divide them otherwise, or give a smaller --block-m or --buffer-m.",
        )
    words = [f"nearer than {kilometres(distance)}"] if distance else []
    words += ["with pixels of the same chips and days"] if shares else []
    return replace(
        folds,
        splits=tuple(splits),
        buffered=buffered,
        buffer_m=distance,
        buffer_words=" or ".join(words),
    )


def _nearer(
    positions: Float64Array, train: Int64Array, test: Int64Array, distance: float
) -> BoolArray:
    """Return which training places are nearer to a test place than a distance, (n,)."""
    from scipy.spatial import KDTree

    if distance <= 0:
        return np.zeros(len(train), dtype=np.bool_)
    metres, _ = KDTree(positions[test]).query(positions[train], distance_upper_bound=distance)
    near: BoolArray = metres < distance
    return near


def _sharing(
    samples: PlaceSamples, positions: Float64Array, train: Int64Array, test: Int64Array
) -> BoolArray:
    """Return which training places may share pixels with a test place, (n,).

    Their chips may overlap, and so do their windows.
    """
    from scipy.spatial import KDTree

    tree, shared = KDTree(positions[test]), np.zeros(len(train), dtype=np.bool_)
    starts, ends = samples.starts, samples.ends
    for first in range(0, len(train), _AT_ONCE):
        part = train[first : first + _AT_ONCE]
        found = tree.query_ball_point(positions[part], samples.reach_m)
        a = np.repeat(part, [len(each) for each in found])
        b = test[np.concatenate(found).astype(np.int64)]
        meet = (starts[a] < ends[b]) & (starts[b] < ends[a])
        shared[first : first + len(part)] = np.isin(part, a[meet])
    return shared
