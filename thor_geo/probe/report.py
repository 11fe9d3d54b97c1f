"""The results of a probe as JSON and as text."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from thor_geo.probe.curve import Evaluation
from thor_geo.probe.metrics import DRAWS, SCORES, json_scores
from thor_geo.probe.names import SCORE_NAMES, evaluation_name
from thor_geo.probe.probed import GROUP_SCORES, Probed
from thor_geo.probe.report_lines import (
    aligned,
    beside_lines,
    difference_lines,
    noise_lines,
    score_cell,
)
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.probe.seeds import noise_json
from thor_geo.probe.spec import ProbeSpec
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.words import counted

# Most groups in the text.
_MOST_GROUPS = 12


def model_name(probed: Probed, index: int) -> str:
    """Return the name of an evaluation, e.g. ``THOR, logistic regression``.

    Args:
        probed: The results of the probe.
        index: Which of its evaluations.
    """
    evaluation = probed.evaluations[index]
    return evaluation_name(
        evaluation.features, evaluation.model, probed.task, probed.spec.neighbours
    )


def report_json(opened: OpenedRun, probed: Probed) -> dict[str, Any]:
    """Return all results of a probe as JSON; scores are [value, low, high], or null.

    Args:
        opened: The run.
        probed: The results of the probe.
    """
    samples = probed.samples
    report: dict[str, Any] = {
        "format": "thor-geo-probe-report/1",
        "run": str(opened.run.path),
        "fingerprint": opened.fingerprint,
        "finding": probed.finding,
        "notice": probed.notice or None,
        "warnings": list(probed.warnings),
        "target": probed.probe.target,
        "task": probed.task,
        "labels": probed.labels,
        "unit": samples.unit,
        "unit_m": samples.side,
        "samples": len(samples),
        "counts": {
            **dataclasses.asdict(samples.counts),
            "tied": int(samples.tied.sum()),
            "without_pixels": probed.sides.without_pixels,
            "without_beside": probed.sides.without_beside,
        },
        "classes": [
            {
                "class": name,
                "name": probed.probe.names[k],
                "samples": int((probed.targets == k).sum()),
            }
            for k, name in enumerate(probed.classes)
        ],
        "folds": _folds(probed),
        "intervals": f"95 %, bootstrap over {probed.folds.drawn}, {DRAWS} draws",
        "curve_complete": probed.curve_complete,
        "results": [_result(probed, k, e) for k, e in enumerate(probed.evaluations)],
        "differences": [
            {
                "features": each.features,
                "model": each.model,
                "scores": json_scores(each.scores),
            }
            for each in probed.compared.differences
        ],
        "beside": [each.record() for each in probed.sides.besides],
        "seed_noise": None if probed.compared.noise is None else noise_json(probed.compared.noise),
        "penalty": probed.probe.linear.penalty,
        "settings": _settings(probed.spec),
        "packages": {name: version(name) for name in ("thor-geo", "scikit-learn", "numpy")},
    }
    if isinstance(samples, PlaceSamples):
        report["vectors"] = samples.kind
        report["groups"] = [dataclasses.asdict(group) for group in probed.groups]
    if probed.classes:
        report["confusion"] = probed.confusion.astype(int).tolist()
    return report


def _folds(probed: Probed) -> dict[str, Any]:
    """Return how samples were divided as JSON."""
    folds = probed.folds
    return {
        "split": split_name(probed.spec),
        "words": " ".join(filter(None, (folds.words, folds.detail))),
        "folds": len(folds.splits),
        "blocks": folds.blocks,
        "block_m": folds.block_m,
        "buffer_m": folds.buffer_m,
        "buffer_across_zones_m": folds.across_m,
        "buffered": folds.buffered,
        "test_samples": [len(test) for _, test in folds.splits],
    }


def _settings(spec: ProbeSpec) -> dict[str, Any]:
    """Return settings as JSON."""
    settings = dataclasses.asdict(spec)
    settings["besides"] = [{"name": each.name, "path": str(each.path)} for each in spec.besides]
    return {
        name: value.isoformat() if isinstance(value, dt.date) else value
        for name, value in settings.items()
    }


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
    names = _shown_scores(probed)
    lines = [
        probed.finding,
        "",
        f"Probed {probed.probe.target} ({kind}) on {len(samples):,} {unit_words(samples)}, "
        f"{folds.words}",
        *([f"  {folds.detail}"] if folds.detail else []),
        "",
        *_table(probed, names),
        *difference_lines(probed.compared.differences, probed.task, names, probed.spec),
        "",
        f"  [95 % confidence interval: bootstrap over {_drawn(probed)}, not over samples]",
        *_group_lines(probed),
        *noise_lines(probed.compared.noise, probed.task),
    ]
    left_out = [
        (counts.unlabelled, "without a label"),
        (counts.thin, f"labelled on less than {probed.spec.min_cover:g} of their ground"),
        (counts.without_embedding, "without an embedding"),
        (probed.sides.without_pixels, "without pixels in some band"),
        (probed.sides.without_beside, "without a vector in every table compared"),
        (counts.without_group, f"without {probed.spec.group}"),
        (counts.thinned, f"thinned at random (--max-samples {probed.spec.max_samples:,})"),
    ]
    reasons = "; ".join(f"{count:,} {why}" for count, why in left_out if count)
    lines += ["", f"  left out  {reasons or 'none'}", *_label_lines(probed.labels)]
    lines += beside_lines(probed.sides.besides, samples.unit)
    tied = int(samples.tied.sum())
    if tied:
        lines.append(
            f"  ties      {counted(tied, 'sample')} with equally frequent classes: the first counts"
        )
    if folds.buffered:
        lines.append(
            f"  buffer    {folds.buffer_words}, {counted(folds.buffered, 'training sample')} left "
            "out"
        )
    lines += [f"  classes   {_classes(probed)}"] if probed.classes else []
    lines += [f"  warning   {warning}" for warning in probed.warnings]
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


def _drawn(probed: Probed) -> str:
    """Return what the bootstrap draws; a random split has blocks only for that."""
    folds = probed.folds
    if probed.spec.split == "random" and folds.block_m is not None:
        return f"{folds.drawn} of {folds.block_m:g} m (the folds are random)"
    return folds.drawn


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


def _shown_scores(probed: Probed) -> tuple[str, ...]:
    names = SCORES[probed.task]
    # IoU is a score of maps; for tiles and places it says the same as F1.
    if probed.samples.unit != "cells":
        names = tuple(name for name in names if name != "miou")
    return names


def _table(probed: Probed, names: Sequence[str]) -> list[str]:
    rows = [["", *(SCORE_NAMES[name] for name in names)]]
    for k, evaluation in enumerate(probed.evaluations):
        rows.append([model_name(probed, k), *(score_cell(evaluation.scores[n]) for n in names)])
    return aligned(rows)


def _classes(probed: Probed) -> str:
    counts = np.bincount(probed.targets, minlength=len(probed.classes))
    shown = [f"{name} {count:,}" for name, count in zip(probed.probe.names, counts, strict=True)]
    more = f", and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more
