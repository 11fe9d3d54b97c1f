"""Zarr stores of maps, in folders and object stores."""

from __future__ import annotations

from typing import Any

from thor_geo.storage.address import StoreAddress
from thor_geo.storage.location import Location
from thor_geo.storage.store_path import StorePath


def zarr_store(path: Location) -> Any:
    """Return what zarr opens, for reading.

    Args:
        path: The folder of the store.
    """
    if not isinstance(path, StorePath):
        return str(path)
    from thor_geo.storage.zarr_objects import UnforkedStore  # loads zarr

    return UnforkedStore(StoreAddress(url=str(path), options=path.address.options))
