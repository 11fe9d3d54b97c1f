"""Cross-validated scores of one model, with all labels and with few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import Score, block_scores
from thor_geo.probe.models import ProbeKind, fit_predict
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.support.arrays import Float64Array, Int64Array


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
        features: ``embeddings``, ``bands`` or ``none``.
        model: Kind of the model.
        curve: In ascending number of labels; the last point has all of them.
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


def evaluate(
    problem: Problem,
    name: str,
    features: Float64Array | npt.NDArray[np.float32],
    kind: ProbeKind,
    *,
    step: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Cross-validate a model at each point of the learning curve, always on whole test parts.

    Args:
        problem: The task, with folds and settings.
        name: Name of the features.
        features: (N, D).
        kind: The model.
        step: Called after each fit.
    """
    spec, folds = problem.spec, problem.folds
    curve, predictions = [], np.zeros_like(problem.targets)
    tested = folds.tested
    # Blocks without a test sample have nothing to say about the scores.
    block = np.unique(folds.block[tested], return_inverse=True)[1].reshape(-1)
    for size in curve_sizes(problem):
        repeats = 1 if size[0] == 1 else spec.repeats
        made = np.zeros((repeats, len(problem.targets)), dtype=problem.targets.dtype)
        used = 0
        for repeat in range(repeats):
            for k, (train, test) in enumerate(folds.splits):
                chosen = draw_labels(
                    problem, train, size, np.random.default_rng([spec.seed, k, repeat])
                )
                used += len(chosen)
                made[repeat, test] = fit_predict(
                    kind,
                    (features[chosen], problem.targets[chosen], folds.block[chosen]),
                    features[test],
                    problem.task,
                    neighbours=spec.neighbours,
                    seed=spec.seed,
                )
                step()
        scores = block_scores(
            problem.task,
            problem.targets[tested],
            made[:, tested],
            block,
            classes=problem.classes,
            seed=spec.seed,
        )
        predictions = made[0]
        curve.append(
            Point(
                fraction=size[0],
                labels=used / repeats / len(folds.splits),
                repeats=repeats,
                scores=scores,
            )
        )
    return Evaluation(features=name, model=kind, curve=tuple(curve), predictions=predictions)
