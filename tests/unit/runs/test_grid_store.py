"""If one of these fails, a map's values lie in the wrong place or two writers share a file."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers the accessor `rio`)
import xarray as xr
import zarr

from tests.support.synthetic_run import CELLS, DIMENSION, ONE_ZONE, plan_of, write_run
from tests.support.written_maps import write_maps
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.grid_layout import SCALE, array_file
from thor_geo.runs.zone_grid import chunk_side

SHAPE = (DIMENSION, CELLS, CELLS)


def files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def open_zone(run: RunDirectory, zone: str) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a user must not be warned by the line we print
        return xr.open_zarr(run.grid, group=zone)


@pytest.mark.parametrize(("zone", "epsg"), [("utm32n", 32632), ("utm33n", 32633)])
def test_values_are_found_where_their_coordinates_say(
    written: RunDirectory, plan: Plan, zone: str, epsg: int
) -> None:
    data = open_zone(written, zone).embeddings
    to_utm = transformer(LONLAT, f"EPSG:{epsg}")
    footprints = plan.footprints()
    status = {1: "failed", 2: "empty"}
    checked = 0
    for k in range(len(plan)):
        tile = plan.tile(k)
        if tile.epsg != epsg:
            continue
        # A point off the centre: it must fall into the tile's own cell.
        lon, lat = footprints[k].centroid.x + 0.003, footprints[k].centroid.y - 0.002
        x, y = to_utm.transform(lon, lat)
        found = data.sel(x=x, y=y, method="nearest")
        if k in status:
            assert bool(found.isnull().all())
            continue
        assert abs(float(found.x) - x) <= 240  # half a cell of 480 m
        assert abs(float(found.y) - y) <= 240
        # The synthetic embedding's first two values are its cell's easting and northing in km.
        np.testing.assert_allclose(found.values[0] * 1000, float(found.x), atol=0.05)
        np.testing.assert_allclose(found.values[1] * 1000, float(found.y), atol=0.6)
        checked += 1
    assert checked > 3


def test_xarray_and_rioxarray_know_crs_and_transform(written: RunDirectory, plan: Plan) -> None:
    zone = open_zone(written, "utm33n")
    data = zone.embeddings
    assert data.dims == ("band", "y", "x")
    assert data.dtype == np.float32
    assert "spatial_ref" in data.coords
    assert data.rio.crs.to_epsg() == 32633
    shards = [shard.square.bounds for shard in plan.shards if shard.epsg == 32633]
    left, bottom, right, top = (f(b[k] for b in shards) for k, f in enumerate((min, min, max, max)))
    assert data.rio.bounds() == (left, bottom, right, top)
    assert tuple(data.rio.transform())[:6] == (480.0, 0.0, left, 0.0, -480.0, top)
    assert bool((np.diff(data.y) < 0).all())  # north-up
    assert data.x.attrs["standard_name"] == "projection_x_coordinate"
    attributes = data.attrs
    assert attributes["proj:code"] == "EPSG:32633"
    assert attributes["spatial:bbox"] == [left, bottom, right, top]
    assert attributes["spatial:transform"] == [480.0, 0.0, left, 0.0, -480.0, top]
    assert attributes["spatial:shape"] == [data.sizes["y"], data.sizes["x"]]
    assert [c["name"] for c in attributes["zarr_conventions"]] == ["proj", "spatial"]


def test_one_work_shard_is_one_file_and_writing_it_touches_no_other(
    tmp_path: Path, plan: Plan
) -> None:
    store = GridStore(tmp_path / "grid.zarr", plan, SHAPE)
    store.create("{}")
    side = 2 * CELLS
    assert not any("/c/0/" in name for name in files(store.path) if "embeddings" in name)
    paths = set()
    for k, shard in enumerate(plan.shards):
        before = files(store.path)
        (path,) = write_maps(store, shard, np.full((DIMENSION, side, side), k, np.float32))
        after = files(store.path)
        name = path.relative_to(store.path).as_posix()
        assert after.keys() - before.keys() == {name}
        assert {key: after[key] for key in before} == before
        paths.add(path)
    assert len(paths) == len(plan.shards)


def test_a_shard_is_written_without_reading_it(tmp_path: Path, plan: Plan) -> None:
    store = GridStore(tmp_path / "grid.zarr", plan, SHAPE)
    store.create("{}")
    shard, side = plan.shards[0], 2 * CELLS
    path = store.embeddings_path(shard)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"torn by a crash")  # reading this would raise
    values = np.random.default_rng(0).normal(size=(DIMENSION, side, side)).astype(np.float32)
    write_maps(store, shard, values)
    first = path.read_bytes()
    write_maps(store, shard, values)
    assert path.read_bytes() == first


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_a_shard_of_one_value_has_its_file(tmp_path: Path, plan: Plan, fill: float) -> None:
    store = GridStore(tmp_path / "grid.zarr", plan, SHAPE)
    store.create("{}")
    side = 2 * CELLS
    (path,) = write_maps(store, plan.shards[0], np.full((DIMENSION, side, side), fill, np.float32))
    assert path.stat().st_size > 0


def test_bytes_do_not_depend_on_threads(tmp_path: Path, plan: Plan) -> None:
    values = np.random.default_rng(0).normal(size=(DIMENSION, 12, 12)).astype(np.float32)
    contents = []
    for workers in (1, 4):
        with zarr.config.set({"threading.max_workers": workers, "async.concurrency": workers}):
            store = GridStore(tmp_path / f"{workers}.zarr", plan, SHAPE)
            store.create("{}")
            (path,) = write_maps(store, plan.shards[0], values)
            contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_writing_leaves_the_settings_of_the_process_alone(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two shards are written side by side, and zarr's settings are not each thread's own."""
    store = GridStore(tmp_path / "grid.zarr", plan, SHAPE)
    store.create("{}")
    monkeypatch.setattr(zarr.config, "set", lambda *_: pytest.fail("a setting of the process"))
    side = 2 * CELLS
    (path,) = write_maps(
        store, plan.shards[0], np.full((DIMENSION, side, side), np.nan, np.float32)
    )
    assert path.stat().st_size > 0


def test_many_writers_may_create_the_store(tmp_path: Path, plan: Plan) -> None:
    store = GridStore(tmp_path / "grid.zarr", plan, SHAPE)
    store.create("{}")
    before = files(store.path)
    GridStore(store.path, plan, SHAPE).create("{}")
    assert files(store.path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["grid.zarr"]


def test_a_store_of_another_layout_is_refused(tmp_path: Path, plan: Plan) -> None:
    GridStore(tmp_path / "grid.zarr", plan, SHAPE).create("{}")
    with pytest.raises(RunDirectoryError, match=r"utm32n.*shape is \(5,.*\(7,.*output\.dir"):
        GridStore(tmp_path / "grid.zarr", plan, (7, CELLS, CELLS)).create("{}")
    with pytest.raises(RunDirectoryError, match="dtype"):
        GridStore(tmp_path / "grid.zarr", plan, SHAPE, "float16").create("{}")
    with pytest.raises(RunDirectoryError):
        GridStore(tmp_path / "grid.zarr", plan_of(ONE_ZONE), SHAPE).create("{}")


STORES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "another dtype of scales": (
        "scale",
        lambda path: edit(path, data_type="float64"),
        r"utm32n/scale`: dtype is float64 there and float32",
    ),
    "another fill value": (
        "embeddings",
        lambda path: edit(path, fill_value=0),
        r"utm32n/embeddings`: fill value is 0 there and -128",
    ),
    "another fill value of scales": (
        "scale",
        lambda path: edit(path, fill_value=0.0),
        r"utm32n/scale`: fill value is 0.0 there and nan",
    ),
    "no checksum": (
        "embeddings",
        lambda path: edit_codecs(path, lambda codecs: codecs.pop()),
        r"utm32n/embeddings`: codecs is blosc\{.*\} there and blosc\{.*\}, crc32c in",
    ),
    "no checksum of scales": (
        "scale",
        lambda path: edit_codecs(path, lambda codecs: codecs.pop()),
        r"utm32n/scale`: codecs is blosc\{.*\} there and blosc\{.*\}, crc32c in",
    ),
    "no scales": (
        "scale",
        lambda path: shutil.rmtree(path.parent),
        r"utm32n/scale cannot be opened",
    ),
}


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_codecs(path: Path, change: Callable[[list[Any]], object]) -> None:
    """Change the codecs of a chunk, those within a shard where there are shards."""
    about = json.loads(path.read_text())
    (first, *_) = codecs = about["codecs"]
    change(first["configuration"]["codecs"] if first["name"] == "sharding_indexed" else codecs)
    path.write_text(json.dumps(about))


@pytest.mark.parametrize("name", STORES)
def test_a_store_whose_files_would_be_read_otherwise_is_refused(
    tmp_path: Path, plan: Plan, name: str
) -> None:
    array, damage, says = STORES[name]
    path = tmp_path / "grid.zarr"
    GridStore(path, plan, SHAPE, "int8").create("{}")
    damage(path / "utm32n" / array / "zarr.json")
    with pytest.raises(RunDirectoryError, match=f"{says}.*remove the store so that it is"):
        GridStore(path, plan, SHAPE, "int8").create("{}")
    shutil.rmtree(path)
    GridStore(path, plan, SHAPE, "int8").create("{}")


def test_an_anchored_lattice_is_placed_by_its_anchor(tmp_path: Path) -> None:
    plan = plan_of((10.65, 59.9, 10.7, 59.93), anchor=(590003.0, 6640007.0))
    run = write_run(tmp_path / "run", plan).run
    data = open_zone(run, "utm32n").embeddings
    tile = plan.tile(0)
    left, _, _, top = tile.bounds
    found = data.sel(x=left + 240, y=top - 240, tolerance=1e-6, method="nearest")
    np.testing.assert_allclose(found.values[:2] * 1000, (left + 240, top - 240), atol=0.6)


@pytest.mark.parametrize(
    ("side", "chunk"),
    [(144, 36), (576, 36), (288, 36), (100, 25), (12, 12), (101, 101), (8 * 101, 101)],
)
def test_chunks_divide_the_shard(side: int, chunk: int) -> None:
    assert chunk_side(side) == chunk
    assert side % chunk == 0


def test_a_flipped_bit_of_a_scale_is_an_error(plan: Plan, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan, dtype="int8").run
    zone = GridStore(run.grid, plan, SHAPE, "int8").zones[plan.shards[0].epsg]
    path = run.grid / array_file(zone, plan.shards[0], SCALE)
    for at in range(path.stat().st_size):
        whole = path.read_bytes()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="checksum"):
            open_zone(run, zone.name)["scale"].load()
        path.write_bytes(whole)
    open_zone(run, zone.name)["scale"].load()


def test_a_flipped_bit_is_an_error_for_every_reader_and_no_other_value(
    written: RunDirectory, plan: Plan, tmp_path: Path
) -> None:
    run = RunDirectory(shutil.copytree(written.path, tmp_path / "run"))
    store = GridStore(run.grid, plan, SHAPE, "float32")
    path = store.embeddings_path(plan.shards[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(content)
    name = store.zones[plan.shards[0].epsg].name
    with pytest.raises(ValueError, match="checksum"):
        open_zone(run, name).embeddings.load()
