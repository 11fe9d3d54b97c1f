"""How Earth Engine is reached, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thor_geo.errors import ConfigError
from thor_geo.specs import check_choice

CredentialsKind = Literal["auto", "user", "service_account", "application_default", "anonymous"]


#: The endpoint for many small requests (Earth Engine guide, processing environments).
HIGH_VOLUME_URL = "https://earthengine-highvolume.googleapis.com"


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """How to reach Earth Engine; picklable, and free of secrets.

    Attributes:
        project: Cloud project id that is registered for Earth Engine; None for the one that comes
            with the credentials.
        credentials: ``auto`` (the service account file if one is given, else the stored login,
            else application default credentials), ``user`` (what ``earthengine authenticate``
            stored), ``service_account``, ``application_default``, or ``anonymous`` (for servers
            on this machine).
        service_account_file: Path of a service account's JSON key.
        url: Endpoint; None for Earth Engine's high-volume endpoint.
        read_timeout_s: Seconds to wait for an answer. Earth Engine itself ends interactive
            requests after 300.
        pool_size: Connections to keep open. A project may have 40 requests in flight.

    Raises:
        ConfigError: If a value is out of range or a choice unknown.
    """

    project: str | None = None
    credentials: CredentialsKind = "auto"
    service_account_file: Path | None = None
    url: str | None = None
    read_timeout_s: float = 330.0
    pool_size: int = 40

    def __post_init__(self) -> None:
        """Validate, and turn a path given as text into a Path."""
        check_choice("credentials", self.credentials, CredentialsKind)
        if self.service_account_file is not None:
            object.__setattr__(self, "service_account_file", Path(self.service_account_file))
        elif self.credentials == "service_account":
            raise ConfigError(
                "service_account_file",
                None,
                "credentials='service_account' need a key file",
                "Give the path of the service account's JSON key.",
            )
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ConfigError(
                "url", self.url, "not an http(s) address", "Leave it out for Earth Engine itself."
            )
        if not self.read_timeout_s > 0:
            raise ConfigError(
                "read_timeout_s", self.read_timeout_s, "not a positive time", "Give seconds."
            )
        if not (isinstance(self.pool_size, int) and self.pool_size > 0):
            raise ConfigError("pool_size", self.pool_size, "not a positive whole number", "Use 40.")

    @property
    def endpoint(self) -> str:
        """The address that requests go to."""
        return (self.url or HIGH_VOLUME_URL).rstrip("/")
