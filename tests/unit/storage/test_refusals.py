"""If this fails, a run learns after hours that its store refuses it, or not what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.support.faulty_store import Fault, Plan, faulty_store
from benchmarks.support.object_store import ObjectStore
from tests.support.synthetic_run import plan_of
from thor_geo.errors import ConfigError, DependencyError, RunDirectoryError, StoreError
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run
from thor_geo.storage import StoreAddress, StoreOptions, StorePath

REGION = "the bucket lies in another region. Give its region: AWS_REGION"


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        ({"PUT": "AccessDenied"}, r"cannot be written: the store refuses it \(403 AccessDenied\).*"
         r"s3:PutObject"),
        ({"GET": "AccessDenied"}, r"cannot be read: the store refuses it \(403 AccessDenied\).*"
         r"s3:GetObject"),
        # Without s3:ListBucket a missing object is answered this way, without a text.
        ({"HEAD": "AccessDenied"}, r"cannot be looked at: the store refuses it \(403\).*"
         r"without s3:ListBucket the store answers this way for a missing object"),
        ({"POST": "AccessDenied"}, r"cannot be removed: the store refuses it \(403 AccessDenied\).*"
         r"s3:DeleteObject"),
        ({"PUT": "NoSuchBucket"}, "there is no such bucket. Make it"),
        ({"PUT": "PermanentRedirect"}, REGION),
        ({"PUT": "AuthorizationHeaderMalformed"}, REGION),
        ({"PUT": "ExpiredToken"}, "the credentials have expired. Renew them"),
        ({"PUT": "RequestTimeTooSkewed"}, r"this machine's clock is wrong. Set it \(NTP\)"),
    ],
)  # fmt: skip
def test_what_a_run_needs_is_asked_before_it_starts(
    bucket: ObjectStore, refused: Mapping[str, Fault], says: str
) -> None:
    with faulty_store(bucket.endpoint, Plan(refused=refused)) as door:
        run = RunDirectory(bucket.url("oslo"), StoreOptions(endpoint=door.url))
        with pytest.raises(StoreError, match=says) as caught:
            run.check_writable()
    assert not caught.value.retryable
    assert bucket.url("oslo") in str(caught.value)


def test_a_run_that_may_not_be_listed_is_written_and_read(bucket: ObjectStore) -> None:
    with faulty_store(bucket.endpoint, Plan(refused={"LIST": "AccessDenied"})) as door:
        run = RunDirectory(bucket.url("oslo"), StoreOptions(endpoint=door.url))
        run.prepare({"a": 1, "output": {}}, {}, plan_of())
        assert run.document()["settings"]["a"] == 1
        with pytest.raises(StoreError, match=r"cannot be listed.*s3:ListBucket"):
            list(StorePath(StoreAddress.parse(bucket.url(), run.path.address.options)).names())


def test_a_store_is_asked_once(bucket: ObjectStore) -> None:
    with faulty_store(bucket.endpoint) as door:
        run = RunDirectory(bucket.url("oslo"), StoreOptions(endpoint=door.url))
        for _ in range(3):
            run.check_writable()
    assert door.asked == {"PUT": 2, "GET": 1, "HEAD": 1, "POST": 1}


def test_addresses_that_nothing_can_be_written_to(bucket: ObjectStore) -> None:
    for address in ("http://data.example.org/oslo", "https://data.example.org/oslo"):
        with pytest.raises(ConfigError, match=r"output\.dir=.*can only be read.*s3://"):
            RunDirectory(address).check_writable()
    with pytest.raises(StoreError, match="there is no such bucket"):
        RunDirectory("s3://no-such-bucket/oslo").check_writable()


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("https://ann:planted@minio.example.org", "holds credentials"),
        ("minio.example.org:9000", r"begins with neither http:// nor https://"),
    ],
)
def test_endpoints_that_are_none(endpoint: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        StoreOptions(endpoint=endpoint)
    assert "planted" not in str(caught.value)


def test_other_objects_at_the_prefix_are_left_alone_as_in_a_folder(bucket: ObjectStore) -> None:
    bucket.client.put_object(Bucket=bucket.bucket, Key="oslo/notes.txt", Body=b"mine")
    run = RunDirectory(bucket.url("oslo"))
    run.prepare({"a": 1, "output": {}}, {}, plan_of())
    assert bucket.contents("oslo")["notes.txt"] == b"mine"
    with pytest.raises(RunDirectoryError, match=r"no run: there is no run\.json"):
        read_run(bucket.path("bergen"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not JSON", r"run\.json` cannot be read"),
        (
            json.dumps({"name": "somebody else's"}).encode(),
            r"run\.json` cannot be read \(it has no",
        ),
    ],
)
def test_another_run_json_is_refused_and_kept(
    bucket: ObjectStore, content: bytes, says: str
) -> None:
    bucket.client.put_object(Bucket=bucket.bucket, Key="oslo/run.json", Body=content)
    with pytest.raises(RunDirectoryError, match=says):
        RunDirectory(bucket.url("oslo")).prepare({"output": {}}, {}, plan_of())
    assert bucket.contents("oslo") == {"run.json": content}


def test_another_run_is_refused_and_kept(bucket: ObjectStore) -> None:
    RunDirectory(bucket.url("oslo")).prepare({"a": 1, "output": {}}, {}, plan_of())
    before = bucket.contents()
    other = RunDirectory(bucket.url("oslo"))
    with pytest.raises(RunDirectoryError, match="belongs to another run: a is 2 here and 1 there"):
        other.prepare({"a": 2, "output": {}}, {}, plan_of())
    assert bucket.contents() == before


def test_obstore_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(DependencyError, match=r'pip install "thor-geo\[cloud\]"'):
        RunDirectory("s3://bucket/oslo")
    assert RunDirectory("oslo").path == Path("oslo")
