"""Connections to object stores: one for each store in a process."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from thor_geo.errors import ConfigError, DependencyError, StoreError
from thor_geo.storage.address import StoreAddress, StoreOptions

# After so long without a byte of an answer, or without a connection, a request has failed; all of
# it, a large object's too, may take the last.
_TIMEOUTS = {"read_timeout": "60s", "connect_timeout": "10s", "timeout": "1h"}
# Where obstore finds the address of a store that is not the cloud's own; the first that is set.
_ENDPOINTS: dict[str, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}

# The process that used a store first. obstore 0.12 starts threads then, which a forked child has
# not: its first request would never end.
_user: int | None = None


def client(address: StoreAddress, *, retries: bool = False) -> Any:
    """Return obstore's store for an address, connected on its first request.

    Args:
        address: The root of all keys.
        retries: Whether it asks again by itself: for libraries that use it without `requests`.

    Raises:
        ConfigError: If the address or its options are not valid for the cloud.
        StoreError: If this process was forked from one that has used a store.
    """
    global _user
    refuse_forked(address.url)
    _user = os.getpid()
    return _client(address, retries)


def refuse_forked(store: str) -> None:
    """Refuse to use a store in a process that was forked from one that has used any.

    Args:
        store: Its address or name, for the message.

    Raises:
        StoreError: If it was.
    """
    if _user not in (None, os.getpid()):
        raise StoreError(
            f"`{store}` cannot be read in this process: it was forked from one that has used an "
            "object store, and its requests would never end. Start processes afresh: "
            "multiprocessing_context='spawn' for a DataLoader, or num_workers=0."
        )


def check_installed(address: StoreAddress) -> None:
    """Refuse an address where the library for stores is missing; it is not loaded.

    Args:
        address: What the user gave.

    Raises:
        DependencyError: If obstore is not installed.
    """
    if find_spec("obstore") is None:
        raise DependencyError(
            f"`{address.url}` lies in an object store, for which obstore is needed. Install it "
            'with: pip install "thor-geo[cloud]"'
        )


@lru_cache(maxsize=64)
def _client(address: StoreAddress, retries: bool) -> Any:
    from obstore.exceptions import BaseError
    from obstore.store import HTTPStore, from_url

    options: dict[str, Any] = {} if retries else {"retry_config": {"max_retries": 0}}
    config, http = _config(address)
    # A web address stays one, though `from_url` knows those of S3 and Azure, and would sign.
    connect: Any = HTTPStore.from_url if address.read_only else from_url
    try:
        return connect(
            address.url,
            client_options={**_TIMEOUTS, "allow_http": http},
            **({"config": config} if config else {}),
            **options,
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(
            "address",
            address.url,
            str(error).splitlines()[0].rstrip("."),
            _remedy(address, str(error)),
        ) from error


def _config(address: StoreAddress) -> tuple[dict[str, Any], bool]:
    """Return obstore's settings of a cloud, and whether it is reached without encryption.

    Raises:
        ConfigError: If an option has no meaning there, or the environment would outweigh it.
    """
    scheme, given = address.scheme, address.options
    _check(scheme, given)
    if address.read_only:
        return {}, scheme == "http"
    config: dict[str, Any] = {}
    if given.anonymous:
        config["skip_signature"] = True
    if given.endpoint:
        # The same setting has another name for Google, whose tests alone use it.
        config["base_url" if scheme == "gs" else "endpoint"] = given.endpoint
    if given.region:
        config["region"] = given.region
    if given.requester_pays:
        config["request_payer"] = True
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if scheme == "az" and account:
        # obstore 0.12 takes it from the environment, but then cannot show the store as text, as
        # zarr does: it panics.
        config["account_name"] = account
    variables = [os.environ.get(name, "") for name in _ENDPOINTS[scheme]]
    endpoint = next(filter(None, [given.endpoint, *variables]), "")
    return config, endpoint.startswith("http://")


def _check(scheme: str, given: StoreOptions) -> None:
    """Refuse options that would not count.

    Raises:
        ConfigError: If there is one.
    """
    for name, value, schemes in (
        ("endpoint", given.endpoint, _ENDPOINTS),
        ("region", given.region, {"s3"}),
        ("requester_pays", given.requester_pays or None, {"s3"}),
    ):
        if value is not None and scheme not in schemes:
            raise ConfigError(
                name, value, f"it means nothing for {scheme}://", "Leave this option out."
            )
    outweighing = os.environ.get("AWS_ENDPOINT_URL_S3") or given.endpoint
    if scheme == "s3" and given.endpoint not in (None, outweighing):
        raise ConfigError(
            "endpoint",
            given.endpoint,
            f"AWS_ENDPOINT_URL_S3={outweighing} in the environment comes before it",
            "Unset that variable, or leave this option out.",
        )


def _remedy(address: StoreAddress, error: str) -> str:
    if address.scheme == "az" and "Account must be specified" in error:
        return (
            "Set AZURE_STORAGE_ACCOUNT_NAME in the environment, and AZURE_STORAGE_ACCOUNT_KEY or "
            "other credentials; AZURE_STORAGE_CONNECTION_STRING is not read."
        )
    return "See docs/object-stores.md for what each cloud needs."
