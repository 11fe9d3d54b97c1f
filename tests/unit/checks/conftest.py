from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.synthetic_run import write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory


@pytest.fixture(scope="session")
def whole(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return a finished run with vectors and maps; tile 4 is empty. Do not change it."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return write_run(path, plan, empty=(4,)).run


@pytest.fixture(scope="session")
def failing(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return a finished run: tile 3 failed, tile 4 is empty. Do not change it."""
    path = tmp_path_factory.mktemp("failing") / "run"
    failed = {3: "block utm32n_r10_b576_x1_y2: no such block"}
    return write_run(path, plan, failed=failed, empty=(4,)).run


@pytest.fixture
def run(failing: RunDirectory, tmp_path: Path) -> Iterator[RunDirectory]:
    """Return a copy of the failing run, to be damaged."""
    shutil.copytree(failing.path, tmp_path / "run")
    yield RunDirectory(tmp_path / "run")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
