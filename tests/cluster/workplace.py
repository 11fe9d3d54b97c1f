"""Where jobs are submitted and looked at."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.daemons import Cluster

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "configs" / "cluster"
# A job ends, is queued again, and ends again within this time.
PATIENCE_S = 600.0
# Shards on the disk when something happens to the job.
DONE = 2

_RUN = """trainer: {accelerator: cpu, devices: 1}
model: {model_key: thor_v1_tiny, pretrained: false, patch_size: 4, threads: 1}
data:
  emulator: {archive: null}
  area: {bbox: [11.96, 59.98, 12.04, 60.02]}
  start: 2022-06-01
  end: 2022-09-01
  sentinel2: {cloudy_pct: 60, mask: scl}
  tile_size: 144
  shard_tiles: 1
  block_size: 288
  batch_size: 1
  num_workers: 1
  cache_dir: cache
output: {dir: reference, quicklook: false}
"""
_STATES = re.compile(r"(\w+)=(\S*)")


class Workplace:
    """A folder from which jobs are submitted, outside the checkout, and the undisturbed run."""

    def __init__(self, cluster: Cluster) -> None:
        """Initialize a new Workplace instance.

        Args:
            cluster: A running one.
        """
        self.cluster = cluster
        self.folder = cluster.base / "work of a user"
        self.folder.mkdir()
        #: The checkout's commit, and the day.
        self.commit = f"{commit()}, {dt.datetime.now(dt.UTC):%Y-%m-%d}"
        self._reference: dict[str, str] = {}
        self._runs = 0

    def prepare(self) -> None:
        """Fill the cache with fetch.sbatch, and make the undisturbed run."""
        (self.folder / "run.yaml").write_text(_RUN)
        job = self.submit("fetch.sbatch", "--cpus-per-task=2", more=())
        state = self.end(job)
        assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), self.log(job)
        command = [sys.executable, "-m", "thor_geo", "predict", "-c", "run.yaml"]
        environment = {**self.cluster.environment, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=self.folder, env=environment, check=True, timeout=600)
        self._reference = digests(self.folder / "reference")

    def new_run(self) -> Path:
        """Return the folder of a run that does not exist yet."""
        self._runs += 1
        return self.folder / f"run {self._runs}"

    def submit(self, script: str, *options: str, more: tuple[str, ...], **variables: str) -> int:
        """Submit a shipped script as it is; return the job's id.

        Args:
            script: Its name.
            *options: Of sbatch.
            more: Arguments after the run's config.
            **variables: Of the shell that submits.
        """
        usual = ("--parsable", "--mem-per-cpu=2G", "--time=30")
        command = ["sbatch", *usual, *options, str(SCRIPTS / script), "run.yaml", *more]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.cluster.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def wrapped(self, command: str, *options: str) -> int:
        """Submit a command in a script of its own; return the job's id."""
        text = ("--parsable", "--mem-per-cpu=2G", "--output=thor-geo-%j.log", f"--wrap={command}")
        return int(self.cluster.run("sbatch", f"--chdir={self.folder}", *options, *text))

    def state(self, job: int | str) -> dict[str, str]:
        """Return what SLURM says of a job."""
        return dict(_STATES.findall(self.cluster.run("scontrol", "-o", "show", "job", str(job))))

    def end(self, job: int | str) -> dict[str, str]:
        """Wait for the end of a job, however often it is queued again."""
        deadline = time.monotonic() + PATIENCE_S
        while (state := self.state(job))["JobState"] in (
            *("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING", "PREEMPTED"),
            "NODE_FAIL",
        ):
            assert time.monotonic() < deadline, f"still {state['JobState']}: {self.log(job)}"
            time.sleep(1)
        return state

    def log(self, job: int | str) -> str:
        """Return what a job has printed."""
        files = [*self.folder.glob(f"thor-geo-*{job}.log"), *self.folder.glob(f"*-{job}_*.log")]
        return "\n".join(file.read_text() for file in files)

    def wait_until_under_way(self, job: int | str, run: Path) -> None:
        """Wait until a run has written some shards."""
        deadline = time.monotonic() + PATIENCE_S
        while len([*run.glob("markers/*.json")]) < DONE:
            assert self.state(job)["JobState"] in ("PENDING", "RUNNING"), self.log(job)
            assert time.monotonic() < deadline, self.log(job)
            time.sleep(0.3)

    def check(self, run: Path, *jobs: int | str) -> None:
        """Compare a run with the undisturbed one, and look for what no log should hold."""
        ours = digests(run)
        differing = [name for name in self._reference if ours.get(name) != self._reference[name]]
        assert ours == self._reference, f"{len(differing)} files differ, the first {differing[:1]}"
        for job in jobs:
            assert "Traceback" not in self.log(job), self.log(job)
        assert not [*self.folder.glob("*.ckpt"), *self.folder.glob(".thor-geo-*")]
        assert not (run / ".ranks").exists()


def commit() -> str:
    """Return the checkout's commit, and whether anything but the report differs from it."""

    def git(*command: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!tests/cluster/report.md")
    return git("rev-parse", "--short", "HEAD") + (" and changes" if changed else "")


def digests(run: Path) -> dict[str, str]:
    """Return the sha256 of the plan and of every file that holds or describes embeddings."""
    files = [*run.glob("*.parquet"), *run.glob("pooled/*.parquet"), *run.rglob("grid.zarr/**/*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file()
    }
