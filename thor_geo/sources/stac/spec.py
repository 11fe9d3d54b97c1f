"""Which catalogue, and what its metadata does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from thor_geo.errors import ConfigError
from thor_geo.sources.stac.bands import NAMES
from thor_geo.specs import check_choice

Sign = Literal["none", "planetary_computer"]

#: An override of `StacSpec.assets`: an asset's key, and with it the number of the band in its file.
_OVERRIDE = re.compile(r"[^#\s]+(#[1-9]\d*)?")

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
class StacSpec:
    """How to reach a catalogue and how to read its items; picklable, and free of secrets.

    Attributes:
        url: Root of a STAC API, or address or path of a static catalogue's root file (or of its
            folder).
        collection: Id of the collection; None for every item of a static catalogue.
        assets: Where a band is, by Earth Engine's name of it, for items whose metadata does not say
            so: the asset's key, or ``key#2`` for the second band of its file.
        offset: What to add to every reflectance of every item, DN; None for what each item says
            (see `offset.dn_offset`).
        sign: ``planetary_computer`` has that service sign the addresses of files.
        pool_size: Connections to keep open.
        timeout_s: Seconds to wait for an answer.
        bands: Earth Engine's names of the bands that items must have, SCL among them if it masks;
            one item is looked at before any work starts.

    Raises:
        ConfigError: If a value is out of range or a choice unknown.
    """

    url: str
    collection: str | None = None
    assets: Mapping[str, str] = field(default_factory=dict)
    offset: int | None = None
    sign: Sign = "none"
    pool_size: int = 40
    timeout_s: float = 60.0
    bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("stac_sign", self.sign, Sign)
        if not self.url or ("://" in self.url and not is_remote(self.url)):
            raise ConfigError(
                "stac_url",
                self.url,
                "neither an http(s) address nor a path",
                "Give the root of a STAC API, e.g. https://earth-search.aws.element84.com/v1, or "
                "the path of a catalog.json.",
            )
        for band, where in self.assets.items():
            if band not in NAMES:
                raise ConfigError(
                    "stac_assets",
                    band,
                    "no Sentinel-2 band has this name",
                    f"Choose from: {', '.join(NAMES)}.",
                )
            if not (isinstance(where, str) and _OVERRIDE.fullmatch(where)):
                raise ConfigError(
                    "stac_assets",
                    f"{band}: {where}",
                    "not an asset's key",
                    "Give the key, e.g. red, or red#2 for the second band of the asset's file.",
                )
        if self.offset is not None and not (
            isinstance(self.offset, int) and -10000 <= self.offset <= 10000
        ):
            raise ConfigError(
                "stac_offset",
                self.offset,
                "not a whole number of DN between -10000 and 10000",
                "Give 0 where the files hold reflectance x 10000, -1000 where they hold what ESA "
                "publishes since processing baseline 04.00.",
            )
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
                "stac_url",
                str(path),
                "no STAC catalogue is there",
                "Give the path of a catalog.json or of its folder; `thor-geo emulator --stac DIR` "
                "writes one for a folder of scenes.",
            )
        return str(root.resolve())
