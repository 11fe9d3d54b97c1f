"""What a probe found, in a sentence, and what to be wary of."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from thor_geo.probe.curve import Evaluation
from thor_geo.probe.differences import Difference, shows
from thor_geo.probe.folds import Folds
from thor_geo.probe.metrics import SCORES
from thor_geo.probe.names import SCORE_NAMES, features_name
from thor_geo.probe.seeds import SeedNoise
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.support.arrays import Int64Array

#: Classes with fewer samples are warned of.
FEW = 5
#: With fewer blocks to draw from, a bootstrap's intervals are not to be relied on.
FEW_BLOCKS = 10
_VERBS: Mapping[Task, str] = {"classification": "tell", "regression": "predict"}


def finding(
    target: str,
    task: Task,
    evaluations: Sequence[Evaluation],
    differences: Sequence[Difference],
    folds: Folds,
    spec: ProbeSpec,
    noise: SeedNoise | None = None,
    identical: Collection[str] = (),
) -> str:
    """Return in one sentence what the linear probe of the embeddings found.

    It says no more than the paired intervals do: a side is better if the interval of the difference
    lies on its side of 0, and nothing can be told of a difference without an interval.

    Args:
        target: What is predicted.
        task: Classes or numbers.
        evaluations: Of all features and models; the first is the linear probe of the embeddings.
        differences: Of these.
        folds: The cross-validation.
        spec: Settings.
        noise: What other folds change; a difference whose sign hangs on them is said to.
        identical: Other features that are the embeddings themselves.
    """
    name = SCORES[task][0]
    ours = evaluations[0].scores[name]
    by_features = {d.features: d.scores[name] for d in differences if d.model == "linear"}
    others = {
        e.features: e.scores[name].value
        for e in evaluations[1:]
        if e.model in ("linear", "chance") and e.features != "embeddings"
    }
    score = f"{SCORE_NAMES[name]} {_two(ours.value)}"
    if math.isfinite(ours.low):
        score += f" [{_two(ours.low)}, {_two(ours.high)}]"
    if not math.isfinite(ours.value):
        return f"Nothing can be said of {target} {_where(spec)}: there is no {SCORE_NAMES[name]}."
    what, chance = _these(folds), _two(others.get("none", math.nan))
    does = f"{_VERBS[task]}s {target} {_where(spec)}"
    gained = by_features["none"]
    if not math.isfinite(gained.low):
        parts = [
            f"Whether THOR {does} better than chance, {what} cannot tell: {score}, chance {chance}"
        ]
    elif shows(gained) > 0:
        parts = [f"THOR {does} with {score} (chance {chance})"]
    else:
        parts = [
            f"THOR does not {_VERBS[task]} {target} {_where(spec)} better than chance, as far as "
            f"{what} can show: {score}, chance {chance}"
        ]
    for features, difference in by_features.items():
        if features == "none":
            continue
        label = features_name(features)
        part, winner = f"{label} {_two(others[features])}", shows(difference)
        if features in identical:
            parts.append(f"{part}: identical vectors")
            continue
        if not math.isfinite(difference.low):
            parts.append(f"{part}: too few {folds.drawn} to tell a difference")
            continue
        if winner == 0:
            parts.append(f"{part}: no difference that {what} can show")
            continue
        low, high = sorted((abs(difference.low), abs(difference.high)))
        parts.append(
            f"{part}{': THOR is' if winner > 0 else ','} better by "
            f"{abs(difference.value):.2f} [{low:.2f}, {high:.2f}]"
            + (_despite(noise, features, name) if noise else "")
        )
    return "; ".join(parts) + "."


def small_classes(names: Sequence[str], targets: Int64Array) -> tuple[str, ...]:
    """Return a warning of classes with fewer than `FEW` samples, if there are any.

    Args:
        names: Names of the classes; none for a regression.
        targets: Index of each sample's class, (N,).
    """
    counts = np.bincount(targets, minlength=len(names)).tolist() if names else []
    few = [f"{name} has {n}" for name, n in zip(names, counts, strict=True) if n < FEW]
    if not few:
        return ()
    return (
        f"classes with fewer than {FEW} samples ({', '.join(few)}): their scores, and the means "
        "over classes, depend on these few",
    )


def few_blocks(folds: Folds) -> tuple[str, ...]:
    """Return a warning of intervals that are drawn from fewer than `FEW_BLOCKS`, if they are.

    Args:
        folds: The cross-validation. Of a single block there is no interval to warn of.
    """
    count = int(folds.tested_block.max()) + 1
    if count == 1 or count >= FEW_BLOCKS:
        return ()
    return (
        f"only {count} {folds.drawn}: intervals drawn from fewer than about {FEW_BLOCKS} may be "
        "far too narrow",
    )


def _despite(noise: SeedNoise, features: str, name: str) -> str:
    """Return what other folds say against a difference; empty if all agree on its sign."""
    every = noise.differences[features, "linear"][name].values
    values = [value for value in every if math.isfinite(value)]
    ahead = sum(value > 0 for value in values)
    if ahead in (0, len(values)):
        return ""
    gone = len(every) - len(values)
    return f", though THOR is ahead in {ahead} of {len(values)} divisions into folds" + (
        f" ({gone} more without a {SCORE_NAMES[name]})" if gone else ""
    )


def _these(folds: Folds) -> str:
    """Return what the bootstrap drew from: ``these 16 blocks``, ``this 1 block``."""
    count = int(folds.tested_block.max()) + 1
    if count > 1:
        return f"these {count:,} {folds.drawn}"
    noun, *rest = folds.drawn.split(" ", 1)
    return " ".join(["this 1", noun.removesuffix("s"), *rest])


def _two(value: float) -> str:
    """Return a number with two digits after the point, and no minus before zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def _where(spec: ProbeSpec) -> str:
    if spec.group is not None:
        return f"in another {spec.group}"
    if spec.split_date is not None:
        return f"from {spec.split_date} on"
    return "among its neighbours (random split)" if spec.split == "random" else "on unseen ground"
