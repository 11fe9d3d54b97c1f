"""What only the publisher of a run knows: its licence, its name, who gives it, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass

from thor_geo.errors import ConfigError
from thor_geo.storage import StoreAddress

#: STAC's word for data under no licence of the SPDX list, or none that is stated.
NO_LICENCE = "other"

# What STAC takes for an identifier.
_IDENTIFIER = re.compile(r"[\w.+-]+")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the publisher of a run says about it.

    Attributes:
        licence: SPDX identifier of the embeddings' licence; None where none is stated.
        title: Title; None for one made from the run.
        description: A few sentences in CommonMark; None for some made from the run.
        provider: Who gives the embeddings away; None to name nobody.
        url: The address at which the run is, or will be, served.

    Raises:
        ConfigError: If the licence is not in the SPDX list, a text is empty, or the address is not
            one of a web server.
    """

    licence: str | None = None
    title: str | None = None
    description: str | None = None
    provider: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        """Validate; the licence gets the spelling of the list, the address loses a last slash."""
        for name in ("title", "description", "provider"):
            text = getattr(self, name)
            if text is not None and not text.strip():
                raise ConfigError(f"--{name}", text, "empty", "Give a text, or leave it out.")
        if self.licence is not None:
            object.__setattr__(self, "licence", _identifier(self.licence))
        if self.url is not None:
            object.__setattr__(self, "url", _web_address(self.url))

    @property
    def licence_page(self) -> str | None:
        """Address of the licence's text; None where none is stated."""
        return None if self.licence is None else f"https://spdx.org/licenses/{self.licence}.html"


def _identifier(licence: str) -> str:
    """Return an identifier of the SPDX list as the list spells it."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        known = str(canonicalize_license_expression(licence))
    except InvalidLicenseExpression:
        known = ""
    # Expressions such as `MIT OR Apache-2.0` are valid in SPDX, and not in STAC.
    if not _IDENTIFIER.fullmatch(known) or known.startswith("LicenseRef-"):
        raise ConfigError(
            "--licence",
            licence,
            "not one identifier of the SPDX list",
            "Give one of https://spdx.org/licenses, such as CC-BY-4.0, CC0-1.0 or ODbL-1.0, or "
            "leave it out: the collection then says `other`.",
        )
    return known


def _web_address(url: str) -> str:
    address = StoreAddress.parse(url, argument="--url")
    if not address.read_only:
        raise ConfigError(
            "--url",
            url,
            "readers do not get at it over HTTP",
            "Give the https:// address at which the run's files can be read.",
        )
    return address.url
