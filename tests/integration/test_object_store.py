"""If one of these fails, a run in an object store is not the run in a folder."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest

from benchmarks.chaos.store import kills
from benchmarks.support.copied_runs import copy_down, file_differences
from benchmarks.support.faulty_store import faulty_store
from benchmarks.support.object_store import ObjectStore
from benchmarks.support.report import Report
from benchmarks.support.warm import WarmServer
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule

ONE_PROCESS = ("--trainer.devices=1", "--data.num_workers=0")
TWO_RANKS = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=0")
WINDOWS = "--data.windows=[[2022-06-01,2022-07-01],[2022-07-01,2022-09-01]]"


class Stored:
    """A run at ``oslo`` in a bucket.

    Args:
        bucket: The bucket.
        arguments: Of a run in a folder, with its ``--output.dir``.
    """

    def __init__(self, bucket: ObjectStore, arguments: list[str], cache: Path) -> None:
        self.bucket = bucket
        self.url = bucket.url("oslo")
        self.arguments = [
            *(one for one in arguments if not one.startswith("--output.dir")),
            f"--output.dir={self.url}",
            f"--data.cache_dir={cache}",
        ]

    def markers(self) -> dict[str, dict[str, Any]]:
        """Return the markers by name."""
        found = self.bucket.contents("oslo/markers")
        return {name: json.loads(content) for name, content in found.items()}

    def assert_same(self, reference: Path, folder: Path) -> None:
        """Copy the run into a folder, and compare it with another file by file."""
        copied = copy_down(self.bucket, "oslo", folder / "copied")
        assert len(list(copied.glob("markers/*.json"))) > 1
        assert file_differences(copied, reference) == []
        assert not list(copied.rglob(".*")), "no probe and no sign of life is left"


def marker_outputs(markers: dict[str, dict[str, Any]]) -> set[str]:
    """Return the names of all files that markers vouch for."""
    return {name for marker in markers.values() for name in marker["outputs"]}


@pytest.fixture
def stored(bucket: ObjectStore, quickstart: list[str], quick_run: Path) -> Stored:
    """Return the quick run, in a store; what it reads is in the cache."""
    return Stored(bucket, quickstart, quick_run / "cache")


def test_a_run_is_the_run_in_a_folder_and_asks_for_little(
    thor_geo: Any, stored: Stored, quick_run: Path, tmp_path: Path
) -> None:
    with faulty_store(stored.bucket.endpoint) as door:
        done = thor_geo(*stored.arguments, *ONE_PROCESS, env={"AWS_ENDPOINT_URL": door.url})
    assert done.returncode == 0, done.stderr
    stored.assert_same(quick_run / "run", tmp_path)
    assert f'thor_geo.open_run("{stored.url}").vectors()' in done.stdout
    assert f'thor_geo.open_run("{stored.url}").grid("utm32n")' in done.stdout

    # What a store charges for.
    assert "LIST" not in door.asked
    markers = stored.markers()
    paths = [(method, path.partition("/oslo/")[2]) for method, path in door.paths]
    written = next(k for k, path in enumerate(paths) if path[1] in marker_outputs(markers))
    asked, at_the_start = Counter(paths), Counter(paths[:written])
    for name, marker in markers.items():
        assert at_the_start["GET", f"markers/{name}"] == 1
        assert asked["PUT", f"markers/{name}"] == 1
        for output in marker["outputs"]:
            assert asked["PUT", output] == 1
    while_shards_were_written = {"PUT", "GET", "POST"}
    last = max(k for k, path in enumerate(paths) if path[0] == "PUT" and "markers/" in path[1])
    assert {method for method, _ in paths[written:last]} <= while_shards_were_written

    # The costs are told.
    told = re.search(r"object store: (\d+) requests, 0 repeated", done.stdout)
    assert told is not None, done.stdout
    counted = [marker["store"] for marker in markers.values()]
    kinds = ("get", "put", "head", "delete")
    assert int(told[1]) == sum(counts.get(kind, 0) for counts in counted for kind in kinds)
    again = thor_geo("status", stored.url)
    assert f"object store: {told[1]} requests, 0 repeated" in again.stdout
    status = json.loads(thor_geo("status", stored.url, "--json").stdout)
    assert (status["complete"], status["tiles"]["ok"], status["locked"]) == (True, 19, None)
    assert status["store"]["put"] == sum(counts["put"] for counts in counted)
    in_a_folder = json.loads(thor_geo("status", quick_run / "run", "--json").stdout)
    assert in_a_folder["store"] == {}
    assert not any(b'"store"' in path.read_bytes() for path in quick_run.glob("run/markers/*"))

    nothing = thor_geo(*stored.arguments, *ONE_PROCESS)
    assert nothing.returncode == 0, nothing.stderr
    assert "Nothing to do: 19 tiles were embedded before" in nothing.stdout
    assert stored.markers() == markers


@pytest.mark.long
def test_two_ranks(thor_geo: Any, stored: Stored, quick_run: Path, tmp_path: Path) -> None:
    with faulty_store(stored.bucket.endpoint) as door:
        done = thor_geo(*stored.arguments, *TWO_RANKS, env={"AWS_ENDPOINT_URL": door.url})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Embedded 19 tiles") == 1, "one summary, of the first rank"
    assert "LIST" not in door.asked
    stored.assert_same(quick_run / "run", tmp_path)


@pytest.mark.long
def test_jobs_in_any_order(thor_geo: Any, stored: Stored, quick_run: Path, tmp_path: Path) -> None:
    for job, shards in (("3/3", 2), ("1/3", 4), ("2/3", 6)):
        with faulty_store(stored.bucket.endpoint) as door:
            door_only = {"AWS_ENDPOINT_URL": door.url}
            done = thor_geo(*stored.arguments, *ONE_PROCESS, "--job", job, env=door_only)
        assert done.returncode == 0, done.stderr
        assert len(stored.markers()) == shards
        written = next(k for k, (_, path) in enumerate(door.paths) if "/pooled/" in path)
        read = [each for each in door.paths[:written] if "/markers/" in each[1]]
        assert len(read) == 2, "at the start it reads the markers of its own shards alone"
        assert "LIST" not in door.asked
    stored.assert_same(quick_run / "run", tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        ("--output.dtype=int8", WINDOWS, "--output.quicklook=true"),
        pytest.param(("--output.dtype=int8",), marks=pytest.mark.long),
        pytest.param((WINDOWS,), marks=pytest.mark.long),
    ],
    ids=["int8-windows-picture", "int8", "windows"],
)
def test_other_outputs(
    thor_geo: Any, stored: Stored, quickstart: list[str], tmp_path: Path, more: tuple[str, ...]
) -> None:
    cache = stored.arguments[-1]
    folder = thor_geo(*quickstart, cache, *ONE_PROCESS, *more)
    assert folder.returncode == 0, folder.stderr
    done = thor_geo(*stored.arguments, *ONE_PROCESS, *more)
    assert done.returncode == 0, done.stderr
    stored.assert_same(tmp_path / "run", tmp_path)


def test_a_table_of_places(
    thor_geo: Any, bucket: ObjectStore, survey_here: list[str], survey_run: Path, tmp_path: Path
) -> None:
    stored = Stored(bucket, survey_here, survey_run / "cache")
    done = thor_geo(*stored.arguments, *ONE_PROCESS)
    assert done.returncode == 0, done.stderr
    stored.assert_same(survey_run / "run", tmp_path)
    assert (tmp_path / "copied" / "places.zarr" / "zarr.json").is_file()
    assert (tmp_path / "copied" / "pooled" / "skipped.parquet").is_file()
    assert f'thor_geo.open_run("{stored.url}").places()' in done.stdout
    whole = thor_geo("validate", stored.url)
    assert whole.returncode == 0, whole.stdout + whole.stderr


def test_failed_tiles_and_their_retry(
    thor_geo: Any,
    bucket: ObjectStore,
    quickstart: list[str],
    archive: Path,
    quick_run: Path,
    tmp_path: Path,
) -> None:
    stored = Stored(bucket, quickstart, tmp_path / "cache")
    message = "User memory limit exceeded."
    later = tuple(range(4, 1000))
    refused = FaultRule(kind="image:computePixels", nth=later, status=400, message=message)
    with EmulatorProcess(archive, faults=FaultPlan(rules=(refused,))) as emulator:
        emulated = {"THOR_GEO_EMULATOR_URL": emulator.url}
        broken = thor_geo(*stored.arguments, *ONE_PROCESS, env=emulated)
    assert broken.returncode == 3, broken.stderr + broken.stdout
    status = json.loads(thor_geo("status", stored.url, "--json").stdout)
    assert status["tiles"]["failed"] > 0 < status["tiles"]["ok"]
    assert message in status["failures"][0]["error"]
    assert bucket.contents("oslo/failures")
    done_before = {name: one for name, one in stored.markers().items() if not one["failed"]}

    mended = thor_geo(*stored.arguments, *ONE_PROCESS)
    assert mended.returncode == 0, mended.stderr
    assert not bucket.contents("oslo/failures")
    assert done_before.items() <= stored.markers().items(), "only what failed is done again"
    stored.assert_same(quick_run / "run", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("args", [ONE_PROCESS, TWO_RANKS], ids=["one-process", "two-ranks"])
def test_a_stopped_run_resumes(
    thor_geo: Any,
    warm_server: WarmServer,
    bucket: ObjectStore,
    quickstart: list[str],
    archive: Path,
    quick_run: Path,
    tmp_path: Path,
    args: tuple[str, ...],
) -> None:
    stored = Stored(bucket, quickstart, tmp_path / "cache")
    stall = FaultRule(kind="image:computePixels", nth=tuple(range(4, 100)), delay_s=120)
    in_order = ("--data.concurrency=1", "--data.ahead=1")
    log = tmp_path / "log.txt"
    with (
        EmulatorProcess(archive, faults=FaultPlan(rules=(stall,))) as emulator,
        log.open("wb") as output,
    ):
        process = warm_server.start(
            *stored.arguments,
            *in_order,
            *args,
            env={"THOR_GEO_EMULATOR_URL": emulator.url},
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 120
            while len(before := stored.markers()) < 3:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 143, log.read_text()
        finally:
            process.kill()
    assert "same command" in log.read_text()
    resumed = thor_geo(*stored.arguments, *args)
    assert resumed.returncode == 0, resumed.stderr
    assert before.items() <= stored.markers().items(), "finished shards are not done again"
    stored.assert_same(quick_run / "run", tmp_path)


@pytest.mark.long
def test_killed_at_a_request_it_ends_in_the_same_bytes(bucket: ObjectStore) -> None:
    """A short form of `benchmarks/chaos/store.py`."""
    report = Report(name="chaos_store", claim="", quick=True)
    kills(report, bucket, 2, seed=1)
    assert report.faults == []
    assert [row["exit of the next run"] for row in report.rows] == [0, 0]


@pytest.fixture
def copied(bucket: ObjectStore, quick_run: Path) -> str:
    """Return the address of the quick run, put into the store by another client."""
    bucket.upload(quick_run / "run", "oslo")
    return bucket.url("oslo")


def write_labels(path: Path) -> Path:
    """Write 60 points on the run's ground, of two kinds."""
    lon, lat = np.random.default_rng(0).uniform((11.981, 59.986), (12.019, 60.004), (60, 2)).T
    kinds = np.where(lat > np.median(lat), "north", "south")
    points = gpd.points_from_xy(lon, lat)
    gpd.GeoDataFrame({"kind": kinds}, geometry=points, crs=4326).to_file(path)
    return path


def test_every_command_reads_it(
    thor_geo: Any, bucket: ObjectStore, copied: str, quick_run: Path, tmp_path: Path
) -> None:
    before = bucket.contents()
    valid = thor_geo("validate", copied)
    assert valid.returncode == 0, valid.stdout + valid.stderr
    labels = write_labels(tmp_path / "labels.gpkg")
    probed = ("--labels", labels, "--target", "kind", "--split", "random", "--folds", "2")
    for command, *options in (
        ("merge", "--to", "merged.parquet"),
        ("similar", "--at", "12.001,59.995", "-k", "3", "--to", "similar.parquet"),
        ("view", "--png", "view.png"),
        ("probe", *probed, "--no-curve", "--no-baseline", "--on", "cells", "--to", "probe"),
    ):
        for run, folder in ((copied, tmp_path / "stored"), (quick_run / "run", tmp_path / "local")):
            folder.mkdir(exist_ok=True)
            done = thor_geo(command, run, *options[:-1], folder / options[-1])
            assert done.returncode == 0, done.stdout + done.stderr
    for name in ("merged.parquet", "similar.parquet", "view.png", "probe/model.json"):
        files = (tmp_path / "stored" / name, tmp_path / "local" / name)
        ours, theirs = (file.read_bytes() for file in files)
        local = str(quick_run / "run").encode()
        assert ours.replace(copied.encode(), local) == theirs, name
    assert bucket.contents() == before, "reading writes nothing"
