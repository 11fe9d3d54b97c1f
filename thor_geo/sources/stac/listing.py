"""Where items come from: an API that is searched, or a static catalogue that is walked once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from pyproj import Transformer

from thor_geo.errors import ConfigError, StacError
from thor_geo.ground.lattice import Block
from thor_geo.sources.stac.items import StacItem, parse
from thor_geo.sources.stac.root import is_api, links, read_root
from thor_geo.sources.stac.spec import CatalogueSpec, public
from thor_geo.sources.stac.walking import walk
from thor_geo.specs import TemporalSpec
from thor_geo.support.coverage import Coverage

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

#: Metres around a block within which a server is asked for items. Their geometries are joined by
#: lines that are straight in degrees: those of an edge of 110 km miss its raster's by
#: L^2 / 8R * tan(latitude), 0.4 km at 60 degrees and 1.4 km at 80.
MARGIN_M = 2000.0

#: Items of an API that are looked at before any work starts.
SOME = 10

#: Items in one answer; Earth Search and the Planetary Computer allow more.
PAGE = 100


class Listing(Protocol):
    """Where items come from."""

    def search(self, block: Block, window: TemporalSpec) -> Iterable[StacItem]:
        """Return all items near a block in a window, and perhaps others."""
        ...

    def named(self, ids: Sequence[str]) -> Iterable[StacItem]:
        """Return the items with these ids that there are."""
        ...

    def some(self) -> Sequence[StacItem]:
        """Return a few items, or none if there are none."""
        ...

    def excluded(self) -> Iterable[str]:
        """Return the ids of items that there are, and that the user leaves out."""
        ...

    def coverage(self) -> Coverage:
        """Return where and when its items are."""
        ...


def open_listing(spec: CatalogueSpec) -> Listing:
    """Open a catalogue.

    Args:
        spec: Which one.

    Raises:
        DependencyError: If pystac-client is not installed.
        ConfigError: If there is no catalogue, or an API's collection is not named.
        StacError: If what is there is no catalogue.
    """
    root, content, reader = read_root(spec)
    if not is_api(content):
        return _Static(spec, root, reader)
    if spec.collection is None:
        raise ConfigError(
            "stac.collection",
            None,
            f"{spec.endpoint} is an API, which may have many collections",
            "Give the id of one, e.g. sentinel-2-l2a.",
        )
    return _Api(spec, spec.collection, root, reader)


class _Api:
    """Items from an API's search."""

    def __init__(self, spec: CatalogueSpec, collection: str, root: str, reader: StacApiIO) -> None:
        from pystac_client import Client

        self._excluded = frozenset(spec.exclude)
        self._collections = [collection]
        self._root = root
        self._reader = reader
        self._client = Client.open(root, stac_io=reader)
        # pystac-client refuses to search an API that has a link for it, but does not say so.
        self._client.add_conforms_to("ITEM_SEARCH")
        methods = {link.extra_fields.get("method") for link in self._client.get_links("search")}
        self._method = "GET" if "GET" in methods and "POST" not in methods else "POST"

    def search(self, block: Block, window: TemporalSpec) -> Iterator[StacItem]:
        # The window is half-open, and `Item.within` sees to it: an API's has both ends.
        when = f"{_utc(window.start)}/{_utc(window.end)}"
        for box in boxes_around(block):
            yield from self._query(bbox=list(box), datetime=when)

    def named(self, ids: Sequence[str]) -> Iterator[StacItem]:
        for start in range(0, len(ids), PAGE):
            yield from self._query(ids=list(ids[start : start + PAGE]))

    def some(self) -> Sequence[StacItem]:
        return list(islice(self._query(limit=SOME), SOME))

    def excluded(self) -> Iterator[str]:
        ids = sorted(self._excluded)
        for start in range(0, len(ids), PAGE):
            for content, _ in self._contents(ids=ids[start : start + PAGE]):
                if isinstance(content, Mapping) and content.get("id") in self._excluded:
                    yield str(content["id"])

    def coverage(self) -> Coverage:
        (name,) = self._collections
        page = self._reader.read_json(f"{self._root.rstrip('/')}/collections/{quote(name)}")
        extent = page.get("extent") or {}
        try:
            box = extent["spatial"]["bbox"][0]
            first, last = extent["temporal"]["interval"][0]
            # Six numbers where heights are stated, too.
            west, south, east, north = map(float, (*box[:2], *box[len(box) // 2 :][:2]))
        except (LookupError, TypeError, ValueError):
            return Coverage(box=None, first=None, last=None)
        return Coverage(
            box=(west, south, east, north),
            first=None if first is None else str(first)[:10],
            last=None if last is None else str(last)[:10],
        )

    def _query(self, limit: int = PAGE, **query: Any) -> Iterator[StacItem]:
        for content, base in self._contents(limit, **query):
            item = parse(content, base)
            if item.id not in self._excluded:
                yield item

    def _contents(self, limit: int = PAGE, **query: Any) -> Iterator[tuple[Any, str]]:
        """Yield items as the API answers them, with the base of their relative addresses."""
        search = self._client.search(
            method=self._method, collections=self._collections, limit=limit, **query
        )
        for page in self._pages(search.url, search.get_parameters()):
            for content in page.get("features") or ():
                addresses = [link["href"] for link in links(content) if link["rel"] == "self"]
                yield content, addresses[0] if addresses else self._root

    def _pages(self, url: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the pages of an answer; pystac-client's own walk ends at an empty one."""
        from pystac import Link

        page = self._reader.read_json(url, method=self._method, parameters=parameters)
        followed: list[dict[str, Any]] = []
        while True:
            yield page
            following = [link for link in links(page) if link["rel"] == "next"]
            if not following:
                return
            if following[0] in followed:
                raise StacError(
                    f"The API {public(self._root)} answers a search without end: its pages name "
                    "each other as the next one. Tell those who run it, or take another catalogue."
                )
            followed.append(following[0])
            page = self._reader.read_json(Link.from_dict(following[0]), parameters=parameters)


class _Static:
    """All items of a static catalogue, read once."""

    def __init__(self, spec: CatalogueSpec, root: str, reader: StacApiIO) -> None:
        self._spec = spec
        self._root = root
        self._reader = reader
        self._lock = threading.Lock()
        self._all: list[StacItem] | None = None
        self._by_id: dict[str, StacItem] = {}
        self._left_out: set[str] = set()

    def search(self, block: Block, window: TemporalSpec) -> Iterable[StacItem]:
        return self._walked()

    def named(self, ids: Sequence[str]) -> Iterable[StacItem]:
        self._walked()
        return [self._by_id[name] for name in ids if name in self._by_id]

    def some(self) -> Sequence[StacItem]:
        return self._walked()

    def excluded(self) -> Iterable[str]:
        self._walked()
        return self._left_out

    def coverage(self) -> Coverage:
        items = [item for item in self._walked() if item.placed]
        boxes = [item.degrees for item in items]
        times = [item.scene.time_start for item in items]
        return Coverage.from_scenes(
            [box for box in boxes if box is not None], [time for time in times if time is not None]
        )

    def _walked(self) -> Sequence[StacItem]:
        with self._lock:
            if self._all is None:
                walked = _with_unique_ids(self._walk())
                self._by_id = {item.id: item for item in walked}
                self._all = walked
            return self._all

    def _walk(self) -> list[StacItem]:
        items: list[StacItem] = []
        elsewhere: set[str] = set()
        for entry in walk(self._root, self._reader):
            if not entry.may_be_of(self._spec.collection):
                elsewhere.add(str(entry.collection))
            elif entry.item.id in self._spec.exclude:
                self._left_out.add(entry.item.id)
            else:
                items.append(entry.item)
        if not items and elsewhere:
            raise ConfigError(
                "stac.collection",
                self._spec.collection,
                f"{self._spec.endpoint} has no item in it",
                f"Choose from: {', '.join(sorted(elsewhere))}; or leave it out for all of them.",
            )
        return items


def _with_unique_ids(items: Iterable[StacItem]) -> list[StacItem]:
    """Return items of which none can be taken for another one.

    An item that is listed twice counts once. Where several items have one id, each has a fault: a
    block's scenes are pinned by their ids.

    Args:
        items: The items of a catalogue.
    """
    by_id: dict[str, list[StacItem]] = {}
    for item in items:
        namesakes = by_id.setdefault(item.id, [])
        if item not in namesakes:
            namesakes.append(item)
    fault = (
        "has an id that another item of the catalogue has, too (`data.stac.collection` chooses one "
        "collection, in which ids are unique)"
    )
    return [
        replace(item, fault=item.fault or fault) if namesakes[1:] else item
        for namesakes in by_id.values()
        for item in namesakes
    ]


def boxes_around(block: Block) -> list[tuple[float, float, float, float]]:
    """Return a box around a block in degrees: west, south, east, north; two at the antimeridian.

    Args:
        block: The block.
    """
    left, bottom, right, top = block.bounds
    transformer = Transformer.from_crs(block.epsg, 4326, always_xy=True)
    west, south, east, north = transformer.transform_bounds(
        left - MARGIN_M, bottom - MARGIN_M, right + MARGIN_M, top + MARGIN_M
    )
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _utc(when: Any) -> str:
    return str(when.isoformat()).replace("+00:00", "Z")
