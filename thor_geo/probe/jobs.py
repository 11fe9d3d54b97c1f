"""The three jobs of ``thor-geo probe``: fit a probe, apply a saved one, export vectors."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.collect import sample_unit
from thor_geo.probe.export import export_csv
from thor_geo.probe.joining import Labels
from thor_geo.probe.labels import kept_labels, open_labels
from thor_geo.probe.pictures import write_curve, write_pictures
from thor_geo.probe.predictions import TABLE, prediction_files, write_predictions
from thor_geo.probe.probed import Probed
from thor_geo.probe.report import report_json, report_text
from thor_geo.probe.run import probe_steps
from thor_geo.probe.saved import read_probe
from thor_geo.probe.spec import ProbeSpec, Vectors
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.runs.target import made_from
from thor_geo.storage import Location
from thor_geo.support.files import write_bytes
from thor_geo.support.redact import redact, redact_json
from thor_geo.support.words import counted

#: The exit code after Ctrl-C: 128 + SIGINT, as of every command.
EXIT_INTERRUPTED = 130
# Seconds between pictures of a growing curve.
_REDRAW_S = 3.0
# The outputs of `fit` besides predictions; probe.json is written last.
_REPORT, _MODEL = "probe.json", "model.json"
_OUTPUTS = (_REPORT, _MODEL, "confusion.png", "scatter.png", "curve.png")


def fit(
    run: Location,
    labels: Path | None,
    target: str | None,
    spec: ProbeSpec,
    *,
    layer: str | None = None,
    nodata: float | None = None,
    names: Path | None = None,
    to: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Probe a run: write scores, map and model, print a summary, then let the learning curve grow.

    Ctrl-C keeps what there is, as soon as there are scores.

    Args:
        run: The run directory.
        labels: The labels; None takes a column that a run of places keeps.
        target: Column, or band of a raster.
        spec: Settings.
        layer: Layer of a vector file.
        nodata: A raster's value for no label.
        names: JSON file with the names of classes.
        to: Folder of the outputs; None for ``probe/<target>`` in the run directory.
        overwrite: Whether to replace earlier outputs.

    Returns:
        The exit code: 0, or that of Ctrl-C if the curve is not complete.

    Raises:
        ThorGeoError: If the labels or the run cannot be used.
    """
    opened = read_run(run)
    opened_labels = _labels(opened, labels, target, spec, layer, nodata, names)
    sample_unit(opened, opened_labels, spec)
    folder = _folder(opened, opened_labels.name, to)
    _check_folder(folder, _OUTPUTS, overwrite=overwrite)
    for note in opened_labels.notes:
        print(f"thor-geo: {redact(note)}", file=sys.stderr)
    if spec.split == "random":
        print(
            "thor-geo: --split random trains on the neighbours of test samples, so scores are too "
            "high wherever labels are smooth. Compare with --split blocks.",
            file=sys.stderr,
        )
    steps = probe_steps(opened, opened_labels, spec, progress=True)
    with closing(steps):
        probed = next(steps)
        written = _write_scores(opened, probed, folder)
        interrupted = False
        if spec.seed_noise:
            # Scoring other folds takes as many times as long: what is known is there before.
            try:
                first, probed = probed, next(steps)
                if probed.finding != first.finding:
                    write_pictures(probed, folder)
                _write_report(opened, probed, folder)
            except KeyboardInterrupt:
                interrupted = True
        print(redact(report_text(opened, probed, folder, written)), flush=True)
        if interrupted:
            return _interrupted(probed, folder)
        return _grow_curve(opened, probed, steps, folder)


def _grow_curve(opened: OpenedRun, probed: Probed, steps: Iterator[Probed], folder: Path) -> int:
    """Draw the curve again and again while it grows; return the exit code."""
    try:
        drawn = time.monotonic()
        for probed in steps:
            # Drawing takes half a second, as does a point of a few hundred samples.
            if probed.curve_complete or time.monotonic() - drawn >= _REDRAW_S:
                _write_curve(opened, probed, folder)
                drawn = time.monotonic()
    except KeyboardInterrupt:
        _write_curve(opened, probed, folder)
        return _interrupted(probed, folder)
    if probed.points > 1:
        print(f"  curve     {counted(probed.points, 'point')}, complete", flush=True)
    return 0


def _write_scores(opened: OpenedRun, probed: Probed, folder: Path) -> list[Path]:
    """Write all that needs no learning curve; return the paths, that of probe.json first."""
    # No output of an earlier probe, perhaps of other samples, may remain beside the new ones.
    for path in (*(folder / name for name in (*_OUTPUTS, TABLE)), *folder.glob("map_utm*.tif")):
        path.unlink(missing_ok=True)
    probed.probe.write(folder / _MODEL)
    written = [*write_pictures(probed, folder), folder / _MODEL]
    window = probed.spec.window
    written += write_predictions(opened, probed.probe, folder, window=window, progress=True)
    return [_write_report(opened, probed, folder), *written]


def _write_curve(opened: OpenedRun, probed: Probed, folder: Path) -> None:
    write_curve(probed, folder)
    _write_report(opened, probed, folder)


def _write_report(opened: OpenedRun, probed: Probed, folder: Path) -> Path:
    report = json.dumps(redact_json(report_json(opened, probed)), indent=1, allow_nan=False)
    write_bytes(folder / _REPORT, f"{report}\n".encode())
    return folder / _REPORT


def _interrupted(probed: Probed, folder: Path) -> int:
    """Say what an interrupted probe has left, and how to get the rest; return the exit code."""
    parts = [f"interrupted; scores, map and model in {folder} are complete"]
    if probed.spec.seed_noise and probed.compared.noise is None:
        parts.append("the other divisions into folds (--seed-noise) are missing")
    if probed.points > 1:
        curve = f"{probed.measured} of {counted(probed.points, 'point')}"
        parts.append(f"the learning curve has {curve}")
    words = f"{', '.join(parts)}. The same command with --overwrite measures everything."
    print(f"thor-geo: {redact(words)}", file=sys.stderr)
    return EXIT_INTERRUPTED


def apply_probe(
    run: Location,
    probe: Path,
    *,
    window: int | None = None,
    to: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Predict on a run with a saved probe.

    Args:
        run: The run directory.
        probe: The saved probe.
        window: Which time window, for a run with several.
        to: Folder of the outputs; None for ``probe/<target>-applied`` in the run
            directory.
        overwrite: Whether to replace earlier predictions.

    Raises:
        ThorGeoError: If the probe cannot be read or does not fit the run, or the folder holds the
            outputs of a probe.
    """
    saved, opened = read_probe(probe), read_run(run)
    saved.check(opened)
    folder = _folder(opened, f"{saved.target}-applied", to)
    if (folder / _REPORT).exists():
        raise ConfigError(
            "--to",
            str(folder),
            f"it holds a probe ({_REPORT}), whose maps would be replaced",
            "Give another folder with --to.",
        )
    _check_folder(folder, prediction_files(opened, saved), overwrite=overwrite)
    written = write_predictions(opened, saved, folder, window=window, progress=True)
    predicted = "classes" if saved.classes else "values"
    unit = "places" if isinstance(opened.plan, PlacePlan) else saved.unit
    lines = [
        f"Predicted {predicted} of {saved.target} on the {unit} of {opened.run.path}, with "
        f"the probe of {saved.provenance.get('run')}",
        *(f"  {'written' if k == 0 else '':<8}  {path}" for k, path in enumerate(written)),
    ]
    print(redact("\n".join(lines)))
    return 0


def export(
    run: Location,
    path: Path,
    *,
    window: int | None = None,
    vectors: Vectors | None = None,
    overwrite: bool = False,
) -> int:
    """Write a run's vectors as NeuCo-Bench's CSV.

    Args:
        run: The run directory.
        path: The file.
        window: Which time window, for a run with several.
        vectors: Which vectors of places.
        overwrite: Whether to replace an earlier file.

    Raises:
        ThorGeoError: If the run has no vectors, or the file exists.
    """
    rows = export_csv(
        read_run(run), path, window=window, vectors=vectors, overwrite=overwrite, progress=True
    )
    print(redact(f"{path}: {counted(rows, 'row')}"))
    return 0


def _labels(
    opened: OpenedRun,
    path: Path | None,
    target: str | None,
    spec: ProbeSpec,
    layer: str | None,
    nodata: float | None,
    names: Path | None,
) -> Labels:
    """Return the labels of a file, or of the run itself."""
    if path is not None:
        return open_labels(
            path,
            target,
            layer=layer,
            task=spec.task,
            nodata=nodata,
            ignore=spec.ignore,
            names=names,
        )
    share = spec.min_cover if spec.min_cover != ProbeSpec.min_cover else None
    for option, value in (("--layer", layer), ("--nodata", nodata), ("--min-cover", share)):
        if value is not None:
            raise ConfigError(
                option, value, "it is for --labels, which is not given", "Leave it out."
            )
    return kept_labels(opened, target, task=spec.task, ignore=spec.ignore, names=names)


def _folder(opened: OpenedRun, target: str, to: Path | None) -> Path:
    if to is not None:
        return to.expanduser()
    # A column's name may hold characters that a folder's may not.
    name = re.sub(r"[^\w.-]+", "_", target).strip(".") or "target"
    return made_from(opened.run, "probe") / name


def _check_folder(folder: Path, names: tuple[str, ...] | list[str], *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError("--to", str(folder), "it is not a folder", "Give a folder.")
    existing = [name for name in names if (folder / name).exists()]
    if existing and not overwrite:
        raise ConfigError(
            "--to",
            str(folder),
            f"it already holds {', '.join(existing)}",
            "Add --overwrite, or give another folder with --to.",
        )
