"""Folds of a cross-validation, whose samples in one block of ground stay together."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.plan import Plan
from thor_geo.probe.folds import (
    Folds,
    block_indices,
    check_classes,
    check_count,
    check_labels,
    check_training,
    divide,
    geocentric,
)
from thor_geo.probe.joining import Labels
from thor_geo.probe.samples import Samples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.support.arrays import Float64Array, Int64Array
from thor_geo.support.words import counted

# A block of cells is one tile, as the model saw its cells together; a block of tiles is 2 x 2.
_TILES_PER_BLOCK = {"cells": 1, "tiles": 2}


def block_numbers(samples: Samples, plan: Plan, side: float) -> Int64Array:
    """Return the block of each sample; blocks with samples are numbered from 0.

    Blocks are squares on the lattice of the run's tiles, so they do not depend on the area.

    Args:
        samples: The samples.
        plan: The run's plan, for its lattices.
        side: Side of a block, metres.
    """
    origins = {lattice.epsg: lattice.origin for lattice in plan.lattices}
    x0, y0 = (np.array([origins[e][k] for e in samples.epsg.tolist()]) for k in (0, 1))
    # A tile's row counts from its upper edge.
    col, row = np.floor((samples.x - x0) / side), np.ceil((samples.y - y0) / side)
    keys = np.stack([samples.epsg, col.astype(np.int64), row.astype(np.int64)], axis=1)
    return block_indices(keys)


def make_folds(samples: Samples, labels: Labels, plan: Plan, spec: ProbeSpec) -> Folds:
    """Divide the samples of an area into folds: whole blocks, or at random.

    Classes are spread over the folds as evenly as whole blocks allow.

    Args:
        samples: The samples.
        labels: Their labels.
        plan: The run's plan.
        spec: Settings.

    Raises:
        ConfigError: If there is only one class or value, there are too few blocks, or a class lies
            in a single block.
    """
    lattice = plan.lattices[0]
    tile_m = lattice.tile_size * lattice.resolution
    side = spec.block_m or float(_TILES_PER_BLOCK[samples.unit] * tile_m)
    if side < samples.side:
        raise ConfigError(
            "--block-m",
            side,
            f"smaller than the {samples.side:g} m of a {samples.unit[:-1]}",
            "Give a larger one.",
        )
    block = block_numbers(samples, plan, side)
    count = int(block.max()) + 1
    check_labels(samples, labels)
    check_count(samples, labels, spec)
    random = spec.split == "random"
    if not random:
        if count < spec.folds:
            raise ConfigError(
                "--folds",
                spec.folds,
                f"only {counted(count, 'block')} with {counted(len(samples), 'sample')}",
                f"Give smaller blocks with --block-m (they are {side:g} m now), fewer --folds, or "
                "a run and labels over more ground.",
            )
        check_classes(
            samples,
            labels,
            block,
            "--block-m",
            side,
            "lie in one block",
            "Give smaller blocks, or",
        )
    overlap = lattice.step < lattice.tile_size and samples.unit == "tiles"
    buffer = spec.buffer_m if spec.buffer_m is not None else float(tile_m if overlap else 0)
    # The grids of two zones are rotated against each other: squares that are at least their
    # diagonal apart share no ground, and no ground of a test sample may be trained on.
    zones = len(np.unique(samples.epsg))
    across = math.sqrt(2) * max(buffer, samples.side) if zones > 1 else 0.0
    splits, buffered = [], 0
    far = max(buffer, across)
    for train, test in divide(samples, labels, spec, None if random else block, spec.folds):
        near = _near(samples, train, test, buffer, across)
        buffered += int(near.sum())
        splits.append((train[~near], test))
        check_training(
            samples,
            train[~near],
            spec,
            f"{far:g} m around test samples are left out" if far else "",
            "Give smaller blocks (--block-m), a smaller --buffer-m, or other --folds.",
        )
    return Folds(
        block=block,
        blocks=count,
        block_m=side,
        buffer_m=buffer,
        across_m=across,
        splits=tuple(splits),
        buffered=buffered,
        words=f"{len(splits)} random folds"
        if random
        else f"{len(splits)} folds of {counted(count, 'block')} of {side:g} m",
        buffer_words=_buffer_words(buffer, across),
    )


def _buffer_words(buffer: float, across: float) -> str:
    """Return how far training samples are kept from test samples, and where that holds."""
    if across and not buffer:
        return f"{across:,.0f} m, only from samples of another UTM zone"
    return f"{buffer:g} m" + (f" ({across:,.0f} m across UTM zones)" if across else "")


def _near(
    samples: Samples, train: Int64Array, test: Int64Array, buffer: float, across: float
) -> npt.NDArray[np.bool_]:
    """Return which training samples are too near to a test sample.

    In the same zone: nearer than *buffer* in x and in y. In other zones: nearer than *across* on
    the ground.
    """
    from scipy.spatial import KDTree

    near = np.zeros(len(train), dtype=np.bool_)
    metres: Float64Array = np.stack([samples.x, samples.y], axis=1)
    zones = np.unique(samples.epsg).tolist()
    if buffer > 0:
        for epsg in zones:
            a, b = (np.flatnonzero(samples.epsg[part] == epsg) for part in (train, test))
            if len(a) and len(b):
                distance, _ = KDTree(metres[test[b]]).query(metres[train[a]], p=np.inf)
                near[a] = distance < buffer * (1 - 1e-9)
    if across > 0:
        place = _positions(samples)
        for epsg in zones:
            a = np.flatnonzero(samples.epsg[train] == epsg)
            b = np.flatnonzero(samples.epsg[test] != epsg)
            if len(a) and len(b):
                distance, _ = KDTree(place[test[b]]).query(place[train[a]])
                near[a] |= distance < across
    return near


def _positions(samples: Samples) -> Float64Array:
    """Return the geocentric positions of samples, (N, 3), metres."""
    lon, lat = np.empty(len(samples)), np.empty(len(samples))
    for epsg in np.unique(samples.epsg).tolist():
        in_zone = samples.epsg == epsg
        change = transformer(f"EPSG:{epsg}", LONLAT).transform
        lon[in_zone], lat[in_zone] = change(samples.x[in_zone], samples.y[in_zone])
    return geocentric(lon, lat)
