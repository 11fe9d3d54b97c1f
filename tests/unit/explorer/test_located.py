"""If these fail, the page shows, finds or saves a place where it is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyproj
import pytest

from tests.support.synthetic_run import CELLS, embed
from thor_geo.explorer import located as module
from thor_geo.explorer.located import RasterVectors, cell_places
from thor_geo.explorer.patches import shard_patches
from thor_geo.runs.opened_run import OpenedRun


def test_tiles_are_where_the_plan_has_them(opened: OpenedRun, tiles: RasterVectors) -> None:
    assert tiles.tile is not None
    assert len(tiles) == len(opened.plan) - 2  # one failed, one is empty
    for k, index in enumerate(tiles.tile.tolist()):
        tile = opened.plan.tile(index)
        assert tiles.bounds(k) == pytest.approx(tile.bounds)
        assert tiles.epsg(k) == tile.epsg
        np.testing.assert_allclose(tiles.vectors[k], embed(tile)[0], rtol=1e-6)


@pytest.mark.parametrize("step", [1, 2])
def test_cells_hold_the_embedding_of_their_place(
    opened: OpenedRun, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    count = len(opened.plan.shards) * (2 * CELLS) ** 2
    monkeypatch.setattr(module, "MOST_BYTES", count * 5 * 4 // step**2)
    cells = cell_places(opened)
    assert cells.step == step
    for k in range(0, len(cells), 13):
        left, bottom, right, top = cells.bounds(k)
        # If there are several cells, the one south-east of the middle is taken.
        x, y = (left + right) / 2, (bottom + top) / 2
        if step == 2:
            x, y = x + (right - left) / 4, y - (top - bottom) / 4
        np.testing.assert_allclose(cells.vectors[k, :2], [x / 1000, y / 1000], rtol=1e-6)
        to_lonlat = pyproj.Transformer.from_crs(cells.epsg(k), 4326, always_xy=True)
        np.testing.assert_allclose(cells.lonlat[k], to_lonlat.transform(x, y), rtol=1e-9)


def test_a_patch_lies_where_web_mercator_has_its_corners(tiles: RasterVectors) -> None:
    patches = shard_patches(tiles)
    for p, shard in enumerate(patches.shard.tolist()):
        square = tiles.shards[shard].square
        left, bottom, right, top = square.bounds
        to_web = pyproj.Transformer.from_crs(square.epsg, 3857, always_xy=True)
        for position, corner in {(0, 0): (left, top), (2, 2): (right, bottom)}.items():
            np.testing.assert_allclose(
                patches.mesh[p][position], to_web.transform(*corner), atol=1e-3
            )


def test_main_places_are_drawn_last(tiles: RasterVectors) -> None:
    patches = shard_patches(tiles)
    of_main = np.unique(patches.patch[tiles.main])
    of_others = np.unique(patches.patch[~tiles.main])
    assert len(of_others)
    assert of_others.max() < of_main.min()


def test_a_run_across_the_antimeridian_is_one_sheet(tiles: RasterVectors) -> None:
    lattices = tuple(
        dataclasses.replace(lattice, epsg=epsg)
        for lattice, epsg in zip(tiles.shards.lattices, (32660, 32601), strict=True)
    )
    shards = type(tiles.shards)(
        lattices,
        **{name: getattr(tiles.shards, name) for name in ("starts", "stops", "zone", "col", "row")},
    )
    mesh = shard_patches(dataclasses.replace(tiles, shards=shards)).mesh
    assert np.ptp(mesh[..., 0]) < 100_000
