"""What another division into folds changes: the part of a difference that chance alone makes.

A score's interval says how far it would move with other ground. The folds are drawn as well, and
with few blocks another draw moves scores about as much as a better model would (Bouthillier et al.
2021, "Accounting for variance in machine learning benchmarks", arXiv:2103.03098). Both sides of a
difference are scored on the same folds each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thor_geo.errors import ConfigError, ThorGeoError
from thor_geo.probe.curve import Evaluation, Problem
from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import SCORES
from thor_geo.probe.models import ProbeKind
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.support.arrays import Float64Array

# Name of the features that all others are compared with.
_OURS = "embeddings"
#: An evaluation by its features and its model.
EvaluationKey = tuple[str, ProbeKind]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The values of something over several divisions into folds.

    Attributes:
        values: One for each seed, the report's own first.
    """

    values: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The lowest value."""
        return min(self.values)

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(self.values)

    @property
    def deviation(self) -> float:
        """Their standard deviation, with n - 1."""
        return float(np.std(self.values, ddof=1))


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """Scores with all labels over several divisions into folds.

    Attributes:
        seeds: The seeds, the report's own first.
        scores: By features and model, then by the score's name.
        differences: The embeddings' minus those of other features, by these and the embeddings'
            model, then by the score's name.
    """

    seeds: tuple[int, ...]
    scores: Mapping[EvaluationKey, Mapping[str, Spread]]
    differences: Mapping[EvaluationKey, Mapping[str, Spread]]


#: Cross-validates everything with all labels, on the folds of a problem.
EvaluateAll = Callable[[Problem], Sequence[Evaluation]]


def other_folds(
    folds: Folds, spec: ProbeSpec, divide: Callable[[ProbeSpec], Folds]
) -> tuple[tuple[ProbeSpec, Folds], ...]:
    """Return other divisions of the same samples, with their settings: blocks are dealt anew.

    Args:
        folds: The report's own.
        spec: Its settings; `seed_noise` says how many are wanted.
        divide: Divides the samples.

    Raises:
        ConfigError: If another seed cannot divide them, or changes nothing.
    """
    found = []
    for step in range(1, spec.seed_noise + 1):
        settings = replace(spec, seed=spec.seed + step, dealt=True)
        try:
            found.append((settings, divide(settings)))
        except ThorGeoError as error:
            error.add_note(f"So it is with --seed {settings.seed}, one of those of --seed-noise.")
            raise
    if found and all(_same(folds, other) for _, other in found):
        raise ConfigError(
            "--seed-noise",
            spec.seed_noise,
            f"samples are divided the same way whatever the seed ({folds.words})",
            "Leave it out, or ask for fewer folds than there are groups.",
        )
    return tuple(found)


def seed_noise(
    problem: Problem,
    evaluations: Sequence[Evaluation],
    others: Sequence[tuple[ProbeSpec, Folds]],
    evaluate_all: EvaluateAll,
) -> SeedNoise:
    """Score everything again on other folds.

    Args:
        problem: The report's own.
        evaluations: Its results.
        others: From `other_folds`.
        evaluate_all: Scores everything with all labels.
    """
    rounds = [evaluations]
    rounds += [
        evaluate_all(replace(problem, folds=folds, spec=settings)) for settings, folds in others
    ]
    names = SCORES[problem.task]
    table: dict[EvaluationKey, Float64Array] = {}
    for k, each in enumerate(evaluations):
        values = [[found[k].scores[name].value for name in names] for found in rounds]
        table[each.features, each.model] = np.array(values)
    ours = {model: values for (features, model), values in table.items() if features == _OURS}
    differences = {
        (features, model): own - values
        for model, own in ours.items()
        for (features, other), values in table.items()
        if features != _OURS and other in (model, "chance")
    }
    return SeedNoise(
        seeds=(problem.spec.seed, *(settings.seed for settings, _ in others)),
        scores=_spreads(table, problem.task),
        differences=_spreads(differences, problem.task),
    )


def noise_json(noise: SeedNoise) -> dict[str, Any]:
    """Return the spread of scores and differences as JSON, with all values.

    Args:
        noise: The spreads.
    """

    def entries(spreads: Mapping[EvaluationKey, Mapping[str, Spread]]) -> list[dict[str, Any]]:
        return [
            {
                "features": features,
                "model": model,
                "scores": {
                    name: {
                        "values": [value if np.isfinite(value) else None for value in each.values],
                        "deviation": each.deviation if np.isfinite(each.deviation) else None,
                    }
                    for name, each in scores.items()
                },
            }
            for (features, model), scores in spreads.items()
        ]

    return {
        "seeds": list(noise.seeds),
        "scores": entries(noise.scores),
        "differences": entries(noise.differences),
    }


def _spreads(
    table: Mapping[EvaluationKey, Float64Array], task: Task
) -> dict[EvaluationKey, dict[str, Spread]]:
    return {
        key: {
            name: Spread(values=tuple(values[:, k].tolist())) for k, name in enumerate(SCORES[task])
        }
        for key, values in table.items()
    }


def _same(a: Folds, b: Folds) -> bool:
    """Return whether two divisions test the same samples together."""
    tests = [{test.tobytes() for _, test in folds.splits} for folds in (a, b)]
    return tests[0] == tests[1]
