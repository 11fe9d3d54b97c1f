"""The same bytes by every path: ranks, workers, interruptions and what is left to do."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.warm import WarmProcess, WarmServer
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule

ONE_PROCESS = ("--trainer.devices=1", "--data.num_workers=0")
# A prompt end: less than the 30 s that Slurm and Kubernetes give before they kill.
SECONDS_TO_END = 15.0
# Shards, of six, that are on disk when an interruption comes.
DONE_WHEN_STALLED = 3


def ranks(number: int) -> tuple[str, ...]:
    return (f"--trainer.devices={number}", "--trainer.strategy=ddp", "--data.num_workers=0")


def digests(run: Path) -> dict[str, str]:
    """Return the sha256 of the plan and of every file that holds or describes embeddings."""
    files = [*run.glob("*.parquet"), *run.glob("pooled/*.parquet"), *run.rglob("grid.zarr/**/*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file()
    }


def _difference(ours: str | None, theirs: str | None) -> str:
    if ours is None or theirs is None:
        return "missing" if ours is None else "too many"
    return "" if ours == theirs else "other bytes"


def work(run: Path) -> dict[str, tuple[Any, ...]]:
    """Return how every shard was computed: small models can agree bit for bit by luck."""
    known = {path.name: json.loads(path.read_text()) for path in markers(run)}
    return {name: (m["batches"], m["threads"], m["tiles"]) for name, m in known.items()}


def assert_same(run: Path, reference: Path) -> None:
    """Compare the runs file by file, and how they were computed."""
    assert work(run) == work(reference)
    ours, theirs = digests(run), digests(reference)
    other = [
        f"{name}: {state}"
        for name in sorted(ours.keys() | theirs.keys())
        if (state := _difference(ours.get(name), theirs.get(name)))
    ]
    assert not other, f"{run} differs from {reference} in {len(other)} files: {'; '.join(other)}"
    leftovers = [path for path in run.rglob("*") if "tmp" in path.suffix or "probe" in path.name]
    assert not leftovers


def markers(run: Path) -> list[Path]:
    return sorted(run.glob("markers/*.json"))


@pytest.fixture(scope="module")
def reference(quick_run: Path) -> Path:
    """Return the folder of an undisturbed run in one process; runs may share its cache."""
    names = digests(quick_run / "run")
    assert len(markers(quick_run / "run")) == 6
    assert sum(name.startswith("pooled/") for name in names) == 6
    assert sum("embeddings/c/" in name for name in names) == 6
    return quick_run


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_do_not_change_the_bytes(
    thor_geo: Any, quickstart: list[str], reference: Path, tmp_path: Path, workers: int
) -> None:
    done = thor_geo(*quickstart, f"--data.num_workers={workers}")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "run", reference / "run")


def test_two_ranks_make_the_same_bytes_and_one_may_be_idle(
    thor_geo: Any, quickstart: list[str], reference: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = thor_geo(*quickstart, *ranks(2))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Embedded 19 tiles") == 1, "one summary, of the first rank"
    assert_same(run, reference / "run")

    # One shard is left for two ranks.
    lost = markers(run)[-1]
    lost.unlink()
    again = thor_geo(*quickstart, *ranks(2))
    assert again.returncode == 0, again.stderr
    assert "19 of 19" in again.stdout
    assert lost.is_file()
    assert_same(run, reference / "run")


@pytest.mark.long
def test_three_ranks_make_the_same_bytes(
    thor_geo: Any, quickstart: list[str], reference: Path, tmp_path: Path
) -> None:
    cache = f"--data.cache_dir={reference / 'cache'}"
    done = thor_geo(*quickstart, *ranks(3), cache)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "run", reference / "run")


def test_jobs_in_any_order_make_the_same_bytes(
    thor_geo: Any, quickstart: list[str], reference: Path, tmp_path: Path
) -> None:
    here = [*quickstart, f"--data.cache_dir={reference / 'cache'}", *ONE_PROCESS]
    here.append("--output.quicklook=true")
    run = tmp_path / "run"
    for job, shards in (("3/4", 2), ("1/4", 4), ("4/4", 5), ("2/4", 6)):
        done = thor_geo(*here, "--job", job)
        assert done.returncode == 0, done.stderr
        assert f"job       {job}" in done.stdout
        assert len(markers(run)) == shards
        assert (run / "quicklook.png").exists() == (shards == 6), "the last one draws"
    assert_same(run, reference / "run")


def test_torchrun_makes_the_same_bytes(
    root: Path, quickstart: list[str], reference: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            "--nproc-per-node=2",
            *("-m", "thor_geo", *quickstart, *ranks(2)),
            f"--data.cache_dir={reference / 'cache'}",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Embedded 19 tiles") == 1, "one summary, of the first rank"
    assert_same(tmp_path / "run", reference / "run")


def test_an_area_of_one_shard_leaves_the_second_rank_idle(
    thor_geo: Any, quickstart: list[str], reference: Path, tmp_path: Path
) -> None:
    here = [*quickstart, "--data.area.bbox=[12.003,59.99,12.004,59.991]"]
    here.append(f"--data.cache_dir={reference / 'cache'}")
    alone = thor_geo(*here, *ONE_PROCESS, f"--output.dir={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    assert len(markers(tmp_path / "alone")) == 1
    done = thor_geo(*here, *ranks(2))
    assert done.returncode == 0, done.stderr
    assert "geopandas.read_parquet" in done.stdout
    assert_same(tmp_path / "run", tmp_path / "alone")


@dataclass
class Started:
    """A command in a process group of its own, whose output goes to files."""

    process: WarmProcess
    run: Path
    log: Path

    def wait_until_stalled(self) -> None:
        deadline = time.monotonic() + 120
        while len(markers(self.run)) < DONE_WHEN_STALLED:
            said = self.log.read_text()
            assert self.process.poll() is None, f"it ended by itself: {said}"
            assert time.monotonic() < deadline, f"no three shards in two minutes: {said}"
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(
    archive: Path, warm_server: WarmServer, quickstart: list[str], tmp_path: Path
) -> Iterator[Callable[..., Started]]:
    """Return a function that starts the command, to be interrupted half way.

    The service stalls after three of six blocks (a block is a shard here), as Earth Engine may for
    minutes: the run cannot end before it is interrupted, and must not wait for the service then.
    """
    stalled = tuple(range(DONE_WHEN_STALLED + 1, 100))
    stall = FaultRule(kind="image:computePixels", nth=stalled, delay_s=120)
    # What is answered before are then the blocks that the model reads first.
    in_order = ("--data.concurrency=1", "--data.ahead=1")
    started: list[Started] = []

    with EmulatorProcess(archive, faults=FaultPlan(rules=(stall,))) as emulator:

        def begin(*args: str) -> Started:
            log = tmp_path / "log.txt"
            with log.open("wb") as output:
                process = warm_server.start(
                    *(*quickstart, *in_order, *args),
                    env={"THOR_GEO_EMULATOR_URL": emulator.url},
                    stdout=output,
                    stderr=output,
                )
            started.append(Started(process, tmp_path / "run", log))
            return started[-1]

        yield begin
        for one in started:
            if one.process.poll() is None:
                one.kill()


def processes() -> dict[int, int]:
    """Return the parent of every living process, by id; the dead that nobody waits for left out."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listing.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def descendants(pid: int) -> set[int]:
    parents, found = processes(), {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive_after(pids: set[int], seconds: float) -> set[int]:
    """Return which of some processes still live after a while."""
    deadline = time.monotonic() + seconds
    while (left := pids & processes().keys()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def test_a_killed_run_resumes_to_the_same_bytes(
    thor_geo: Any,
    quickstart: list[str],
    start: Callable[..., Started],
    reference: Path,
    tmp_path: Path,
) -> None:
    broken = start(*ONE_PROCESS)
    broken.wait_until_stalled()
    broken.kill()
    written = {path: path.read_bytes() for path in markers(tmp_path / "run")}
    assert len(written) == DONE_WHEN_STALLED

    resumed = thor_geo(*quickstart, *ONE_PROCESS)
    assert resumed.returncode == 0, resumed.stderr
    assert_same(tmp_path / "run", reference / "run")
    assert {path: path.read_bytes() for path in written} == written, (
        "finished shards are not redone"
    )


@pytest.mark.parametrize(
    "args", [("--data.num_workers=2",), ranks(2)], ids=["one-process", "two-ranks"]
)
def test_a_terminated_run_ends_at_once_says_how_to_go_on_and_resumes(
    thor_geo: Any,
    quickstart: list[str],
    start: Callable[..., Started],
    reference: Path,
    tmp_path: Path,
    args: tuple[str, ...],
) -> None:
    broken = start(*args)
    broken.wait_until_stalled()
    children = descendants(broken.process.pid)
    assert children, "at least the prefetch process"
    signalled = time.monotonic()
    broken.process.send_signal(signal.SIGTERM)
    code = broken.process.wait(timeout=SECONDS_TO_END)
    said = broken.log.read_text()
    assert code == 143, said
    assert "same command" in said
    assert "Traceback" not in said
    left = SECONDS_TO_END + 5 - (time.monotonic() - signalled)
    assert not alive_after(children, left), said
    assert len(markers(tmp_path / "run")) == DONE_WHEN_STALLED

    resumed = thor_geo(*quickstart, *args)
    assert resumed.returncode == 0, resumed.stderr
    assert_same(tmp_path / "run", reference / "run")
