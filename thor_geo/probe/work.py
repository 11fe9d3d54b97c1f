"""How much work a training part is, so that a bar can say how long the rest takes."""

from __future__ import annotations

from collections.abc import Sequence

from thor_geo.probe.curve import Contender, Problem
from thor_geo.probe.parts import Part


def part_work(problem: Problem, contenders: Sequence[Contender], part: Part) -> float:
    """Return about how long a part takes, in milliseconds of one core of 2024.

    Args:
        problem: The task, with folds and settings.
        contenders: What is compared.
        part: The part.
    """
    train, test = problem.folds.splits[part.fold]
    share = part.size[0] if part.size[0] is not None else (part.size[1] or 0) / len(train)
    n, m = max(round(share * len(train)), 2), len(test)
    contender = contenders[part.contender]
    d = contender.features.shape[1]
    return work(contender.model, problem.task, n, m, d, problem.classes)


def work(model: str, task: str, n: int, m: int, d: int, classes: int) -> float:
    """Return about how long a fit and its predictions take, in milliseconds of one core.

    Args:
        model: Its kind.
        task: What is predicted.
        n: Training samples.
        m: Test samples.
        d: Features.
        classes: Number of classes.
    """
    if model == "chance":
        return 0.1
    if model == "knn":
        return 1 + 1e-5 * n * m + 5e-8 * n * m * d
    small = min(n, d)
    if task == "regression":
        return 3 + 2e-6 * (n * small * small + small**3)
    return 6 + 4e-6 * n * classes * (small + 60) + 1e-6 * small**3
