"""Zarr's view of an object store: errors in words, and none of it in a forked process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from obstore.exceptions import BaseError
from zarr.storage import ObjectStore

from thor_geo.storage.address import StoreAddress
from thor_geo.storage.clients import client, refuse_forked
from thor_geo.storage.wording import explanation

# obstore's own, which these requests are made with.
_ATTEMPTS = 11


class UnforkedStore(ObjectStore[Any]):
    """zarr's `ObjectStore`, in which a request raises where it would never end.

    An array that was opened before a fork has its store already, so that no `client` is asked for.
    """

    def __init__(self, address: StoreAddress) -> None:
        """Initialize a new UnforkedStore instance, for reading.

        Args:
            address: The root of the Zarr store.
        """
        super().__init__(client(address, retries=True), read_only=True)
        self._address = address

    def with_read_only(self, read_only: bool = False) -> UnforkedStore:
        """Return itself: it is for reading."""
        if not read_only:
            raise ValueError("this store can only be read")
        return self

    @contextmanager
    def _worded(self, key: str) -> Iterator[None]:
        refuse_forked(self._address.url)
        try:
            yield
        except BaseError as error:
            raise explanation(self._address, key, "get", error, _ATTEMPTS) from error

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return a value, or a part of it; see zarr.

        Raises:
            StoreError: If the store refuses, or keeps failing; or if this process was forked from
                one that has used a store.
        """
        with self._worded(key):
            return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]
    ) -> list[Any]:
        """Return parts of values; see zarr.

        Raises:
            StoreError: As `get` does.
        """
        with self._worded("c"):
            return await super().get_partial_values(prototype, key_ranges)
