"""What a probe gives: scores, how they compare, and the fitted linear map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from thor_geo.probe.compared import Compared
from thor_geo.probe.curve import Evaluation
from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import confusions
from thor_geo.probe.samples import Samples
from thor_geo.probe.saved import SavedProbe
from thor_geo.probe.sides import Sides
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.support.arrays import Float64Array

#: The score of single groups: one that needs no sample of every class.
GROUP_SCORES: dict[Task, str] = {"classification": "accuracy", "regression": "rmse"}


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """How well a group is predicted that was not trained on.

    Attributes:
        group: The group.
        samples: Number of its places.
        score: One of `GROUP_SCORES`, of the linear probe of the embeddings.
    """

    group: str
    samples: int
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """The results of a probe.

    Attributes:
        spec: Its settings.
        labels: Record of the labels, for probe.json.
        sides: The samples that all sides have, and what they are compared with.
        task: Classes or numbers.
        classes: In ascending order; empty for a regression.
        targets: Index of each sample's class, or its number, (N,).
        folds: The cross-validation.
        evaluations: Models by features; the first is the linear probe of the embeddings.
        compared: What they say together.
        groups: Scores of the groups that were left out in turn, the largest first; empty unless
            samples are divided so.
        probe: The linear probe of the embeddings, fitted to all samples.
        notice: What a reader must know (random weights, a split that leaks); may be empty.
        warnings: What speaks against believing a number.
        points: Points of the whole learning curve.
        measured: How many of them there are yet.
    """

    spec: ProbeSpec
    labels: dict[str, object]
    sides: Sides
    task: Task
    classes: tuple[str | int, ...]
    targets: npt.NDArray[Any]
    folds: Folds
    evaluations: tuple[Evaluation, ...]
    compared: Compared
    groups: tuple[GroupScore, ...]
    probe: SavedProbe
    notice: str
    warnings: tuple[str, ...]
    points: int
    measured: int

    @property
    def samples(self) -> Samples:
        """The samples, those that all sides have."""
        return self.sides.samples

    @property
    def finding(self) -> str:
        """What was found, in a sentence."""
        return self.compared.finding

    @property
    def curve_complete(self) -> bool:
        """Whether the whole learning curve has been measured."""
        return self.measured == self.points

    @property
    def confusion(self) -> Float64Array:
        """Number of tested samples by true and predicted class in the first evaluation, (K, K)."""
        k, tested = len(self.classes), self.folds.tested
        made, truth = self.evaluations[0].predictions[tested], self.targets[tested]
        total: Float64Array = confusions(truth, made, self.folds.block[tested], k).sum(axis=0)
        return total
