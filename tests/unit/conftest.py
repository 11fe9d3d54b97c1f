from __future__ import annotations

import pytest

from tests.support.synthetic_run import TWO_ZONES, plan_of, write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Return a plan over two UTM zones, several shards each."""
    return plan_of(TWO_ZONES)


@pytest.fixture(scope="session")
def written(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return a finished run: tile 1 failed, tile 2 is empty. Do not change it."""
    path = tmp_path_factory.mktemp("written") / "run"
    return write_run(path, plan, failed={1: "no such block"}, empty=(2,)).run
