#!/usr/bin/env bash
# A subclass of a TorchGeo task that takes fewer arguments works in Python, not under LightningCLI.
#
# Versions: lightning 2.6.6 with jsonargparse 4.53.0, torchgeo 0.8.1. In Python `save_hyperparameters`
# collects the arguments of every __init__ on the stack, those of the base class with their defaults
# among them. Under LightningCLI it saves what the config may hold, which is what the signature of the
# subclass shows. TorchGeo looks all its arguments up in `hparams`. Seen:
#
#   in Python                                   ignore_index in hparams: True
#   the same by LightningCLI                    KeyError: 'ignore_index'
#   with **kwargs passed on, by LightningCLI    ignore_index in hparams: True
#
# Needs Python 3.11 or newer (PYTHON=python3 by default) and 5 GB, in a folder that ENVIRONMENT names
# and keeps; by default in a temporary one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
from importlib.metadata import version

from lightning.pytorch.cli import LightningCLI
from torch import nn
from torchgeo.trainers import BaseTask, SemanticSegmentationTask


class Head(SemanticSegmentationTask):
    def __init__(self, in_channels: int, num_classes: int):
        super().__init__(in_channels=in_channels, num_classes=num_classes)

    def configure_models(self) -> None:
        self.model = nn.Conv2d(self.hparams["in_channels"], self.hparams["num_classes"], 1)


class PassedOn(SemanticSegmentationTask):
    def __init__(self, in_channels: int, num_classes: int, **kwargs):
        super().__init__(in_channels=in_channels, num_classes=num_classes, **kwargs)

    configure_models = Head.configure_models


def by_cli(name: str) -> str:
    arguments = [f"--model=__main__.{name}", "--model.in_channels=4", "--model.num_classes=3"]
    try:
        cli = LightningCLI(
            BaseTask, subclass_mode_model=True, run=False, args=arguments,
            trainer_defaults={"logger": False, "accelerator": "cpu"},
        )
    except Exception as error:
        while error.__cause__ or error.__context__:
            error = error.__cause__ or error.__context__
        return f"{type(error).__name__}: {error}"
    return f"ignore_index in hparams: {'ignore_index' in cli.model.hparams}"


print(*(f"{name} {version(name)}" for name in ("lightning", "jsonargparse", "torchgeo")))
in_python = "ignore_index" in Head(in_channels=4, num_classes=3).hparams
seen = [f"ignore_index in hparams: {in_python}", by_cli("Head"), by_cli("PassedOn")]
for what, outcome in zip(("in Python", "by LightningCLI", "with **kwargs"), seen, strict=True):
    print(f"  {what}: {outcome}")
assert in_python, seen
assert "'ignore_index'" in seen[1] and "KeyError" in seen[1], seen
assert seen[2] == "ignore_index in hparams: True", seen
PY
venv=${ENVIRONMENT:-$folder/venv}
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check \
  lightning==2.6.6 "jsonargparse[signatures]==4.53.0" torchgeo==0.8.1 requests
"$venv/bin/python" -W ignore "$folder/check.py"
echo "as described"
