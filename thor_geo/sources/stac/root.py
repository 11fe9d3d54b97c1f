"""The root of a catalogue: reading it, and telling an API's from a static catalogue's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from thor_geo.errors import ConfigError, DependencyError, StacError
from thor_geo.sources.stac.spec import CatalogueSpec, is_remote, public
from thor_geo.sources.stac.verdicts import classify_stac_error

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

#: Seconds within which a server must take a connection.
CONNECT_TIMEOUT_S = 15.0

_ITEM_SEARCH = "item-search"

#: Types of the answers of a link that searches; one to a page for people has another.
_SEARCH_TYPES = (None, "application/geo+json", "application/json")


def read_root(spec: CatalogueSpec) -> tuple[str, Mapping[str, Any], StacApiIO]:
    """Return the address, the content and the reader of a catalogue's root.

    Args:
        spec: Which catalogue.

    Raises:
        DependencyError: If pystac-client is not installed.
        ConfigError: If there is no catalogue.
        StacError: If what is there is no catalogue.
    """
    root = spec.root()
    try:
        from pystac_client.stac_api_io import StacApiIO
        from requests.adapters import HTTPAdapter
    except ImportError as error:
        raise DependencyError(
            "`data.stac` needs the package pystac-client: pip install 'thor-geo[stac]'."
        ) from error
    # One layer of retries, `StacClient`.
    reader = StacApiIO(max_retries=None, timeout=(CONNECT_TIMEOUT_S, spec.timeout_s))
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=spec.pool_size)
    for scheme in ("http://", "https://"):
        reader.session.mount(scheme, adapter)
    # Before pystac-client makes text of it: an error then keeps status and headers.
    reader.session.hooks["response"].append(lambda answer, **_: answer.raise_for_status())
    try:
        content = json.loads(reader.read_text(root))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StacError(_no_catalogue(spec, f"not JSON ({error})")) from error
    _refuse_page_of_api(spec, content, reader)
    if not isinstance(content, dict) or content.get("type") not in ("Catalog", "Collection"):
        kind = content.get("type") if isinstance(content, dict) else type(content).__name__
        raise StacError(_no_catalogue(spec, f"of the type {kind!r}"))
    return root, content, reader


def is_api(content: Any) -> bool:
    """Return whether a root is that of an API which can be searched: it says so, or links to it.

    Args:
        content: The root, or anything else.
    """
    if not isinstance(content, Mapping):
        return False
    conforms = any(_ITEM_SEARCH in str(uri) for uri in content.get("conformsTo") or ())
    return conforms or any(
        link["type"] in _SEARCH_TYPES for link in links(content) if link["rel"] == "search"
    )


def links(content: Any) -> list[dict[str, Any]]:
    """Return the well-formed links of a STAC object, each with ``rel``, ``href`` and ``type``.

    Args:
        content: The object, or anything else.
    """
    listed = content.get("links") if isinstance(content, Mapping) else None
    return [
        {"type": None, **link}
        for link in (listed if isinstance(listed, list) else ())
        if isinstance(link, dict) and isinstance(link.get("href"), str) and "rel" in link
    ]


def _refuse_page_of_api(spec: CatalogueSpec, content: Any, reader: StacApiIO) -> None:
    """Refuse a page of an API that is not its root, such as a collection; names the root.

    Raises:
        ConfigError: If *content* says that its root is elsewhere, and that is an API's.
    """
    root = next((link["href"] for link in links(content) if link["rel"] == "root"), "")
    root = urljoin(spec.url, root)
    if not is_remote(spec.url) or is_api(content) or _same_address(root, spec.url):
        return
    try:
        above = json.loads(reader.read_text(root))
    except Exception as error:  # whatever the connection raises
        verdict = classify_stac_error(error)
        if verdict is None or verdict.kind not in ("fatal", "permission", "authentication"):
            raise
        return  # a static catalogue need not have its root there; buckets answer 403 for that
    if not is_api(above):
        return
    is_collection = content.get("type") == "Collection"
    collection = content.get("id") if is_collection else "the id of one of its collections"
    raise ConfigError(
        "stac.url",
        spec.endpoint,
        f"it is a {'collection' if is_collection else 'page'} of the API {public(root)}, not the "
        "API's root",
        f"Set `data.stac.url` to {public(root)} and `data.stac.collection` to {collection}.",
    )


def _same_address(one: str, other: str) -> bool:
    return public(one).rstrip("/") == public(other).rstrip("/")


def _no_catalogue(spec: CatalogueSpec, why: str) -> str:
    return (
        f"`data.stac.url={spec.endpoint!r}` is not the root of a STAC catalogue: it is {why}. "
        "Give the root of an API, e.g. https://earth-search.aws.element84.com/v1, or of a static "
        "catalogue: a catalog.json."
    )


def local_path(href: str) -> Path | None:
    """Return the path that an address of a file on this machine means; None for any other.

    Args:
        href: The address.
    """
    if is_remote(href) or "://" in href.removeprefix("file://"):
        return None
    return Path(href.removeprefix("file://"))
