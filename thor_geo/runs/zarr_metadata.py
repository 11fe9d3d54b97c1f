"""The metadata of a Zarr store: coordinates, comparison with what it should be, consolidation."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import Bounds
from thor_geo.runs.georeference import coordinate_attributes, grid_mapping
from thor_geo.storage import Location, StorePath
from thor_geo.support.files import sync, temporary_path

# Name of the metadata of a Zarr v3 group or array.
_METADATA = "zarr.json"


def create_store(path: Location, build: Callable[[Path], None]) -> None:
    """Create a store unless it exists: in a folder it is built under another name and renamed.

    So one of several processes wins, and a store is complete or absent. In an object store files
    are put one by one, the root's metadata last, which readers open first.

    Args:
        path: Directory of the store.
        build: Writes it to the path that it is given.

    Raises:
        OSError: If it cannot be written.
        RunDirectoryError: If an object store holds part of another one.
    """
    if isinstance(path, StorePath):
        _create_objects(path, build)
        return
    if path.exists():
        return
    temporary = temporary_path(path)
    try:
        build(temporary)
        for file in sorted(temporary.rglob("*")):
            sync(file)
        temporary.rename(path)
        sync(path.parent)
    except OSError:
        # A directory that is not empty cannot be replaced: another process was first.
        if not path.exists():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _create_objects(path: StorePath, build: Callable[[Path], None]) -> None:
    root = path / _METADATA
    if root.exists():
        return
    with TemporaryDirectory(prefix="thor-geo-store-") as folder:
        build(Path(folder) / path.name)
        base = Path(folder) / path.name
        files = sorted(file for file in base.rglob("*") if file.is_file() and file.parent != base)
        for file in (*files, base / _METADATA):
            name = file.relative_to(base).as_posix()
            if not (path / name).put_if_absent(file.read_bytes()):
                raise RunDirectoryError(
                    f"`{path / name}` is there already, with other content: another version of "
                    "zarr began this store. Use that version, or choose another output.dir."
                )


def memory_array(about: Location) -> tuple[Any, dict[str, Any]]:
    """Return an array in memory with the layout of one on disk, and the files that writing makes.

    If zarr wrote to the store itself, it would first read the old file, even to replace it whole,
    and fail if a crash had damaged that.

    Args:
        about: The ``zarr.json`` of the array.

    Raises:
        OSError: If it cannot be read.
    """
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    buffer = default_buffer_prototype().buffer
    files: dict[str, Any] = {"zarr.json": buffer.from_bytes(about.read_bytes())}
    # A chunk full of NaN is a file too: its absence means "not done". Not by `zarr.config.set`,
    # which is the process's: two threads that set it and put it back in turn leave it set.
    array = zarr.open_array(MemoryStore(files), mode="r+")
    return array.with_config({"write_empty_chunks": True}), files


def add_coordinates(group: Any, coordinates: Mapping[str, npt.NDArray[Any]]) -> None:
    """Add the axes of maps to a group.

    Args:
        group: The zarr group.
        coordinates: Values by name: ``x``, ``y`` or ``band``.
    """
    for name, values in coordinates.items():
        add_coordinate(group, name, values, coordinate_attributes(name), dimension=name)


def add_coordinate(
    group: Any,
    name: str,
    values: npt.NDArray[Any],
    attributes: Mapping[str, Any],
    *,
    dimension: str,
) -> None:
    """Add a coordinate in one chunk.

    Args:
        group: The zarr group.
        name: Name of the coordinate.
        values: Its values, (n,).
        attributes: Its attributes.
        dimension: Name of its dimension.
    """
    group.create_array(
        name,
        data=values,
        chunks=values.shape,
        dimension_names=(dimension,),
        attributes=attributes,
    )


def add_grid_mapping(group: Any, epsg: int, bounds: Bounds, cell: float) -> None:
    """Add CF's grid mapping variable ``spatial_ref``.

    Args:
        group: The zarr group.
        epsg: EPSG code.
        bounds: Left, bottom, right, top of the maps, metres.
        cell: Side of a cell, metres.
    """
    group.create_array(
        "spatial_ref",
        data=np.array(0, dtype=np.int64),
        attributes=grid_mapping(epsg, bounds, cell),
    )


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
