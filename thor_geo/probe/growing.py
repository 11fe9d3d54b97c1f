"""Cross-validation that answers early: first all labels, then the learning curve from few up."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from thor_geo.probe.curve import (
    Contender,
    Evaluation,
    Point,
    Problem,
    Size,
    curve_point,
    curve_sizes,
)
from thor_geo.probe.models import ProbeKind
from thor_geo.probe.parts import Made, TrainingPart, TrainingParts
from thor_geo.probe.work import part_work
from thor_geo.support.arrays import AnyArray
from thor_geo.support.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Grown:
    """Evaluations so far.

    Attributes:
        evaluations: One for each contender, in their order; with all labels, and with those
            numbers of labels that have been measured.
        points: Points of a whole curve.
        measured: How many of them there are.
    """

    evaluations: tuple[Evaluation, ...]
    points: int
    measured: int


def grow(
    problem: Problem, contenders: Sequence[Contender], *, progress: bool = False
) -> Generator[Grown, None, None]:
    """Cross-validate models, always on whole test parts; yield what is known so far.

    First come the evaluations with all labels, then one more point of the curve at a time, few
    labels first. Nothing is computed while the first answer is being looked at.

    Args:
        problem: The task, with folds and settings.
        contenders: What is compared. Chance has a single point.
        progress: Whether to draw progress bars on standard error, where that is a terminal.
    """
    *sizes, whole = curve_sizes(problem)
    with closing(TrainingParts(problem, contenders)) as parts:
        first = _parts(problem, contenders, [whole])
        curves: list[list[Point]] = [[] for _ in contenders]
        pace = [1.0] * len(contenders)
        (made,) = _by_size(parts, first, pace, "scores with all labels", progress)
        pace = [_pace(problem, contender, made, k) for k, contender in enumerate(contenders)]
        last = [_point(problem, whole, made, k) for k in range(len(contenders))]
        predictions = [_predictions(problem, made, k)[0] for k in range(len(contenders))]
        growing = [k for k, contender in enumerate(contenders) if contender.model != "chance"]

        def so_far(measured: int) -> Grown:
            return Grown(
                evaluations=tuple(
                    Evaluation(
                        features=contender.name,
                        model=contender.model,
                        curve=(*curve, point),
                        predictions=row,
                    )
                    for contender, curve, point, row in zip(
                        contenders, curves, last, predictions, strict=True
                    )
                ),
                points=len(sizes) + 1,
                measured=measured,
            )

        yield so_far(1)
        if not sizes:
            return
        rest = _parts(problem, contenders, sizes)
        for measured, (size, made) in enumerate(
            zip(sizes, _by_size(parts, rest, pace, "learning curve", progress), strict=True),
            start=2,
        ):
            for k in growing:
                curves[k].append(_point(problem, size, made, k))
            yield so_far(measured)


def evaluate(problem: Problem, name: str, features: AnyArray, kind: ProbeKind) -> Evaluation:
    """Cross-validate one model at all points of its learning curve.

    Args:
        problem: The task, with folds and settings.
        name: Name of the features.
        features: (N, D).
        kind: The model.
    """
    *_, grown = grow(problem, [Contender(name=name, features=features, model=kind)])
    return grown.evaluations[0]


def _parts(
    problem: Problem, contenders: Sequence[Contender], sizes: Sequence[Size]
) -> list[TrainingPart]:
    """Return the parts of some points of the curve; the order of the points is that of sizes."""
    return [
        TrainingPart(contender=k, size=size, draw=draw, fold=fold)
        for size in sizes
        for k, contender in enumerate(contenders)
        if size[0] == 1 or contender.model != "chance"
        for draw in range(1 if size[0] == 1 else problem.spec.repeats)
        for fold in range(len(problem.folds.splits))
    ]


def _by_size(
    parts: TrainingParts,
    asked: Sequence[TrainingPart],
    pace: Sequence[float],
    label: str,
    progress: bool,
) -> Generator[dict[TrainingPart, Made], None, None]:
    """Yield the results of each size when all of them are there, in the order of sizes."""
    left: dict[Size, int] = {}
    for part in asked:
        left[part.size] = left.get(part.size, 0) + 1
    waiting, made = list(left), dict[TrainingPart, Made]()
    work = {
        part: pace[part.contender]
        * part_work(parts.problem, parts.contenders[part.contender], part.size, part.fold)
        for part in asked
    }
    total = sum(work.values())
    with (
        Progress(len(asked), "fits", label=label, shown=progress, work=total) as bar,
        closing(parts.run(asked)) as coming,
    ):
        for part, result in coming:
            made[part] = result
            left[part.size] -= 1
            bar.advance(work=work[part])
            while waiting and not left[waiting[0]]:
                size = waiting.pop(0)
                yield {each: result for each, result in made.items() if each.size == size}


def _pace(
    problem: Problem, contender: Contender, made: dict[TrainingPart, Made], index: int
) -> float:
    """Return how much longer a contender's parts have taken than they should have."""
    own = [(part, result) for part, result in made.items() if part.contender == index]
    expected = sum(part_work(problem, contender, part.size, part.fold) for part, _ in own)
    return sum(result.seconds for _, result in own) / expected


def _point(problem: Problem, size: Size, made: dict[TrainingPart, Made], contender: int) -> Point:
    labels = [result.labels for part, result in made.items() if part.contender == contender]
    return curve_point(problem, size, _predictions(problem, made, contender), labels)


def _predictions(problem: Problem, made: dict[TrainingPart, Made], contender: int) -> AnyArray:
    """Return the predictions of a contender for all samples, by draw, (R, N)."""
    own = {part: result for part, result in made.items() if part.contender == contender}
    rows = 1 + max(part.draw for part in own)
    found = np.zeros((rows, len(problem.targets)), dtype=problem.targets.dtype)
    for part, result in own.items():
        found[part.draw, problem.folds.splits[part.fold][1]] = result.predictions
    return found
