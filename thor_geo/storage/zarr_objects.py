"""Zarr's view of an object store, which refuses to be asked in a forked process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zarr.storage import ObjectStore

from thor_geo.storage.clients import refuse_forked


class UnforkedStore(ObjectStore[Any]):
    """zarr's `ObjectStore`, in which a request raises where it would never end.

    An array that was opened before a fork has its store already, so that no `client` is asked for.
    """

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return a value, or a part of it; see zarr.

        Raises:
            StoreError: If this process was forked from one that has used a store.
        """
        refuse_forked(str(self.store))
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]
    ) -> list[Any]:
        """Return parts of values; see zarr.

        Raises:
            StoreError: If this process was forked from one that has used a store.
        """
        refuse_forked(str(self.store))
        return await super().get_partial_values(prototype, key_ranges)
