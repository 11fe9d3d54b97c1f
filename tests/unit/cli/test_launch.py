"""If one of these fails, a wrong launch under SLURM or torchrun hangs, or runs other weights."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer

from thor_geo.cli import main
from thor_geo.cli.launch import Launch, SlurmRanks, cluster_environment
from thor_geo.cli.launch_checks import check_launch
from thor_geo.cli.predict import PredictCLI, make_cli
from thor_geo.errors import CheckpointError, ConfigError
from thor_geo.ground.job import Job
from thor_geo.tasks import THOREmbeddingTask

#: A task that srun started, alone.
TASK = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "thor-geo",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_NNODES": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
#: One of two tasks on one node.
TWO = {**TASK, "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
#: One of four tasks on two nodes.
FOUR = {**TWO, "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
#: The same without srun, and in the shell of salloc.
BATCH = {key: value for key, value in TWO.items() if key != "SLURM_STEP_ID"}
SALLOC = {
    key: value
    for key, value in BATCH.items()
    if key.split("_")[1] not in ("PROCID", "LOCALID", "NODEID")
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "thor-geo",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
DDP = ["--trainer.strategy=ddp", "--trainer.devices=2"]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what a launcher has told this process, and what Lightning sets."""
    names = {
        "RANK",
        "LOCAL_RANK",
        "NODE_RANK",
        "GROUP_RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
    }
    for key in {*os.environ, *names}:
        if key in names or key.startswith(("SLURM_", "TORCHELASTIC_", "PL_GLOBAL")):
            monkeypatch.setenv(key, "")  # restored, whatever is set meanwhile
            monkeypatch.delenv(key)


def parsed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *args: str, **variables: str
) -> PredictCLI:
    """Return the command as a process with these variables has it before it runs."""
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    config = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
    usual = [f"-c={config}", f"--output.dir={folder}", "--trainer.accelerator=cpu"]
    return make_cli([*usual, *args], run=False)


@pytest.mark.parametrize(
    ("variables", "args", "says"),
    [
        (BATCH, DDP, r"`trainer\.devices=2`: .*not started by srun.*Put srun before"),
        (SALLOC, DDP, r"`trainer\.devices=2`: .*not started by srun.*Put srun before"),
        (
            {**BATCH, "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"},
            DDP,
            r"`trainer\.devices=2`: the SLURM job has one task.*--ntasks-per-node=2",
        ),
        (
            {**TWO, "SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "3"},
            DDP,
            r"Set trainer\.devices=3",
        ),
        (
            {**TWO, "SLURM_NTASKS_PER_NODE": "4"},  # a step that is smaller than its job
            DDP,
            r"2 processes on 1 node, with --ntasks-per-node=4\. Start them .*node=2",
        ),
        (FOUR, DDP, r"`trainer\.num_nodes=1`: .*2 nodes.*Set trainer\.num_nodes=2"),
        (TWO, [], r"`trainer\.devices=1`: .*whole run of its own.*--job"),
        (FOUR, [], r"Set trainer\.devices=2 and trainer\.num_nodes=2"),
        (
            {**TWO, "SLURM_JOB_NAME": "bash"},
            DDP,
            r"`--job-name='bash'`: .*Give the job another name",
        ),
        (
            {**FOUR, "MASTER_ADDR": "127.0.0.1"},
            [*DDP, "--trainer.num_nodes=2"],
            r"`MASTER_ADDR='127\.0\.0\.1'`: .*2 nodes.*Unset the variable",
        ),
        ({}, [*DDP, "--trainer.num_nodes=2"], r"`trainer\.num_nodes=2`: nothing has started"),
        (TORCHRUN, DDP, r"`trainer\.num_nodes=1`: torchrun .*--nnodes=1"),
        (TORCHRUN, [], r"torchrun started 4 processes, and each would be the whole run"),
        (
            {**TORCHRUN, "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"},
            [*DDP, "--trainer.num_nodes=2"],
            r"Set trainer\.devices=3, or start them with --nproc-per-node=2",
        ),
    ],
)
def test_a_launch_that_does_not_fit_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    args: list[str],
    says: str,
) -> None:
    cli = parsed(monkeypatch, tmp_path, *args, **variables)
    with pytest.raises(ConfigError, match=says) as caught:
        cli.predict(model=cli.model, datamodule=cli.datamodule)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir()), "it was refused before any work"


def test_tasks_without_a_number_for_each_node_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = {key: value for key, value in TWO.items() if "PER_NODE" not in key}
    with pytest.raises(ConfigError, match=r"`--ntasks=2`: .*--ntasks-per-node=2\."):
        parsed(monkeypatch, tmp_path, *DDP, **variables)


def test_only_the_first_rank_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slept: list[float] = []
    monkeypatch.setattr(main.time, "sleep", slept.append)
    cli = parsed(monkeypatch, tmp_path, **{**TWO, "SLURM_PROCID": "1", "SLURM_LOCALID": "1"})
    with pytest.raises(SystemExit, match="2"):
        cli.predict(model=cli.model, datamodule=cli.datamodule)
    # srun --kill-on-bad-exit would stop the first before it has spoken
    assert sum(slept) >= 10


@pytest.mark.parametrize(
    ("variables", "args"),
    [
        ({}, []),
        ({}, DDP),
        (TASK, []),
        (TWO, DDP),
        (FOUR, [*DDP, "--trainer.num_nodes=2"]),
        # A batch script of several tasks, and an interactive shell, may start one process.
        (BATCH, []),
        (SALLOC, []),
        ({**SALLOC, "SLURM_JOB_NAME": "interactive"}, DDP),
        # Tasks that are jobs of their own.
        (TWO, ["--job=1/2"]),
        ({key: value for key, value in TWO.items() if "PER_NODE" not in key}, ["--job=2/2"]),
        (TORCHRUN, [*DDP, "--trainer.num_nodes=2"]),
    ],
)
def test_a_launch_that_fits_is_let_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], args: list[str]
) -> None:
    cli = parsed(monkeypatch, tmp_path, *args, **variables)
    check_launch(cli.trainer, cli.job)


def test_two_launches_in_one_job_have_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    def port(**variables: str) -> int:
        for key, value in {**TWO, **variables}.items():
            monkeypatch.setenv(key, value)
        (environment,) = cluster_environment(Launch.from_environment(), Job())
        assert isinstance(environment, SlurmRanks)
        return environment.main_port

    ports = {port(SLURM_STEP_ID=str(step)) for step in range(20)}
    assert len(ports) == 20
    assert all(20_000 <= port < 32_768 for port in ports)
    # all ranks of a launch know the same
    assert port(SLURM_PROCID="1", SLURM_LOCALID="1") == port(SLURM_PROCID="0", SLURM_LOCALID="0")
    # a job that is queued again need not wait for the port of before
    assert port(SLURM_RESTART_COUNT="1") != port(SLURM_RESTART_COUNT="0")
    assert port(MASTER_PORT="1234") == 1234


def test_a_step_meets_on_a_node_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """srun gives its tasks the job's nodes as SLURM_NODELIST, on which they need not be."""
    for key, value in {**TWO, "SLURM_NODELIST": "node[1-2]"}.items():
        monkeypatch.setenv(key, value)
    assert SlurmRanks().main_address == "node1"
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node2")
    assert SlurmRanks().main_address == "node2"
    monkeypatch.setenv("MASTER_ADDR", "other")
    assert SlurmRanks().main_address == "other"


@pytest.mark.parametrize(("rank", "waits"), [("0", False), ("1", True)])
def test_the_first_rank_speaks_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, waits: bool
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(main.time, "sleep", slept.append)
    monkeypatch.setenv("SLURM_PROCID", rank)
    with pytest.raises(SystemExit, match="2"):
        main.main(["predict", "-c", "no such file.yaml"])
    assert "no such file" in capsys.readouterr().err
    assert bool(slept) == waits


def test_a_port_that_another_process_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("", 0)) as other:
        port = str(other.getsockname()[1])
        cli = parsed(monkeypatch, tmp_path, *DDP, **TWO, MASTER_PORT=port)
        with pytest.raises(ConfigError, match=rf"`MASTER_PORT={port}`: .*in use.*free port"):
            check_launch(cli.trainer, cli.job)


def test_lightning_neither_requeues_nor_writes_checkpoints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli = parsed(monkeypatch, tmp_path, *DDP, **TWO)
    environment = cli.trainer.strategy.cluster_environment  # type: ignore[attr-defined]
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue
    cli = parsed(monkeypatch, tmp_path, **TASK)
    assert isinstance(
        cluster_environment(Launch.from_environment(), Job())[0], LightningEnvironment
    )


def test_a_checkpoint_in_a_folder_of_the_config_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "hpc_ckpt_3.ckpt").touch()
    root = f"--trainer.default_root_dir={tmp_path / 'root'}"
    with pytest.raises(ConfigError, match=r"`trainer\.default_root_dir=.*hpc_ckpt_3\.ckpt"):
        parsed(monkeypatch, tmp_path / "run", root, **TASK)
    for name in TASK:
        monkeypatch.delenv(name)
    assert parsed(monkeypatch, tmp_path / "run", root).trainer.default_root_dir == str(
        tmp_path / "root"
    )


def test_weights_that_were_replaced_after_loading_are_refused() -> None:
    task = THOREmbeddingTask(model_key="thor_v1_tiny", pretrained=False, image_size=96, threads=1)
    task.configure_model()
    task.on_predict_start()
    other = THOREmbeddingTask(
        model_key="thor_v1_tiny", pretrained=False, image_size=96, threads=1, seed=1
    )
    other.configure_model()
    task.load_state_dict(other.state_dict())
    with pytest.raises(CheckpointError, match=r"random weights \(seed 0\).*were replaced"):
        task.on_predict_start()
    with pytest.raises(CheckpointError, match="hpc_ckpt"):
        task.settings()


def test_lightning_itself_would_load_the_checkpoint_that_the_command_ignores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key, value in TASK.items():
        monkeypatch.setenv(key, value)
    task = THOREmbeddingTask(model_key="thor_v1_tiny", pretrained=False, image_size=96, threads=1)
    task.configure_model()
    state = {"state_dict": task.state_dict(), "pytorch-lightning_version": "2.6.6"}
    torch.save(state, tmp_path / "hpc_ckpt_1.ckpt")
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, devices=1)
    assert trainer._checkpoint_connector._hpc_resume_path is not None
    monkeypatch.chdir(tmp_path)
    cli = parsed(monkeypatch, tmp_path / "run", **TASK)
    assert cli.trainer._checkpoint_connector._hpc_resume_path is None
