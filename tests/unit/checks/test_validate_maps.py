"""If one of these fails, a map with wrong values, or in the wrong place, passes for a right one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr

from tests.support.damage import SHARD, damage_of, edit_json, faults_of_store, truncate, vouch
from tests.support.synthetic_run import CELLS, DIMENSION
from tests.support.written_maps import write_maps
from thor_geo.checks._maps import open_maps
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.opened_run import read_run


def map_of(run: RunDirectory, plan: Plan, change: Callable[[np.ndarray], Any]) -> None:
    """Change the shard's map and vouch for it."""
    shard = plan.shards[SHARD]
    store = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS))
    zone = store.zones[shard.epsg]
    row, col = zone.shard_position(shard)
    side = zone.shard_side
    array = zarr.open_array(str(run.grid), path=f"{zone.name}/embeddings", mode="r")
    values = np.asarray(array[:, row * side : (row + 1) * side, col * side : (col + 1) * side])
    change(values)
    for path in write_maps(store, shard, values):
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
    path = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS)).embeddings_path(shard)
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
    "code": (
        "embeddings",
        lambda m: m["attributes"].update({"proj:code": "EPSG:3857"}),
        "proj:code",
    ),
    # Arrays would inherit it, and GDAL take them for maps.
    "a group with a place": (
        "",
        lambda m: m["attributes"].update({"proj:code": "EPSG:32632"}),
        "is not a map but has the attribute proj:code",
    ),
    "a coordinate with a place": (
        "band",
        lambda m: m["attributes"].update({"spatial:bbox": [0, 0, 1, 1]}),
        "is not a map but has the attribute spatial:bbox",
    ),
    "run": ("", lambda m: m["attributes"].update(thor_geo='{"fingerprint": ""}'), "another run"),
    "wkt": ("spatial_ref", lambda m: m["attributes"].update(crs_wkt="x"), "crs_wkt"),
    "affine": ("spatial_ref", lambda m: m["attributes"].update(GeoTransform="0 1"), "GeoTransform"),
    "codecs": (
        "embeddings",
        lambda m: m["codecs"][0]["configuration"]["codecs"].pop(),
        "codecs is blosc",
    ),
    "a text for attributes": (
        "embeddings",
        lambda m: m.update(attributes="x"),
        "cannot be opened",
    ),
    # Not read: 800 MB, and minutes of a bar that stands still.
    "a long coordinate": (
        "band",
        lambda m: (
            m.update(shape=[10**8]),
            m["chunk_grid"]["configuration"].update(chunk_shape=[10**8]),
        ),
        "is int64 of shape (100000000,)",
    ),
    "a large chunk of a coordinate": (
        "x",
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**8]),
        "in chunks of (100000000,)",
    ),
    "a large shard": (
        "embeddings",
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[5, 2 * 10**7, 2 * 10**7]),
        "no shard of 2 x 2 tiles has the shape [5, 20000000, 20000000]",
    ),
    "many bands": (
        "embeddings",
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**9, 12, 12]),
        "no shard of 2 x 2 tiles has the shape [1000000000, 12, 12]",
    ),
    "nonsense": ("embeddings", lambda m: m.clear(), "cannot be opened"),
}


@pytest.mark.parametrize("name", STORES)
def test_the_store_lies_where_the_plan_says(run: RunDirectory, name: str) -> None:
    array, damage, reason = STORES[name]
    assert reason in faults_of_store(run, array, damage)[0].reason


REPEATED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no array": (lambda r: r.pop("utm33n/embeddings"), "lacks utm33n/embeddings"),
    "no coordinate": (lambda r: r.pop("utm32n/y"), "lacks utm32n/y"),
    "no zone": (lambda r: r.pop("utm33n"), "lacks utm33n"),
    "nothing": (lambda r: r.clear(), "lacks utm32n, utm32n/embeddings and 10 more"),
    "dtype": (
        lambda r: r["utm33n/embeddings"].update(data_type="float64"),
        "zarr.json of utm33n/embeddings",
    ),
    "fill": (
        lambda r: r["utm32n/embeddings"].update(fill_value=0.0),
        "zarr.json of utm32n/embeddings",
    ),
    "bands": (
        lambda r: r["utm32n/embeddings"]["shape"].__setitem__(0, 7),
        "zarr.json of utm32n/embeddings",
    ),
    "a coordinate": (
        lambda r: r["utm32n/x"]["attributes"].update(units="feet"),
        "zarr.json of utm32n/x",
    ),
    "a zone": (
        lambda r: r["utm33n"]["attributes"].update({"proj:code": "EPSG:3857"}),
        "zarr.json of utm33n",
    ),
    "nonsense": (lambda r: r.update({"utm33n/y": 3}), "zarr.json of utm33n/y"),
    "another zone": (
        lambda r: r.update({"utm31n/embeddings": r["utm32n/embeddings"]}),
        "has utm31n/embeddings, of no zone of the plan",
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_the_root_repeats_what_zones_and_arrays_say(run: RunDirectory, name: str) -> None:
    damage, reason = REPEATED[name]
    edit_json(
        run.grid / "zarr.json", lambda root: damage(root["consolidated_metadata"]["metadata"])
    )
    (fault,) = damage_of(run)  # and none of the shards: their own metadata are right
    assert (fault.kind, fault.file) == ("grid", "grid.zarr/zarr.json")
    assert reason in fault.reason


@pytest.mark.parametrize("zone", ["utm32n", "utm33n"])
def test_a_zone_that_is_wrong_makes_no_other_wrong(
    run: RunDirectory, plan: Plan, zone: str
) -> None:
    def more_bands(about: dict[str, Any]) -> None:
        about["shape"][0] = 7

    edit_json(run.grid / zone / "embeddings" / "zarr.json", more_bands)
    edit_json(
        run.grid / "zarr.json",
        lambda root: more_bands(root["consolidated_metadata"]["metadata"][f"{zone}/embeddings"]),
    )
    opened = read_run(run.path)
    maps, (fault,) = open_maps(run.grid, plan, "float32", opened.fingerprint)
    assert fault.file == f"grid.zarr/{zone}/embeddings"
    assert maps is not None
    assert [of.name for of in maps.zones.values()] == [{"utm32n": "utm33n"}.get(zone, "utm32n")]
    assert maps.cells == CELLS


def test_zones_agree_how_long_an_embedding_is(run: RunDirectory, plan: Plan) -> None:
    other = GridStore(run.path / "other.zarr", plan, (7, CELLS, CELLS))
    other.create(run.metadata)
    shutil.rmtree(run.grid / "utm33n")
    (other.path / "utm33n").rename(run.grid / "utm33n")
    found = [fault.reason for fault in damage_of(run) if fault.file.endswith("33n/embeddings")]
    assert found == ["has 7 bands and tiles with sides of 6 cells, most zones have 5 and 6"]


def test_wrong_coordinates_and_a_missing_store_are_faults(run: RunDirectory) -> None:
    array = zarr.open_array(str(run.grid), path="utm32n/x", mode="r+")
    array[0] = -1.0
    assert [(f.kind, f.file) for f in damage_of(run)] == [("grid", "grid.zarr/utm32n/x")]
    shutil.rmtree(run.grid)
    assert {fault.kind for fault in damage_of(run)} == {"grid"}
