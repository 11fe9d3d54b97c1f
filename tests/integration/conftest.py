from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.browser import REMEDY, find
from benchmarks.support.warm import WarmServer
from tests.support.survey import survey_arguments as arguments_of
from tests.support.survey import write_survey
from thor_geo.emulator import (
    Acquisition,
    EmulatorProcess,
    Overpass,
    generate_archive,
    generate_sentinel1_archive,
)
from thor_geo.specs.environment import VARIABLES

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Arguments = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a running Chromium."""
    chromium = find()
    if chromium is None:
        pytest.skip(REMEDY)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = chromium.launch(playwright)
        yield one
        one.close()


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this process the threads of a run: results differ in the last bits."""
    import torch

    for variable in VARIABLES.values():
        monkeypatch.delenv(variable.name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small generated archive around 12 E, 60 N: three dates, two UTM zones."""
    return generate_archive(
        tmp_path_factory.mktemp("archive") / "scenes",
        size_m=4800,
        acquisitions=(
            Acquisition(date="2022-06-05", cloud_cover=0.1),
            Acquisition(date="2022-07-05", cloud_cover=0.2),
            Acquisition(date="2022-08-05", cloud_cover=0.3, coverage=0.8),
        ),
    )


@pytest.fixture(scope="session")
def archive(small_archive: Path) -> Path:
    """Return the small archive; a module of tests may have another."""
    return small_archive


@pytest.fixture(scope="session")
def both(small_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the small archive with one of Sentinel-1 in its folder S1_GRD."""
    folder = tmp_path_factory.mktemp("both") / "scenes"
    shutil.copytree(small_archive, folder)
    generate_sentinel1_archive(
        folder / "S1_GRD",
        size_m=4800,
        overpasses=(
            Overpass(date="2022-06-03", orbit="ASCENDING"),
            Overpass(date="2022-06-27", orbit="ASCENDING", coverage=0.7),
            Overpass(date="2022-07-02", orbit="DESCENDING"),
            Overpass(date="2022-07-26", orbit="DESCENDING"),
        ),
    )
    return folder


@pytest.fixture(scope="session")
def warm_server(root: Path) -> Iterator[WarmServer]:
    """Return a server that forks commands, of this worker's own."""
    server = WarmServer(root)
    yield server
    server.close()


@pytest.fixture(scope="session")
def emulator_url(small_archive: Path) -> Iterator[str]:
    """Return the address of an emulator over the small archive."""
    with EmulatorProcess(small_archive) as emulator:
        yield emulator.url


@pytest.fixture(scope="session")
def thor_geo(warm_server: WarmServer, thor_geo_process: Run, emulator_url: str) -> Run:
    """Return a function that runs the command in a fork of a process that has imported it.

    Runs over the small archive share one emulator; those over another start their own.
    """
    # Elsewhere a fork after such imports may crash.
    run = warm_server.run if sys.platform == "linux" else thor_geo_process
    shared = {"THOR_GEO_EMULATOR_URL": emulator_url}
    return lambda *args, env=None: run(*args, env={**shared, **(env or {})})


@pytest.fixture(scope="session")
def thor_geo_process(root: Path) -> Run:
    """Return a function that runs the command in a new Python process."""

    def run(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "thor_geo", *map(str, args)],
            cwd=root,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def quick_arguments(small_archive: Path) -> Arguments:
    """Return a function from a folder to the arguments of a quick run in it.

    Small tiles over both zones, in several shards; ``cache`` and ``run`` lie in the folder. No
    picture is drawn: that would take as long as the rest.
    """

    def arguments(folder: Path) -> list[str]:
        return [
            "predict",
            "-c",
            "configs/quickstart.yaml",
            f"--data.emulator.archive={small_archive}",
            f"--data.cache_dir={folder / 'cache'}",
            "--data.area.bbox=[11.98,59.985,12.02,60.005]",
            "--data.tile_size=96",
            "--data.shard_tiles=2",
            "--data.block_size=192",
            "--model.threads=1",
            f"--output.dir={folder / 'run'}",
            "--output.quicklook=false",
        ]

    return arguments


@pytest.fixture(scope="session")
def quick_run(
    thor_geo: Run, quick_arguments: Arguments, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a finished quick run in one process. Its cache may be shared.

    Do not change the run.
    """
    folder = tmp_path_factory.mktemp("quick")
    done = thor_geo(*quick_arguments(folder), "--trainer.devices=1", "--data.num_workers=0")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def quickstart(quick_arguments: Arguments, tmp_path: Path) -> list[str]:
    """Return the arguments of a quick run in this test's folder."""
    return quick_arguments(tmp_path)


@pytest.fixture(scope="session")
def survey_arguments(small_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    """Return a function from a folder to the arguments of a quick run of places in it.

    Twelve rows of `tests.support.survey`: two zones, three windows, shards of four places, one row
    that is skipped. ``cache`` and ``run`` lie in the folder.
    """
    table = write_survey(tmp_path_factory.mktemp("survey") / "survey.parquet")
    return lambda folder: arguments_of(folder, small_archive, table)


@pytest.fixture(scope="session")
def survey_run(
    thor_geo: Run, survey_arguments: Arguments, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a finished run of places in one process. Its cache may be shared.

    Do not change the run.
    """
    folder = tmp_path_factory.mktemp("places")
    done = thor_geo(*survey_arguments(folder), "--trainer.devices=1", "--data.num_workers=0")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def survey_here(survey_arguments: Arguments, tmp_path: Path) -> list[str]:
    """Return the arguments of a quick run of places in this test's folder."""
    return survey_arguments(tmp_path)
