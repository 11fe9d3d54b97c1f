"""A run read back: what tools above see is what the model gave, where it gave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from tests.support.synthetic_run import CELLS, DIMENSION, cell_centres, embed, write_run
from thor_geo.errors import InputError, RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.results import Cosine, read_tiles, zone_cells
from thor_geo.runs.opened_run import read_run


def test_vectors_stand_beside_the_tile_they_are_of(plan: Plan, tmp_path: Path) -> None:
    write_run(tmp_path, plan, failed={3: "lost"}, empty=(4,))
    tiles = read_tiles(read_run(tmp_path))
    assert tiles.index.tolist() == [k for k in range(len(plan)) if k not in (3, 4)]
    assert (tiles.without, tiles.missing) == (2, 0)
    for k, index in enumerate(tiles.index.tolist()):
        tile = plan.tile(index)
        np.testing.assert_array_equal(tiles.vectors[k], embed(tile)[0])
        assert tuple(tiles.bounds[k]) == tile.bounds
        x, y = (tile.bounds[0] + tile.bounds[2]) / 2, (tile.bounds[1] + tile.bounds[3]) / 2
        lonlat = Transformer.from_crs(tile.epsg, "OGC:CRS84", always_xy=True).transform(x, y)
        np.testing.assert_allclose(tiles.lonlat[k], lonlat, atol=1e-9)
    np.testing.assert_array_equal(tiles.primary, plan.primary[tiles.index])


def test_an_unfinished_run_gives_what_is_done_and_says_what_is_not(
    plan: Plan, tmp_path: Path
) -> None:
    write_run(tmp_path, plan, only=1)
    tiles = read_tiles(read_run(tmp_path))
    assert len(tiles) == len(plan.shards[0])
    assert tiles.missing == len(plan) - len(plan.shards[0])


def test_cells_of_a_shard_without_a_marker_are_none_as_its_tiles_are(
    plan: Plan, tmp_path: Path
) -> None:
    """Half of a shard may be written: a probe must not learn from it."""
    write_run(tmp_path, plan)
    opened = read_run(tmp_path)
    first = plan.shards[0]
    opened.run.marker_path(first).unlink()
    assert read_tiles(opened).missing == len(first)
    zone = zone_cells(opened)[first.epsg]
    for shard in zone.shards:
        there = np.isfinite(zone.read(shard))
        assert there.any() == (shard.id != first.id)
        rows, cols = (slice(part.start + 1, part.stop, 3) for part in zone.shard_cells(shard))
        assert zone.read(shard, rows, cols).shape == there[1::3, 1::3].shape


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_cells_lie_where_they_were_written(plan: Plan, tmp_path: Path, dtype: str) -> None:
    """A probe that takes a cell for its neighbour learns another place's label."""
    write_run(tmp_path, plan, failed={3: "lost"}, dtype=dtype)
    zones = zone_cells(read_run(tmp_path))
    assert list(zones) == [lattice.epsg for lattice in plan.lattices]
    for epsg, zone in zones.items():
        assert zone.dimension == DIMENSION
        whole = np.full((*zone.shape, DIMENSION), np.nan, dtype=np.float32)
        for rows, cols, values in zone.parts():
            whole[rows, cols] = values
        x, y = zone.centres(slice(None), slice(None))
        seen = 0
        for k in range(len(plan)):
            tile = plan.tile(k)
            if tile.epsg != epsg:
                continue
            at_x, at_y = cell_centres(tile)
            row = np.flatnonzero(np.isclose(y[:, 0], at_y[0, 0]))[0]
            col = np.flatnonzero(np.isclose(x[0], at_x[0, 0]))[0]
            part = whole[row : row + CELLS, col : col + CELLS]
            if k == 3:
                assert np.isnan(part).all()
                continue
            true = np.moveaxis(embed(tile)[1], 0, -1)
            error = {"float32": 0, "float16": 2**-11, "int8": 0.5 / 127}[dtype]
            np.testing.assert_allclose(part, true, atol=error * np.abs(true).max())
            seen += 1
        assert seen


def test_ground_in_two_zones_is_in_the_strip_of_one(plan: Plan, tmp_path: Path) -> None:
    """Cells of both zones' maps would count one place twice, once in training, once in testing."""
    write_run(tmp_path, plan)
    for epsg, zone in zone_cells(read_run(tmp_path)).items():
        everything = (slice(None), slice(None))
        lon, _ = Transformer.from_crs(epsg, "OGC:CRS84", always_xy=True).transform(
            *zone.centres(*everything)
        )
        own = zone.in_strip(*everything)
        np.testing.assert_array_equal(own, lon < 12 if epsg == 32632 else lon >= 12)
        assert 0 < own.sum() < own.size


def test_a_run_without_the_kind_asked_for_says_which_setting(plan: Plan, tmp_path: Path) -> None:
    write_run(tmp_path / "maps", plan, pooled=False)
    write_run(tmp_path / "vectors", plan, grid=False)
    with pytest.raises(RunDirectoryError, match=r"output\.pooled=true"):
        read_tiles(read_run(tmp_path / "maps"))
    with pytest.raises(RunDirectoryError, match=r"output\.grid=true"):
        zone_cells(read_run(tmp_path / "vectors"))


def test_nearest_are_those_with_the_largest_cosine() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 8)).astype(np.float32)
    query = vectors[17] * 3
    rows, cosines = Cosine(vectors).nearest(query, 5)
    true = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    assert rows.tolist() == np.argsort(-true)[:5].tolist()
    assert rows[0] == 17
    np.testing.assert_allclose(cosines, true[rows], atol=1e-6)


def test_equal_vectors_come_in_order_and_zeros_are_like_nothing() -> None:
    vectors = np.array([[0, 0], [1, 0], [2, 0], [1, 0], [0, 1]], dtype=np.float32)
    cosine = Cosine(vectors)
    rows, cosines = cosine.nearest(np.array([5, 0], dtype=np.float32), 2)
    assert rows.tolist() == [1, 2]
    assert cosines.tolist() == [1, 1]
    assert cosine.similarity(vectors[1])[0] == 0
    assert len(cosine.nearest(vectors[1], 99)[0]) == 5


def test_embeddings_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="5 dimensions"):
        Cosine(np.ones((3, 5), dtype=np.float32)).similarity(np.ones(4, dtype=np.float32))
