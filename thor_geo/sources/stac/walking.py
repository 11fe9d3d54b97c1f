"""The walk through all items of a static catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from thor_geo.errors import StacError, error_chain
from thor_geo.sources.stac.items import StacItem, parse
from thor_geo.sources.stac.verdicts import classify_stac_error

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO


@dataclass(frozen=True, kw_only=True)
class WalkedItem:
    """An item of a static catalogue.

    Attributes:
        item: The item; one that is listed, but cannot be read, has a fault.
        collection: Id of its collection; None without one.
        content: The whole item, the addresses of its files complete; None where it cannot be read.
    """

    item: StacItem
    collection: str | None
    content: dict[str, Any] | None


def walk(root: str, reader: StacApiIO) -> Iterator[WalkedItem]:
    """Yield every item of a static catalogue, with the complete addresses of its files.

    An item that is missing, or is not as it should be, does not end the walk.

    Args:
        root: Address or path of the root.
        reader: Reads it.

    Raises:
        StacError: If the root is no catalogue's.
        Exception: Whatever the connection raises.
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
    yield from _below(catalogue, catalogue)


def _below(catalogue: pystac.Catalog, root: pystac.Catalog) -> Iterator[WalkedItem]:
    import pystac

    for link in catalogue.get_links(pystac.RelType.ITEM):
        yield _walked(link, catalogue, root)
    for child in catalogue.get_children():
        yield from _below(child, root)


def _walked(link: pystac.Link, parent: pystac.Catalog, root: pystac.Catalog) -> WalkedItem:
    """Return the item behind a link; one that is no item, or not there, has a fault."""
    import pystac

    try:
        item = link.resolve_stac_object(root=root).target
        if not isinstance(item, pystac.Item):
            raise pystac.STACTypeError({}, pystac.Item)
        item.make_asset_hrefs_absolute()
        content = item.to_dict(include_self_link=False, transform_hrefs=False)
    except Exception as error:  # pystac makes its own of whatever the connection raises
        fault = _fault(error)
        if fault is None:
            raise
        name = link.get_href(transform_href=False) or "without an address"
        broken = replace(parse({"id": name.rstrip("/").rpartition("/")[2]}), fault=fault)
        collection = parent.id if isinstance(parent, pystac.Collection) else None
        return WalkedItem(item=broken, collection=collection, content=None)
    return WalkedItem(item=parse(content), collection=item.collection_id, content=content)


def _fault(error: Exception) -> str | None:
    """Return what is wrong with an item that could not be read; None if that is another's fault."""
    import pystac

    chain = list(error_chain(error))
    verdict = classify_stac_error(error)
    missing = verdict is not None and verdict.status in (404, 410)
    if missing or any(isinstance(link, FileNotFoundError) for link in chain):
        return "is listed in the catalogue, but its file is not there"
    if any(isinstance(link, json.JSONDecodeError) for link in chain):
        return "is not JSON"
    if verdict is not None or any(isinstance(link, OSError) for link in chain):
        return None
    malformed = (pystac.STACError, LookupError, TypeError, ValueError, AttributeError)
    if isinstance(error, malformed):
        return f"is not a STAC item ({chain[-1]!r:.200})"
    return None
