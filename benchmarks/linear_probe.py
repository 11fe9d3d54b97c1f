"""The shipped linear probe under `torchgeo fit`, and `thor-geo probe` on the same folds.

Claim (docs/lightning.md, "A linear probe"): on each of the five folds of the quickstart, on one
process and on two, the macro F1 score of configs/linear_probe.yaml is within 0.02 of that of the
linear model of `thor-geo probe`.

    python -m benchmarks.linear_probe            # 10 minutes
    python -m benchmarks.linear_probe --quick    # one fold, 10 epochs, one process

Labels are the scene classification of the quickstart's clearest scene: vegetation, bare ground and
water. Weights are random: scores show that both train and test on the same cells, not what THOR
knows. The last rows of Lightning's own table are kept for the first fold.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy.typing as npt
import yaml

from benchmarks.support.commands import quickstart, thor_geo
from benchmarks.support.processes import python
from benchmarks.support.report import ROOT, Report, Row, parser

CONFIG = ROOT / "configs" / "linear_probe.yaml"
ALLOWED = 0.02


def probe_scores(run: Path, labels: Path, ignored: list[int]) -> list[tuple[float, int, int]]:
    """Return the macro F1 score of the probe's linear model, and the cells, by fold."""
    from sklearn.metrics import f1_score

    from thor_geo.probe import ProbeSpec, open_labels, probe_run
    from thor_geo.runs.opened_run import read_run

    spec = ProbeSpec(on="cells", fractions=(1.0,), baseline=False)
    probed = probe_run(read_run(run), open_labels(labels, ignore=tuple(map(str, ignored))), spec)
    made: npt.NDArray[Any] = probed.evaluations[0].predictions
    return [
        (f1_score(probed.targets[test], made[test], average="macro"), len(train), len(test))
        for train, test in probed.folds.splits
    ]


def rows_of(folder: Path, version: int) -> list[dict[str, str]]:
    """Return the rows of the table that Lightning's logger wrote."""
    text = (folder / "logs" / f"version_{version}" / "metrics.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def trained(
    folder: Path, run: Path, labels: Path, *, fold: int, processes: int, epochs: int | None
) -> float:
    """Train and test by TorchGeo's command; return the macro F1 score."""
    given = [
        f"--config={CONFIG}",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        f"--trainer.default_root_dir={folder}",
        f"--trainer.logger.init_args.save_dir={folder}",
        f"--trainer.callbacks.dirpath={folder}",
        f"--data.init_args.run={run}",
        f"--data.init_args.labels={labels}",
        f"--data.init_args.fold={fold}",
    ]
    fit = [f"--trainer.devices={processes}"]
    fit += [] if epochs is None else [f"--trainer.max_epochs={epochs}"]
    python("-m", "torchgeo", "fit", *given, *fit)
    python("-m", "torchgeo", "test", *given, f"--ckpt_path={folder / 'last.ckpt'}")
    (tested,) = rows_of(folder, 1)
    return float(tested["test_macro_f1"])


def main() -> int:
    options = parser(__doc__, "one fold, 10 epochs, one process").parse_args()
    report = Report(
        name="linear_probe",
        claim="on each of the five folds of the quickstart, on one process and on two, the macro "
        f"F1 score of configs/linear_probe.yaml is within {ALLOWED} of `thor-geo probe`'s",
        quick=options.quick,
    )
    ignored = yaml.safe_load(CONFIG.read_text())["data"]["init_args"]["ignore"]
    with tempfile.TemporaryDirectory(prefix="thor-geo-linear-probe-") as name:
        folder = Path(name)
        run = folder / "run"
        settings = {"data.cache_dir": folder / "cache", "output.dir": run}
        thor_geo(*quickstart({**settings, "output.quicklook": "false"}))
        (labels,) = (folder / "cache" / "emulator-archive").glob("20220720*T32VPM_SCL.tif")
        scores = probe_scores(run, labels, ignored)
        whole = [(fold, 1) for fold in range(len(scores))] + [(0, 2)]
        for fold, processes in whole[:1] if options.quick else whole:
            here = folder / f"fold{fold}-{processes}"
            began = time.monotonic()
            ours = trained(
                here,
                run,
                labels,
                fold=fold,
                processes=processes,
                epochs=10 if options.quick else None,
            )
            score, train, test = scores[fold]
            row: Row = {
                "fold": fold,
                "processes": processes,
                "training cells": train,
                "test cells": test,
                "probe": round(score, 4),
                "lightning": round(ours, 4),
                "difference": round(ours - score, 4),
                "fit and test s": round(time.monotonic() - began, 1),
            }
            far = abs(ours - score) > ALLOWED and not options.quick
            report.add(row, [f"fold {fold}, {processes} processes: {ours - score:+.4f}"] * far)
            if (fold, processes) == (0, 1):
                report.figures["last rows of the log of fold 0"] = rows_of(here, 0)[-3:]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
