from __future__ import annotations

import sys
from pathlib import Path

import pytest

# `--import-mode=importlib` leaves these folders off the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "writers"))

from synthetic_run import TWO_ZONES, plan_of

from thor_geo.plan import Plan


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Return a plan over two UTM zones, several shards each."""
    return plan_of(TWO_ZONES)
