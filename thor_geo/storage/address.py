"""Addresses of object stores, as users write them: ``s3://bucket/prefix``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, urlsplit

from thor_geo.errors import ConfigError

#: What an address begins with, and what it then names.
SCHEMES: dict[str, str] = {
    "s3": "Amazon S3, or a store that speaks its protocol",
    "gs": "Google Cloud Storage",
    "az": "Azure Blob Storage",
    "https": "any web server, for reading",
    "http": "any web server, for reading",
}
#: Those that can only be read: a web server has no conditional put.
READ_ONLY = frozenset({"http", "https"})

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CREDENTIALS = (
    "Leave them out, and give them as the cloud's own tools take them, e.g. AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY in the environment."
)
_FORM = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or https://host/prefix"


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """How an object store is reached, where its own settings in the environment do not say.

    Credentials are no options: each cloud's own chain finds them (environment variables, profiles,
    the roles of machines and pods).

    Attributes:
        endpoint: Address of a store that is not the cloud's own, e.g. https://minio.example.org.
        region: Region of the bucket, where the environment does not say.
        anonymous: Whether to send no credentials, for public data.
        requester_pays: Whether to pay for reading a bucket of somebody else.
    """

    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    requester_pays: bool = False

    def __post_init__(self) -> None:
        """Refuse an endpoint that is no web address, or holds credentials.

        Raises:
            ConfigError: If it is.
        """
        if self.endpoint is None:
            return
        parts = _split(self.endpoint, "endpoint")
        if "@" in self.endpoint or parts.query or parts.fragment:
            raise ConfigError(
                "endpoint",
                f"{parts.scheme}://***",
                "the address holds credentials, which would end up in records and logs",
                _CREDENTIALS,
            )
        if parts.scheme not in READ_ONLY or not parts.hostname:
            raise ConfigError(
                "endpoint",
                self.endpoint,
                "it begins with neither http:// nor https://",
                "Give the whole address, e.g. https://minio.example.org.",
            )


def _split(text: str, argument: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return urlsplit(text)
    except ValueError as error:
        raise ConfigError(argument, "***", f"it is no address ({error})", f"Use {_FORM}.") from None


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """The root of a run or a cache in an object store; picklable, and nothing is connected.

    Attributes:
        url: ``scheme://bucket/prefix``, without a slash at its end.
        options: How it is reached.
    """

    url: str
    options: StoreOptions = field(default_factory=StoreOptions)

    @classmethod
    def parse(
        cls, text: str, options: StoreOptions | None = None, *, argument: str = "address"
    ) -> Self:
        """Read an address.

        Args:
            text: What the user wrote.
            options: How the store is reached.
            argument: The setting that holds it, for messages.

        Raises:
            ConfigError: If it is not the address of a bucket, or holds credentials.
        """
        parts = _split(text, argument)
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                argument,
                f"{parts.scheme}://***@{parts.hostname or ''}{parts.path}",
                "the address holds credentials, which would end up in records and logs",
                _CREDENTIALS,
            )
        if parts.query or parts.fragment:
            raise ConfigError(
                argument,
                f"{parts.scheme}://{parts.netloc}{parts.path}?***",
                "the address has a query, as signed links have",
                "Give the address of a folder: the files below it are asked for by their names.",
            )
        if parts.scheme not in SCHEMES:
            raise ConfigError(
                argument, text, f"there are no stores of {parts.scheme}://", f"Use {_FORM}."
            )
        if not parts.netloc:
            raise ConfigError(argument, text, "the address names no bucket", f"Use {_FORM}.")
        if parts.scheme == "az" and "." in parts.netloc:
            account = parts.netloc.partition(".")[0]
            raise ConfigError(
                argument,
                text,
                "it names the host of an account where a container's name belongs",
                f"Write az://container/prefix, and set AZURE_STORAGE_ACCOUNT_NAME={account} in the "
                "environment.",
            )
        path = "/".join(part for part in parts.path.split("/") if part)
        if any(part in {".", ".."} for part in path.split("/")):
            raise ConfigError(
                argument, text, "a store has no folders . and ..", "Write the whole prefix."
            )
        url = f"{parts.scheme}://{parts.netloc}"
        return cls(url=f"{url}/{path}" if path else url, options=options or StoreOptions())

    @property
    def scheme(self) -> str:
        """What the address begins with: a key of `SCHEMES`."""
        return self.url.partition("://")[0]

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there."""
        return self.scheme in READ_ONLY


def is_address(path: object) -> bool:
    """Return whether a setting is the address of a store, not the path of a folder."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None
