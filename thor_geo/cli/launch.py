"""How the processes of a run were started: by SLURM, by torchrun, or by themselves."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from thor_geo.cli.main import EXIT_ERROR, let_first_rank_speak
from thor_geo.errors import ConfigError
from thor_geo.ground.job import Job
from thor_geo.storage import Location

#: Names of jobs in which Lightning takes no notice of SLURM (SLURMEnvironment.detect).
INTERACTIVE = frozenset({"bash", "interactive"})
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
    plain = not launch.together or job_name() in INTERACTIVE or not os.environ.keys() >= _RANK_NAMES
    if plain or (launch.tasks_per_node is None and (job.count > 1 or launch.starter == "sbatch")):
        return [LightningEnvironment()]
    if launch.tasks_per_node is None:
        refuse(
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


def refuse(launch: Launch, argument: str, value: object, problem: str, remedy: str) -> NoReturn:
    """Raise what is wrong with a launch on its first rank, and end the others in silence.

    Args:
        launch: The launch.
        argument: As `ConfigError` takes it, like the rest.
        value: See there.
        problem: See there.
        remedy: See there.

    Raises:
        ConfigError: On the first rank.
        SystemExit: On the others.
    """
    if launch.rank > 0:
        let_first_rank_speak()
        raise SystemExit(EXIT_ERROR)
    raise ConfigError(argument, value, problem, remedy)


def root_dir(configured: str | None, run: Location) -> Path:
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
        # Nothing is written there: a run in a store has no such folder.
        return run / "lightning" if isinstance(run, Path) else Path("lightning")
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
