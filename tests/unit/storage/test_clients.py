"""If this fails, an option or a variable of the environment is ignored, or misleads."""

from __future__ import annotations

import pytest

from benchmarks.support.object_store import ObjectStore
from thor_geo.errors import ConfigError, StoreError
from thor_geo.runs import RunDirectory
from thor_geo.storage import StoreAddress, StoreOptions, StorePath, requests
from thor_geo.storage.clients import client

#: A port at which nothing listens.
CLOSED = "http://127.0.0.1:9"


def path(url: str) -> StorePath:
    return StorePath(StoreAddress.parse(url))


@pytest.mark.parametrize("name", ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_store_without_encryption_is_found_by_any_variable_that_names_one(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv(name, bucket.endpoint)
    # Connections are kept by address, so each needs one of its own.
    written = path(bucket.url(name.lower())) / "a"
    assert written.put_if_absent(b"1")
    assert written.size() == 1


def test_an_option_that_the_environment_outweighs_is_refused(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.example.org")
    root = StoreAddress.parse(bucket.url("outweighed"), StoreOptions(endpoint=bucket.endpoint))
    with pytest.raises(ConfigError, match=r"endpoint=.*AWS_ENDPOINT_URL_S3=.*comes before it"):
        client(root)


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("gs://bucket/a", StoreOptions(region="eu"), "region='eu'.*means nothing for gs://"),
        ("az://bucket/a", StoreOptions(requester_pays=True), "requester_pays=True.*for az://"),
        ("https://host/a", StoreOptions(endpoint="https://b"), "endpoint=.*for https://"),
    ],
)
def test_an_option_of_another_cloud_is_refused(url: str, options: StoreOptions, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        client(StoreAddress.parse(url, options))


def test_a_store_of_azure_has_a_text_as_zarr_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert "account" in str(client(StoreAddress.parse("az://container/a")))


def test_missing_credentials_are_called_so(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # A bucket that is not there in the place of the machine, whose roles are asked for.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"{bucket.endpoint}/no-machine")
    with pytest.raises(StoreError, match="no credentials were found"):
        (path(bucket.url("nobody")) / "a").size()


def test_half_a_pair_of_keys_is_no_damaged_run(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match=r"Missing SecretAccessKey.*object-stores\.md"):
        RunDirectory(bucket.url("half")).document()


@pytest.mark.parametrize("host", ["bucket.s3.eu-north-1.amazonaws.com", "me.blob.core.windows.net"])
def test_a_web_address_is_not_taken_for_a_cloud(host: str) -> None:
    """It would be read with credentials, or wait for some."""
    assert type(client(StoreAddress.parse(f"https://{host}/oslo"))).__name__ == "HTTPStore"


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("az://container/d", "AZURE_STORAGE_ENDPOINT"),
        ("az://container/e", "AZURE_ENDPOINT"),
        ("az://container/f", ""),
        ("s3://bucket/f", ""),
    ],
)
def test_an_endpoint_may_be_unencrypted(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment, or given: else no request is made ("builder error")."""
    monkeypatch.setattr(requests, "_ATTEMPTS", 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "cGxhbnRlZA==")
    if variable:
        monkeypatch.setenv(variable, CLOSED)
    options = StoreOptions(endpoint=None if variable else CLOSED)
    with pytest.raises(StoreError, match=r"1 attempts failed.*127\.0\.0\.1:9/.*error sending"):
        (StorePath(StoreAddress.parse(url, options)) / "a").read_bytes()


def test_azure_needs_the_name_of_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError, match="Set AZURE_STORAGE_ACCOUNT_NAME"):
        client(StoreAddress.parse("az://container/oslo"))
