"""Checking the Zarr store: its metadata once, and the map of every shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.checks._seams import SeamReader, Seams
from thor_geo.checks._vectors import OWN_SCALE
from thor_geo.checks._zones import repeated_problems, root_problems, sides_of, zone_problems
from thor_geo.checks.faults import Fault, FaultKind
from thor_geo.errors import StoreError, first_line
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.grid_layout import ARRAY, SCALE, array_file, array_names
from thor_geo.runs.quantise import NODATA, is_scale, is_scale_of
from thor_geo.runs.shard import Dtype
from thor_geo.runs.zone_grid import ZoneGrid, zone_grids
from thor_geo.specs import Windows
from thor_geo.storage import Location
from thor_geo.storage.files import below


class Part(NamedTuple):
    """The content of one file of a shard: an array, in a time window if there is a time axis."""

    name: str
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class MapsExpected:
    """What the maps of a run have in common.

    Attributes:
        store: The Zarr store.
        zones: Geometry by EPSG code of the zones whose metadata is right.
        cells: Side of a tile (overlapping tiles: of its centre) in cells.
        arrays: Arrays that a shard has files for: embeddings, and for int8 scales.
        times: Indices on the time axis; (None,) without one.
        cropped: Whether cells outside the area have no embedding. The run does not record which
            these are, so any cell may then be absent, but only in all bands.
    """

    store: Location
    zones: Mapping[int, ZoneGrid]
    cells: int
    arrays: tuple[str, ...]
    times: tuple[int | None, ...]
    cropped: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that a shard has a file for, window by window."""
        return tuple(Part(name, time) for time, name in product(self.times, self.arrays))

    def holds(self, shard: Shard) -> bool:
        """Return whether a shard's zone has metadata that is right."""
        return shard.epsg in self.zones

    def file_path(self, shard: Shard, part: Part) -> Location:
        """Return the path of the file with a shard's part of an array."""
        return self.store / array_file(self.zones[shard.epsg], shard, *part)


def open_maps(
    store: Location,
    plan: Plan,
    dtype: Dtype,
    fingerprint: str,
    *,
    cropped: bool = False,
    windows: Windows | None = None,
) -> tuple[MapsExpected | None, list[Fault]]:
    """Check the metadata of a store against the plan.

    Args:
        store: ``grid.zarr``.
        plan: The plan.
        dtype: Type of the values.
        fingerprint: Fingerprint of the run.
        cropped: Whether maps are cropped to the area.
        windows: Time windows; None without a time axis.

    Returns:
        What the maps must be, None if no zone is readable; and the faults.
    """
    faults: list[Fault] = []
    planned = zone_grids(plan, 1)
    layouts: dict[int, Mapping[int, ZoneGrid]] = {}
    good: dict[int, ZoneGrid] = {}
    sides: dict[int, tuple[int, int]] = {}
    # Each zone is checked by its own files, so that a damaged zone does not affect others.
    for epsg, planned_zone in planned.items():
        name = planned_zone.name
        try:
            bands, cells = sides_of(store, name, plan.lattices[0].shard_tiles)
        except (OSError, ValueError) as error:
            faults.append(_fault(store, f"{name}/{ARRAY}", f"cannot be opened ({error!r:.200})"))
            continue
        if cells not in layouts:
            layouts[cells] = zone_grids(plan, cells)
        zone = layouts[cells][epsg]
        problems = list(zone_problems(store, zone, bands, dtype, fingerprint, windows))
        faults += [_fault(store, f"{name}/{where}", reason) for where, reason in problems]
        # A file of another shape, chunking or type would be misread. The length of an embedding is
        # stored a second time only in `band`.
        if not any(where in (ARRAY, SCALE, "band") for where, _ in problems):
            good[epsg], sides[epsg] = zone, (bands, cells)
    if good:
        common, _ = Counter(sides.values()).most_common(1)[0]
        for epsg, (bands, cells) in sides.items():
            if (bands, cells) != common:
                reason = (
                    f"has {bands} bands and tiles with sides of {cells} cells, most zones have "
                    f"{common[0]} and {common[1]}"
                )
                faults.append(_fault(store, f"{good.pop(epsg).name}/{ARRAY}", reason))
    names = [zone.name for zone in planned.values()]
    faults += [
        _fault(store, "zarr.json", reason)
        for reason in repeated_problems(store, names, dtype, windows)
    ]
    if not good:
        return None, faults
    zone, resolution = next(iter(good.values())), plan.lattices[0].resolution
    faults += [
        _fault(store, "zarr.json", reason)
        for reason in root_problems(store, zone, common[0], dtype, fingerprint, resolution)
    ]
    expected = MapsExpected(
        store=store,
        zones=good,
        cells=common[1],
        arrays=array_names(dtype),
        times=(None,) if windows is None else windows.times,
        cropped=cropped,
    )
    return expected, faults


def check_maps(
    expected: MapsExpected,
    plan: Plan,
    shard: Shard,
    missing: npt.NDArray[np.bool_],
    parts: Collection[Part],
    reader: SeamReader,
) -> tuple[list[tuple[Part, FaultKind, str]], Seams]:
    """Check one shard's part of the arrays, embeddings and scales, and measure its seams.

    Args:
        expected: What the maps have in common.
        plan: A plan that holds the shard.
        shard: The shard.
        missing: Which of its tiles have no embedding, (n,) bool.
        parts: The arrays, all in one time window.
        reader: Measures the seams.

    Returns:
        Part, kind and reason of every fault; and the jumps, none if there is a fault.
    """
    faults: list[tuple[Part, FaultKind, str]] = []
    time = next((part.time for part in parts), None)
    maps: npt.NDArray[Any] | None = None
    embedded = _embedded(plan, shard, missing)
    # For int8: the largest magnitude of each cell's codes, and the scales, if they can be read.
    largest: npt.NDArray[np.int16] | None = None
    scales: npt.NDArray[np.float32] | None = None
    sound = embedded
    for part in parts:
        try:
            values = _decode(expected, shard, part)
        # zarr, numcodecs and blosc have no common error for damage.
        except StoreError:  # not damage
            raise
        except Exception as error:
            faults.append((part, "file", f"cannot be decoded ({first_line(error)})"))
            continue
        # Flags of cells, (k s, k s): a cell is present or absent in all bands.
        if part.name == SCALE:
            scales, present, absent = values, is_scale(values), np.isnan(values)
            wrong = "a scale that is missing, negative or too large"
        else:
            maps = values
            coded = values.dtype == np.int8
            present = (values != NODATA if coded else np.isfinite(values)).all(axis=0)
            absent = (values == NODATA if coded else np.isnan(values)).all(axis=0)
            wrong = str(NODATA) if coded else "NaN or infinity"
            if coded:
                highest, lowest = (edge.astype(np.int16) for edge in (values.max(0), values.min(0)))
                largest = np.where(absent, 0, np.maximum(highest, -lowest))
        # Flags of tiles, (k, k): the tile is complete (`full`), the tile has no value at all
        # (`void`). For a tile that is cropped away, both are true.
        whole = present | absent if expected.cropped else present
        full, void = (_throughout(flags, expected.cells) for flags in (whole, absent))
        sound = sound & full
        if (count := int((embedded & ~full).sum())) > 0:
            faults.append((part, "values", f"{wrong} in {count} tiles that are ok"))
        if (count := int((~embedded & ~void).sum())) > 0:
            reason = f"values in {count} tiles that are not ok or not planned"
            faults.append((part, "values", reason))
    if largest is not None and scales is not None:
        fitting = _throughout(is_scale_of(largest, scales), expected.cells)
        if (count := int((sound & ~fitting).sum())) > 0:
            reason = f"cells of {count} tiles do not match their scales ({OWN_SCALE})"
            faults.append((Part(ARRAY, time), "values", reason))
    # In a shard with a fault, numbers may be wrong or missing.
    if faults or maps is None or (scales is None and SCALE in expected.arrays):
        return faults, Seams()
    return faults, reader.read(expected.zones[shard.epsg], shard, maps, scales, time)


def _embedded(plan: Plan, shard: Shard, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which tiles of a shard's square have an embedding, (k, k), row 0 = north."""
    k = plan.lattices[0].shard_tiles
    embedded = np.zeros((k, k), dtype=np.bool_)
    for tile, absent in zip(plan.tiles(range(shard.start, shard.stop)), missing, strict=True):
        embedded[shard.tile_position(tile)] = not absent
    return embedded


def _throughout(flags: npt.NDArray[np.bool_], cells: int) -> npt.NDArray[np.bool_]:
    """Return for which tiles a flag is true in every cell, (k, k)."""
    rows, cols = flags.shape
    by_tile = flags.reshape(rows // cells, cells, cols // cells, cells)
    return np.asarray(by_tile.all(axis=(1, 3)))


def _decode(expected: MapsExpected, shard: Shard, part: Part) -> npt.NDArray[Any]:
    """Return a shard's part of an array, (D', k s, k s) or (k s, k s), read from its file alone."""
    zone, side = expected.zones[shard.epsg], expected.zones[shard.epsg].shard_side
    row, col = zone.shard_position(shard)
    return decode_file(
        expected.store / zone.name / part.name,
        expected.file_path(shard, part),
        (
            *(() if part.time is None else (part.time,)),
            ...,
            slice(row * side, (row + 1) * side),
            slice(col * side, (col + 1) * side),
        ),
    )


def decode_file(folder: Location, path: Location, where: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Return a part of an array that lies in one file, read from that file alone.

    Args:
        folder: The array's folder.
        path: The file in it.
        where: The part.
    """
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    buffer = default_buffer_prototype().buffer
    files = {
        below(key, folder): buffer.from_bytes(key.read_bytes())
        for key in (folder / "zarr.json", path)
    }
    array: Any = zarr.open_array(MemoryStore(files), mode="r")
    return np.asarray(array[where])


def _fault(store: Location, name: str, reason: str) -> Fault:
    return Fault(kind="grid", file=f"{store.name}/{name}".rstrip("/"), reason=reason)
