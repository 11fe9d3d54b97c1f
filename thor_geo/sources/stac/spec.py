"""A catalogue and what its items must have, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from thor_geo.errors import ConfigError
from thor_geo.specs.sources import StacSpec

#: Where a catalogue's root is in a folder.
_ROOTS = ("catalog.json", "collection.json")


def is_remote(href: str) -> bool:
    """Return whether a reference is an http(s) address."""
    return href.startswith(("http://", "https://"))


def public(href: str) -> str:
    """Return an address without what may be secret: login, query (signatures) and fragment.

    Args:
        href: An address or a path; a path stays as it is.
    """
    parts = urlsplit(href)
    if not parts.netloc:
        return href
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@dataclass(frozen=True, kw_only=True)
class CatalogueSpec(StacSpec):
    """The user's settings for a catalogue, and how to read it; picklable, without secrets.

    Attributes:
        pool_size: Connections to keep open.
        timeout_s: Seconds to wait for an answer.
        bands: Earth Engine's names of the bands that items must have, SCL among them if it masks;
            one item is looked at before any work starts.

    Raises:
        ConfigError: If a value is out of range or a choice unknown.
    """

    pool_size: int = 40
    timeout_s: float = 60.0
    bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validate."""
        super().__post_init__()
        if not (isinstance(self.pool_size, int) and self.pool_size > 0):
            raise ConfigError("pool_size", self.pool_size, "not a positive whole number", "Use 40.")
        if not self.timeout_s > 0:
            raise ConfigError("timeout_s", self.timeout_s, "not a positive time", "Give seconds.")

    @property
    def endpoint(self) -> str:
        """The catalogue's address or path, as it may be shown."""
        return public(self.url)

    def root(self) -> str:
        """Return the address or path of the catalogue's root.

        Raises:
            ConfigError: If it is a path where no catalogue is.
        """
        if is_remote(self.url):
            return self.url
        path = Path(self.url).expanduser()
        root = path
        if path.is_dir():
            roots = [path / name for name in _ROOTS if (path / name).is_file()]
            root = roots[0] if roots else path / _ROOTS[0]
        if not root.is_file():
            raise ConfigError(
                "stac.url",
                str(path),
                "no STAC catalogue is there",
                "Give the path of a catalog.json or of its folder; `thor-geo emulator --stac DIR` "
                "writes one for a folder of scenes.",
            )
        return str(root.resolve())
