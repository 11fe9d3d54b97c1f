"""A run in an object store: kill -9 at any request, and a store that fails in every way there is.

Claim (docs/performance.md, "Robustness"): after the kill the same command ends in the bytes of the
run in a folder, and makes no finished shard again; whatever the store does, nothing is lost: what
may pass is asked again and counted, and what does not is named with its remedy.

    python -m benchmarks.chaos.store            # 8 minutes: 20 kills, 11 plans of faults
    python -m benchmarks.chaos.store --quick    # 2 kills, fewer objects: 2 minutes
    python -m benchmarks.chaos.store --seed N   # other moments

The store is moto's, on this machine, behind a door that can fail. A kill comes when the door has
seen so many requests of the run: one in each of as many equal parts of it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from benchmarks.support.copied_runs import copy_down, file_differences
from benchmarks.support.faulty_store import FaultyStore, Plan, faulty_store
from benchmarks.support.object_store import ObjectStore, new_bucket, s3_server
from benchmarks.support.report import ROOT, Report, Row, parser
from benchmarks.support.runs import Workspace, end_on_sigterm, kill
from benchmarks.support.store_faults import FEWEST, TRIALS, play
from benchmarks.support.warm import WarmServer
from thor_geo.emulator import EmulatorProcess

_KILLS = 20
# Objects of the short form's plans.
_FEW = 40
# How long a request takes at least, so that a kill hits those under way.
_LATENCY_S = 0.02
_SECONDS_TO_VANISH = 10.0
# Ten shards in two zones.
_SMALL: dict[str, object] = {
    "data.area.bbox": "[11.97,59.982,12.03,60.008]",
    "data.num_workers": 0,
    "model.patch_size": 16,
}


class StoredRun:
    """A run that is written into a bucket again and again, each time at another prefix."""

    def __init__(
        self, bucket: ObjectStore, arguments: list[str], server: WarmServer, door: FaultyStore
    ) -> None:
        """Initialize a new StoredRun instance.

        Args:
            bucket: The bucket behind the door.
            arguments: Of ``thor-geo``, without the place of the run.
            server: Starts the command.
            door: What the run goes through.
        """
        self._bucket, self._arguments = bucket, arguments
        self._server, self._door = server, door
        self._prefix = ""

    def at(self, prefix: str) -> None:
        """Go to another prefix."""
        self._prefix = prefix

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return self._server.run(*self._arguments, self._place)

    def kill_at(self, request: int) -> tuple[float, bool]:
        """Start the command and kill it when it has made so many requests.

        Returns:
            Seconds from its start, and whether a process of it outlived it by ten seconds.
        """
        before, began = self._door.asked.total(), time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = self._server.start(
                *self._arguments, self._place, stdout=output, stderr=output
            )
            while process.poll() is None and self._door.asked.total() - before < request:
                time.sleep(0.001)
            seconds = time.monotonic() - began
            kill(process.pid)
            process.wait(_SECONDS_TO_VANISH)
            return seconds, _outlives(process.pid, _SECONDS_TO_VANISH)

    @property
    def _place(self) -> str:
        return f"--output.dir={self._bucket.url(self._prefix)}"

    def markers(self) -> dict[str, bytes]:
        """Return the markers by name."""
        return self._bucket.contents(f"{self._prefix}/markers")

    def differences(self, reference: Path, folder: Path) -> list[str]:
        """Copy the run down, and compare it with the one in a folder."""
        return file_differences(copy_down(self._bucket, self._prefix, folder), reference)

    def validate(self) -> subprocess.CompletedProcess[str]:
        """Run ``thor-geo validate`` on it."""
        return self._server.run("validate", self._bucket.url(self._prefix))


def _outlives(group: int, seconds: float) -> bool:
    """Return whether a group of processes is still there after a while, and end it."""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def trial(
    run: StoredRun, request: int, of: int, reference: Path, folder: Path
) -> tuple[Row, list[str]]:
    """Kill a fresh run at a request, let the same command end, and compare.

    Args:
        run: At an empty prefix.
        request: When it is killed.
        of: Requests of the undisturbed run.
        reference: The run in a folder.
        folder: Where the run is copied to.

    Returns:
        A row of the table, and what does not hold.
    """
    seconds, outlived = run.kill_at(request)
    done = run.markers()
    resumed = run.finish()
    final = run.markers()
    again = sum(final.get(name) != marker for name, marker in done.items())
    different = run.differences(reference, folder)
    row: Row = {
        "killed at request": request,
        "of": of,
        "after s": round(seconds, 1),
        "shards done": len(done),
        "exit of the next run": resumed.returncode,
        "done shards made again": again,
        "other bytes": len(different),
        "outlived": "yes" if outlived else "no",
    }
    checks = {
        f"the next run fails: {resumed.stderr[-300:]}": resumed.returncode != 0,
        f"{again} finished shards were made again": again > 0,
        f"{len(different)} files: {', '.join(different[:5])}": bool(different),
        "a process outlived it": outlived,
    }
    return row, [
        f"killed at request {request}: {fault}" for fault, wrong in checks.items() if wrong
    ]


def kills(report: Report, bucket: ObjectStore, number: int, seed: int) -> None:
    """Kill runs at random requests; add rows and faults.

    Args:
        report: Where they go.
        bucket: An empty bucket.
        number: How many.
        seed: Of the moments.
    """
    rng = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thor-geo-store-")))
        place = Workspace(folder=folder, settings=_SMALL)
        door = stack.enter_context(faulty_store(bucket.endpoint, Plan(latency_s=_LATENCY_S)))
        emulator = stack.enter_context(EmulatorProcess(place.scenes))
        reached = {"AWS_ENDPOINT_URL": door.url, "THOR_GEO_EMULATOR_URL": emulator.url}
        stack.enter_context(mock.patch.dict(os.environ, reached))
        server = WarmServer(ROOT)
        stack.callback(server.close)
        run = StoredRun(bucket, place.arguments(), server, door)
        in_folder = server.run(*place.arguments())
        run.at("undisturbed")
        undisturbed = run.finish()
        requests = door.asked.total()
        for one in (in_folder, undisturbed):
            if one.returncode != 0:
                raise RuntimeError(f"The undisturbed run failed: {one.stderr}")
        differing = run.differences(place.run, folder / "undisturbed")
        report.faults += [f"the undisturbed run: {each}" for each in differing]
        report.figures |= {
            "kills": number,
            "requests of the undisturbed run": requests,
            "its requests by method": dict(door.asked),
            "its shards": len(run.markers()),
        }
        for k in range(number):
            run.at(f"killed-{k}")
            request = 1 + int((k + rng.random()) / number * (requests - 1))
            report.add(*trial(run, request, requests, place.run, folder / f"killed-{k}"))
        # All of them hold the same bytes.
        valid = run.validate()
        if valid.returncode != 0:
            report.faults.append(f"validate: {valid.stdout[-300:]}")


def main() -> int:
    """Run the campaign; return the exit code."""
    arguments = parser(__doc__, "2 kills, fewer objects")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = arguments.parse_args()
    end_on_sigterm()
    report = Report(
        name="chaos_store",
        claim="After kill -9 at any request, the same command ends in the bytes of the run in a "
        "folder and makes no finished shard again; whatever the store does, nothing is lost, and "
        "every request is counted or its refusal named with the remedy.",
        command=f"python -m benchmarks.chaos.store --seed {options.seed}",
        quick=options.quick,
    )
    with s3_server() as endpoint:
        bucket = new_bucket(endpoint, "chaos")
        os.environ.update(bucket.environment)
        plans = []
        for one in TRIALS:
            row, faults = play(bucket, one, _FEW if options.quick else FEWEST)
            print(row, *faults, sep="\n", flush=True)
            plans.append(row)
            report.faults += faults
        report.figures["Plans of faults"] = plans
        killed = new_bucket(endpoint, "killed")
        kills(report, killed, 2 if options.quick else _KILLS, options.seed)
    report.notes.append(
        "The store is moto's S3 server on the same machine, behind a door of our own that fails. "
        "In the plan of late answers the timeout is 1 s instead of 60 s. Commands are forks of a "
        "process that has imported what they need."
    )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
