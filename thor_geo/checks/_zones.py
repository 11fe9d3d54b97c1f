"""Checking the metadata of the Zarr store: each zone by its own files, then the root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from thor_geo.checks.faults import first_few
from thor_geo.errors import StoreError
from thor_geo.runs.georeference import grid_mapping
from thor_geo.runs.grid_layout import (
    ARRAY,
    SCALE,
    array_layout,
    array_names,
    dimension_names,
    embedding_facts,
    map_attributes,
)
from thor_geo.runs.shard import Dtype
from thor_geo.runs.times import END, TIME, time_attributes, time_coordinates
from thor_geo.runs.zarr_metadata import array_differences
from thor_geo.runs.zone_grid import ZoneGrid
from thor_geo.specs import Windows
from thor_geo.storage import Location
from thor_geo.storage.zarr_stores import zarr_store
from thor_geo.support.jsontext import parse_json

#: More than any map has. Larger numbers in a store are not trusted: arrays are allocated by them.
MOST_BANDS, MOST_CELLS = 1 << 20, 4096


def sides_of(store: Location, zone: str, shard_tiles: int) -> tuple[int, int]:
    """Return the length of an embedding and the cells of a tile's side, by a zone's metadata.

    Args:
        store: ``grid.zarr``.
        zone: Name of the zone's group.
        shard_tiles: Tiles of a shard's side.

    Raises:
        ValueError: If its array of embeddings has no such numbers, or impossible ones.
        OSError: If its metadata cannot be read.
    """
    about = parse_json((store / zone / ARRAY / "zarr.json").read_bytes())
    try:
        shape = about["chunk_grid"]["configuration"]["chunk_shape"]
        *_, bands, side, _ = shape
        cells, rest = divmod(side, shard_tiles)
        fits = not rest and 0 < cells <= MOST_CELLS and 0 < bands <= MOST_BANDS
    except (KeyError, TypeError) as error:
        raise ValueError(f"no shape of a shard: {error!r:.100}") from error
    if not (isinstance(bands, int) and isinstance(side, int) and fits):
        tiles = f"{shard_tiles} x {shard_tiles}"
        raise ValueError(f"no shard of {tiles} tiles has the shape {shape!r:.100}")
    return bands, cells


def zone_problems(
    store: Location,
    zone: ZoneGrid,
    bands: int,
    dtype: Dtype,
    fingerprint: str,
    windows: Windows | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield the array (or the group's file) and the reason of every fault in a zone.

    Args:
        store: ``grid.zarr``.
        zone: Its geometry.
        bands: Length of an embedding.
        dtype: Type of the embeddings.
        fingerprint: Fingerprint of the run.
        windows: Time windows; None without a time axis.
    """
    import zarr

    coordinates = _coordinates(zone, bands, windows)
    times = len(windows) if windows is not None and windows.listed else None
    try:
        group = zarr.open_group(zarr_store(store / zone.name), mode="r", use_consolidated=False)
        arrays: dict[str, Any] = {name: group[name] for name in (*array_names(dtype), *coordinates)}
        differences = {
            name: array_differences(arrays[name], array_layout(zone, name, bands, dtype, times))
            for name in array_names(dtype)
        }
        attributes = {name: dict(array.attrs) for name, array in arrays.items()}
        group_attributes = dict(group.attrs)
        about = parse_json(str(group_attributes["thor_geo"]))
        same_run = about["fingerprint"] == fingerprint
    except StoreError:  # not damage
        raise
    except Exception as error:  # zarr has no common error for damaged metadata
        yield ARRAY, f"cannot be opened ({error!r:.200})"
        return
    if not same_run:
        yield "zarr.json", "has the fingerprint of another run"
    for name, problems in differences.items():
        for key, value, wanted in problems:
            yield name, f"{key} is {value[:300]}, should be {wanted}"
        names, should = arrays[name].metadata.dimension_names, dimension_names(name, times)
        if tuple(names or ()) != should:
            yield name, f"dimensions are {names!s:.200}, should be {', '.join(should)}"
    for name in array_names(dtype):
        for key, value in map_attributes(zone, name, dtype, times).items():
            if attributes[name].get(key) != value:
                yield name, f"attribute {key} is not {str(value)[:80]}"
    for where, actual in (("zarr.json", group_attributes), *attributes.items()):
        inherited = [key for key in actual if key.startswith(("proj:", "spatial:"))]
        if where not in array_names(dtype) and inherited:
            yield where, f"is not a map but has the attribute {inherited[0]}"
    for name, values in coordinates.items():
        problem = coordinate_problem(arrays[name], values)
        if problem is not None:
            yield name, problem
        for key, expected in time_attributes(name).items() if name in (TIME, END) else ():
            if attributes[name].get(key) != expected:
                yield name, f"attribute {key} is not {expected}"
    yield from _crs_problems(attributes["spatial_ref"], zone)


def root_problems(
    store: Location, zone: ZoneGrid, bands: int, dtype: Dtype, fingerprint: str, resolution: float
) -> Iterator[str]:
    """Yield the faults of what the store's root says about the embeddings.

    Args:
        store: ``grid.zarr``.
        zone: Any zone of it.
        bands: Length of an embedding.
        dtype: Type of the embeddings.
        fingerprint: Fingerprint of the run.
        resolution: Side of a pixel of the model's input, metres.
    """
    try:
        attributes = dict(parse_json((store / "zarr.json").read_bytes())["attributes"])
        metadata = str(attributes["thor_geo"])
        same_run = parse_json(metadata)["fingerprint"] == fingerprint
        facts = embedding_facts(metadata, zone, bands, dtype, resolution)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"has no attributes of a run ({error!r:.200})"
        return
    if not same_run:
        yield "has the fingerprint of another run"
    for key, value in facts.root_attributes(None).items():
        if attributes.get(key) != value:
            yield f"attribute {key} is not {str(value)[:80]}"


def repeated_problems(
    store: Location, zones: Iterable[str], dtype: Dtype, windows: Windows | None = None
) -> Iterator[str]:
    """Yield the faults of the zones' metadata as repeated at the store's root.

    xarray reads only these, and not the zones' own files.

    Args:
        store: ``grid.zarr``.
        zones: Names of the zones' groups.
        dtype: Type of the embeddings.
        windows: Time windows; None without a time axis.
    """
    try:
        root = parse_json((store / "zarr.json").read_bytes())
        repeated: Mapping[str, Any] = dict(root["consolidated_metadata"]["metadata"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"cannot be read as a Zarr group with consolidated metadata ({error!r:.200})"
        return
    times = {} if windows is None else time_coordinates(windows)
    arrays = [*array_names(dtype), "band", "y", "x", "spatial_ref", *times]
    names = [name for zone in zones for name in (zone, *(f"{zone}/{array}" for array in arrays))]
    missing = [name for name in names if name not in repeated]
    if missing:
        yield f"its consolidated metadata lacks {first_few(missing)}"
    other = [
        name for name in names if name in repeated and not repeats(store, name, repeated[name])
    ]
    if other:
        yield f"its consolidated metadata differs from the zarr.json of {first_few(other)}"
    stray = {name for name in repeated if name.endswith((f"/{ARRAY}", f"/{SCALE}"))} - set(names)
    if stray:
        names_shown = f"{first_few(sorted(stray)):.200}"
        yield f"its consolidated metadata has {names_shown}, of no zone of the plan"


def repeats(store: Location, name: str, repeated: Any) -> bool:
    """Return whether the root repeats the metadata of a group or array correctly."""
    try:
        original = parse_json((store / name / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return True  # reported as a fault of the zone
    if not (isinstance(original, dict) and isinstance(repeated, dict)):
        return False
    # A repeated group has a key that says that it repeats nothing itself.
    without = {"consolidated_metadata": None}
    return {**original, **without} == {**repeated, **without}


def _coordinates(
    zone: ZoneGrid, bands: int, windows: Windows | None
) -> dict[str, npt.NDArray[Any]]:
    return {
        "band": np.arange(bands),
        "y": zone.y,
        "x": zone.x,
        "spatial_ref": np.array(0, dtype=np.int64),
        **({} if windows is None else time_coordinates(windows)),
    }


def coordinate_problem(array: Any, wanted: npt.NDArray[Any]) -> str | None:
    """Return the fault of a coordinate, None without one; one of another size is not read.

    Args:
        array: The coordinate.
        wanted: The values it should have, in one chunk.
    """
    try:
        actual = (array.dtype, array.shape, array.chunks, array.shards)
        if actual != (wanted.dtype, wanted.shape, wanted.shape, None):
            kind, shape, chunks, _ = actual
            return (
                f"is {kind} of shape {shape!s:.100} in chunks of {chunks!s:.100}, should be "
                f"{wanted.dtype} of {wanted.shape} in one"
            )
        values = np.asarray(array[...])
    except StoreError:
        raise
    except Exception as error:  # nor does it have one for damaged chunks
        return f"cannot be read ({error!r:.200})"
    return None if np.array_equal(values, wanted) else "the coordinates are not those of the plan"


def _crs_problems(attributes: dict[str, Any], zone: ZoneGrid) -> Iterator[tuple[str, str]]:
    transform = grid_mapping(zone.epsg, zone.bounds, zone.cell)["GeoTransform"]
    if attributes.get("GeoTransform") != transform:
        yield "spatial_ref", f"GeoTransform is {attributes.get('GeoTransform')}, not {transform}"
    for key in ("crs_wkt", "spatial_ref"):
        try:
            epsg = pyproj.CRS.from_wkt(str(attributes.get(key))).to_epsg()
        except pyproj.exceptions.CRSError:
            epsg = None
        if epsg != zone.epsg:
            yield "spatial_ref", f"{key} is not EPSG:{zone.epsg}"
