from __future__ import annotations

import pytest

from thor_geo.explorer.located import RasterVectors, cell_places, tile_places
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import OpenedRun, read_run


@pytest.fixture(scope="session")
def opened(written: RunDirectory) -> OpenedRun:
    """Return the run that all share. Its embeddings are functions of place."""
    return read_run(written.path)


@pytest.fixture(scope="session")
def tiles(opened: OpenedRun) -> RasterVectors:
    return tile_places(opened)


@pytest.fixture(scope="session")
def cells(opened: OpenedRun) -> RasterVectors:
    return cell_places(opened)


@pytest.fixture(scope="session")
def session(opened: OpenedRun) -> ExplorerSession:
    return ExplorerSession(opened)
