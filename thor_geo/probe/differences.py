"""Differences between THOR and what it is compared with, each with a paired interval.

The two sides are scored on the same test samples, and the bootstrap draws the same blocks for both
(Efron and Tibshirani 1993, chapter 8 and 16): what makes a block easy or hard for either cancels.
So a difference may be certain although the intervals of the two scores overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.probe.curve import Evaluation
from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import Score, score_draws
from thor_geo.probe.models import ProbeKind
from thor_geo.probe.spec import Task

#: Scores of which less is better.
LESS_IS_BETTER = ("rmse", "mae")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a model gains by THOR's embeddings in place of other features.

    Attributes:
        model: The model of the embeddings.
        features: The other features; ``none`` for chance.
        scores: THOR minus the other, by name, with intervals.
    """

    model: ProbeKind
    features: str
    scores: dict[str, Score]


def paired_differences(
    evaluations: Sequence[Evaluation],
    targets: npt.NDArray[np.generic],
    folds: Folds,
    task: Task,
    classes: int,
    seed: int,
) -> tuple[Difference, ...]:
    """Return the differences between the embeddings and all else, model by model.

    Args:
        evaluations: Of all features and models, on the same folds.
        targets: Classes as integers from 0, or numbers, (N,).
        folds: The cross-validation.
        task: What is predicted.
        classes: Number of classes.
        seed: Seed of the bootstrap: that of the scores, so that the draws are theirs.
    """
    tested, block = folds.tested, folds.tested_block
    draws = [
        score_draws(
            task, targets[tested], each.predictions[tested], block, classes=classes, seed=seed
        )
        for each in evaluations
    ]
    ours = {
        each.model: found
        for each, found in zip(evaluations, draws, strict=True)
        if each.features == "embeddings"
    }
    return tuple(
        Difference(
            model=model,
            features=other.features,
            scores=own.minus(found).intervals(),
        )
        for model, own in ours.items()
        for other, found in zip(evaluations, draws, strict=True)
        if other.features != "embeddings" and other.model in (model, "chance")
    )


def shows(difference: Score) -> int:
    """Return 1 or -1 if a difference's interval lies above or below 0, or else 0; 0 without one.

    Args:
        difference: With its interval.
    """
    if difference.low > 0:
        return 1
    return -1 if difference.high < 0 else 0
