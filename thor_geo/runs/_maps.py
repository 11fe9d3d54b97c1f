"""Checking the Zarr store: its metadata once, and every shard's map."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from thor_geo.jsontext import parse_json
from thor_geo.plan import Plan, Shard
from thor_geo.runs._faults import Fault, Kind
from thor_geo.writers.georeference import array_attributes, grid_mapping
from thor_geo.writers.grid import ARRAY, SCALE, file_of, fill_value, quantised_attributes
from thor_geo.writers.layout import ZoneGrid, chunk_side, zone_grids
from thor_geo.writers.quantise import NODATA
from thor_geo.writers.shard import Dtype

_COORDINATES = ("band", "y", "x", "spatial_ref")
_OF_SCALES = ("y_tile", "x_tile")


@dataclass(frozen=True, kw_only=True)
class MapsExpected:
    """What the maps of a run have in common.

    Attributes:
        store: The Zarr store.
        zones: Geometry by EPSG code, of the zones whose metadata is right.
        bands: Length of an embedding in the maps.
        cells: Cells of a tile's side.
        arrays: What a shard has a file of: embeddings; and scales, of int8.
    """

    store: Path
    zones: Mapping[int, ZoneGrid]
    bands: int
    cells: int
    arrays: tuple[str, ...]

    def file_of(self, shard: Shard, name: str = ARRAY) -> Path:
        """Return the path of the file that holds a shard's part of an array."""
        return self.store / file_of(self.zones[shard.epsg], shard, name)


def open_maps(
    store: Path, plan: Plan, dtype: Dtype, fingerprint: str
) -> tuple[MapsExpected | None, list[Fault]]:
    """Check the metadata of a store against the plan.

    Args:
        store: ``grid.zarr``.
        plan: The plan.
        dtype: Of the values.
        fingerprint: Of the run.

    Returns:
        What the maps must be, None where the store does not say it; and the faults.
    """
    described, faults = _described(store)
    shapes = [
        (array["shape"][0], array["chunk_grid"]["configuration"]["chunk_shape"][1])
        for name, array in described.items()
        if name.endswith(f"/{ARRAY}") and _is_array(array)
    ]
    k = plan.lattices[0].shard_tiles
    if not shapes or shapes[0][1] % k:
        return None, faults or [_fault(store, "", "holds no array of embeddings for this plan")]
    bands, cells = shapes[0][0], shapes[0][1] // k
    zones = zone_grids(plan, (cells, cells))
    good = {}
    for epsg, zone in zones.items():
        problems = list(_zone_problems(store, zone, bands, dtype, fingerprint))
        faults += [_fault(store, f"{zone.name}/{where}", reason) for where, reason in problems]
        # A file of another shape, chunking or type would not be read as what it is.
        if not any(where in (ARRAY, SCALE) for where, _ in problems):
            good[epsg] = zone
    arrays = _arrays(dtype)
    extra = sorted(set(described) - {f"{z.name}/{name}" for z in zones.values() for name in arrays})
    faults += [_fault(store, name, "belongs to no zone of the plan") for name in extra]
    if not good:
        return None, faults
    expected = MapsExpected(store=store, zones=good, bands=bands, cells=cells, arrays=arrays)
    return expected, faults


def check_map(
    expected: MapsExpected, plan: Plan, shard: Shard, without: Collection[str], name: str = ARRAY
) -> list[tuple[Kind, str]]:
    """Check one shard's part of an array, embeddings or scales.

    Args:
        expected: What the maps have in common.
        plan: A plan that holds the shard.
        shard: The shard.
        without: Ids of its tiles that have no embedding.
        name: The array.

    Returns:
        Kind and reason of every fault.
    """
    try:
        values = _decode(expected, shard, name)
    # Whatever a decoder makes of damaged bytes (zarr, numcodecs and blosc have no common error),
    # the file is damaged.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return [("file", f"cannot be decoded ({reason})")]
    # (k, k) flags: the tile has what it should have if it is ok; it has nothing at all.
    if name == SCALE:
        full, void, wrong = np.isfinite(values) & (values >= 0), np.isnan(values), "no scale"
    else:
        codes = values.dtype == np.int8
        there = values != NODATA if codes else np.isfinite(values)
        absent = ~there if codes else np.isnan(values)
        full, void = (
            _by_tile(flags.all(axis=0), expected.cells).all(axis=(1, 3))
            for flags in (there, absent)
        )
        wrong = str(NODATA) if codes else "NaN or infinity"
    embedded = np.zeros_like(full)
    for tile in plan.tiles(range(shard.start, shard.stop)):
        if tile.id not in without:
            row = (shard.square.top - tile.top) // tile.size
            embedded[row, (tile.left - shard.square.left) // tile.size] = True
    faults: list[tuple[Kind, str]] = []
    if (count := int((embedded & ~full).sum())) > 0:
        faults.append(("values", f"{wrong} in {count} tiles that are ok"))
    if (count := int((~embedded & ~void).sum())) > 0:
        faults.append(("values", f"values in {count} tiles that are not ok or not planned"))
    return faults


def _arrays(dtype: Dtype) -> tuple[str, ...]:
    return (ARRAY, SCALE) if dtype == "int8" else (ARRAY,)


def _by_tile(flags: npt.NDArray[np.bool_], cells: int) -> npt.NDArray[np.bool_]:
    rows, cols = flags.shape
    return flags.reshape(rows // cells, cells, cols // cells, cells)


def _decode(expected: MapsExpected, shard: Shard, name: str) -> npt.NDArray[Any]:
    """Return a shard's part of an array, (D', k h, k w) or (k, k), read from its file alone."""
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    zone, path = expected.zones[shard.epsg], expected.file_of(shard, name)
    folder = expected.store / zone.name / name
    buffer = default_buffer_prototype().buffer
    files = {
        key.relative_to(folder).as_posix(): buffer.from_bytes(key.read_bytes())
        for key in (folder / "zarr.json", path)
    }
    array = zarr.open_array(MemoryStore(files), mode="r")
    side = zone.shard_tiles if name == SCALE else zone.shard_side
    row, col = zone.place(shard)
    values: npt.NDArray[Any] = np.asarray(
        array[..., row * side : (row + 1) * side, col * side : (col + 1) * side]
    )
    return values


def _fault(store: Path, name: str, reason: str) -> Fault:
    return Fault(kind="grid", file=f"{store.name}/{name}".rstrip("/"), reason=reason)


def _described(store: Path) -> tuple[dict[str, Any], list[Fault]]:
    """Return the metadata of embeddings and scales by path, as the store's root repeats it."""
    try:
        root = parse_json((store / "zarr.json").read_bytes())
        repeated = root["consolidated_metadata"]["metadata"]
        names = (f"/{ARRAY}", f"/{SCALE}")
        return {name: array for name, array in repeated.items() if name.endswith(names)}, []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"cannot be read as a Zarr group with consolidated metadata ({error!r:.200})"
        return {}, [_fault(store, "zarr.json", reason)]


def _is_array(about: Any) -> bool:
    try:
        shape, chunk = about["shape"], about["chunk_grid"]["configuration"]["chunk_shape"]
        return len(shape) == len(chunk) == 3 and all(
            isinstance(side, int) and side > 0 for side in (*shape, *chunk)
        )
    except (KeyError, TypeError):
        return False


def _zone_problems(
    store: Path, zone: ZoneGrid, bands: int, dtype: Dtype, fingerprint: str
) -> Iterator[tuple[str, str]]:
    """Yield array (or group) and reason of everything in a zone's metadata that is wrong."""
    import zarr

    try:
        group = zarr.open_group(str(store / zone.name), mode="r", use_consolidated=False)
        names = (*_COORDINATES, *(_OF_SCALES if dtype == "int8" else ()))
        arrays: dict[str, Any] = {name: group[name] for name in (*_arrays(dtype), *names)}
        values = {name: np.asarray(arrays[name][...]) for name in names}
        about = parse_json(str(group.attrs["thor_geo"]))
        same_run = about["fingerprint"] == fingerprint
    except Exception as error:  # as in `check_map`
        yield ARRAY, f"cannot be opened ({error!r:.200})"
        return
    if not same_run:
        yield "zarr.json", "carries the fingerprint of another run"
    chunk = chunk_side(zone.shard_side)
    array = arrays[ARRAY]
    expected: dict[str, Any] = {
        "shape": (bands, *zone.shape),
        "shards": (bands, zone.shard_side, zone.shard_side),
        "chunks": (bands, chunk, chunk),
        "dtype": np.dtype(dtype),
    }
    for key, value in expected.items():
        if getattr(array, key) != value:
            yield ARRAY, f"{key} is {getattr(array, key)}, should be {value}"
    if tuple(array.metadata.dimension_names or ()) != ("band", "y", "x"):
        yield ARRAY, f"dimensions are {array.metadata.dimension_names}, should be band, y, x"
    if not np.array_equal(array.fill_value, fill_value(dtype), equal_nan=True):
        yield ARRAY, f"fill value is {array.fill_value}, should be {fill_value(dtype)}"
    for key, value in quantised_attributes(dtype).items():
        if array.attrs.get(key) != value:
            yield ARRAY, f"attribute {key} is not {value}"
    geometry = array_attributes(zone.epsg, zone.bounds, zone.cell, zone.shape)
    for where, attributes in ((ARRAY, dict(array.attrs)), ("zarr.json", dict(group.attrs))):
        for key, value in geometry.items():
            if attributes.get(key) != value:
                yield where, f"attribute {key} is not {str(value)[:80]}"
    if array.attrs.get("grid_mapping") != "spatial_ref":
        yield ARRAY, "has no grid_mapping"
    for name, wanted in (("band", np.arange(bands)), ("y", zone.y), ("x", zone.x)):
        if not np.array_equal(values[name], wanted):
            yield name, "the coordinates are not those of the plan"
    if dtype == "int8":
        yield from _scale_problems(arrays[SCALE], values, zone)
    yield from _crs_problems(dict(arrays["spatial_ref"].attrs), zone)


def _scale_problems(
    array: Any, values: Mapping[str, npt.NDArray[Any]], zone: ZoneGrid
) -> Iterator[tuple[str, str]]:
    expected = {
        "shape": zone.tiles,
        "chunks": (zone.shard_tiles, zone.shard_tiles),
        "shards": None,
        "dtype": np.dtype(np.float32),
    }
    for key, value in expected.items():
        if getattr(array, key) != value:
            yield SCALE, f"{key} is {getattr(array, key)}, should be {value}"
    if tuple(array.metadata.dimension_names or ()) != _OF_SCALES:
        yield SCALE, f"dimensions are {array.metadata.dimension_names}, should be y_tile, x_tile"
    if not np.isnan(array.fill_value):
        yield SCALE, f"fill value is {array.fill_value}, should be nan"
    for name, wanted in (("y_tile", zone.y_tile), ("x_tile", zone.x_tile)):
        if not np.array_equal(values[name], wanted):
            yield name, "the coordinates are not those of the plan"


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
