"""If one of these fails, a map with wrong values, or in the wrong place, passes for a right one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr
from damage import SHARD, damage_of, edit_json, truncate, vouch
from synthetic_run import CELLS, DIMENSION

from thor_geo.plan import Plan
from thor_geo.writers import RunDirectory
from thor_geo.writers.grid import GridStore


def map_of(run: RunDirectory, plan: Plan, change: Callable[[np.ndarray], Any]) -> None:
    """Change the shard's map and vouch for it."""
    shard = plan.shards[SHARD]
    store = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS))
    zone = store.zones[shard.epsg]
    row, col = zone.place(shard)
    side = zone.shard_side
    array = zarr.open_array(str(run.grid), path=f"{zone.name}/embeddings", mode="r")
    values = np.asarray(array[:, row * side : (row + 1) * side, col * side : (col + 1) * side])
    change(values)
    for path in store.write(shard, values):
        vouch(run, shard, path)


def cells_of(plan: Plan, tile: int) -> tuple[slice, slice]:
    """Return the cells of a tile within the shard's map."""
    square, one = plan.shards[SHARD].square, plan.tile(tile)
    row = (square.top - one.top) // one.size * CELLS
    col = (one.left - square.left) // one.size * CELLS
    return slice(row, row + CELLS), slice(col, col + CELLS)


@pytest.mark.parametrize(
    ("tile", "value", "reason"), [(2, np.nan, "NaN"), (2, np.inf, "infinity"), (4, 0.0, "not ok")]
)
def test_maps_have_values_where_tiles_are_ok_and_nowhere_else(
    run: RunDirectory, plan: Plan, tile: int, value: float, reason: str
) -> None:
    rows, cols = cells_of(plan, tile)
    map_of(run, plan, lambda values: values[:, rows, cols].__setitem__((0, 1, 1), value))
    (fault,) = damage_of(run)
    assert fault.kind == "values"
    assert reason in fault.reason


def test_a_map_that_cannot_be_decoded_is_a_fault(run: RunDirectory, plan: Plan) -> None:
    shard = plan.shards[SHARD]
    path = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS)).file_of(shard)
    truncate(path)
    vouch(run, shard, path)
    (fault,) = damage_of(run)
    assert fault.kind == "file"
    assert "cannot be decoded" in fault.reason


STORES: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "shape": ("embeddings", lambda m: m["shape"].__setitem__(1, 6), "shape"),
    "dtype": ("embeddings", lambda m: m.update(data_type="float64"), "dtype"),
    "fill": ("embeddings", lambda m: m.update(fill_value=0.0), "fill value"),
    "bounds": (
        "embeddings",
        lambda m: m["attributes"].update({"spatial:bbox": [0, 0, 1, 1]}),
        "spatial:bbox",
    ),
    "code": ("", lambda m: m["attributes"].update({"proj:code": "EPSG:3857"}), "proj:code"),
    "run": ("", lambda m: m["attributes"].update(thor_geo='{"fingerprint": ""}'), "another run"),
    "wkt": ("spatial_ref", lambda m: m["attributes"].update(crs_wkt="x"), "crs_wkt"),
    "affine": ("spatial_ref", lambda m: m["attributes"].update(GeoTransform="0 1"), "GeoTransform"),
    "nonsense": ("embeddings", lambda m: m.clear(), "cannot be opened"),
}


@pytest.mark.parametrize("name", STORES)
def test_the_store_lies_where_the_plan_says(run: RunDirectory, name: str) -> None:
    array, damage, reason = STORES[name]
    edit_json(run.grid / "utm32n" / array / "zarr.json", damage)
    found = [fault for fault in damage_of(run) if fault.kind == "grid"]
    assert found
    assert reason in found[0].reason


def test_wrong_coordinates_and_a_missing_store_are_faults(run: RunDirectory) -> None:
    array = zarr.open_array(str(run.grid), path="utm32n/x", mode="r+")
    array[0] = -1.0
    assert [(f.kind, f.file) for f in damage_of(run)] == [("grid", "grid.zarr/utm32n/x")]
    shutil.rmtree(run.grid)
    assert {fault.kind for fault in damage_of(run)} == {"grid"}
