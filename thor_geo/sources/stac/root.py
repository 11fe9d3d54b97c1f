"""The root of a catalogue, and the walk through all items of a static one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thor_geo.errors import DependencyError, StacError
from thor_geo.sources.stac.spec import CatalogueSpec, is_remote

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO

_ITEM_SEARCH = "item-search"


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
    reader = StacApiIO(max_retries=None, timeout=spec.timeout_s)
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=spec.pool_size)
    for scheme in ("http://", "https://"):
        reader.session.mount(scheme, adapter)
    # Before pystac-client makes text of it: an error then keeps status and headers.
    reader.session.hooks["response"].append(lambda answer, **_: answer.raise_for_status())
    try:
        content = json.loads(reader.read_text(root))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StacError(_no_catalogue(spec, f"not JSON ({error})")) from error
    if not isinstance(content, dict) or content.get("type") not in ("Catalog", "Collection"):
        kind = content.get("type") if isinstance(content, dict) else type(content).__name__
        raise StacError(_no_catalogue(spec, f"of the type {kind!r}"))
    return root, content, reader


def is_api(content: Mapping[str, Any]) -> bool:
    """Return whether a root is that of an API which can be searched.

    Args:
        content: The root.
    """
    return any(_ITEM_SEARCH in str(uri) for uri in content.get("conformsTo") or ())


def _no_catalogue(spec: CatalogueSpec, why: str) -> str:
    return (
        f"`data.stac.url={spec.endpoint!r}` is not the root of a STAC catalogue: it is {why}. "
        "Give the root of an API, e.g. https://earth-search.aws.element84.com/v1, or of a static "
        "catalogue: a catalog.json."
    )


def walk(root: str, reader: StacApiIO) -> Iterator[pystac.Item]:
    """Yield every item of a static catalogue, with the complete addresses of its files.

    Args:
        root: Address or path of the root.
        reader: Reads it.
    """
    import pystac
    from pystac.stac_io import DefaultStacIO

    class Plain(DefaultStacIO):
        """Reads as *reader* does, and makes plain objects: its own warn that there is no API."""

        def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
            return reader.read_text(source, *args, **kwargs)

    catalogue = pystac.read_file(root, stac_io=Plain())
    if not isinstance(catalogue, pystac.Catalog):
        raise StacError(f"{root} is a {catalogue.STAC_OBJECT_TYPE}, not the root of a catalogue.")
    for item in catalogue.get_items(recursive=True):
        item.make_asset_hrefs_absolute()
        yield item


def local_path(href: str) -> Path | None:
    """Return the path that an address of a file on this machine means; None for any other.

    Args:
        href: The address.
    """
    if is_remote(href) or "://" in href.removeprefix("file://"):
        return None
    return Path(href.removeprefix("file://"))
