"""The session with a catalogue: opened when it is first used, with a memory of its items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from thor_geo.errors import ConfigError, SceneError
from thor_geo.ground.lattice import Block
from thor_geo.sources.stac.items import StacItem
from thor_geo.sources.stac.listing import Listing, open_listing
from thor_geo.sources.stac.spec import CatalogueSpec
from thor_geo.specs import TemporalSpec
from thor_geo.support.coverage import Coverage

#: Items that a session remembers, so that those which were listed need not be asked for again.
REMEMBERED = 4096


class Turns:
    """What `Asker` needs of a transport: here a request is sent as soon as it is made."""

    restricted = False

    @contextmanager
    def taking_turns(self, turn: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Let requests inside wait for their turn.

        Args:
            turn: Returns what is entered.
        """
        with turn():
            yield


class StacSession:
    """Access to a catalogue under one spec; it is opened on first use. Thread-safe."""

    def __init__(self, spec: CatalogueSpec) -> None:
        """Initialize a new StacSession instance; nothing is contacted.

        Args:
            spec: Which catalogue.
        """
        self.spec = spec
        self._lock = threading.Lock()
        self._items: Listing | None = None
        self._turns = Turns()
        # Single dict operations only.
        self._known: dict[str, StacItem] = {}

    @property
    def ready(self) -> bool:
        """Whether the catalogue has been opened."""
        return self._items is not None

    def ensure(self) -> Turns:
        """Open the catalogue unless it is.

        Raises:
            DependencyError: If pystac-client is not installed.
            ConfigError: If there is no catalogue, or an API's collection is not named.
            StacError: If what is there is no catalogue.
            Exception: Whatever the connection raises; `StacClient` turns that into this project's.
        """
        if self._items is None:
            with self._lock:
                if self._items is None:
                    self._items = open_listing(self.spec)
        return self._turns

    def search(self, block: Block, window: TemporalSpec) -> list[StacItem]:
        """Return the items that share ground with a block and were acquired in a window.

        Args:
            block: The block.
            window: The window.
        """
        items = {
            item.id: item
            for item in self._opened.search(block, window)
            if item.within(window) and item.reaches(block)
        }
        self._remember(items.values())
        return list(items.values())

    def existing(self, ids: Sequence[str]) -> dict[str, StacItem]:
        """Return the items with these ids that there are, by id.

        Args:
            ids: The ids.
        """
        items = {name: self._known[name] for name in ids if name in self._known}
        missing = [name for name in ids if name not in items]
        if missing:
            fetched = {item.id: item for item in self._opened.named(missing)}
            self._remember(fetched.values())
            items.update(fetched)
        return items

    def named(self, ids: Sequence[str]) -> dict[str, StacItem]:
        """Return items by id.

        Args:
            ids: The ids.

        Raises:
            SceneError: If the catalogue no longer has one of them.
        """
        items = self.existing(ids)
        gone = [name for name in ids if name not in items]
        if gone:
            raise SceneError(
                gone[0],
                f"is no longer in the catalogue {self.spec.endpoint}",
                "A block in the cache was made from it: wait until it is back, or use another "
                "`data.cache_dir` (and `output.dir`) to list the scenes again.",
            )
        return items

    def some(self) -> Sequence[StacItem]:
        """Return a few items of the collection, all of a static catalogue.

        Raises:
            ConfigError: If it has none.
        """
        items = self._opened.some()
        if not items:
            raise ConfigError(
                "stac.collection",
                self.spec.collection,
                f"{self.spec.endpoint} has no item in it",
                "Check the id (the API lists them under /collections), or leave it out for a "
                "static catalogue.",
            )
        return items

    def unknown_exclusions(self) -> list[str]:
        """Return ids that the user leaves out, of which there is no item."""
        return sorted({*self.spec.exclude}.difference(self._opened.excluded()))

    def coverage(self) -> Coverage:
        """Return where and when the items of the collection are."""
        return self._opened.coverage()

    @property
    def _opened(self) -> Listing:
        self.ensure()
        assert self._items is not None
        return self._items

    def _remember(self, items: Iterable[StacItem]) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        for item in items:
            self._known[item.id] = item
