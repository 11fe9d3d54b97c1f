from __future__ import annotations

import pytest

from tests.support.synthetic_run import TWO_ZONES, plan_of
from thor_geo.ground.plan import Plan


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Return a plan over two UTM zones, several shards each."""
    return plan_of(TWO_ZONES)
