"""Cross-validated scores of models, with all labels and with few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import Score, block_scores
from thor_geo.probe.models import ProbeKind
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.support.arrays import AnyArray, Int64Array


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a learning curve.

    Attributes:
        fraction: Share of the training labels; None if a number was asked for.
        labels: Number of training labels, the mean over folds and repeats.
        repeats: Draws of labels whose scores are averaged.
        scores: By name.
    """

    fraction: float | None
    labels: float
    repeats: int
    scores: dict[str, Score]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The cross-validation of one model on some features.

    Attributes:
        features: ``embeddings``, ``bands``, the name that the user gave other vectors, or ``none``
            for chance.
        model: Kind of the model.
        curve: In ascending number of labels; the last point has all of them. While it is being
            measured, points before that are missing.
        predictions: One for each sample, from the fold that did not train on it, (N,); 0 for
            samples that no fold tests.
    """

    features: str
    model: ProbeKind
    curve: tuple[Point, ...]
    predictions: npt.NDArray[np.generic]

    @property
    def scores(self) -> dict[str, Score]:
        """Scores with all labels."""
        return self.curve[-1].scores


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """The task of a probe.

    Attributes:
        task: Classes or numbers.
        targets: Classes as integers from 0, or numbers, (N,).
        classes: Number of classes; 0 for a regression.
        folds: The cross-validation.
        spec: Settings.
    """

    task: Task
    targets: npt.NDArray[np.generic]
    classes: int
    folds: Folds
    spec: ProbeSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """A model on some features, to be cross-validated.

    Attributes:
        name: Name of the features.
        features: (N, D).
        model: Kind of the model.
    """

    name: str
    features: AnyArray
    model: ProbeKind


#: Size of a training set: a share, or a number of labels.
Size = tuple[float | None, int | None]


def curve_sizes(problem: Problem) -> list[Size]:
    """Return the sizes of the learning curve in ascending order, the whole training set last.

    Left out are numbers not below the smallest training part, and shares that give as many labels
    as an earlier size.

    Args:
        problem: The task, with folds and settings.
    """
    spec = problem.spec
    least = min(len(train) for train, _ in problem.folds.splits)
    asked: list[Size] = [(share, None) for share in spec.fractions if share < 1]
    asked += [(None, count) for count in spec.counts if count < least]
    train = problem.folds.splits[0][0]
    by_number: dict[int, Size] = {}
    for size in asked:
        number = len(draw_labels(problem, train, size, np.random.default_rng(0)))
        if number < len(train):
            by_number.setdefault(number, size)
    return [by_number[number] for number in sorted(by_number)] + [(1.0, None)]


def draw_labels(
    problem: Problem, train: Int64Array, size: Size, rng: np.random.Generator
) -> Int64Array:
    """Draw labels to train on: a share of each class, at least one; at least two numbers.

    From the same state of the generator, a larger share contains a smaller one.

    Args:
        problem: The task.
        train: Indices of the training part.
        size: Share of the training part, or a number of labels.
        rng: Source of the draw.
    """
    share = size[0] if size[0] is not None else (size[1] or 0) / len(train)
    if share >= 1:
        return train
    shuffled = rng.permutation(train)
    if problem.task == "regression":
        return np.sort(shuffled[: max(2, round(share * len(train)))])
    kept = [
        members[: max(1, round(share * len(members)))]
        for code in np.unique(problem.targets[train])
        for members in [shuffled[problem.targets[shuffled] == code]]
    ]
    return np.sort(np.concatenate(kept))


def curve_point(
    problem: Problem, size: Size, predictions: AnyArray, labels: Sequence[int]
) -> Point:
    """Return the scores of a point of a curve.

    Args:
        problem: The task, with folds and settings.
        size: Size of its training sets.
        predictions: For all samples, by draw, (R, N).
        labels: Number of training labels, by draw and fold.
    """
    folds = problem.folds
    tested = folds.tested
    scores = block_scores(
        problem.task,
        problem.targets[tested],
        predictions[:, tested],
        folds.tested_block,
        classes=problem.classes,
        seed=problem.spec.seed,
    )
    return Point(
        fraction=size[0],
        labels=sum(labels) / len(labels),
        repeats=len(predictions),
        scores=scores,
    )
