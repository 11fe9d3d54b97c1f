"""The parts of a cross-validation, and what makes one meaningless."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.area import transformer
from thor_geo.probe.joining import Labels
from thor_geo.probe.samples import Samples
from thor_geo.probe.spec import ProbeSpec, ignore_option
from thor_geo.support.arrays import Float64Array, Int64Array
from thor_geo.support.words import counted

#: Training and test indices of a fold.
Parts = tuple[Int64Array, Int64Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """The parts of a cross-validation.

    Attributes:
        block: Block of each sample, (N,) int64, 0 to `blocks` - 1: what the bootstrap draws, and
            what the choice of a penalty keeps together.
        blocks: Number of blocks that hold samples.
        block_m: Side of a block, or least distance between places of different ones, metres; None
            if blocks are no ground.
        buffer_m: Training samples nearer to a test sample than this were left out, metres.
        across_m: The same for samples of different UTM zones, metres on the ground in any
            direction; 0 if all lie in one zone.
        splits: Training and test indices of every fold; no sample is in two test parts.
        buffered: Number of training samples that were left out, summed over the folds.
        words: How samples are divided, in a few words.
        detail: What else there is to say of it; may be empty.
        drawn: What blocks are, for people, in the plural.
        buffer_words: Which training samples were left out.
    """

    block: Int64Array
    blocks: int
    block_m: float | None
    buffer_m: float
    across_m: float
    splits: tuple[Parts, ...]
    buffered: int
    words: str
    detail: str = ""
    drawn: str = "blocks"
    buffer_words: str = ""

    @property
    def tested(self) -> Int64Array:
        """Indices of the samples that are in a test part, ascending."""
        return np.sort(np.concatenate([test for _, test in self.splits]))

    @property
    def tested_block(self) -> Int64Array:
        """The block of each tested sample, numbered from 0 without gaps.

        Blocks without a test sample have nothing to say about the scores.
        """
        numbers: Int64Array = np.unique(self.block[self.tested], return_inverse=True)[1].reshape(-1)
        return numbers


def divide(
    samples: Samples, labels: Labels, spec: ProbeSpec, groups: Int64Array | None, count: int
) -> list[Parts]:
    """Divide samples into parts, with classes spread over them as evenly as groups allow.

    Args:
        samples: The samples.
        labels: Their labels.
        spec: Settings.
        groups: Group of each sample, (N,), none of which is divided; None divides at random.
        count: Number of parts.

    Returns:
        Training and test indices; every sample is in one test part.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    stratified = labels.task == "classification"
    options = {"n_splits": count, "shuffle": True, "random_state": spec.seed}
    splitter: Any
    if groups is None:
        splitter = StratifiedKFold(**options) if stratified else KFold(**options)
    else:
        splitter = StratifiedGroupKFold(**options) if stratified else GroupKFold(**options)
    if groups is not None and stratified and spec.dealt:
        return _deal(groups, samples.values, count, spec.seed)
    with warnings.catch_warnings():
        # A class with fewer samples than folds is spread as far as possible; its size is reported.
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splitter.split(samples.vectors, samples.values, groups))


def _deal(groups: Int64Array, values: Float64Array, count: int, seed: int) -> list[Parts]:
    """Deal whole groups to folds in random order, each to where classes stay most even.

    `StratifiedGroupKFold` does so in the order of how uneven groups are, and shuffles only those
    that are equally uneven: with blocks of ground, all its seeds give nearly the same folds.

    Args:
        groups: Group of each sample, (N,).
        values: Class of each sample, (N,).
        count: Number of folds.
        seed: Seed of the order.
    """
    numbers, group = np.unique(groups, return_inverse=True)
    classes, code = np.unique(values, return_inverse=True)
    sizes = np.zeros((len(numbers), len(classes)))
    np.add.at(sizes, (group, code), 1)
    shares = sizes / sizes.sum(axis=0)
    held, fold = np.zeros((count, len(classes))), np.empty(len(numbers), dtype=np.int64)
    for k in np.random.default_rng(seed).permutation(len(numbers)).tolist():
        # How uneven classes are over the folds, if this group went to each of them in turn.
        tried = held[None] + np.eye(count)[:, :, None] * shares[k]
        fold[k] = int(tried.std(axis=1).mean(axis=1).argmin())
        held[fold[k]] += shares[k]
    index, of = np.arange(len(group)), fold[group]
    return [(index[of != k], index[of == k]) for k in range(count)]


def check_labels(samples: Samples, labels: Labels) -> None:
    """Refuse samples whose labels are all the same.

    Args:
        samples: The samples.
        labels: Their labels.

    Raises:
        ConfigError: If they are.
    """
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


def check_count(samples: Samples, labels: Labels, spec: ProbeSpec) -> None:
    """Refuse more folds than there are samples to fill them.

    Args:
        samples: The samples.
        labels: Their labels.
        spec: Settings.

    Raises:
        ConfigError: If there are more.
    """
    codes, counts = np.unique(samples.values, return_counts=True)
    classes = labels.task == "classification"
    most = int(counts.max()) if classes else len(samples)
    if most == 1 and len(samples) > 1:
        raise ConfigError(
            "--target",
            labels.name,
            f"each of its {len(samples):,} labels is a class of its own",
            "Choose a column of classes, or one of numbers.",
        )
    if most < spec.folds:
        numbers = classes and isinstance(labels.class_of(float(codes[0])), int)
        raise ConfigError(
            "--folds",
            spec.folds,
            f"no class has more than {counted(most, 'sample')} (of {len(samples):,})"
            if classes
            else f"labels meet {counted(most, 'sample')}",
            "Give fewer --folds, or more labels"
            + (", or --task regression if they are numbers." if numbers else "."),
        )


def check_classes(
    samples: Samples,
    labels: Labels,
    block: Int64Array,
    argument: str,
    value: object,
    where: str,
    remedy: str,
) -> None:
    """Refuse classes all of whose samples lie in one block.

    Args:
        samples: The samples.
        labels: Their labels.
        block: Block of each sample, (N,).
        argument: The option that decides on blocks, for the message.
        value: Its value.
        where: Where the samples lie, e.g. ``lie in one block``.
        remedy: What to do, besides leaving them out.

    Raises:
        ConfigError: If there are any.
    """
    if labels.task == "regression":
        return
    alone = {}
    for code in np.unique(samples.values).tolist():
        in_class = samples.values == code
        if len(np.unique(block[in_class])) < 2:
            alone[str(labels.class_of(code))] = int(in_class.sum())
    if not alone:
        return
    name, count = next(iter(alone.items()))
    more = f" (and those of {counted(len(alone) - 1, 'other class', 'other classes')})"
    raise ConfigError(
        argument,
        value,
        f"all samples of class {name!r} ({count:,}){more if len(alone) > 1 else ''} {where}, so "
        "training and test cannot both have it",
        f"{remedy} leave {'it' if len(alone) == 1 else 'them'} out: {ignore_option(*alone)}.",
    )


def check_training(
    samples: Samples, train: Int64Array, spec: ProbeSpec, why: str, remedy: str
) -> None:
    """Refuse a training part whose labels are all the same.

    Args:
        samples: The samples.
        train: The part's indices.
        spec: Settings.
        why: What was left out, for the message.
        remedy: What to do.

    Raises:
        ConfigError: If they are.
    """
    if len(np.unique(samples.values[train])) < 2:
        dates, group = spec.split_date is not None, spec.group is not None
        raise ConfigError(
            "--split-date" if dates else "--group" if group else "--folds",
            str(spec.split_date) if dates else spec.group if group else spec.folds,
            f"{counted(len(train), 'sample')} left to train on, all with the same label"
            + (f" ({why})" if why else ""),
            remedy,
        )


def geocentric(lon: Float64Array, lat: Float64Array) -> Float64Array:
    """Return geocentric positions on the ellipsoid (EPSG:4978), (N, 3), metres.

    A straight line is shorter than the distance d on the ground by d^3 / 24 R^2: 1 m at 100 km.

    Args:
        lon: Longitudes, degrees, (N,).
        lat: Latitudes, degrees, (N,).
    """
    to_geocentric = transformer("EPSG:4979", "EPSG:4978")
    return np.stack(to_geocentric.transform(lon, lat, np.zeros(len(lon))), axis=1)


def block_indices(keys: npt.NDArray[Any]) -> Int64Array:
    """Return numbers from 0 for rows of keys: equal rows, equal numbers.

    Args:
        keys: (N, K).
    """
    _, block = np.unique(keys, axis=0, return_inverse=True)
    numbers: Int64Array = block.reshape(-1).astype(np.int64)
    return numbers
