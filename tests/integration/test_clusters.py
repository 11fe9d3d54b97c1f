"""If one of these fails, a run on a cluster has other numbers, hangs, or ends with a wrong code."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import torch

#: What SLURM tells a task that it started alone.
TASK = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}


def vectors(run: Path) -> dict[str, str]:
    """Return the sha256 of every file of vectors."""
    files = sorted(run.glob("pooled/*.parquet"))
    assert files
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_checkpoint_of_a_requeued_training_is_not_loaded(
    root: Path, quickstart: list[str], quick_run: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "hpc_ckpt_1.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(1)}}, checkpoint)
    arguments = [arg.replace("configs/", f"{root}/configs/") for arg in quickstart]
    done = subprocess.run(
        [sys.executable, "-m", "thor_geo", *arguments, "--data.num_workers=0"],
        cwd=tmp_path,
        env={**os.environ, **TASK, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "auto-requeue" not in done.stderr
    assert vectors(tmp_path / "run") == vectors(quick_run / "run")
    assert sorted(tmp_path.glob("**/*.ckpt")) == [checkpoint]
