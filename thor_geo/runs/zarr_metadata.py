"""The metadata of a Zarr store: compared with what it should be, and repeated at its root."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def array_differences(array: Any, wanted: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return how an array differs from an `array_layout`: key, actual and expected value.

    Args:
        array: The zarr array.
        wanted: The layout it should have.
    """
    import zarr
    from zarr.storage import MemoryStore

    actual = _texts(array)
    expected = _texts(zarr.create_array(MemoryStore(), **wanted))
    return [
        (key, actual[key] or "none", value)
        for key, value in expected.items()
        if actual[key] != value
    ]


def _texts(array: Any) -> dict[str, str]:
    """Return all that decides how an array's files are read, as texts, so that NaN equals NaN."""
    about = array.metadata.to_dict()
    codecs = [each.to_dict() for each in (*array.filters, *array.compressors)]
    return {
        "shape": str(array.shape),
        "shards": str(array.shards),
        "chunks": str(array.chunks),
        "dtype": str(array.dtype),
        "fill value": str(array.fill_value),
        "codecs": ", ".join(f"{codec['name']}{codec.get('configuration', '')}" for codec in codecs),
        # The rest about files: byte order, index, names.
        "encoding": str({key: about[key] for key in ("codecs", "chunk_key_encoding")}),
    }


def consolidate(path: Path) -> None:
    """Repeat the metadata of all arrays at the store's root, where xarray looks for it first."""
    import zarr

    with warnings.catch_warnings():
        # zarr warns that this is not part of the Zarr v3 specification; readers that do not know
        # it ignore it, and without it xarray warns every user at `open_zarr`.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(str(path))
