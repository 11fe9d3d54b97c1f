"""One build's side of `benchmarks.probe`: started as a script, it imports what PYTHONPATH holds.

    python probe_side.py command OUT.json ARGUMENT ...   # thor-geo with those arguments
    python probe_side.py made MADE.npz OUT.json          # cross-validation of made features

Writes JSON: the penalty of each fitted linear model by a checksum of its features; where the build
tells, the mean recalls from which it was chosen; CPU seconds before the first fit and in all; the
largest resident set; when the scores with all labels were there. It imports nothing of
`benchmarks`, which is of this build. With the environment variable OPTIMUM, fits of scikit-learn
are not stopped early.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np


class Record:
    """What the fits of linear models say."""

    def __init__(self) -> None:
        """Watch the fits of this process."""
        from thor_geo.probe import models, run

        if os.environ.get("OPTIMUM"):
            from sklearn import linear_model

            linear_model.LogisticRegression = functools.partial(
                linear_model.LogisticRegression, tol=1e-7
            )
            models._ITERATIONS = 20_000
        self.fits: dict[str, dict[str, Any]] = {}
        self.before: float | None = None
        self._began, self._local = time.monotonic(), threading.local()
        fit = models.fit_linear

        def fit_linear(features: Any, *rest: Any, **options: Any) -> Any:
            if self.before is None:
                self.before = time.process_time()
            self._local.recalls = []
            fitted = fit(features, *rest, **options)
            key = f"{zlib.crc32(np.ascontiguousarray(features)):08x}-{len(features)}"
            recalls = np.reshape(self._local.recalls, (-1, 3)).mean(axis=0).tolist()
            self.fits[key] = {"penalty": fitted.penalty, "recalls": recalls}
            return fitted

        models.fit_linear = run.fit_linear = fit_linear
        try:
            from thor_geo.probe import penalties
        except ImportError:
            return
        recall = penalties._recall

        def recorded(*arguments: Any) -> float:
            value = recall(*arguments)
            self._local.recalls.append(value)
            return value

        penalties._recall = recorded

    def write(self, path: str, **more: object) -> None:
        """Write all that is known."""
        content = {
            "fits": self.fits,
            "cpu_before": self.before,
            "cpu": time.process_time(),
            "seconds": time.monotonic() - self._began,
            "peak_mb": _peak_mb(),
            **more,
        }
        Path(path).write_text(json.dumps(content))


def _peak_mb() -> float:
    """Return the largest resident set, MB; getrusage would count that of who started this, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def command(path: str, arguments: list[str]) -> None:
    """Run thor-geo."""
    record = Record()
    from thor_geo.cli.main import main

    code = main(arguments)
    record.write(path)
    sys.exit(code)


def made(data: str, path: str) -> None:
    """Cross-validate the linear model and kNN with the default settings."""
    from thor_geo.probe.curve import Problem
    from thor_geo.probe.folds import Folds
    from thor_geo.probe.spec import ProbeSpec

    given = np.load(data)
    targets, block = given["targets"], given["block"]
    every = np.arange(len(targets))
    folds = Folds(
        block=block,
        blocks=int(block.max()) + 1,
        block_m=1.0,
        buffer_m=0.0,
        across_m=0.0,
        splits=tuple(
            (every[given["fold"] != k], every[given["fold"] == k])
            for k in range(int(given["fold"].max()) + 1)
        ),
        buffered=0,
        words="",
    )
    problem = Problem(
        task="classification",
        targets=targets,
        classes=int(targets.max()) + 1,
        folds=folds,
        spec=ProbeSpec(),
    )
    record = Record()
    curves, first = _curves(problem, given["features"])
    saved = sys.modules["thor_geo.probe.models"].fit_linear(
        given["features"], targets, block, "classification", 0
    )
    predictions = saved.scores(given["features"]).argmax(axis=1).tolist()
    record.write(path, curves=curves, first=first, saved=predictions)


def _curves(problem: Any, features: Any) -> tuple[dict[str, list[float]], float]:
    """Return macro F1 along the curve by model, and seconds until that with all labels."""
    began = time.monotonic()
    try:
        from thor_geo.probe.curve import Contender
        from thor_geo.probe.growing import grow
    except ImportError:
        from thor_geo.probe.curve import evaluate

        found = [evaluate(problem, "embeddings", features, kind) for kind in ("linear", "knn")]
        first = time.monotonic() - began
    else:
        contenders = [
            Contender(name="embeddings", features=features, model=kind)
            for kind in ("linear", "knn")
        ]
        steps = grow(problem, contenders)
        next(steps)
        first = time.monotonic() - began
        *_, last = steps
        found = list(last.evaluations)
    return {e.model: [p.scores["macro_f1"].value for p in e.curve] for e in found}, first


if __name__ == "__main__":
    if sys.argv[1] == "command":
        command(sys.argv[2], sys.argv[3:])
    made(*sys.argv[2:])
