"""If this fails, an address is misread, or a secret in one is kept or shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from thor_geo.errors import ConfigError
from thor_geo.storage import StoreAddress, StoreOptions, StorePath, is_address, located


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/oslo", "s3://bucket/oslo"),
        ("s3://bucket//runs/oslo/", "s3://bucket/runs/oslo"),
        ("gs://bucket", "gs://bucket"),
        ("https://data.example.org/oslo", "https://data.example.org/oslo"),
    ],
)
def test_an_address_is_a_bucket_and_a_prefix(text: str, url: str) -> None:
    assert StoreAddress.parse(text).url == url
    assert str(located(text)) == url


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://key:planted@bucket/oslo", "holds credentials.*AWS_ACCESS_KEY_ID"),
        ("https://host/oslo?X-Amz-Signature=planted", "has a query, as signed links have"),
        ("s3:///oslo", "names no bucket"),
        ("ftp://host/oslo", "there are no stores of ftp://"),
        ("s3://bucket/a/../b", "no folders"),
        (
            "az://me.blob.core.windows.net/container/oslo",
            "host of an account.*az://container/prefix.*AZURE_STORAGE_ACCOUNT_NAME=me",
        ),
    ],
)
def test_other_addresses_are_refused_without_repeating_a_secret(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        located(text)
    assert "planted" not in str(caught.value)


def test_a_path_of_this_machine_stays_one(tmp_path: Path) -> None:
    assert located(str(tmp_path)) == tmp_path
    assert located("~/out") == Path.home() / "out"
    assert not is_address("out/oslo:1")
    assert not is_address(Path("s3://bucket"))  # pathlib has made one slash of two


def test_paths_below_an_address() -> None:
    root = StorePath(StoreAddress.parse("s3://bucket/oslo", StoreOptions(region="eu-north-1")))
    path = root / "pooled" / "a.parquet"
    assert str(path) == "s3://bucket/oslo/pooled/a.parquet"
    assert (root.name, path.name, path.stem, path.suffix) == (
        "oslo", "a.parquet", "a", ".parquet",
    )  # fmt: skip
    assert path.parent.parent == root == root.parent
    assert path.relative_to(root).as_posix() == "pooled/a.parquet"
    assert pickle.loads(pickle.dumps(path)) == path
    assert path.with_suffix(".json").name == "a.json"
    assert sorted([root / "b", root / "a"])[0].name == "a"
    other = StorePath(StoreAddress.parse("s3://bucket/bergen"))
    with pytest.raises(ValueError, match="does not lie below"):
        path.relative_to(other)
    with pytest.raises(TypeError):
        open(path)  # type: ignore[call-overload]  # noqa: PTH123, SIM115


@pytest.mark.parametrize(
    "endpoint",
    ["ann:planted@host", "https://ann:planted@host", "https://host/?X-Amz-Signature=planted"],
)
def test_an_endpoint_with_a_secret_is_refused_without_repeating_it(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="holds credentials") as caught:
        StoreOptions(endpoint=endpoint)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://[oslo/x", "s3://[x/y"])
def test_what_is_no_address_at_all_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="it is no address"):
        located(text)
