"""What a Zarr store says of itself: compared with what it should, and repeated at its root."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def array_differences(array: Any, wanted: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return how an array differs from a `layout`: what, as it is, as it should be.

    Args:
        array: The zarr array.
        wanted: Its layout.
    """
    import zarr
    from zarr.storage import MemoryStore

    found, expected = (_texts(one) for one in (array, zarr.create_array(MemoryStore(), **wanted)))
    return [
        (key, found[key] or "none", value) for key, value in expected.items() if found[key] != value
    ]


def _texts(array: Any) -> dict[str, str]:
    """Return what decides how an array's files are read, as texts: as such, NaN equals itself."""
    about = array.metadata.to_dict()
    codecs = [codec.to_dict() for codec in (*array.filters, *array.compressors)]
    return {
        "shape": str(array.shape),
        "shards": str(array.shards),
        "chunks": str(array.chunks),
        "dtype": str(array.dtype),
        "fill value": str(array.fill_value),
        "codecs": ", ".join(f"{one['name']}{one.get('configuration', '')}" for one in codecs),
        # What more there is to say of files: byte order, index, names.
        "encoding": str({key: about[key] for key in ("codecs", "chunk_key_encoding")}),
    }


def consolidate(path: Path) -> None:
    """Repeat the metadata of all arrays at the store's root, where xarray looks for it first."""
    import zarr

    with warnings.catch_warnings():
        # zarr warns that this is no part of the Zarr v3 specification; readers that do not know
        # it ignore it, and without it xarray warns every user at `open_zarr`.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(str(path))
