"""A fitted probe as a JSON file, so that reading it cannot run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.models import LinearProbe
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.probe.spec import SampleUnit, Task
from thor_geo.runs.fingerprint import json_differences
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.files import write_bytes
from thor_geo.support.jsontext import parse_json

FORMAT = "thor-geo-probe/1"

# How a run was computed: embeddings that differ in these alone agree to 1e-5.
_MACHINE = ("device", "threads", "float32_matmul", "precision")
# Settings of the data that change the model's input; the bands are among the model's settings.
_SEEN = ("clamp_z", "mean", "nodata_fill", "normalize", "resolution", "std")


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedProbe:
    """A linear probe, ready to be used on any run of the same model.

    Attributes:
        target: Name of what it predicts.
        task: Classes or numbers.
        unit: What it was fitted on, and fits: the vectors of ``tiles``, which the chips of places
            are, too; those of ``cells``, as the centres of places are; or ``places``, for both of
            them together.
        classes: In the order of the map's rows; empty for a regression.
        names: Names of the classes, in the same order.
        linear: The fitted map.
        model: Settings of model and data that embeddings depend on, from the run it was fitted on.
        provenance: Run, labels, number of samples, scores.
    """

    target: str
    task: Task
    unit: SampleUnit
    classes: tuple[str | int, ...]
    names: tuple[str, ...]
    linear: LinearProbe
    model: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def probabilities(self, vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the probability of each class, (N, K) float64 (softmax of the scores).

        Args:
            vectors: Embeddings, (N, D), finite.
        """
        scores = self.linear.scores(vectors)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        result: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return result

    def predict(self, vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the index of each sample's class (N,) int64, or its number (N,) float64.

        Args:
            vectors: Embeddings, (N, D), finite.
        """
        scores = self.linear.scores(vectors)
        return scores.argmax(axis=1) if self.classes else scores[:, 0]

    def check(self, opened: OpenedRun) -> None:
        """Refuse a run whose embeddings mean something else.

        Args:
            opened: The run to predict on. Area and time may differ.

        Raises:
            RunDirectoryError: If its model or input differ; the message says how.
        """
        if self.unit == "places" and not isinstance(opened.plan, PlacePlan):
            raise RunDirectoryError(
                f"The probe of `{self.target}` takes the pooled vector and the centre of a place "
                f"together, and `{opened.run.path}` is a run of an area. Fit it with --vectors "
                "pooled, for tiles, or centre, for the cells of maps."
            )
        if self.unit != "tiles" and isinstance(opened.plan, PlacePlan) and not opened.centre:
            raise RunDirectoryError(
                f"The probe of `{self.target}` takes the cell that holds a place, and "
                f"`{opened.run.path}` was made with output.centre=false. Embed its table again, "
                "into another folder, with output.centre=true, or fit a probe with --vectors "
                "pooled."
            )
        settings = embedding_settings(opened, self.unit)
        differing = [
            f"{key} is {now} and was {then}"
            for key, now, then in json_differences(settings, dict(self.model))
        ]
        if differing:
            raise RunDirectoryError(
                f"The probe of `{self.target}` does not fit `{opened.run.path}`: "
                f"{'; '.join(differing)}. Embed the area with the settings of "
                f"`{self.provenance.get('run')}`, or fit a probe on this run."
            )

    def write(self, path: Path) -> None:
        """Write the probe as JSON, which restores numbers exactly.

        Args:
            path: The file.
        """
        content = {
            "format": FORMAT,
            "target": self.target,
            "task": self.task,
            "unit": self.unit,
            "classes": list(self.classes),
            "names": list(self.names),
            "penalty": self.linear.penalty,
            "mean": self.linear.mean.tolist(),
            "scale": self.linear.scale.tolist(),
            "coef": self.linear.coef.tolist(),
            "intercept": self.linear.intercept.tolist(),
            "model": self.model,
            "provenance": self.provenance,
        }
        write_bytes(path, (json.dumps(content, allow_nan=False) + "\n").encode())


def probe_unit(samples: Samples) -> SampleUnit:
    """Return what a probe of some samples fits.

    The pooled vector of a chip is that of a tile, and the centre that of a cell: a probe of places
    maps areas, too.

    Args:
        samples: What it is fitted on.
    """
    if not isinstance(samples, PlaceSamples):
        return samples.unit
    units: dict[str, SampleUnit] = {"pooled": "tiles", "centre": "cells", "both": "places"}
    return units[samples.kind]


def embedding_settings(opened: OpenedRun, unit: SampleUnit) -> dict[str, Any]:
    """Return the settings that decide what a run's embeddings mean.

    Args:
        opened: The run.
        unit: Which of its vectors; those of cells do not depend on a place's polygon.
    """
    settings = opened.document["settings"]
    model = {k: v for k, v in settings["model"].items() if k not in _MACHINE}
    data = {k: v for k, v in settings["data"].items() if k in _SEEN}
    if unit != "cells" and settings["data"].get("places", {}).get("within"):
        data["places.within"] = True
    return {"model": model, "data": data}


def read_probe(path: str | Path) -> SavedProbe:
    """Read a probe that `thor-geo probe` wrote.

    Args:
        path: ``model.json``, or the folder that holds it.

    Raises:
        ConfigError: If it is not such a file, or is damaged.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path /= "model.json"
    remedy = "Give the model.json that `thor-geo probe` wrote."
    try:
        content = parse_json(path.read_bytes())
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        numbers = {
            name: np.array(content[name], dtype=np.float64)
            for name in ("mean", "scale", "coef", "intercept")
        }
        classes, task, unit = tuple(content["classes"]), content["task"], content["unit"]
        names = tuple(content["names"])
        rows = len(classes) if task == "classification" else 1
        width = numbers["mean"].size
        shapes = {"mean": (width,), "scale": (width,), "coef": (rows, width), "intercept": (rows,)}
        if (
            task not in ("classification", "regression")
            or unit not in get_args(SampleUnit)
            or bool(classes) != (task == "classification")
            or any(numbers[name].shape != shape for name, shape in shapes.items())
            or not all(isinstance(c, str | int) for c in classes)
            or len(names) != len(classes)
            or not all(isinstance(name, str) for name in names)
            or not all(isinstance(content[key], dict) for key in ("model", "provenance"))
        ):
            raise ValueError("its parts do not fit each other")
        return SavedProbe(
            target=str(content["target"]),
            task=task,
            unit=unit,
            classes=classes,
            names=names,
            linear=LinearProbe(**numbers, penalty=float(content["penalty"])),
            model=content["model"],
            provenance=content["provenance"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError("--apply", str(path), f"not a probe ({problem})", remedy) from error
