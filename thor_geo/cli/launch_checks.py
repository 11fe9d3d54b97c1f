"""Whether the processes that were started are the ranks that the trainer expects."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import NoReturn

from lightning.pytorch import Trainer

from thor_geo.cli.launch import INTERACTIVE, Launch, SlurmRanks, job_name, refuse
from thor_geo.errors import ConfigError
from thor_geo.ground.job import Job
from thor_geo.support.words import counted


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


def _refuse_separate_runs(launch: Launch) -> NoReturn:
    local = launch.tasks_per_node or -(-launch.tasks // launch.nodes)
    refuse(
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
        refuse(
            launch,
            "trainer.num_nodes",
            nodes,
            "nothing has started a process on the other nodes, and this one would wait for them",
            "Start the command with srun or torchrun (docs/clusters.md), or set "
            "trainer.num_nodes=1.",
        )


def _check_started_by_srun(launch: Launch, devices: int, nodes: int) -> None:
    if job_name() in INTERACTIVE:
        _check_nodes(launch, nodes)
        return
    if launch.tasks > 1:
        refuse(
            launch,
            "trainer.devices",
            devices,
            f"the job has {launch.tasks} tasks, and this process was not started by srun: it would "
            "wait for the others",
            "Put srun before the command.",
        )
    refuse(
        launch,
        "trainer.devices" if devices > 1 else "trainer.num_nodes",
        devices if devices > 1 else nodes,
        "the SLURM job has one task, and Lightning starts none by itself there",
        f"Ask SLURM for --nodes={nodes} --ntasks-per-node={devices} and put srun before the "
        "command, or set trainer.devices=1 and trainer.num_nodes=1.",
    )


def _check_numbers(launch: Launch, devices: int, nodes: int) -> None:
    if launch.starter == "srun" and job_name() in INTERACTIVE:
        if launch.tasks == 1:
            _check_nodes(launch, nodes)
            return
        refuse(
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
        refuse(
            launch,
            "trainer.num_nodes",
            nodes,
            f"{launch.starter} started processes on {counted(launch.nodes, 'node')}",
            f"Set trainer.num_nodes={launch.nodes}, or start them with {name}={nodes}.",
        )
    started = launch.tasks // launch.nodes
    first = "" if started == devices else f"Set trainer.devices={started}, or start them with "
    refuse(
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
        refuse(
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
                f"nothing can listen on it ({error.strerror or error})",
                "Set the variable to a free port for each launch.",
            ) from error
