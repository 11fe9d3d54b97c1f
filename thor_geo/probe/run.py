"""Probing a run, from labels to scores and a fitted linear map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.probe.blocks import Folds, make_folds
from thor_geo.probe.curve import Evaluation, Problem, curve_sizes, evaluate
from thor_geo.probe.joining import JoinableLabels
from thor_geo.probe.metrics import confusions, json_scores
from thor_geo.probe.models import ProbeKind, fit_linear
from thor_geo.probe.samples import Samples, collect_samples
from thor_geo.probe.saved import SavedProbe, embedding_settings
from thor_geo.probe.spec import ProbeSpec, Task
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Float64Array
from thor_geo.support.progress import Progress

# With more classes than this, the labels are numbers that were taken for classes.
_MOST_CLASSES = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """The results of a probe.

    Attributes:
        spec: Its settings.
        labels: Record of the labels, for probe.json.
        samples: The samples; with a baseline, only those with pixels in every band.
        without_pixels: Number of samples left out for that reason.
        task: Classes or numbers.
        classes: In ascending order; empty for a regression.
        targets: Index of each sample's class, or its number, (N,).
        folds: The cross-validation.
        evaluations: Models by features; the first is the linear probe of the embeddings.
        probe: The linear probe of the embeddings, fitted to all samples.
        notice: What a reader must know (random weights, a split that leaks); may be empty.
    """

    spec: ProbeSpec
    labels: dict[str, object]
    samples: Samples
    without_pixels: int
    task: Task
    classes: tuple[str | int, ...]
    targets: npt.NDArray[Any]
    folds: Folds
    evaluations: tuple[Evaluation, ...]
    probe: SavedProbe
    notice: str

    @property
    def confusion(self) -> Float64Array:
        """Number of samples by true and predicted class in the first evaluation, (K, K)."""
        k = len(self.classes)
        made = self.evaluations[0].predictions
        total: Float64Array = confusions(self.targets, made, self.folds.block, k).sum(axis=0)
        return total


def probe_run(
    opened: OpenedRun,
    labels: JoinableLabels,
    spec: ProbeSpec | None = None,
    *,
    progress: bool = False,
) -> Probed:
    """Measure how well a run's embeddings predict labels, compared with raw bands and chance.

    Args:
        opened: The run; it may be unfinished.
        labels: From `open_labels`.
        spec: Settings; None for the defaults.
        progress: Whether to draw progress bars on standard error, where that is a terminal.

    Raises:
        ConfigError: If the labels do not meet the run, have a single class, or lie in too few
            blocks.
        RunDirectoryError: If a file of the run cannot be read, or its pixels are gone.
    """
    spec = spec or ProbeSpec()
    samples = collect_samples(opened, labels, spec, progress=progress)
    # Before pixels are fetched, so that problems with the labels are reported at once.
    _classes(samples, labels)
    make_folds(samples, labels, opened.plan, spec)
    features: dict[str, npt.NDArray[Any]] = {}
    collected = len(samples)
    if spec.baseline:
        samples, features["bands"] = _with_bands(opened, samples, labels, spec, progress)
    features = {"embeddings": samples.vectors, **features}
    classes, targets = _classes(samples, labels)
    folds = make_folds(samples, labels, opened.plan, spec)
    problem = Problem(
        task=labels.task, targets=targets, classes=len(classes), folds=folds, spec=spec
    )
    evaluations = _evaluations(problem, features, progress)
    linear = fit_linear(samples.vectors, targets, folds.block, labels.task, spec.seed)
    info = opened.document.get("info", {}).get("model", {})
    probe = SavedProbe(
        target=labels.name,
        task=labels.task,
        unit=samples.unit,
        classes=classes,
        names=tuple(labels.names.get(str(c), str(c)) for c in classes),
        linear=linear,
        model=embedding_settings(opened),
        provenance={
            "run": str(opened.run.path),
            "fingerprint": opened.fingerprint,
            "weights": str(info.get("weights") or "") or None,
            "labels": labels.source,
            "samples": len(samples),
            "scores": json_scores(evaluations[0].scores),
        },
    )
    return Probed(
        spec=spec,
        labels=dict(labels.record()),
        samples=samples,
        without_pixels=collected - len(samples),
        task=labels.task,
        classes=classes,
        targets=targets,
        folds=folds,
        evaluations=evaluations,
        probe=probe,
        notice=_notice(info, spec),
    )


def _with_bands(
    opened: OpenedRun, samples: Samples, labels: JoinableLabels, spec: ProbeSpec, progress: bool
) -> tuple[Samples, Float64Array]:
    """Return the samples with an observation in every band, and the features of their bands."""
    from thor_geo.probe.baseline import band_features

    bands = band_features(opened, samples, window=spec.window, progress=progress)
    seen = np.asarray(np.isfinite(bands).all(axis=1))
    if not seen.any():
        raise ConfigError(
            "--labels",
            labels.source,
            f"none of the {len(samples):,} samples has an observation in every band",
            "Use --no-baseline to probe the embeddings alone.",
        )
    return samples.take(seen), bands[seen]


def _classes(
    samples: Samples, labels: JoinableLabels
) -> tuple[tuple[str | int, ...], npt.NDArray[Any]]:
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


def _evaluations(
    problem: Problem, features: dict[str, npt.NDArray[Any]], progress: bool
) -> tuple[Evaluation, ...]:
    """Cross-validate all models on all features, and chance without features."""
    jobs: list[tuple[str, npt.NDArray[Any], ProbeKind]] = [
        (name, values, kind) for name, values in features.items() for kind in _KINDS
    ]
    whole = replace(problem, spec=replace(problem.spec, fractions=(1.0,), counts=()))
    jobs.append(("none", np.zeros((len(problem.targets), 1)), "chance"))
    fits = len(problem.folds.splits)
    points = curve_sizes(problem)
    each = fits * (problem.spec.repeats * (len(points) - 1) + 1)
    total = each * (len(jobs) - 1) + fits
    with Progress(total, "fits", label="cross-validation", shown=progress) as bar:
        step: Callable[[], object] = bar.advance
        return tuple(
            evaluate(problem if kind != "chance" else whole, name, values, kind, step=step)
            for name, values, kind in jobs
        )


_KINDS: tuple[ProbeKind, ...] = ("linear", "knn")


def _notice(info: dict[str, Any], spec: ProbeSpec) -> str:
    parts = []
    if info.get("pretrained") is False and not info.get("ckpt"):
        parts.append(f"{info.get('weights') or 'random weights'}")
    if spec.split == "random":
        parts.append(
            "random split: scores are too high, as training samples lie beside test samples"
        )
    return "; ".join(parts)
