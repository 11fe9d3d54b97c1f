from __future__ import annotations

import sys
from pathlib import Path

import pytest

# `--import-mode=importlib` leaves this folder off the path; `synthetic_run` lies in it.
sys.path.insert(0, str(Path(__file__).parent))

from synthetic_run import TWO_ZONES, plan_of, write_run

from thor_geo.plan import Plan
from thor_geo.writers import RunDirectory


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Return a plan over two UTM zones, several shards each."""
    return plan_of(TWO_ZONES)


@pytest.fixture(scope="session")
def written(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return a finished run: tile 1 failed, tile 2 is empty. Do not change it."""
    path = tmp_path_factory.mktemp("written") / "run"
    return write_run(path, plan, failed={1: "no such block"}, empty=(2,)).run
