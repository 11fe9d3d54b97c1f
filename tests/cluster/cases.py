"""What happens to jobs on clusters, and what must follow."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.daemons import NODES
from tests.cluster.workplace import PATIENCE_S, ROOT, Workplace
from thor_geo.support.words import counted

# Two nodes with a process each, and an array of two jobs, on the CPU.
_SLURM = ("--gpus-per-node=0", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2")
_ARRAY = ("--gpus-per-node=0", "--cpus-per-task=2", "--array=1-2%2")
_ON_CPU = ("-c", str(ROOT / "configs" / "trainer" / "ddp_cpu.yaml"))
_ONE_CPU = ("--trainer.accelerator=cpu", "--trainer.precision=32-true")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something that happens to a job.

    Attributes:
        script: The shipped script.
        event: What happens.
        expected: What must follow.
        run: Makes it happen; returns what was seen, or fails.
    """

    script: str
    event: str
    expected: str
    run: Callable[[Workplace], str]


def _ended(state: dict[str, str]) -> str:
    restarts = counted(int(state["Restarts"]), "restart")
    return f"{state['JobState']} {state['ExitCode']}, {restarts}"


def _start(work: Workplace, *options: str) -> tuple[int, Path]:
    run = work.new_run()
    return work.submit("slurm.sbatch", *_SLURM, *options, more=_more(run)), run


def _more(run: Path) -> tuple[str, ...]:
    return (*_ON_CPU, f"--output.dir={run}")


def _completed(work: Workplace, job: int, run: Path, *, restarts: bool) -> str:
    state = work.end(job)
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), work.log(job)
    assert (int(state["Restarts"]) > 0) == restarts, _ended(state)
    work.check(run, job)
    return f"{_ended(state)}, same bytes"


def _undisturbed(work: Workplace) -> str:
    job, run = _start(work, "--ntasks-per-node=2")
    seen = _completed(work, job, run, restarts=False)
    assert work.log(job).count("has RANDOM weights") == 1, "the start is told once"
    return seen


def _disturbed(
    disturb: Callable[[Workplace, int], None], *options: str
) -> Callable[[Workplace], str]:
    """Return a case in which the job is queued again, and ends well."""

    def run_case(work: Workplace) -> str:
        job, run = _start(work, *options)
        work.wait_until_under_way(job, run)
        disturb(work, job)
        return _completed(work, job, run, restarts=True)

    return run_case


def _requeue(work: Workplace, job: int) -> None:
    work.cluster.run("scontrol", "requeue", str(job))


def _preempt(work: Workplace, job: int) -> None:
    work.wrapped("sleep 3", "--partition=first", f"--nodes={len(NODES)}", "--exclusive")


def _warn(work: Workplace, job: int) -> None:
    # So that it is two minutes before the end; the limit is the job's, and stays when it is queued.
    work.cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=2")
    deadline = time.monotonic() + PATIENCE_S
    while work.state(job)["Restarts"] == "0":
        assert time.monotonic() < deadline, work.log(job)
        time.sleep(0.5)
    work.cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=30")


def _kill_reader(work: Workplace, job: int) -> None:
    group = Path("/sys/fs/cgroup/freezer/thor2")
    for file in group.rglob("cgroup.procs"):
        for pid in file.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().startswith("pt_data_worker"):
                os.kill(int(pid), signal.SIGKILL)
                return
    raise AssertionError("no reading process was found")


def _lose_node(work: Workplace, job: int) -> None:
    work.cluster.lose("thor2")


def _lost_node(work: Workplace) -> str:
    try:
        return _disturbed(_lose_node)(work)
    finally:
        work.cluster.restore("thor2")


def _cancelled(work: Workplace) -> str:
    job, run = _start(work)
    work.wait_until_under_way(job, run)
    work.cluster.run("scancel", str(job))
    state = work.end(job)
    assert state["JobState"] == "CANCELLED", _ended(state)
    time.sleep(15)  # more than a job that is queued again waits
    assert work.state(job)["JobState"] == "CANCELLED", "it was queued again"
    again = work.submit("slurm.sbatch", *_SLURM, more=_more(run))
    return f"{_ended(state)}; again: {_completed(work, again, run, restarts=False)}"


def _array(work: Workplace) -> str:
    run = work.new_run()
    more = (*_ONE_CPU, f"--output.dir={run}")
    job = work.submit("slurm_array.sbatch", *_ARRAY, "--partition=grace", more=more, JOBS="2")
    work.wait_until_under_way(f"{job}_1", run)
    _preempt(work, job)
    states = [work.end(f"{job}_{k}") for k in (1, 2)]
    for state in states:
        assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), work.log(job)
    assert any(int(state["Restarts"]) for state in states), "nothing was pre-empted"
    work.check(run, job)
    return "; ".join(map(_ended, states)) + ", same bytes"


def _out_of_memory(work: Workplace) -> str:
    run = work.new_run()
    more = (*_ONE_CPU, f"--output.dir={run}")
    options = (*_ARRAY, "--array=1", "--cpus-per-task=1", "--mem-per-cpu=400M")
    job = work.submit("slurm_array.sbatch", *options, more=more, JOBS="2")
    state = work.end(f"{job}_1")
    assert state["JobState"] in ("FAILED", "OUT_OF_MEMORY"), _ended(state)
    assert "want of memory" in work.log(job), work.log(job)
    return f"{_ended(state)}, told"


def _two_at_once(nodes: int) -> Callable[[Workplace], str]:
    """Return a case of two steps at the same time, on one node or on one each."""

    def run_case(work: Workplace) -> str:
        run = work.new_run()
        first, second = (
            f"srun --exact --nodes=1 --relative={k % nodes} --ntasks=2 --ntasks-per-node=2 "
            f"--cpus-per-task=1 thor-geo predict -c run.yaml {_TWO} --job {k + 1}/2 "
            f"'--output.dir={run}'"
            for k in (0, 1)
        )
        command = f"{first} & other=$!; {second} && wait $other"
        options = (f"--nodes={nodes}", f"--ntasks-per-node={4 // nodes}")
        job = work.wrapped(command, "--job-name=thor-geo", *options)
        return _completed(work, job, run, restarts=False)

    return run_case


def _refused(arguments: str, *options: str, says: str, srun: bool = True) -> Callable[..., str]:
    """Return a case of a launch that does not fit."""

    def run_case(work: Workplace) -> str:
        starter = "srun " if srun else ""
        command = f"{starter}thor-geo predict -c run.yaml --output.dir=never {arguments}"
        job = work.wrapped(command, "--job-name=thor-geo", *options)
        state, log = work.end(job), work.log(job)
        assert state["ExitCode"].split(":")[0] == "2", f"{_ended(state)}: {log}"
        assert "Traceback" not in log, log
        lines = [line for line in log.splitlines() if line.startswith("thor-geo: ")]
        assert len(lines) == 1, log
        assert says in lines[0], log
        return f"{state['JobState']} {state['ExitCode']}: {lines[0].removeprefix('thor-geo: ')}"

    return run_case


_TWO = "--trainer.strategy=ddp --trainer.devices=2"
_SAME = "COMPLETED, same bytes"
_AGAIN = f"queued again; {_SAME}"

#: All cases.
CASES = (
    Case(script="slurm", event="nothing, 2 ranks a node", expected=_SAME, run=_undisturbed),
    Case(
        script="slurm",
        event="scancel",
        expected="CANCELLED, not queued again; submitted again: same bytes",
        run=_cancelled,
    ),
    Case(script="slurm", event="scontrol requeue", expected=_AGAIN, run=_disturbed(_requeue)),
    Case(
        script="slurm",
        event="pre-emption",
        expected=_AGAIN,
        run=_disturbed(_preempt),
    ),
    Case(
        script="slurm",
        event="pre-emption with GraceTime=60",
        expected=_AGAIN,
        run=_disturbed(_preempt, "--partition=grace"),
    ),
    Case(script="slurm", event="time limit", expected=_AGAIN, run=_disturbed(_warn)),
    Case(script="slurm", event="a reader is killed", expected=_AGAIN, run=_disturbed(_kill_reader)),
    Case(script="slurm", event="a node is lost", expected=_AGAIN, run=_lost_node),
    Case(
        script="slurm_array",
        event="pre-emption with GraceTime=60",
        expected=_AGAIN,
        run=_array,
    ),
    Case(
        script="slurm_array",
        event="out of memory",
        expected="FAILED, and told",
        run=_out_of_memory,
    ),
    Case(
        script="none",
        event="two launches at once in a job, on one node",
        expected=_SAME,
        run=_two_at_once(1),
    ),
    Case(
        script="none",
        event="two launches at once in a job, on a node each",
        expected=_SAME,
        run=_two_at_once(2),
    ),
    Case(
        script="none",
        event="`srun --ntasks=2`",
        expected="one line, exit code 2",
        run=_refused(_TWO, "--ntasks=2", says="--ntasks-per-node=2"),
    ),
    Case(
        script="none",
        event="two tasks, trainer.devices=1",
        expected="one line, exit code 2",
        run=_refused("", "--nodes=1", "--ntasks-per-node=2", says="run of its own"),
    ),
    Case(
        script="none",
        event="two tasks, no srun",
        expected="one line, exit code 2",
        run=_refused(_TWO, "--nodes=1", "--ntasks-per-node=2", says="Put srun before", srun=False),
    ),
    Case(
        script="none",
        event="three tasks, trainer.devices=2",
        expected="one line, exit code 2",
        run=_refused(_TWO, "--nodes=1", "--ntasks-per-node=3", says="trainer.devices=3"),
    ),
)
