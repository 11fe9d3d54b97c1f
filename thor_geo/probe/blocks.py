"""Folds of a cross-validation, whose samples in one block of ground stay together."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.plan import Plan
from thor_geo.probe.joining import JoinableLabels
from thor_geo.probe.samples import Samples
from thor_geo.probe.spec import ProbeSpec, ignore_option
from thor_geo.support.arrays import Float64Array, Int64Array
from thor_geo.support.words import counted

# A block of cells is one tile, as the model saw its cells together; a block of tiles is 2 x 2.
_TILES_PER_BLOCK = {"cells": 1, "tiles": 2}


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """The parts of a cross-validation.

    Attributes:
        block: Block of each sample, (N,) int64, 0 to `blocks` - 1.
        blocks: Number of blocks that hold samples.
        block_m: Side of a block, metres.
        buffer_m: Training samples nearer to a test sample than this were left out, metres.
        across_m: The same for samples of different UTM zones, metres on the ground in any
            direction; 0 if all lie in one zone.
        splits: Training and test indices of every fold; each sample is in one test part.
        buffered: Number of training samples that were left out, summed over the folds.
    """

    block: Int64Array
    blocks: int
    block_m: float
    buffer_m: float
    across_m: float
    splits: tuple[tuple[Int64Array, Int64Array], ...]
    buffered: int


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
    _, block = np.unique(keys, axis=0, return_inverse=True)
    numbers: Int64Array = block.reshape(-1).astype(np.int64)
    return numbers


def make_folds(samples: Samples, labels: JoinableLabels, plan: Plan, spec: ProbeSpec) -> Folds:
    """Divide samples into folds: whole blocks, or at random.

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
    _check(samples, labels, block, count, side, spec)
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    stratified = labels.task == "classification"
    options = {"n_splits": spec.folds, "shuffle": True, "random_state": spec.seed}
    if spec.split == "random":
        divide = StratifiedKFold(**options) if stratified else KFold(**options)
    else:
        divide = StratifiedGroupKFold(**options) if stratified else GroupKFold(**options)
    overlap = lattice.step < lattice.tile_size and samples.unit == "tiles"
    buffer = spec.buffer_m if spec.buffer_m is not None else float(tile_m if overlap else 0)
    # The grids of two zones are rotated against each other: squares that are at least their
    # diagonal apart share no ground, and no ground of a test sample may be trained on.
    zones = len(np.unique(samples.epsg))
    across = math.sqrt(2) * max(buffer, samples.side) if zones > 1 else 0.0
    splits, buffered = [], 0
    groups = None if spec.split == "random" else block
    with warnings.catch_warnings():
        # A class with fewer samples than folds is spread as far as possible; its size is reported.
        warnings.filterwarnings("ignore", message="The least populated class")
        divided = list(divide.split(samples.vectors, samples.values, groups))
    for train, test in divided:
        near = _near(samples, train, test, buffer, across)
        buffered += int(near.sum())
        splits.append((train[~near], test))
        _check_training(samples, labels, train[~near], max(buffer, across))
    return Folds(
        block=block,
        blocks=count,
        block_m=side,
        buffer_m=buffer,
        across_m=across,
        splits=tuple(splits),
        buffered=buffered,
    )


def _check(
    samples: Samples,
    labels: JoinableLabels,
    block: Int64Array,
    blocks: int,
    side: float,
    spec: ProbeSpec,
) -> None:
    labelled = np.unique(samples.values)
    if len(labelled) < 2:
        code = float(labelled[0])
        only = labels.class_of(code) if labels.task == "classification" else code
        raise ConfigError(
            "--target",
            labels.name,
            f"{counted(len(samples), 'sample')} with no label other than {only!r}",
            "Use other labels or a larger run: a probe needs two different labels.",
        )
    counts = np.unique(samples.values, return_counts=True)[1]
    most = int(counts.max()) if labels.task == "classification" else len(samples)
    if most < spec.folds:
        raise ConfigError(
            "--folds",
            spec.folds,
            f"no class has more than {counted(most, 'sample')} (of {len(samples):,})"
            if labels.task == "classification"
            else f"labels meet {counted(most, 'sample')}",
            "Give fewer --folds, or more labels.",
        )
    if spec.split == "random":
        return
    remedy = (
        f"Give smaller blocks with --block-m (they are {side:g} m now), fewer --folds, or a run "
        "and labels over more ground."
    )
    if blocks < spec.folds:
        raise ConfigError(
            "--folds",
            spec.folds,
            f"only {counted(blocks, 'block')} with {counted(len(samples), 'sample')}",
            remedy,
        )
    if labels.task == "regression":
        return
    for code in labelled.tolist():
        in_class = samples.values == code
        if len(np.unique(block[in_class])) < 2:
            name = labels.class_of(code)
            raise ConfigError(
                "--block-m",
                side,
                f"all samples of class {name!r} ({int(in_class.sum()):,}) lie in one block, so "
                "training and test cannot both have it",
                f"Give smaller blocks, or leave the class out: {ignore_option(str(name))}.",
            )


def _check_training(
    samples: Samples, labels: JoinableLabels, train: Int64Array, buffer: float
) -> None:
    if len(np.unique(samples.values[train])) < 2:
        raise ConfigError(
            "--folds",
            "a training part",
            f"{counted(len(train), 'sample')} left to train on, all with the same label"
            + (f" ({buffer:g} m around test samples are left out)" if buffer else ""),
            "Give smaller blocks (--block-m), a smaller --buffer-m, or other --folds.",
        )


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
        place = _geocentric(samples)
        for epsg in zones:
            a = np.flatnonzero(samples.epsg[train] == epsg)
            b = np.flatnonzero(samples.epsg[test] != epsg)
            if len(a) and len(b):
                distance, _ = KDTree(place[test[b]]).query(place[train[a]])
                near[a] |= distance < across
    return near


def _geocentric(samples: Samples) -> Float64Array:
    """Return geocentric positions on the ellipsoid (EPSG:4978), (N, 3), metres.

    A straight line is shorter than the distance d on the ground by d^3 / 24 R^2: 1 m at 100 km.
    """
    place = np.empty((len(samples), 3))
    to_geocentric = transformer("EPSG:4979", "EPSG:4978")
    for epsg in np.unique(samples.epsg).tolist():
        in_zone = samples.epsg == epsg
        lon, lat = transformer(f"EPSG:{epsg}", LONLAT).transform(
            samples.x[in_zone], samples.y[in_zone]
        )
        place[in_zone] = np.stack(to_geocentric.transform(lon, lat, np.zeros(len(lon))), axis=1)
    return place
