"""Checking ``places.zarr``: its metadata once, and the maps of every shard."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.checks._maps import Part, decode_file
from thor_geo.checks._vectors import OWN_SCALE
from thor_geo.checks._zones import MOST_BANDS, MOST_CELLS, coordinate_problem, repeats
from thor_geo.checks.faults import Fault, FaultKind, first_few
from thor_geo.errors import StoreError, first_line
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Shard
from thor_geo.runs.grid_layout import ARRAY, SCALE
from thor_geo.runs.place_layout import (
    PlaceLayout,
    coordinate_attributes,
    coordinates,
    dimensions,
    place_file,
    shard_number,
)
from thor_geo.runs.quantise import NODATA, is_scale, is_scale_of
from thor_geo.runs.shard import Dtype
from thor_geo.runs.zarr_metadata import array_differences
from thor_geo.storage import Location
from thor_geo.storage.zarr_stores import zarr_store
from thor_geo.support.arrays import BoolArray
from thor_geo.support.jsontext import parse_json


@dataclass(frozen=True, kw_only=True)
class PlaceMapsExpected:
    """What the maps of a run of places have in common.

    Attributes:
        store: The Zarr store.
        layout: Shapes of its arrays.
    """

    store: Location
    layout: PlaceLayout

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that a shard has a file for."""
        return tuple(Part(name) for name in self.layout.names)

    def holds(self, shard: Shard) -> bool:
        """Return whether the metadata is right for a shard: for all it is, or for none."""
        return True

    def file_path(self, shard: Shard, part: Part) -> Location:
        """Return the path of the file with a shard's part of an array."""
        return self.store / place_file(shard, part.name)


def open_place_maps(
    store: Location, plan: PlacePlan, dtype: Dtype, fingerprint: str
) -> tuple[PlaceMapsExpected | None, list[Fault]]:
    """Check the metadata of a store against the plan.

    Args:
        store: ``places.zarr``.
        plan: The plan.
        dtype: Type of the values.
        fingerprint: Fingerprint of the run.

    Returns:
        What the maps must be, None if its arrays cannot be read; and the faults.
    """
    try:
        layout = PlaceLayout.of(plan, _cells(store), dtype)
        problems = list(_problems(store, plan, layout, fingerprint))
    except StoreError:  # not damage
        raise
    except Exception as error:  # zarr has no common error for damaged metadata
        return None, [_fault(store, ARRAY, f"cannot be opened ({error!r:.200})")]
    faults = [_fault(store, where, reason) for where, reason in problems]
    # A file of another shape, chunking or type would be misread. The length of an embedding is
    # stored a second time only in `band`.
    misread = any(where in (ARRAY, SCALE, "band", "y", "x") for where, _ in problems)
    return None if misread else PlaceMapsExpected(store=store, layout=layout), faults


def check_place_maps(
    expected: PlaceMapsExpected, shard: Shard, missing: BoolArray, parts: Collection[Part]
) -> list[tuple[Part, FaultKind, str]]:
    """Check one shard's maps, embeddings and scales.

    Args:
        expected: What the maps have in common.
        shard: The shard.
        missing: Which of its places have no embedding, (n,) bool.
        parts: The arrays.

    Returns:
        Part, kind and reason of every fault.
    """
    faults: list[tuple[Part, FaultKind, str]] = []
    found: dict[str, npt.NDArray[Any]] = {}
    start = shard_number(shard) * expected.layout.shard_places
    sound = ~missing
    for part in parts:
        folder, path = expected.store / part.name, expected.file_path(shard, part)
        try:
            values = decode_file(folder, path, (slice(start, start + len(shard)),))
        # zarr, numcodecs and blosc have no common error for damage.
        except StoreError:  # not damage
            raise
        except Exception as error:
            faults.append((part, "file", f"cannot be decoded ({first_line(error)})"))
            continue
        found[part.name] = values
        # Flags of cells, (n, h, w) for scales and (n, D', h, w) for embeddings.
        if part.name == SCALE:
            present, absent, wrong = is_scale(values), np.isnan(values), "a scale that is no scale"
        elif values.dtype == np.int8:
            present, absent, wrong = values != NODATA, values == NODATA, str(NODATA)
        else:
            present, absent, wrong = np.isfinite(values), np.isnan(values), "NaN or infinity"
        full, void = (flags.reshape(len(shard), -1).all(axis=1) for flags in (present, absent))
        sound = sound & full
        if (count := int((~missing & ~full).sum())) > 0:
            faults.append((part, "values", f"{wrong} in {count} places that are ok"))
        if (count := int((missing & ~void).sum())) > 0:
            faults.append((part, "values", f"values in {count} places that are not ok"))
    if SCALE in found and ARRAY in found:
        largest = np.abs(found[ARRAY].astype(np.int16)).max(axis=1)
        fitting = is_scale_of(largest, found[SCALE]).reshape(len(shard), -1).all(axis=1)
        if (count := int((sound & ~fitting).sum())) > 0:
            reason = f"cells of {count} places do not match their scales ({OWN_SCALE})"
            faults.append((Part(ARRAY), "values", reason))
    return faults


def _cells(store: Location) -> tuple[int, int, int]:
    """Return the shape of one chip's map, by the store's metadata.

    Raises:
        ValueError: If the array of embeddings has no such shape, or an impossible one.
        OSError: If its metadata cannot be read.
    """
    about = parse_json((store / ARRAY / "zarr.json").read_bytes())
    shape = about["shape"]
    _, bands, rows, cols = shape
    fits = all(isinstance(side, int) for side in (bands, rows, cols))
    if not (fits and 0 < bands <= MOST_BANDS and 0 < rows <= MOST_CELLS and 0 < cols <= MOST_CELLS):
        raise ValueError(f"no maps of places have the shape {shape!r:.100}")
    return bands, rows, cols


def _problems(
    store: Location, plan: PlacePlan, layout: PlaceLayout, fingerprint: str
) -> Iterator[tuple[str, str]]:
    """Yield the array (or the root's file) and the reason of every fault of the metadata."""
    import zarr

    group: Any = zarr.open_group(zarr_store(store), mode="r", use_consolidated=False)
    values = coordinates(plan, layout)
    wanted = {name: coordinate_attributes(name) for name in values}
    for name in layout.names:
        wanted[name] = layout.attributes(name)
        for key, actual, expected in array_differences(group[name], layout.array(name)):
            yield name, f"{key} is {actual[:300]}, should be {expected}"
    for name, attributes in wanted.items():
        names, should = group[name].metadata.dimension_names, dimensions(name)
        if tuple(names or ()) != should:
            yield name, f"dimensions are {names!s:.200}, should be {', '.join(should)}"
        own = dict(group[name].attrs)
        for key, value in attributes.items():
            if own.get(key) != value:
                yield name, f"attribute {key} is not {str(value)[:80]}"
        if mapped := [key for key in own if key.startswith(("proj:", "spatial:", "grid_map"))]:
            yield name, f"is not a map but has the attribute {mapped[0]}"
    for name, numbers in values.items():
        problem = coordinate_problem(group[name], np.asarray(numbers))
        if problem is not None:
            yield name, problem
    for reason in _root_problems(store, layout, fingerprint, (*layout.names, *values)):
        yield "zarr.json", reason


def _root_problems(
    store: Location, layout: PlaceLayout, fingerprint: str, names: tuple[str, ...]
) -> Iterator[str]:
    """Yield the faults of what the root says of the embeddings, and repeats of its arrays."""
    try:
        root = parse_json((store / "zarr.json").read_bytes())
        attributes: Mapping[str, Any] = dict(root["attributes"])
        repeated: Mapping[str, Any] = dict(root["consolidated_metadata"]["metadata"])
        metadata = str(attributes["thor_geo"])
        same_run = parse_json(metadata)["fingerprint"] == fingerprint
        facts = layout.facts(metadata).root_attributes(None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"has no attributes of a run ({error!r:.200})"
        return
    if not same_run:
        yield "has the fingerprint of another run"
    for key, value in facts.items():
        if attributes.get(key) != value:
            yield f"attribute {key} is not {str(value)[:80]}"
    if missing := [name for name in names if name not in repeated]:
        yield f"its consolidated metadata lacks {first_few(missing)}"
    other = [
        name for name in names if name in repeated and not repeats(store, name, repeated[name])
    ]
    if other:
        yield f"its consolidated metadata differs from the zarr.json of {first_few(other)}"


def _fault(store: Location, name: str, reason: str) -> Fault:
    return Fault(kind="grid", file=f"{store.name}/{name}", reason=reason)
