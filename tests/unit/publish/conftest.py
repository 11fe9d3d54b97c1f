from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.synthetic_run import write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory


@pytest.fixture(scope="session")
def finished(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with a picture, in two zones; the first tile is empty."""
    path = tmp_path_factory.mktemp("published") / "oslo"
    write_run(path, plan, empty=(0,))
    (path / "quicklook.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunDirectory:
    """Return a copy of the finished run."""
    return RunDirectory(shutil.copytree(finished, tmp_path / "oslo"))
