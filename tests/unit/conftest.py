from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.object_store import CREDENTIALS, ObjectStore, new_bucket, s3_server
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


_buckets = count()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Serve S3 on loopback."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """Return an empty bucket, which this process and those that it starts can reach."""
    made = new_bucket(s3_endpoint, f"bucket-{next(_buckets)}")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    assert CREDENTIALS.items() <= made.environment.items()
    return made
