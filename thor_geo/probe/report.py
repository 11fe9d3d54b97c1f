"""The results of a probe as JSON and as text."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from thor_geo.probe.curve import Evaluation
from thor_geo.probe.metrics import DRAWS, SCORES, Score, json_scores
from thor_geo.probe.run import GROUP_SCORES, Probed
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.words import counted

#: Names of scores in tables and pictures.
SCORE_NAMES = {
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "miou": "mean IoU",
    "kappa": "kappa",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
}
# Most groups in the text.
_MOST_GROUPS = 12
_FEATURES = {"embeddings": "THOR", "bands": "raw bands"}
_LINEAR = {"classification": "logistic regression", "regression": "ridge regression"}
_CHANCE = {"classification": "chance (largest class)", "regression": "chance (mean)"}


def model_name(probed: Probed, index: int) -> str:
    """Return the name of an evaluation, e.g. ``THOR, logistic regression``.

    Args:
        probed: The results of the probe.
        index: Which of its evaluations.
    """
    evaluation = probed.evaluations[index]
    if evaluation.model == "chance":
        return _CHANCE[probed.task]
    model = (
        _LINEAR[probed.task]
        if evaluation.model == "linear"
        else f"kNN (k = {probed.spec.neighbours})"
    )
    return f"{_FEATURES[evaluation.features]}, {model}"


def report_json(opened: OpenedRun, probed: Probed) -> dict[str, Any]:
    """Return all results of a probe as JSON; scores are [value, low, high], or null.

    Args:
        opened: The run.
        probed: The results of the probe.
    """
    folds, samples = probed.folds, probed.samples
    report: dict[str, Any] = {
        "format": "thor-geo-probe-report/1",
        "run": str(opened.run.path),
        "fingerprint": opened.fingerprint,
        "notice": probed.notice or None,
        "target": probed.probe.target,
        "task": probed.task,
        "labels": probed.labels,
        "unit": samples.unit,
        "unit_m": samples.side,
        "samples": len(samples),
        "counts": {**dataclasses.asdict(samples.counts), "without_pixels": probed.without_pixels},
        "classes": [
            {
                "class": name,
                "name": probed.probe.names[k],
                "samples": int((probed.targets == k).sum()),
            }
            for k, name in enumerate(probed.classes)
        ],
        "folds": {
            "split": split_name(probed.spec),
            "words": " ".join(filter(None, (folds.words, folds.detail))),
            "folds": len(folds.splits),
            "blocks": folds.blocks,
            "block_m": folds.block_m,
            "buffer_m": folds.buffer_m,
            "buffer_across_zones_m": folds.across_m,
            "buffered": folds.buffered,
            "test_samples": [len(test) for _, test in folds.splits],
        },
        "intervals": f"95 %, bootstrap over {folds.drawn}, {DRAWS} draws",
        "curve_complete": probed.curve_complete,
        "results": [_result(probed, k, e) for k, e in enumerate(probed.evaluations)],
        "penalty": probed.probe.linear.penalty,
        "settings": {
            name: value.isoformat() if isinstance(value, dt.date) else value
            for name, value in dataclasses.asdict(probed.spec).items()
        },
        "packages": {name: version(name) for name in ("thor-geo", "scikit-learn", "numpy")},
    }
    if isinstance(samples, PlaceSamples):
        report["vectors"] = samples.kind
        report["groups"] = [dataclasses.asdict(group) for group in probed.groups]
    if probed.classes:
        report["confusion"] = probed.confusion.astype(int).tolist()
    return report


def _result(probed: Probed, index: int, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "name": model_name(probed, index),
        "features": evaluation.features,
        "model": evaluation.model,
        "scores": json_scores(evaluation.scores),
        "curve": [
            {
                "fraction": point.fraction,
                "labels": point.labels,
                "repeats": point.repeats,
                "scores": json_scores(point.scores),
            }
            for point in evaluation.curve
        ],
    }


def report_text(opened: OpenedRun, probed: Probed, folder: Path, written: Sequence[Path]) -> str:
    """Return the results of a probe as text.

    Args:
        opened: The run.
        probed: The results of the probe.
        folder: Where the outputs are.
        written: The outputs.
    """
    samples, folds, counts = probed.samples, probed.folds, probed.samples.counts
    kind = f"{len(probed.classes)} classes" if probed.classes else "regression"
    lines = [
        f"Probed {probed.probe.target} ({kind}) on {len(samples):,} {unit_words(samples)}, "
        f"{folds.words}",
        *([f"  {folds.detail}"] if folds.detail else []),
        "",
        *_table(probed),
        "",
        f"  [95 % confidence interval: bootstrap over {folds.drawn}, not over samples]",
        *_group_lines(probed),
    ]
    left_out = [
        (counts.unlabelled, "without a label"),
        (counts.thin, f"labelled on less than {probed.spec.min_cover:g} of their ground"),
        (counts.without_embedding, "without an embedding"),
        (probed.without_pixels, "without pixels in some band"),
        (counts.without_group, f"without {probed.spec.group}"),
        (counts.thinned, f"thinned at random (--max-samples {probed.spec.max_samples:,})"),
    ]
    reasons = "; ".join(f"{count:,} {why}" for count, why in left_out if count)
    lines += ["", f"  left out  {reasons or 'none'}", *_label_lines(probed.labels)]
    if counts.tied:
        lines.append(
            f"  ties      {counts.tied:,} samples with equally frequent classes: the first counts"
        )
    if folds.buffered:
        lines.append(
            f"  buffer    {folds.buffer_words}, {counted(folds.buffered, 'training sample')} left "
            "out"
        )
    lines += [f"  classes   {_classes(probed)}"] if probed.classes else []
    lines += [f"  note      {probed.notice}"] if probed.notice else []
    lines += [f"  {'written' if k == 0 else '':<8}  {path}" for k, path in enumerate(written)]
    lines.append(f"  use       thor-geo probe ANOTHER_RUN --apply {folder / 'model.json'}")
    return "\n".join(lines)


def split_name(spec: ProbeSpec) -> str:
    """Return how samples are divided: ``blocks``, ``random``, ``group`` or ``date``.

    Args:
        spec: Settings.
    """
    if spec.group is not None:
        return "group"
    return spec.split if spec.split_date is None else "date"


def unit_words(samples: Samples) -> str:
    """Return what samples are, e.g. ``cells of 160 m``.

    Args:
        samples: The samples.
    """
    if not isinstance(samples, PlaceSamples):
        return f"{samples.unit} of {samples.side:g} m"
    vectors = {
        "pooled": f"pooled vectors of chips of {samples.side:g} m",
        "centre": f"vectors of their cells of {samples.side:g} m",
        "both": f"vectors of their cells, and pooled ones of chips of {samples.side:g} m",
    }
    return f"places ({vectors[samples.kind]})"


def _group_lines(probed: Probed) -> list[str]:
    """Return how well each left-out group is predicted by the first model."""
    if not probed.groups:
        return []
    name = SCORE_NAMES[GROUP_SCORES[probed.task]]
    width = max(len(group.group) for group in probed.groups[:_MOST_GROUPS])
    lines = ["", f"  {name} of {model_name(probed, 0)} by {probed.spec.group}"]
    for group in probed.groups[:_MOST_GROUPS]:
        score = "-" if group.score is None else f"{group.score:.3f}"
        lines.append(f"    {group.group:<{width}}  {score:>7}  {counted(group.samples, 'place')}")
    more = len(probed.groups) - _MOST_GROUPS
    return lines + ([f"    and {more:,} more in probe.json"] if more > 0 else [])


def _label_lines(labels: Mapping[str, Any]) -> list[str]:
    """Return a line about the features whose labels were left out or changed, if there are any."""
    cases = [
        ("blank_labels", "without a label (null or blank)"),
        ("ignored_labels", "ignored"),
        ("repaired_polygons", "invalid and repaired"),
        ("polygons_left_out", "invalid and beyond repair"),
    ]
    parts = [f"{labels[key]:,} {what}" for key, what in cases if labels.get(key)]
    of = "places" if labels["kind"] == "column" else "features"
    return [f"  labels    of {labels['features']:,} {of}: {', '.join(parts)}"] if parts else []


def _table(probed: Probed) -> list[str]:
    names = SCORES[probed.task]
    # IoU is a score of maps; for tiles and places it says the same as F1.
    if probed.samples.unit != "cells":
        names = tuple(name for name in names if name != "miou")
    rows = [[""] + [SCORE_NAMES[name] for name in names]]
    for k, evaluation in enumerate(probed.evaluations):
        rows.append([model_name(probed, k), *(_cell(evaluation.scores[n]) for n in names)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cell(score: Score) -> str:
    if not math.isfinite(score.value):
        return "-"
    digits = 3 if max(map(abs, score)) < 100 else 1
    return f"{score.value:.{digits}f} [{score.low:.{digits}f}, {score.high:.{digits}f}]"


def _classes(probed: Probed) -> str:
    counts = np.bincount(probed.targets, minlength=len(probed.classes))
    shown = [f"{name} {count:,}" for name, count in zip(probed.probe.names, counts, strict=True)]
    more = f", and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more
