"""If one of these fails, a cache in an object store changes a run, is not used or leaves copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.support.faulty_store import Fault, Plan, faulty_store
from benchmarks.support.object_store import ObjectStore, new_bucket, s3_server
from thor_geo import (
    EmulatorSpec,
    PointBuffer,
    SensorSpec,
    StoreOptions,
    TemporalSpec,
    get_embedding,
)
from thor_geo.datamodules.reopened import pixels_of
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule
from thor_geo.runs.opened_run import read_run

#: The summary's line about what the source was asked for.
FETCHED = "\n  fetched "


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectStore]:
    """Return a bucket, whose cache the tests of this module share."""
    with s3_server() as endpoint:
        yield new_bucket(endpoint, "composites")


@pytest.fixture
def here(bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder of temporary files, in which none may be left; the bucket can be reached."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    for name, value in {**bucket.environment, "TMPDIR": str(folder)}.items():
        monkeypatch.setenv(name, value)
    yield folder
    assert not list(folder.glob("thor-geo-*")), "copies were left behind"


@pytest.fixture
def run_with(
    thor_geo: Any, quick_arguments: Any, bucket: ObjectStore, here: Path, tmp_path: Path
) -> Any:
    """Return a function that runs a command with the cache in the bucket."""
    environment = {**bucket.environment, "TMPDIR": str(here)}
    words = [*quick_arguments(tmp_path), f"--data.cache_dir={bucket.url('cache')}"]

    def run(command: str, *arguments: str, **env: str) -> Any:
        done = thor_geo(command, *words[1:], *arguments, env={**environment, **env})
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def no_pixels(archive: Path) -> Iterator[str]:
    """Return the address of an emulator of the same archive that gives none."""
    rule = FaultRule(kind="image:computePixels", status=400, message="Out of memory.")
    with EmulatorProcess(archive, faults=FaultPlan(rules=(rule,))) as emulator:
        yield emulator.url


def contents(run: Path) -> dict[str, str]:
    files = [*run.glob("*.parquet"), *run.glob("pooled/*.parquet"), *run.rglob("grid.zarr/**/*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


def test_a_run_is_that_of_a_cache_in_a_folder(
    run_with: Any, quick_run: Path, bucket: ObjectStore, no_pixels: str, tmp_path: Path
) -> None:
    filled = run_with("fetch", "--job=1/2")
    assert f"cache     {bucket.url('cache')}" in filled.stdout
    run = run_with("predict", "--data.num_workers=2")
    assert FETCHED in run.stdout, "the second half was not in the cache"
    assert contents(tmp_path / "run") == contents(quick_run / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "cache" not in json.dumps(record["settings"])
    # As other machines would, from nothing but the bucket.
    again = run_with(
        "predict", f"--output.dir={tmp_path / 'again'}", THOR_GEO_EMULATOR_URL=no_pixels
    )
    assert FETCHED not in again.stdout
    assert contents(tmp_path / "again") == contents(quick_run / "run")
    fetched = run_with("fetch", THOR_GEO_EMULATOR_URL=no_pixels)
    assert "Fetched 0 blocks" in fetched.stdout


@pytest.mark.long
def test_ranks_on_one_machine_share_the_copies(
    run_with: Any, quick_run: Path, no_pixels: str, tmp_path: Path
) -> None:
    run_with("fetch")
    options = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=1")
    # Pictures are drawn by the first rank, of what all have read.
    run_with("predict", *options, "--output.quicklook=true", THOR_GEO_EMULATOR_URL=no_pixels)
    assert contents(tmp_path / "run") == contents(quick_run / "run")
    assert (tmp_path / "run" / "quicklook.png").stat().st_size > 10_000


def test_a_store_that_fails_now_and_then_changes_no_byte(
    run_with: Any, quick_run: Path, bucket: ObjectStore, tmp_path: Path
) -> None:
    shares: dict[Fault, float] = {"503": 0.1, "reset": 0.05, "late reset": 0.05, "cut": 0.05}
    outputs = []
    for name in ("filling", "reading"):
        with faulty_store(bucket.endpoint, Plan(shares=shares, seed=3)) as door:
            done = run_with(
                "predict",
                f"--data.cache_dir={bucket.url('trouble')}",
                f"--data.cache_store.endpoint={door.url}",
                f"--output.dir={tmp_path / name}",
            )
            outputs.append(done.stdout)
        assert sum(door.met.values()) > door.met["none"], "no fault was met"
        assert contents(tmp_path / name) == contents(quick_run / "run")
    assert [FETCHED in output for output in outputs] == [True, False]


def test_pixels_of_a_run_and_of_places_come_from_the_bucket(
    run_with: Any,
    quick_run: Path,
    bucket: ObjectStore,
    archive: Path,
    no_pixels: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_with("predict")
    monkeypatch.setenv("THOR_GEO_EMULATOR_URL", no_pixels)
    opened = read_run(tmp_path / "run")
    with pixels_of(opened, num_workers=0) as pixels:
        (first, *_) = pixels.tiles(np.arange(4))
        assert pixels.truecolour(32632, opened.plan.shards[0].square.bounds, (8, 8)) is not None
    with pixels_of(read_run(quick_run / "run"), num_workers=0) as pixels:
        (same, *_) = pixels.tiles(np.arange(4))
    np.testing.assert_array_equal(first.image, same.image)

    def embedded(**options: Any) -> Any:
        return get_embedding(
            "thor_v1_tiny",
            pretrained=False,
            spatial=PointBuffer(lon=11.99, lat=59.995, buffer_m=400),
            temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
            sensor=SensorSpec(cloudy_pct=60, mask="scl"),
            backend=EmulatorSpec(archive=archive),
            image_size=96,
            **options,
        )

    cache = {"cache_dir": bucket.url("places"), "cache_store": StoreOptions(region="us-east-1")}
    monkeypatch.delenv("THOR_GEO_EMULATOR_URL")
    made = embedded(**cache)
    monkeypatch.setenv("THOR_GEO_EMULATOR_URL", no_pixels)
    found = embedded(**cache)
    np.testing.assert_array_equal(found.data, made.data)
    assert found.meta["provider"]["cache_dir"] == bucket.url("places")
