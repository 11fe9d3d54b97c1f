"""Overlapping tiles are one map: every cell is there once, in its place, from one tile's centre."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from tests.support import synthetic_run
from tests.support.synthetic_run import (
    CELLS,
    DIMENSION,
    TWO_ZONES,
    batches,
    cell_centres,
    embed,
    plan_of,
    write_run,
)
from thor_geo.errors import ConfigError
from thor_geo.ground.area import Area
from thor_geo.ground.lattice import Lattice, Tile
from thor_geo.ground.plan import Plan
from thor_geo.pictures.zone_pictures import read_pictures
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.shard import Shapes, ShardResult
from thor_geo.runs.zone_grid import centre_trim

# Tiles of 288 pixels in 6 cells: halos of 0, 1 and 2 cells of 48 pixels.
STRIDES = (288, 192, 96)


def maps(run: RunDirectory, plan: Plan) -> dict[int, xr.DataArray]:
    """Return the maps as a user opens them, by EPSG code; float32."""
    out = {}
    for lattice in plan.lattices:
        zone = xr.open_zarr(run.grid, group=lattice.name.split("_")[0])
        values = zone.embeddings
        if "scale" in zone:
            values = values * zone.scale
        out[lattice.epsg] = values.compute()
    return out


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_values_lie_where_their_coordinates_say(
    tmp_path: Path, stride: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that is off by a halo looks right and is wrong everywhere."""
    east, north = {32632: 667_000.0, 32633: 333_000.0}, 6_655_000.0

    def near(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        pooled, grid = embed(tile)
        x, y = cell_centres(tile)
        # Small numbers, of which int8 keeps a twelfth of a cell.
        grid[0], grid[1] = (x - east[tile.epsg]) / 1000, (y - north) / 1000
        return pooled, grid

    monkeypatch.setattr(synthetic_run, "embed", near)
    plan = plan_of(TWO_ZONES, stride=stride)
    run = write_run(tmp_path / "run", plan, dtype=dtype).run
    tolerance = 0.001 if dtype == "float32" else 0.05
    for epsg, data in maps(run, plan).items():
        cell = 480.0
        assert np.allclose(np.diff(data.x), cell)
        assert np.allclose(np.diff(data.y), -cell)
        x, y = np.meshgrid(data.x, data.y)
        there = np.isfinite(data.values).all(axis=0)
        assert there.any()
        wanted = np.stack([x - east[epsg], y - north]) / 1000
        assert np.abs(wanted[:, there]).max() < 12
        assert np.allclose(data.values[:2][:, there], wanted[:, there], rtol=0, atol=tolerance)


@pytest.mark.parametrize("stride", STRIDES)
def test_every_cell_is_of_the_tile_whose_centre_is_nearest(
    tmp_path: Path, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another tile, a cell would lie in its halo: it would show a seam."""

    def named(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        pooled, grid = embed(tile)
        grid[2], grid[3] = tile.left, tile.top
        return pooled, grid

    monkeypatch.setattr(synthetic_run, "embed", named)
    plan = plan_of(TWO_ZONES, stride=stride, shard_tiles=3)
    run = write_run(tmp_path / "run", plan).run
    found = maps(run, plan)
    for epsg, data in found.items():
        tiles = [tile for tile in plan.tiles(range(len(plan))) if tile.epsg == epsg]
        bounds = np.array([tile.bounds for tile in tiles])
        middle = (bounds[:, :2] + bounds[:, 2:]) / 2
        x, y = (a.ravel() for a in np.meshgrid(data.x, data.y))
        far = np.maximum(abs(x[:, None] - middle[:, 0]), abs(y[:, None] - middle[:, 1]))
        nearest = far.argmin(axis=1)
        planned = far.min(axis=1) < stride * 10 / 2
        values = data.values.reshape(DIMENSION, -1)
        corners = np.array([(tile.left, tile.top) for tile in tiles])[nearest]
        assert np.array_equal(np.isfinite(values[0]), planned)
        assert np.array_equal(values[2:4, planned], corners[planned].T)


def test_one_shard_is_one_file_of_its_own_cells(tmp_path: Path) -> None:
    """Two processes that write one file would lose each other's tiles."""
    plan = plan_of(TWO_ZONES, stride=192)
    run = write_run(tmp_path / "run", plan).run
    files = [path for path in run.grid.glob("*/embeddings/c/0/*/*") if path.is_file()]
    assert len(files) == len(plan.shards) > 4
    for lattice in plan.lattices:
        name = lattice.name.split("_")[0]
        about = json.loads((run.grid / name / "embeddings" / "zarr.json").read_text())
        side = about["chunk_grid"]["configuration"]["chunk_shape"][1]
        (inner,) = [codec for codec in about["codecs"] if codec["name"] == "sharding_indexed"]
        assert side == 2 * 192 // 48
        assert side % inner["configuration"]["chunk_shape"][1] == 0


@pytest.mark.parametrize("stride", STRIDES)
def test_a_run_that_is_continued_gives_the_same_bytes(tmp_path: Path, stride: int) -> None:
    """The same shards must be recognised as done, and written to the same places."""
    plan = plan_of(stride=stride)
    whole = write_run(tmp_path / "whole", plan, dtype="int8").run
    write_run(tmp_path / "parts", plan, dtype="int8", only=2)
    parts = write_run(tmp_path / "parts", plan, dtype="int8").run
    contents = [
        {
            path.relative_to(run.path): path.read_bytes()
            for folder in (run.pooled, run.grid)
            for path in folder.rglob("*")
            if path.is_file()
        }
        for run in (whole, parts)
    ]
    assert contents[0] == contents[1]


AREAS = {
    # Two areas of 10 m pixels: far smaller than a tile or cell, and on the corner of four tiles.
    "within a tile": shapely.box(599_100, 6_640_100, 599_500, 6_640_300),
    "a corner of tiles": shapely.box(599_030, 6_635_510, 599_050, 6_635_530),
    "a sliver": shapely.box(595_000, 6_637_203, 604_000, 6_637_213),
    "an L": shapely.union_all(
        [
            shapely.box(595_000, 6_630_000, 596_000, 6_640_000),
            shapely.box(595_000, 6_630_000, 606_000, 6_631_000),
        ]
    ),
}


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", AREAS)
def test_no_cell_of_an_area_of_any_shape_stays_empty(
    tmp_path: Path, name: str, stride: int
) -> None:
    """Small and crooked areas must not be skipped, nor lose their border to the halo."""
    area = AREAS[name]
    plan = Plan.from_area(
        Area(geometry=area, crs="EPSG:32632"), Lattice(epsg=32632, stride=stride, shard_tiles=2)
    )
    run = write_run(tmp_path / "run", plan).run
    data = maps(run, plan)[32632]
    x, y = (a.ravel() for a in np.meshgrid(data.x, data.y))
    cells = shapely.box(x - 240, y - 240, x + 240, y + 240)
    there = np.isfinite(data.values).all(axis=0).ravel()
    meets = shapely.intersects(cells, area.buffer(-0.02)) | shapely.contains(cells, area)
    assert meets.any()
    assert there[meets].all()
    # And the area lies in the map: nothing of it is beyond the last cell.
    assert shapely.covers(shapely.union_all(cells[there]).buffer(0.1), area)
    tiles = gpd.read_parquet(run.pooled)
    assert len(tiles) == len(plan)
    assert tiles.embedding.notna().all()


def test_pictures_show_the_centres(tmp_path: Path) -> None:
    """Whole tiles would be drawn over their neighbours, and the map beside its coordinates."""
    plan = plan_of(TWO_ZONES, stride=192)
    run = write_run(tmp_path / "run", plan, failed={1: "no such block"}).run
    for picture in read_pictures(run, plan)[0]:
        rows, cols = picture.observations.shape
        left, bottom, right, top = picture.bounds
        assert (right - left, top - bottom) == (cols * 1920, rows * 1920)
        assert picture.embeddings.shape == (4 * rows, 4 * cols, 4)
        tiles = {k: plan.tile(k) for k in range(len(plan)) if plan.tile(k).epsg == picture.epsg}
        for k, tile in tiles.items():
            west, _, _, north = tile.bounds
            col, row = (west + 480 - left) / 1920, (top - (north - 480)) / 1920
            assert (col % 1, row % 1) == (0, 0)
            alpha = picture.embeddings[4 * int(row) : 4 * int(row) + 4, 4 * int(col), 3]
            assert (alpha == (0 if k == 1 else 255)).all()
        if 1 in tiles:
            west, south, east, north = tiles[1].bounds
            assert picture.failed == ((west + 480, south + 480, east - 480, north - 480),)


@pytest.mark.parametrize(
    ("stride", "cells", "says"),
    [
        (144, 6, r"stride=144.*72 px on each side.*cells of 48 px.*stride=192 or 96"),
        (280, 18, r"4 px on each side.*cells of 16 px.*stride=288 or 256"),
        (287, 288, r"0\.5 px on each side.*stride=288 or 286"),
        (200, 7, r"stride=288.*output\.grid=false"),
    ],
)
def test_halos_that_cut_cells_are_refused_with_what_would_do(
    stride: int, cells: int, says: str
) -> None:
    """Rounded, cells of neighbouring tiles would overlap or leave a gap."""
    with pytest.raises(ConfigError, match=says):
        centre_trim(Lattice(epsg=32632, stride=stride), (cells, cells))


@pytest.mark.parametrize(("stride", "wanted"), [(288, (0, 18)), (256, (1, 16)), (96, (6, 6))])
def test_the_halo_is_left_out(stride: int, wanted: tuple[int, int]) -> None:
    """The README's strides must be possible with THOR's tiles of 18 cells."""
    trim = centre_trim(Lattice(epsg=32632, stride=stride), (18, 18))
    assert (trim.margin, trim.side) == wanted


def test_a_map_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A run directory that can never be finished would be left behind."""
    plan = plan_of(stride=144)
    with pytest.raises(ConfigError, match=r"stride=144"):
        GridStore(tmp_path / "grid.zarr", plan, (DIMENSION, CELLS, CELLS))
    with pytest.raises(ConfigError, match="not square"):
        GridStore(tmp_path / "grid.zarr", plan_of(stride=192), (DIMENSION, CELLS, 4))
    assert not any(tmp_path.iterdir())


def test_a_tile_with_infinity_in_its_halo_fails(tmp_path: Path) -> None:
    """Its vector would hold infinity, though its map's centre looks sound."""
    plan = plan_of(stride=192)
    shard = plan.shards[0]
    shapes = Shapes(pooled=(DIMENSION,), grid=(DIMENSION, CELLS, CELLS))
    result = ShardResult(plan, shard, shapes)
    first: Any
    for first, batch in batches(plan, shard):
        if int(first["tile"][0]) == shard.start:
            first["grid"][0, 0, 0, 0] = np.inf
        result.add(first, batch)
    assert result.status[0] == "failed"
    assert result.grid is not None
    assert np.isnan(result.grid).any()
