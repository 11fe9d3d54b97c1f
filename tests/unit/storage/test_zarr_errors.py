"""If this fails, an outage of a store while maps are read looks like damage, or like a bug."""

from __future__ import annotations

import pytest
import zarr

from benchmarks.support.faulty_store import Plan, faulty_store
from benchmarks.support.object_store import ObjectStore
from thor_geo.errors import StoreError
from thor_geo.storage import StoreAddress, StoreOptions, StorePath
from thor_geo.storage.zarr_stores import zarr_store


def test_zarr_raises_what_the_store_says(bucket: ObjectStore) -> None:
    with faulty_store(bucket.endpoint, Plan(shares={"AccessDenied": 1.0})) as door:
        options = StoreOptions(endpoint=door.url)
        path = StorePath(StoreAddress.parse(bucket.url("grid.zarr"), options))
        with pytest.raises(StoreError, match=r"cannot be read.*s3:GetObject"):
            zarr.open_group(zarr_store(path), mode="r")
