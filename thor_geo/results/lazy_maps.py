"""Maps that xarray reads when they are used, and only the part that is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    ExplicitIndexer,
    IndexingSupport,
    LazilyIndexedArray,
    explicit_indexing_adapter,
)

from thor_geo.errors import RunDirectoryError, StoreError, first_line
from thor_geo.runs.grid_layout import ARRAY, SCALE
from thor_geo.runs.quantise import dequantise
from thor_geo.storage import Location
from thor_geo.storage.zarr_stores import zarr_store
from thor_geo.support.arrays import Float32Array


class StoredMaps(BackendArray):
    """The embeddings of a group as float32 (..., band, y, x), NaN where there is none.

    It can be pickled, and read by several threads.
    """

    def __init__(self, store: Location, group: str) -> None:
        """Initialize a new StoredMaps instance.

        Args:
            store: ``grid.zarr`` or ``places.zarr``.
            group: Name of the zone; empty for places.
        """
        opened: Any = zarr.open_group(zarr_store(store), path=group, mode="r")
        self._path = store / group
        self._codes: Any = opened[ARRAY]
        self._scales: Any = opened.get(SCALE)
        self.shape: tuple[int, ...] = self._codes.shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        """Read a part."""
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Float32Array:
        """Read a part by integers, slices and arrays of integers, each along its own axis."""
        try:
            values: Float32Array = self._codes.oindex[key].astype(np.float32)
            if self._scales is None:
                return values
            *before, band, row, col = key
            scales = np.asarray(self._scales.oindex[(*before, row, col)])
        except (IndexError, MemoryError, StoreError):
            raise
        except Exception as error:  # zarr and numcodecs have no common error for damage
            raise RunDirectoryError(
                f"`{self._path}` cannot be read there ({first_line(error)}). "
                "`thor-geo validate` names the file, and what to do."
            ) from error
        if not np.isscalar(band) and not isinstance(band, int | np.integer):
            axis = sum(not isinstance(part, int | np.integer) for part in before)
            scales = np.expand_dims(scales, axis)
        return dequantise(values, scales)


def lazy_maps(store: Location, group: str) -> LazilyIndexedArray:
    """Return the embeddings of a group, for an `xarray.Variable`.

    Args:
        store: ``grid.zarr`` or ``places.zarr``.
        group: Name of the zone; empty for places.
    """
    return LazilyIndexedArray(StoredMaps(store, group))
