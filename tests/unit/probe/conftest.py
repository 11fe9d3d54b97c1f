from __future__ import annotations

import pytest

from tests.support.synthetic_run import ONE_ZONE, TWO_ZONES, plan_of, write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs.opened_run import OpenedRun, read_run


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Return a plan in one zone, several shards."""
    return plan_of(ONE_ZONE)


@pytest.fixture(scope="session")
def opened(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return a run of 6 x 6 cells a tile whose embeddings are known functions of place."""
    path = tmp_path_factory.mktemp("probe") / "run"
    write_run(path, plan)
    return read_run(path)


@pytest.fixture(scope="session")
def two_zones(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return such a run over the border of two UTM zones."""
    path = tmp_path_factory.mktemp("probe") / "run"
    write_run(path, plan_of(TWO_ZONES))
    return read_run(path)
