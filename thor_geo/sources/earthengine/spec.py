"""How Earth Engine is reached, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from thor_geo.errors import ConfigError
from thor_geo.specs.sources import EarthEngineSpec

#: The endpoint for many small requests (Earth Engine guide, processing environments).
HIGH_VOLUME_URL = "https://earthengine-highvolume.googleapis.com"


@dataclass(frozen=True, kw_only=True)
class SessionSpec(EarthEngineSpec):
    """The user's settings for Earth Engine, and how to connect; picklable, without secrets.

    Attributes:
        read_timeout_s: Seconds to wait for an answer. Earth Engine itself ends interactive
            requests after 300.
        pool_size: Connections to keep open. A project may have 40 requests in flight.

    Raises:
        ConfigError: If a value is out of range or a choice unknown.
    """

    read_timeout_s: float = 330.0
    pool_size: int = 40

    def __post_init__(self) -> None:
        """Validate."""
        super().__post_init__()
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
