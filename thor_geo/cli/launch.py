"""How the processes of a run were started: by SLURM, by torchrun, or by themselves."""

from __future__ import annotations

import ipaddress
import os
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer

from thor_geo.cli.main import EXIT_ERROR, let_first_rank_speak
from thor_geo.errors import ConfigError
from thor_geo.ground.job import Job
from thor_geo.support.words import counted

# Names of jobs in which Lightning takes no notice of SLURM (SLURMEnvironment.detect).
_INTERACTIVE = frozenset({"bash", "interactive"})
# Ports of launches under SLURM, below those that Linux gives to outgoing connections (32768 on,
# net.ipv4.ip_local_port_range).
_PORTS = range(20_000, 32_768)
# What Lightning reads of a task's place; salloc does not set it.
_RANK_NAMES = frozenset({"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"})


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The processes of which this is one, as the environment tells.

    Attributes:
        starter: ``srun`` or ``torchrun``; ``sbatch`` for a process of a SLURM job that srun did not
            start; empty without any of them.
        rank: Of this process.
        tasks: How many processes were started; for ``sbatch``, for how many the job asked.
        nodes: On how many nodes.
        tasks_per_node: On each node, as SLURM was asked (``--ntasks-per-node``) or torchrun was
            told; None where that was left open.
    """

    starter: str = ""
    rank: int = 0
    tasks: int = 1
    nodes: int = 1
    tasks_per_node: int | None = 1

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None) -> Launch:
        """Read the launch.

        Args:
            variables: The environment; None for the process's own.
        """
        env = os.environ if variables is None else variables
        if "TORCHELASTIC_RUN_ID" in env:
            tasks, local = int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"])
            return cls(
                starter="torchrun",
                rank=int(env["RANK"]),
                tasks=tasks,
                nodes=-(-tasks // local),
                tasks_per_node=local,
            )
        if "SLURM_NTASKS" not in env:
            return cls()
        per_node = env.get("SLURM_NTASKS_PER_NODE")
        return cls(
            starter="srun" if "SLURM_STEP_ID" in env else "sbatch",
            rank=int(env.get("SLURM_PROCID", 0)),
            tasks=int(env["SLURM_NTASKS"]),
            nodes=int(env.get("SLURM_NNODES", 1)),
            tasks_per_node=None if per_node is None else int(per_node),
        )

    @property
    def together(self) -> bool:
        """Whether several processes were started as the ranks of one run."""
        return self.tasks > 1 and self.starter != ""


class SlurmRanks(SLURMEnvironment):
    """Lightning's ranks under SLURM, without its requeueing, each launch in a place of its own.

    Lightning requeues with a checkpoint of the model, which every later command in that folder
    would load; and it has all launches within a job meet on the job's first node, at one port.
    """

    def __init__(self) -> None:
        """Initialize a new SlurmRanks instance."""
        super().__init__(auto_requeue=False)

    @property
    def main_address(self) -> str:
        """The node of the first rank: ``MASTER_ADDR``, or the first of this step's nodes."""
        if address := os.environ.get("MASTER_ADDR"):
            return address
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST")
        return self.resolve_root_node_address(nodes or "127.0.0.1")

    @property
    def main_port(self) -> int:
        """The port of the first rank: ``MASTER_PORT``, or one that follows from job and step."""
        if port := os.environ.get("MASTER_PORT"):
            return int(port)
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        launch = ".".join(os.environ.get(name, "0") for name in names)
        return _PORTS[zlib.crc32(launch.encode()) % len(_PORTS)]


def cluster_environment(launch: Launch, job: Job) -> list[ClusterEnvironment]:
    """Return the plugin by which Lightning's trainer learns its ranks; none for torchrun.

    Args:
        launch: The launch.
        job: The part of the run: tasks of different jobs are not each other's ranks.

    Raises:
        ConfigError: If Lightning cannot tell the ranks from what SLURM was asked for.
    """
    if launch.starter == "torchrun":
        return []
    plain = (
        not launch.together or job_name() in _INTERACTIVE or not os.environ.keys() >= _RANK_NAMES
    )
    if plain or (launch.tasks_per_node is None and (job.count > 1 or launch.starter == "sbatch")):
        return [LightningEnvironment()]
    if launch.tasks_per_node is None:
        _refuse(
            launch,
            "--ntasks",
            launch.tasks,
            "with it alone, Lightning does not know how many tasks each node has",
            f"Ask SLURM for --ntasks-per-node={-(-launch.tasks // launch.nodes)}.",
        )
    return [SlurmRanks()]


def job_name() -> str:
    """Return the name of the SLURM job; empty outside SLURM."""
    return os.environ.get("SLURM_JOB_NAME", "")


def check_launch(trainer: Trainer, job: Job, launch: Launch | None = None) -> None:
    """Refuse a launch whose processes are not the ranks that the trainer expects.

    The first rank says so; the others end in silence, with the same exit code.

    Args:
        trainer: The trainer, before it runs.
        job: The part of the run.
        launch: The launch; None reads it from the environment.

    Raises:
        ConfigError: With what to change.
    """
    launch = Launch.from_environment() if launch is None else launch
    devices, nodes = trainer.num_devices, trainer.num_nodes
    ranks = devices * nodes
    if ranks == 1:
        if launch.starter in ("srun", "torchrun") and launch.tasks > 1 and job.count == 1:
            _refuse_separate_runs(launch)
        return
    if launch.starter == "":
        _check_nodes(launch, nodes)
    elif launch.starter == "sbatch":
        _check_started_by_srun(launch, devices, nodes)
    else:
        _check_numbers(launch, devices, nodes)
    _check_address(launch, nodes)
    _check_port(trainer, launch)


def _refuse(launch: Launch, argument: str, value: object, problem: str, remedy: str) -> NoReturn:
    if launch.rank > 0:
        let_first_rank_speak()
        raise SystemExit(EXIT_ERROR)
    raise ConfigError(argument, value, problem, remedy)


def _refuse_separate_runs(launch: Launch) -> NoReturn:
    local = launch.tasks_per_node or -(-launch.tasks // launch.nodes)
    _refuse(
        launch,
        "trainer.devices",
        1,
        f"{launch.starter} started {launch.tasks} processes, and each would be the whole run of "
        "its own",
        f"Set trainer.devices={local} and trainer.num_nodes={launch.nodes} to make them the ranks "
        "of one run, give each its own part with --job, or start one process.",
    )


def _check_nodes(launch: Launch, nodes: int) -> None:
    if nodes > 1 and not {"NODE_RANK", "GROUP_RANK", "LOCAL_RANK"} & os.environ.keys():
        _refuse(
            launch,
            "trainer.num_nodes",
            nodes,
            "nothing has started a process on the other nodes, and this one would wait for them",
            "Start the command with srun or torchrun (docs/clusters.md), or set "
            "trainer.num_nodes=1.",
        )


def _check_started_by_srun(launch: Launch, devices: int, nodes: int) -> None:
    if job_name() in _INTERACTIVE:
        _check_nodes(launch, nodes)
        return
    if launch.tasks > 1:
        _refuse(
            launch,
            "trainer.devices",
            devices,
            f"the job has {launch.tasks} tasks, and this process was not started by srun: it would "
            "wait for the others",
            "Put srun before the command.",
        )
    _refuse(
        launch,
        "trainer.devices" if devices > 1 else "trainer.num_nodes",
        devices if devices > 1 else nodes,
        "the SLURM job has one task, and Lightning starts none by itself there",
        f"Ask SLURM for --nodes={nodes} --ntasks-per-node={devices} and put srun before the "
        "command, or set trainer.devices=1 and trainer.num_nodes=1.",
    )


def _check_numbers(launch: Launch, devices: int, nodes: int) -> None:
    if launch.starter == "srun" and job_name() in _INTERACTIVE:
        if launch.tasks == 1:
            _check_nodes(launch, nodes)
            return
        _refuse(
            launch,
            "--job-name",
            job_name(),
            "Lightning takes no notice of SLURM in jobs of this name, so each of the "
            f"{launch.tasks} tasks would start a whole run of its own",
            "Give the job another name.",
        )
    local = launch.tasks_per_node
    option = "--ntasks-per-node" if launch.starter == "srun" else "--nproc-per-node"
    if launch.tasks == devices * nodes and launch.nodes == nodes and local == devices:
        return
    if launch.nodes != nodes:
        name = "--nodes" if launch.starter == "srun" else "--nnodes"
        _refuse(
            launch,
            "trainer.num_nodes",
            nodes,
            f"{launch.starter} started processes on {counted(launch.nodes, 'node')}",
            f"Set trainer.num_nodes={launch.nodes}, or start them with {name}={nodes}.",
        )
    started = launch.tasks // launch.nodes
    first = "" if started == devices else f"Set trainer.devices={started}, or start them with "
    _refuse(
        launch,
        "trainer.devices",
        devices,
        f"{launch.starter} started {counted(launch.tasks, 'process', 'processes')} on "
        f"{counted(launch.nodes, 'node')}, with {option}={local}",
        f"{first or 'Start them with '}{option}={devices}.",
    )


def _check_address(launch: Launch, nodes: int) -> None:
    address = os.environ.get("MASTER_ADDR")
    # torchrun tells its processes an address that they reach.
    if nodes == 1 or launch.starter == "torchrun" or address is None:
        return
    try:
        local = address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:  # a name
        return
    if local:
        _refuse(
            launch,
            "MASTER_ADDR",
            address,
            f"on each of the {nodes} nodes that is the node itself, and the ranks would wait for "
            "one another",
            "Unset the variable, or set it to the first node's name.",
        )


def _check_port(trainer: Trainer, launch: Launch) -> None:
    """Refuse a port that another process has, on the rank that would listen at it."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if not isinstance(environment, SlurmRanks) or launch.rank > 0:
        return
    port = environment.main_port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PyTorch's does
        try:
            listener.bind(("", port))
        except OSError as error:
            raise ConfigError(
                "MASTER_PORT",
                port,
                f"cannot be listened at ({error.strerror or error})",
                "Set the variable to a free port for each launch.",
            ) from error


def root_dir(configured: str | None, run: Path) -> Path:
    """Return the folder in which Lightning keeps files of its own: a run's, where nobody names one.

    Under SLURM, Lightning loads the last ``hpc_ckpt_*.ckpt`` of that folder over any model; it lies
    there because some training was requeued. The current folder is its usual choice.

    Args:
        configured: The config's ``trainer.default_root_dir``.
        run: The run directory.

    Raises:
        ConfigError: If there is such a checkpoint in the folder of the config.
    """
    if configured is None:
        return run / "lightning"
    checkpoint = next(Path(configured).glob("hpc_ckpt_*.ckpt"), None)
    if checkpoint is not None and "SLURM_NTASKS" in os.environ:
        raise ConfigError(
            "trainer.default_root_dir",
            str(configured),
            f"under SLURM, Lightning would load {checkpoint.name} from there over the weights",
            "Leave the key out, or name another folder.",
        )
    return Path(configured)


def plugins(configured: Any, launch: Launch, job: Job) -> list[Any]:
    """Return the trainer's plugins: those of the config and, unless it names one, the environment.

    Args:
        configured: The config's ``trainer.plugins``.
        launch: The launch.
        job: The part of the run.

    Raises:
        ConfigError: As `cluster_environment`.
    """
    listed = list(configured) if isinstance(configured, list | tuple) else [configured]
    listed = [plugin for plugin in listed if plugin is not None]
    if any(isinstance(plugin, ClusterEnvironment) for plugin in listed):
        return listed
    return [*listed, *cluster_environment(launch, job)]
