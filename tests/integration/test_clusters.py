"""If one of these fails, a run on a cluster has other numbers, hangs, or ends with a wrong code."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

Start = Callable[..., "subprocess.Popen[str]"]

#: What SLURM tells a task that it started alone.
TASK = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
# Small tiles and patches, so that a run lasts long enough to be disturbed.
LONG = (
    "--data.tile_size=144",
    "--data.shard_tiles=1",
    "--data.block_size=288",
    "--data.batch_size=1",
    "--data.area.bbox=[11.96,59.98,12.04,60.02]",
    "--model.patch_size=4",
)
# The first rank notices within a minute, after its own part is done.
NOTICED_S = 150.0


def vectors(run: Path) -> dict[str, str]:
    """Return the sha256 of every file of vectors."""
    files = sorted(run.glob("pooled/*.parquet"))
    assert files
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def start(root: Path, quickstart: list[str], tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts the quick run in a folder and process group of its own."""
    started: list[subprocess.Popen[str]] = []
    arguments = [arg.replace("configs/", f"{root}/configs/") for arg in quickstart]

    def begin(*args: str, **variables: str) -> subprocess.Popen[str]:
        log = (tmp_path / f"log{len(started)}").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "thor_geo", *arguments, *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root), **variables},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_markers(run: Path, process: subprocess.Popen[str], log: Path) -> None:
    """Wait until a run is under way."""
    deadline = time.monotonic() + 240
    while not [*run.glob("markers/*.json")]:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_a_checkpoint_of_a_requeued_training_is_not_loaded(
    start: Start, quick_run: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "hpc_ckpt_1.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(1)}}, checkpoint)
    process = start("--data.num_workers=0", **TASK)
    code = process.wait(300)
    said = (tmp_path / "log0").read_text()
    assert code == 0, said
    assert "auto-requeue" not in said
    assert vectors(tmp_path / "run") == vectors(quick_run / "run")
    assert sorted(tmp_path.glob("**/*.ckpt")) == [checkpoint]


@pytest.mark.long
def test_sigterm_to_the_whole_group_ends_with_its_code(start: Start, tmp_path: Path) -> None:
    process = start(*LONG, "--data.num_workers=2")
    wait_for_markers(tmp_path / "run", process, tmp_path / "log0")
    os.killpg(process.pid, signal.SIGTERM)
    for _ in range(10):  # as impatient schedulers do
        time.sleep(0.5)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    said = (tmp_path / "log0").read_text()
    assert code == 143, said
    assert "memory" not in said
    assert "run the same command to continue" in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "says"),
    [(signal.SIGKILL, "no sign of life"), (signal.SIGTERM, "stopped by a signal")],
)
def test_a_rank_that_is_gone_ends_the_first_with_a_code_that_starts_it_again(
    start: Start, tmp_path: Path, number: int, says: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    # As a launcher does on a node: Lightning starts no process if LOCAL_RANK is set.
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    arguments = (*LONG, "--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=0")
    first, other = (
        start(*arguments, NODE_RANK="0", LOCAL_RANK=str(rank), **variables) for rank in (0, 1)
    )
    wait_for_markers(tmp_path / "run", first, tmp_path / "log0")
    other.send_signal(number)
    code = first.wait(NOTICED_S)
    said = (tmp_path / "log0").read_text()
    assert code == 75, said
    assert "RankLostError: Rank 1 " in said
    assert says in said
    assert "Traceback" not in said
