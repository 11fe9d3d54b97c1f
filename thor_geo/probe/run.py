"""Probing a run, from labels to scores and a fitted linear map."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.probe.blocks import make_folds
from thor_geo.probe.collect import collect_samples
from thor_geo.probe.compared import Compared, compare_sides
from thor_geo.probe.curve import Contender, Evaluation, Problem
from thor_geo.probe.finding import few_blocks, small_classes
from thor_geo.probe.folds import Folds
from thor_geo.probe.growing import Grown, grow
from thor_geo.probe.joining import Labels
from thor_geo.probe.metrics import json_scores
from thor_geo.probe.models import LinearProbe, ProbeKind, fit_linear
from thor_geo.probe.place_folds import place_folds
from thor_geo.probe.probed import GroupScore, Probed
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.probe.saved import SavedProbe, embedding_settings, probe_unit
from thor_geo.probe.seeds import other_folds
from thor_geo.probe.sides import Sides, band_sides, beside_sides
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import read_markers

# With more classes than this, the labels are numbers that were taken for classes.
_MOST_CLASSES = 256


def probe_run(
    opened: OpenedRun,
    labels: Labels,
    spec: ProbeSpec | None = None,
    *,
    progress: bool = False,
) -> Probed:
    """Measure how well a run's embeddings predict labels, compared with raw bands and chance.

    Args:
        opened: The run; it may be unfinished.
        labels: From `open_labels`; or, for a run of places, from `kept_labels`.
        spec: Settings; None for the defaults.
        progress: Whether to draw progress bars on standard error, where that is a terminal.

    Raises:
        ConfigError: If the labels do not meet the run, have a single class, or lie in too few
            blocks.
        RunDirectoryError: If a file of the run cannot be read, or its pixels are gone.
    """
    with closing(probe_steps(opened, labels, spec, progress=progress)) as steps:
        *_, probed = steps
    return probed


def probe_steps(
    opened: OpenedRun,
    labels: Labels,
    spec: ProbeSpec | None = None,
    *,
    progress: bool = False,
) -> Generator[Probed, None, None]:
    """Do the same as `probe_run`, and yield what is known so far.

    First come all scores with all labels, and the fitted probe; then, with `ProbeSpec.seed_noise`,
    what other folds change. Then the learning curve grows one point at a time, few labels first.
    Whoever has seen enough stops.

    Args:
        opened: The run; it may be unfinished.
        labels: From `open_labels`; or, for a run of places, from `kept_labels`.
        spec: Settings; None for the defaults.
        progress: Whether to draw progress bars on standard error, where that is a terminal.

    Raises:
        ConfigError: As `probe_run`.
        RunDirectoryError: As `probe_run`.
    """
    spec = spec or ProbeSpec()
    found = collect_samples(opened, labels, spec, progress=progress)
    sides = beside_sides(opened, found, spec, progress=progress)
    # Before pixels are fetched, so that problems with the labels are reported at once.
    _classes(sides.samples, labels)
    _divisions(opened, sides, labels, spec)
    if spec.baseline:
        sides = band_sides(opened, sides, labels, spec, progress=progress)
    samples = sides.samples
    classes, targets = _classes(samples, labels)
    folds, others = _divisions(opened, sides, labels, spec)
    problem = Problem(
        task=labels.task, targets=targets, classes=len(classes), folds=folds, spec=spec
    )
    linear = fit_linear(samples.vectors, targets, folds.block, labels.task, spec.seed)
    contenders, unfinished = _contenders(sides), _unfinished(opened)
    with closing(grow(problem, contenders, progress=progress)) as growing:
        for grown, compared in _compared(
            labels.name, problem, contenders, growing, others, progress
        ):
            evaluations = grown.evaluations
            probe = _saved(opened, labels, samples, classes, linear, evaluations[0])
            yield Probed(
                spec=spec,
                labels=dict(labels.record()),
                sides=sides,
                task=labels.task,
                classes=classes,
                targets=targets,
                folds=folds,
                evaluations=evaluations,
                compared=compared,
                groups=_group_scores(samples, targets, folds, evaluations[0], labels.task),
                probe=probe,
                warnings=(
                    *unfinished,
                    *sides.warnings,
                    *small_classes(probe.names, targets),
                    *few_blocks(folds),
                ),
                notice=_notice(opened, spec, labels, classes, targets, folds),
                points=grown.points,
                measured=grown.measured,
            )


def _compared(
    target: str,
    problem: Problem,
    contenders: Sequence[Contender],
    growing: Iterator[Grown],
    others: Sequence[tuple[ProbeSpec, Folds]],
    progress: bool,
) -> Iterator[tuple[Grown, Compared]]:
    """Yield what has grown with what it says; the first twice, if other folds are asked for."""
    first = next(growing)
    compared = compare_sides(target, problem, contenders, first.evaluations)
    yield first, compared
    if others:
        compared = compare_sides(
            target, problem, contenders, first.evaluations, others, progress=progress
        )
        yield first, compared
    for grown in growing:
        yield grown, compared


def _unfinished(opened: OpenedRun) -> tuple[str, ...]:
    """Return a warning of the tiles or places that are not done yet, if there are any."""
    shards = range(len(opened.plan.shards))
    left = sum(
        len(shard)
        for shard, marker in read_markers(opened.run, opened.plan, shards)
        if marker is None or not opened.fits(marker, shard)
    )
    if not left:
        return ()
    what = "places" if opened.places else "tiles"
    return (f"the run is not finished: {left:,} of {len(opened.plan):,} {what} are not done yet",)


def _saved(
    opened: OpenedRun,
    labels: Labels,
    samples: Samples,
    classes: tuple[str | int, ...],
    linear: LinearProbe,
    evaluation: Evaluation,
) -> SavedProbe:
    """Return a fitted probe with what it needs to be used elsewhere."""
    unit = probe_unit(samples)
    return SavedProbe(
        target=labels.name,
        task=labels.task,
        unit=unit,
        classes=classes,
        names=tuple(labels.names.get(str(c), str(c)) for c in classes),
        linear=linear,
        model=embedding_settings(opened, unit),
        provenance={
            "run": str(opened.run.path),
            "fingerprint": opened.fingerprint,
            "weights": str(_model_info(opened).get("weights") or "") or None,
            "labels": labels.source,
            "samples": len(samples),
            "scores": json_scores(evaluation.scores),
        },
    )


def _divisions(
    opened: OpenedRun, sides: Sides, labels: Labels, spec: ProbeSpec
) -> tuple[Folds, tuple[tuple[ProbeSpec, Folds], ...]]:
    """Return the folds of the samples, and those of other seeds.

    Raises:
        ConfigError: If they cannot be divided so; with a note where others were left out since they
            lack a vector, as labels are not to blame then.
    """

    def divide(settings: ProbeSpec) -> Folds:
        return divide_samples(sides.samples, labels, opened.plan, settings)

    try:
        folds = divide(spec)
        return folds, other_folds(folds, spec, divide)
    except ConfigError as error:
        for words in sides.matches:
            error.add_note(words)
        raise


def divide_samples(samples: Samples, labels: Labels, plan: Plan, spec: ProbeSpec) -> Folds:
    """Divide the samples of a run into folds: see `make_folds` and `place_folds`.

    Args:
        samples: The samples.
        labels: Their labels.
        plan: The run's plan.
        spec: Settings.

    Raises:
        ConfigError: If they cannot be divided so.
    """
    if isinstance(samples, PlaceSamples):
        return place_folds(samples, labels, spec)
    return make_folds(samples, labels, plan, spec)


def _classes(samples: Samples, labels: Labels) -> tuple[tuple[str | int, ...], npt.NDArray[Any]]:
    """Return the classes of samples, and the index of each sample's class, or its number."""
    if labels.task == "regression":
        return (), samples.values
    codes, targets = np.unique(samples.values, return_inverse=True)
    if len(codes) > _MOST_CLASSES:
        raise ConfigError(
            "--target",
            labels.name,
            f"it has {len(codes):,} different values, too many for classes",
            "Use --task regression, or a column of classes.",
        )
    return tuple(labels.class_of(code) for code in codes.tolist()), targets.reshape(-1)


def _contenders(sides: Sides) -> tuple[Contender, ...]:
    """Return all models on all features, and chance without features."""
    nothing = np.zeros((len(sides.samples), 1))
    return (
        *(
            Contender(name=name, features=values, model=kind)
            for name, values in sides.features.items()
            for kind in _KINDS
        ),
        Contender(name="none", features=nothing, model="chance"),
    )


_KINDS: tuple[ProbeKind, ...] = ("linear", "knn")


def _group_scores(
    samples: Samples,
    targets: npt.NDArray[Any],
    folds: Folds,
    evaluation: Evaluation,
    task: Task,
) -> tuple[GroupScore, ...]:
    if not isinstance(samples, PlaceSamples) or samples.group is None:
        return ()
    errors = evaluation.predictions - targets
    groups, first, counts = np.unique(folds.block, return_index=True, return_counts=True)
    found = []
    for group, at, count in zip(groups, first, counts.tolist(), strict=True):
        members = errors[folds.block == group]
        score = np.mean(members == 0) if task == "classification" else np.sqrt(np.mean(members**2))
        found.append(GroupScore(group=str(samples.group[at]), samples=count, score=float(score)))
    return tuple(sorted(found, key=lambda each: -each.samples))


def _model_info(opened: OpenedRun) -> dict[str, Any]:
    info: dict[str, Any] = opened.document.get("info", {}).get("model", {})
    return info


def _notice(
    opened: OpenedRun,
    spec: ProbeSpec,
    labels: Labels,
    classes: tuple[str | int, ...],
    targets: npt.NDArray[Any],
    folds: Folds,
) -> str:
    info, parts = _model_info(opened), []
    if info.get("pretrained") is False and not info.get("ckpt"):
        parts.append(f"{info.get('weights') or 'random weights'}")
    if spec.split == "random":
        parts.append(
            "random split: scores are too high, as training samples lie beside test samples"
        )
    trained = np.concatenate([train for train, _ in folds.splits])
    for indices, what in ((trained, "train on"), (folds.tested, "test on")):
        gone = sorted(set(range(len(classes))) - set(targets[indices].tolist()))
        if gone:
            names = ", ".join(labels.names.get(str(classes[k]), str(classes[k])) for k in gone)
            parts.append(f"nothing to {what} of {names}")
    return "; ".join(parts)
