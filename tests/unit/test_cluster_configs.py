"""If this fails, a script of configs/cluster/ starts the wrong run, or ends wrongly."""

from __future__ import annotations

import os
import re
import subprocess
from functools import partial
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from tests.support.cluster_scripts import FOLDER, RECORD, ROOT, RUN, SRUN, Parse, parsed, recorded
from thor_geo.cli.main import EXIT_ERROR, EXIT_RETRY
from thor_geo.cli.predict import EXIT_FAILED_TILES
from thor_geo.ground.job import Job
from thor_geo.tasks.signals import EXIT_SIGTERM

SCRIPTS = [path for path in sorted(FOLDER.iterdir()) if path.suffix != ".yaml"]

# What SLURM tells a job and its first process. The array's size is that of `--array=17,23`.
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "thor-geo",
    "SLURM_CPUS_PER_TASK": "8",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "node[1-2]",
}
ARRAY = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "17", "SLURM_ARRAY_TASK_COUNT": "2"}


def directives(script: str) -> dict[str, str]:
    """Return a script's `#SBATCH --key=value` lines."""
    text = (ROOT / "configs" / "cluster" / script).read_text()
    return dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))


def slurm(script: str) -> dict[str, str]:
    """Return the variables that SLURM sets for a script's directives."""
    asked = directives(script)
    nodes = int(asked.get("nodes", 1))
    variables = {**SLURM, "SLURM_NNODES": str(nodes), "SLURM_CPUS_PER_TASK": asked["cpus-per-task"]}
    if "ntasks-per-node" in asked:
        variables["SLURM_NTASKS_PER_NODE"] = asked["ntasks-per-node"]
        variables["SLURM_NTASKS"] = str(nodes * int(asked["ntasks-per-node"]))
    else:
        variables["SLURM_NTASKS"] = asked["ntasks"]
    return variables


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Return a function that parses a command's arguments as that process would."""
    return partial(parsed, monkeypatch)


def test_the_folder_holds_what_the_page_names() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    named = set(re.findall(r"\(\.\./configs/cluster/([\w.]+)\)", page))
    assert named == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_valid_and_stops_at_the_first_error(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    assert "\nset -euo pipefail\n" in path.read_text()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_without_its_config_says_what_is_missing(path: Path) -> None:
    done = subprocess.run(["bash", path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "give the " in done.stderr


def test_one_process_for_each_gpu_on_every_node(tmp_path: Path, parse: Parse) -> None:
    asked, variables = directives("slurm.sbatch"), slurm("slurm.sbatch")
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    script = ["bash", "configs/cluster/slurm.sbatch", RUN]
    name, args = recorded(script, tmp_path, variables)
    assert (name, args[0]) == ("thor-geo", "predict")
    # Lightning refuses devices and nodes other than SLURM's.
    cli = parse(args[1:], variables)
    assert cli.trainer.num_devices == int(asked["gpus-per-node"])
    assert cli.trainer.num_nodes == int(asked["nodes"])
    assert cli.trainer.world_size == int(variables["SLURM_NTASKS"])
    assert cli.datamodule.num_workers == int(asked["cpus-per-task"]) - 2
    assert cli.datamodule.feed.spec.source.source.credentials == "service_account"


def test_a_job_of_the_array_is_the_same_part_however_many_are_submitted(
    tmp_path: Path, parse: Parse
) -> None:
    asked, variables = directives("slurm_array.sbatch"), slurm("slurm_array.sbatch") | ARRAY
    script = ["bash", "configs/cluster/slurm_array.sbatch", RUN]
    name, args = recorded(script, tmp_path, variables)
    assert (name, args[0]) == ("thor-geo", "predict")
    cli = parse(args[1:], variables)
    first, last, at_once = re.fullmatch(r"(\d+)-(\d+)%(\d+)", asked["array"]).groups()  # type: ignore[union-attr]
    assert int(first) == 1
    assert cli.job == Job(index=17, count=int(last), at_once=int(at_once))
    assert cli.trainer.world_size == int(asked["ntasks"]) == int(asked["gpus-per-node"]) == 1
    # pre-emption: started again, the log kept, and time to requeue before time is over
    assert {"requeue", "open-mode", "signal"} <= set(asked)
    assert asked["signal"].startswith("B:USR1@")


def test_the_cache_is_filled_without_a_gpu(tmp_path: Path, parse: Parse) -> None:
    variables = slurm("fetch.sbatch")
    name, args = recorded(["bash", "configs/cluster/fetch.sbatch", RUN], tmp_path, variables)
    assert (name, args[0]) == ("thor-geo", "fetch")
    assert not any("gpu" in key for key in directives("fetch.sbatch"))
    assert parse(args[1:], variables).job == Job()


def test_torchrun_and_lightning_are_told_the_same_numbers(tmp_path: Path, parse: Parse) -> None:
    script = ["bash", "configs/cluster/torchrun.sh", "node1", RUN]
    name, args = recorded(script, tmp_path, {})
    assert name == "torchrun"
    torchrun = get_args_parser().parse_args(args)
    assert torchrun.module
    assert torchrun.training_script == "thor_geo"
    assert torchrun.max_restarts == 0
    nodes, processes = int(torchrun.nnodes), int(torchrun.nproc_per_node)
    assert torchrun.training_script_args[0] == "predict"
    # What torchrun tells its first process.
    variables = {
        "TORCHELASTIC_RUN_ID": torchrun.rdzv_id,
        "RANK": "0",
        "LOCAL_RANK": "0",
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(nodes * processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "node1",
        "MASTER_PORT": "29500",
    }
    cli = parse(torchrun.training_script_args[1:], variables)
    assert (cli.trainer.num_nodes, cli.trainer.num_devices) == (nodes, processes)
    assert cli.trainer.world_size == nodes * processes


SBATCH = ["slurm.sbatch", "slurm_array.sbatch", "fetch.sbatch"]
# In the place of srun: three tasks, of which the first to fail has the others ended, as with
# --kill-on-bad-exit; the highest code is returned.
SRUN_OF_THREE = r"""#!/bin/bash
while [[ "$1" == -* ]]; do shift; done
pids=()
for SLURM_PROCID in 0 1 2; do
    export SLURM_PROCID
    "$@" & pids+=($!)
done
highest=0 left=3
while [ $left -gt 0 ]; do
    code=0; wait -n || code=$?; left=$((left - 1))
    [ $code -gt $highest ] && highest=$code
    [ $code != 0 ] && kill -TERM "${pids[@]}" 2>/dev/null
done
exit $highest
"""


def ended(
    script: str, folder: Path, thor_geo: str, *, restarts: int = 0, srun: str = SRUN
) -> subprocess.CompletedProcess[str]:
    """Run a script with a stand-in for the command; `record` shows whether it was queued again."""
    commands = {"srun": srun, "thor-geo": f"#!/bin/bash\n{thor_geo}\n", "scontrol": RECORD}
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    env = {
        **os.environ,
        **slurm(script),
        **ARRAY,
        "SLURM_RESTART_COUNT": str(restarts),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "RECORD": str(folder / "record"),
    }
    command = ["bash", str(ROOT / "configs" / "cluster" / script), RUN]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert not [*folder.glob(".*")], "nothing is left of how the codes were noted"
    return done


def queued_again(folder: Path) -> bool:
    """Return whether `scontrol requeue` was called."""
    record = folder / "record"
    if not record.exists():
        return False
    assert record.read_text().split("\0")[1:3] == ["requeue", "4711"]
    return True


@pytest.mark.parametrize("script", SBATCH)
@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [
        (EXIT_RETRY, 0, True),
        (EXIT_RETRY, 10, False),
        # before a pre-emption with a grace time; a cancelled job's shell is killed
        (EXIT_SIGTERM, 10, True),
        (EXIT_SIGTERM, 100, False),
        (EXIT_ERROR, 0, False),
        (EXIT_FAILED_TILES, 0, False),
        (137, 0, False),
        (1, 0, False),
        (0, 0, False),
    ],
)
def test_a_passing_trouble_queues_the_job_again(
    tmp_path: Path, script: str, code: int, restarts: int, again: bool
) -> None:
    done = ended(script, tmp_path, f"exit {code}", restarts=restarts)
    assert done.returncode == code
    assert queued_again(tmp_path) == again
    assert ("want of memory" in done.stderr) == (code == 137)


@pytest.mark.parametrize("script", SBATCH)
@pytest.mark.parametrize(("code", "again"), [(EXIT_RETRY, True), (EXIT_ERROR, False), (3, False)])
def test_the_code_of_the_rank_that_failed_counts_not_that_of_those_ended_for_it(
    tmp_path: Path, script: str, code: int, again: bool
) -> None:
    command = f"""trap 'exit {EXIT_SIGTERM}' TERM
if [ "$SLURM_PROCID" = 1 ]; then sleep 0.3; exit {code}; fi
sleep 20 > /dev/null 2>&1 & wait $!"""
    done = ended(script, tmp_path, command, srun=SRUN_OF_THREE)
    assert done.returncode == code
    assert queued_again(tmp_path) == again


@pytest.mark.parametrize("script", SBATCH)
def test_want_of_memory_is_told_whatever_srun_makes_of_it(tmp_path: Path, script: str) -> None:
    # After an oom-kill in the step, srun returns 1 whatever the task exits with.
    srun = SRUN.replace('exec "$@"', '"$@"\nexit 1')
    done = ended(script, tmp_path, f"exit {EXIT_RETRY}", srun=srun)
    assert done.returncode == EXIT_RETRY
    assert "want of memory" in done.stderr
    assert queued_again(tmp_path)


@pytest.mark.parametrize("script", ["slurm.sbatch", "slurm_array.sbatch"])
@pytest.mark.parametrize(("restarts", "again"), [(0, True), (100, False)])
def test_a_job_whose_time_is_nearly_over_is_queued_again(
    tmp_path: Path, script: str, restarts: int, again: bool
) -> None:
    # The shell above srun gets USR1, and the run goes on meanwhile.
    srun = SRUN.replace('exec "$@"', 'kill -USR1 $PPID; "$@"')
    done = ended(script, tmp_path, "sleep 0.5", restarts=restarts, srun=srun)
    assert done.returncode == 0
    assert queued_again(tmp_path) == again
    assert "Time is nearly over" in done.stderr


def test_a_signal_to_a_task_reaches_the_command(tmp_path: Path) -> None:
    # srun's tasks get the signal, and not what they have started.
    srun = SRUN.replace(
        'exec "$@"', '"$@" & task=$!; sleep 0.5; kill -TERM $task; wait $task; exit $?'
    )
    command = (
        f"trap 'echo told > told; exit {EXIT_SIGTERM}' TERM; sleep 20 > /dev/null 2>&1 & wait $!"
    )
    ended("slurm_array.sbatch", tmp_path, command, srun=srun)
    assert (tmp_path / "told").read_text() == "told\n"


@pytest.mark.parametrize("script", [*SBATCH, "torchrun.sh"])
def test_a_run_of_another_source_is_not_turned_into_one_of_earth_engine(
    tmp_path: Path, script: str
) -> None:
    run = str(ROOT / "configs" / "quickstart.yaml")
    head = ["node1"] if script == "torchrun.sh" else []
    variables = {} if head else slurm(script) | ARRAY
    command = ["bash", f"configs/cluster/{script}", *head, run]
    _, args = recorded(command, tmp_path, variables)
    assert not any("earthengine" in arg for arg in args)


def test_the_three_scripts_have_their_common_part_in_common() -> None:
    parts = {
        re.search(r"# ---- the same in .*?# ---- until here ----", text, re.DOTALL)[0]  # type: ignore[index]
        for text in ((ROOT / "configs" / "cluster" / name).read_text() for name in SBATCH)
    }
    assert len(parts) == 1


@pytest.mark.parametrize(
    ("script", "trainer"), [("slurm.sbatch", "ddp"), ("slurm_array.sbatch", "gpu")]
)
def test_the_trainer_is_that_of_the_config_for_a_pilot(
    tmp_path: Path, script: str, trainer: str
) -> None:
    variables = slurm(script) | ARRAY
    _, args = recorded(["bash", f"configs/cluster/{script}", RUN], tmp_path, variables)
    keys = dict(arg.removeprefix("--trainer.").split("=") for arg in args if "--trainer." in arg)
    config = yaml.safe_load((ROOT / "configs" / "trainer" / f"{trainer}.yaml").read_text())
    for name, value in config["trainer"].items():
        if name not in ("devices", "num_nodes", "use_distributed_sampler"):
            assert keys[name] == str(value)


def test_further_arguments_are_passed_on_and_make_a_run_on_cpus(
    tmp_path: Path, parse: Parse
) -> None:
    more = ["-c", "configs/trainer/ddp_cpu.yaml", "--data.num_workers=3"]
    variables = slurm("slurm.sbatch")
    _, args = recorded(["bash", "configs/cluster/slurm.sbatch", RUN, *more], tmp_path, variables)
    cli = parse(args[1:], variables)
    assert cli.trainer.precision == "32-true"
    assert cli.trainer.world_size == int(variables["SLURM_NTASKS"])
    assert cli.datamodule.num_workers == 3
    for script in ("slurm_array.sbatch", "fetch.sbatch"):
        _, args = recorded(
            ["bash", f"configs/cluster/{script}", RUN, *more], tmp_path, slurm(script) | ARRAY
        )
        assert args[args.index("-c", 3) :][:3] == more
    _, args = recorded(["bash", "configs/cluster/torchrun.sh", "node1", RUN, *more], tmp_path, {})
    assert more[-1] in args
