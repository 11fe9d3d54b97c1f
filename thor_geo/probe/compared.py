"""What the scores of all sides say together: differences, other folds, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from thor_geo.probe.curve import Contender, Evaluation, Problem
from thor_geo.probe.differences import Difference, paired_differences
from thor_geo.probe.finding import finding
from thor_geo.probe.folds import Folds
from thor_geo.probe.growing import grow
from thor_geo.probe.seeds import SeedNoise, seed_noise
from thor_geo.probe.spec import ProbeSpec
from thor_geo.support.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The comparison of all sides with all labels.

    Attributes:
        differences: Between the embeddings and all other features, by model.
        noise: What other folds change; None if it was not asked for.
        finding: What was found, in a sentence.
    """

    differences: tuple[Difference, ...]
    noise: SeedNoise | None
    finding: str


def compare_sides(
    target: str,
    problem: Problem,
    contenders: Sequence[Contender],
    evaluations: Sequence[Evaluation],
    others: Sequence[tuple[ProbeSpec, Folds]] = (),
    *,
    progress: bool = False,
) -> Compared:
    """Compare the scores of all sides with all labels.

    Args:
        target: What is predicted.
        problem: The task, with folds and settings.
        contenders: Models on features.
        evaluations: Their results; the first is the linear probe of the embeddings.
        others: Other divisions of the samples, on which to score everything again.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.
    """
    differences = paired_differences(
        evaluations,
        problem.targets,
        problem.folds,
        problem.task,
        problem.classes,
        problem.spec.seed,
    )
    noise = None
    if others:
        with Progress(len(others), "divisions", label="other folds", shown=progress) as bar:

            def evaluate_all(other: Problem) -> Sequence[Evaluation]:
                whole = replace(other.spec, fractions=(1.0,), counts=())
                with closing(grow(replace(other, spec=whole), contenders)) as growing:
                    found = next(growing).evaluations
                bar.advance()
                return found

            noise = seed_noise(problem, evaluations, others, evaluate_all)
    return Compared(
        differences=differences,
        noise=noise,
        finding=finding(
            target,
            problem.task,
            evaluations,
            differences,
            problem.folds,
            problem.spec,
            noise,
            identical={
                other.name
                for other in contenders
                if other.name != contenders[0].name
                and np.array_equal(other.features, contenders[0].features)
            },
        ),
    )
