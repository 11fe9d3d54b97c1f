"""What a script or a manifest of configs/cluster/ starts, with stand-ins for what is not here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from thor_geo.cli.predict import PredictCLI, make_cli

Parse: TypeAlias = Callable[[list[str], dict[str, str]], PredictCLI]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "cluster"
RUN = str(ROOT / "configs" / "gee_pooled.yaml")
# A GPU cannot be asked for on every machine; numbers of devices and nodes stay the script's.
ANY_MACHINE = ["--trainer.accelerator=cpu", "--trainer.precision=32-true"]

# Stand-ins: srun starts its command, the others write their arguments down.
SRUN = '#!/bin/bash\nwhile [[ "$1" == -* ]]; do shift; done\nexec "$@"\n'
RECORD = '#!/bin/bash\nprintf "%s\\0" "$0" "$@" > "$RECORD"\n'


def recorded(command: list[str], folder: Path, variables: dict[str, str]) -> tuple[str, list[str]]:
    """Run a script with stand-ins; return which command it started last, and its arguments.

    It runs in a folder that has nothing to do with the checkout.
    """
    command = [
        str(ROOT / word) if word.startswith("configs/cluster/") else word for word in command
    ]
    for name, text in {"srun": SRUN, "thor-geo": RECORD, "torchrun": RECORD}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    record = folder / "record"
    # SLURM variables of the machine that runs the tests would get in the way.
    inherited = {key: value for key, value in os.environ.items() if "SLURM" not in key}
    path = f"{folder}:{os.environ['PATH']}"
    env = {**inherited, **variables, "PATH": path, "RECORD": str(record)}
    subprocess.run(command, cwd=folder, env=env, check=True, timeout=60)
    name, *args = record.read_text().split("\0")[:-1]
    return Path(name).name, args


def parsed(
    monkeypatch: pytest.MonkeyPatch, args: list[str], variables: dict[str, str]
) -> PredictCLI:
    """Parse a command's arguments as a process with some variables of SLURM or torchrun would."""
    for key in ("MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED", *os.environ):
        if "SLURM" in key or key in ("MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"):
            monkeypatch.setenv(key, "")  # restored, whatever is set by Lightning
            monkeypatch.delenv(key)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(ROOT)
    return make_cli([*args, *ANY_MACHINE], run=False)
