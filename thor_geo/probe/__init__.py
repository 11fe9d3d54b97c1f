"""Probes: how well a run's embeddings predict labels, and maps of the predictions.

from thor_geo.probe import ProbeSpec, open_labels, probe_run
from thor_geo.runs.opened_run import read_run

probed = probe_run(read_run("out/oslo"), open_labels("landcover.tif"), ProbeSpec(folds=4))
probed.evaluations[0].scores["macro_f1"]

survey = read_run("out/survey")  # a run of places: the columns of its table are labels
probed = probe_run(survey, kept_labels(survey, "crop"), ProbeSpec(group="country"))

`ProbeDataModule` is imported on first use, because the rest needs neither Lightning nor TorchGeo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thor_geo.probe.beside import Beside
from thor_geo.probe.export import export_csv
from thor_geo.probe.joining import JoinableLabels
from thor_geo.probe.labels import kept_labels, open_labels
from thor_geo.probe.predictions import write_predictions
from thor_geo.probe.probed import Probed
from thor_geo.probe.run import probe_run, probe_steps
from thor_geo.probe.saved import SavedProbe, read_probe
from thor_geo.probe.spec import ProbeSpec

if TYPE_CHECKING:
    from thor_geo.probe.datamodule import ProbeDataModule

__all__ = [
    "Beside",
    "JoinableLabels",
    "ProbeDataModule",
    "ProbeSpec",
    "Probed",
    "SavedProbe",
    "export_csv",
    "kept_labels",
    "open_labels",
    "probe_run",
    "probe_steps",
    "read_probe",
    "write_predictions",
]


def __getattr__(name: str) -> object:
    """Import the data module from its module."""
    if name != "ProbeDataModule":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from thor_geo.probe.datamodule import ProbeDataModule

    return ProbeDataModule
