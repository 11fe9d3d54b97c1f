from __future__ import annotations

import pytest

from tests.support.synthetic_run import TWO_ZONES, plan_of, write_run
from thor_geo.explorer.places import Places, cell_places, tile_places
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs.opened_run import OpenedRun, open_run


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return a run over two zones: tile 1 failed. Its embeddings are functions of place."""
    path = tmp_path_factory.mktemp("explorer") / "run"
    write_run(path, plan_of(TWO_ZONES), failed={1: "no such block"}, grid=True)
    return open_run(path)


@pytest.fixture(scope="session")
def tiles(opened: OpenedRun) -> Places:
    return tile_places(opened)


@pytest.fixture(scope="session")
def cells(opened: OpenedRun) -> Places:
    return cell_places(opened)


@pytest.fixture(scope="session")
def session(opened: OpenedRun) -> ExplorerSession:
    return ExplorerSession(opened)
