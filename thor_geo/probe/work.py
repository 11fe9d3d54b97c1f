"""How much work a training part is, so that a bar can say how long the rest takes.

How the time of a fit grows with the number of samples is much the same everywhere; how long it is
depends on how hard the labels are to tell apart, which the fits with all labels have shown.
"""

from __future__ import annotations

from thor_geo.probe.curve import Contender, Problem, Size


def part_work(problem: Problem, contender: Contender, size: Size, fold: int) -> float:
    """Return about how long a model takes to fit and to test, in seconds of one core.

    Args:
        problem: The task, with folds and settings.
        contender: The model and its features.
        size: Size of the training set.
        fold: Which fold.
    """
    train, test = problem.folds.splits[fold]
    share = size[0] if size[0] is not None else (size[1] or 0) / len(train)
    n, m = max(round(share * len(train)), 2), len(test)
    d: int = contender.features.shape[1]
    if contender.model == "chance":
        return 1e-4
    # Measured on two cores of a server: the first term is Python's and scikit-learn's own time.
    if contender.model == "knn":
        return 2e-3 + 1e-8 * n * m + 3e-11 * n * m * d
    small = min(n, d)
    if problem.task == "regression":
        return 8e-3 + 4e-10 * small * (n * d + 4 * small * small)
    return 15e-3 + n * problem.classes * (1e-5 + 1e-8 * small)
