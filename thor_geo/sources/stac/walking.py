"""The walk through all items of a static catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from thor_geo.errors import StacError, error_chain
from thor_geo.sources.stac.items import StacItem, parse
from thor_geo.sources.stac.spec import public
from thor_geo.sources.stac.verdicts import classify_stac_error

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO

_Object = TypeVar("_Object", bound="pystac.STACObject")


@dataclass(frozen=True, kw_only=True)
class WalkedItem:
    """An item of a static catalogue.

    Attributes:
        item: The item; one that is listed, but cannot be read, has a fault, and so has one that
            stands for a sub-catalogue that cannot be read.
        collection: Id of its collection; None without one.
        content: The whole item, the addresses of its files complete; None where it cannot be read.
    """

    item: StacItem
    collection: str | None
    content: dict[str, Any] | None

    def may_be_of(self, collection: str | None) -> bool:
        """Return whether it is of a collection, or could be: what cannot be read may not tell.

        Args:
            collection: Id of the collection; None for any.
        """
        return collection in (None, self.collection) or (
            self.content is None and self.collection is None
        )


def walk(root: str, reader: StacApiIO) -> Iterator[WalkedItem]:
    """Yield every item of a static catalogue, with the complete addresses of its files.

    An item or a sub-catalogue that is missing, or is not as it should be, does not end the walk.

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
    yield from _below(catalogue, catalogue, set())


def _below(catalogue: pystac.Catalog, root: pystac.Catalog, seen: set[int]) -> Iterator[WalkedItem]:
    """Yield the items below a catalogue; one that is met again, such as the root, is passed by."""
    import pystac

    if id(catalogue) in seen:
        return
    seen.add(id(catalogue))
    for link in catalogue.get_links(pystac.RelType.ITEM):
        item = _resolved(link, root, pystac.Item)
        if isinstance(item, str):
            yield _broken(_end(link.get_href(transform_href=False)), item, catalogue)
        else:
            content = item.to_dict(include_self_link=False, transform_hrefs=False)
            yield WalkedItem(item=parse(content), collection=item.collection_id, content=content)
    for link in catalogue.get_links(pystac.RelType.CHILD):
        child = _resolved(link, root, pystac.Catalog)
        if isinstance(child, str):
            name = _below_root(link.get_absolute_href(), root)
            yield _broken(name, f"is a sub-catalogue that {child}", catalogue)
        else:
            yield from _below(child, root, seen)


def _resolved(link: pystac.Link, root: pystac.Catalog, kind: type[_Object]) -> _Object | str:
    """Return the object behind a link, or what is wrong with it.

    Raises:
        Exception: Whatever the connection raises.
    """
    import pystac

    try:
        found = link.resolve_stac_object(root=root).target
        if not isinstance(found, kind):
            raise pystac.STACTypeError({}, kind)
        if isinstance(found, pystac.Item):
            found.make_asset_hrefs_absolute()
        return found
    except Exception as error:  # pystac makes its own of whatever the connection raises
        fault = _fault(error, "item" if kind is pystac.Item else "catalogue")
        if fault is None:
            raise
        return fault


def _broken(name: str, fault: str, parent: pystac.Catalog) -> WalkedItem:
    """Return what stands for an item or a sub-catalogue that cannot be read."""
    import pystac

    collection = parent.id if isinstance(parent, pystac.Collection) else None
    item = replace(parse({"id": name}), fault=fault)
    return WalkedItem(item=item, collection=collection, content=None)


def _end(href: str | None) -> str:
    return (href or "without an address").rstrip("/").rpartition("/")[2]


def _below_root(href: str | None, root: pystac.Catalog) -> str:
    """Return the address of a sub-catalogue from its root on: most end in ``catalog.json``."""
    folder = (root.get_self_href() or "").rpartition("/")[0]
    return public(href or "without an address").removeprefix(public(f"{folder}/"))


def _fault(error: Exception, kind: str) -> str | None:
    """Return what is wrong with what could not be read; None if that is another's fault."""
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
        return f"is not a STAC {kind} ({chain[-1]!r:.200})"
    return None
