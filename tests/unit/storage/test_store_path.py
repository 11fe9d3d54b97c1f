"""If this fails, objects are torn, the first writer does not win, or a fault stops a run."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator

import pytest
from obstore.exceptions import AlreadyExistsError

from benchmarks.support.faulty_store import Fault, FaultyStore, Plan, faulty_store
from benchmarks.support.object_store import ObjectStore
from thor_geo.errors import ConfigError, StoreError
from thor_geo.storage import StoreAddress, StoreOptions, StorePath, clients, requests
from thor_geo.storage.probe import check_store


def test_objects_are_written_read_and_removed(bucket: ObjectStore) -> None:
    root = bucket.path("oslo")
    path = root / "markers" / "a.json"
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match=r"s3://.*/oslo/markers/a\.json"):
        path.read_bytes()
    path.put(b"0123456789")
    assert (path.size(), path.read_bytes(), path.read_range(2, 3)) == (10, b"0123456789", b"234")
    (root / "run.json").put(b"{}")
    assert [str(each.key) for each in root.files()] == ["markers/a.json", "run.json"]
    assert list(root.names()) == ["markers", "run.json"]
    path.unlink()
    path.unlink(missing_ok=True)
    assert bucket.contents() == {"oslo/run.json": b"{}"}


def test_the_first_writer_wins_and_equal_content_is_no_conflict(bucket: ObjectStore) -> None:
    path = bucket.path("oslo") / "run.json"
    assert path.put_if_absent(b"first")
    assert not path.put_if_absent(b"second")
    assert path.put_if_absent(b"first")
    assert path.read_bytes() == b"first"


def test_a_put_under_way_elsewhere_is_waited_for(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 409 to the second of two puts at once, before the first object is there."""
    path = bucket.path("oslo") / "run.json"
    asked = requests._asked
    found: list[str] = []

    def conflict(address: StoreAddress, key: str, kind: str, ask: object, **how: bool) -> object:
        if kind == "put" and not found:
            found.append(key)
            raise AlreadyExistsError("409 ConditionalRequestConflict")
        return asked(address, key, kind, ask, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(requests, "_asked", conflict)
    assert path.put_if_absent(b"ours")
    assert path.read_bytes() == b"ours"


@pytest.fixture
def door(bucket: ObjectStore) -> Iterator[FaultyStore]:
    """Yield a door before the bucket that fails one request in three, in all ways."""
    plan: dict[Fault, float] = {
        "503": 0.08, "429": 0.05, "500": 0.05, "reset": 0.05, "late reset": 0.05, "cut": 0.05,
    }  # fmt: skip
    with faulty_store(bucket.endpoint, Plan(shares=plan)) as store:
        yield store


def test_requests_are_made_again_and_counted(
    bucket: ObjectStore, door: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 requests: "exists" of one's own making, too, after a put whose answer was lost."""
    monkeypatch.setattr(requests, "_FIRST_WAIT_S", 0.001)
    before = requests.counted()
    options = StoreOptions(endpoint=door.url)
    root = StorePath(StoreAddress.parse(bucket.url("oslo"), options))
    content = {f"{k}": os.urandom(100 + k) for k in range(80)}
    for name, each in content.items():
        assert (root / name).put_if_absent(each)
        assert (root / name).read_bytes() == each
        (root / name).put(each)
    assert bucket.contents("oslo") == content
    faults = sum(door.met.values()) - door.met["none"]
    counted = requests.counted()
    assert door.met.keys() == {"none", "503", "429", "500", "reset", "late reset", "cut"}
    assert sum(door.met.values()) > 300
    assert counted["repeated"] - before.get("repeated", 0) >= faults - door.met["late reset"]
    assert counted["put"] - before.get("put", 0) == door.asked["PUT"]


def test_a_store_that_keeps_failing_is_named_with_the_remedy(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_FIRST_WAIT_S", 0.0001)
    with faulty_store(bucket.endpoint, Plan(refused={"PUT": "503"})) as door:
        root = StorePath(StoreAddress.parse(bucket.url(), StoreOptions(endpoint=door.url)))
        with pytest.raises(StoreError, match=r"10 attempts failed.*same command again") as caught:
            (root / "a").put(b"1")
    assert caught.value.retryable
    assert sum(door.met.values()) == 10


def test_a_bucket_that_is_not_there_is_no_missing_file(bucket: ObjectStore) -> None:
    other = StorePath(StoreAddress.parse("s3://no-such-bucket/oslo"))
    for deed in ((other / "a").read_bytes, lambda: (other / "a").put(b"")):
        with pytest.raises(StoreError, match="there is no such bucket"):
            deed()


def test_a_store_without_conditional_puts_is_refused(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = bucket.path("oslo")
    check_store(root)
    assert bucket.contents() == {}
    monkeypatch.setattr(StorePath, "put_if_absent", lambda path, content: path.put(content) or True)
    with pytest.raises(StoreError, match="takes a conditional put"):
        check_store(root)
    assert bucket.contents() == {}


def test_a_web_server_is_for_reading() -> None:
    root = StorePath(StoreAddress.parse("https://data.example.org/oslo"))
    with pytest.raises(ConfigError, match="can only be read"):
        check_store(root)


def test_a_forked_process_is_told_before_it_waits_forever(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_user", os.getpid() + 1)
    with pytest.raises(StoreError, match=r"forked.*spawn"):
        (bucket.path() / "a").exists()


def test_a_spawned_process_reads(bucket: ObjectStore) -> None:
    path = bucket.path() / "a"
    path.put(b"1")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(StorePath.read_bytes, (path,)) == b"1"
