from __future__ import annotations

import numpy as np
import pytest

from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import (
    Block,
    Lattice,
    Rect,
    blocks_meeting,
    zone_name,
    zone_of,
    zone_strip,
)


def test_a_tile_hangs_from_its_lattice_point() -> None:
    tile = Lattice(epsg=32632).tile(208, 2304)
    assert tile.id == "utm32n_r10_t288_x208_y2304"
    assert tile.bounds == (599040.0, 6632640.0, 601920.0, 6635520.0)
    assert tile.transform == (10.0, 0.0, 599040.0, 0.0, -10.0, 6635520.0)


def test_southern_lattices_are_anchored_on_the_equator_too() -> None:
    tile = Lattice(epsg=32733).tile(100, 0)
    assert tile.bounds[3] == 10_000_000.0


def test_ids_differ_where_the_lattice_does() -> None:
    lattices = [
        Lattice(epsg=32632),
        Lattice(epsg=32633),
        Lattice(epsg=32632, tile_size=144),
        Lattice(epsg=32632, stride=144),
        Lattice(epsg=32632, resolution=20),
        Lattice(epsg=32632, anchor=(5.0, 7.5)),
        Lattice(epsg=32632, anchor=(5.0, 7.0)),
    ]
    assert len({lattice.tile(1, 1).id for lattice in lattices}) == len(lattices)


@pytest.mark.parametrize("stride", [288, 144, 96])
@pytest.mark.parametrize("anchor", [None, (362612.196859, 1987088.206432)])
def test_every_pixel_is_under_a_tile_of_the_columns_and_rows_of_its_place(
    stride: int, anchor: tuple[float, float] | None
) -> None:
    lattice = Lattice(epsg=32648, stride=stride, anchor=anchor)
    for x, y in ((362000.0, 1980000.0), (365492.2, 1987088.3), (500000.0, 0.5)):
        cols, rows = lattice.columns(x, x + 10), lattice.rows(y, y + 10)
        tiles = [lattice.tile(col, row) for col in cols for row in rows]
        assert tiles
        for tile in tiles:
            left, bottom, right, top = tile.bounds
            assert left < x + 10
            assert right > x
            assert bottom < y + 10
            assert top > y
        # One more column or row on either side would not meet the place.
        for col, row in ((cols[0] - 1, rows[0]), (cols[-1] + 1, rows[0])):
            left, _, right, _ = lattice.tile(col, row).bounds
            assert right <= x or left >= x + 10
        for row in (rows[0] - 1, rows[-1] + 1):
            _, bottom, _, top = lattice.tile(cols[0], row).bounds
            assert top <= y or bottom >= y + 10


@pytest.mark.parametrize("left", [-700, -576, -1, 0, 1, 575, 576])
@pytest.mark.parametrize("top", [-300, 0, 1, 288, 576, 577])
def test_blocks_cover_a_rectangle_without_overlap(left: int, top: int) -> None:
    rect = Rect(epsg=32632, resolution=10, left=left, top=top, width=300, height=700)
    covered = np.zeros((700, 300), int)
    for block in blocks_meeting(rect, 576):
        shared = rect.overlap(block)
        assert shared is not None
        (rows, cols), (block_rows, block_cols) = shared
        covered[rows, cols] += 1
        # Both windows name the same ground.
        assert rect.left + cols.start == block.left + block_cols.start
        assert rect.top - rows.start == block.top - block_rows.start
    assert (covered == 1).all()


def test_aligned_tiles_share_one_block() -> None:
    lattice = Lattice(epsg=32632)
    ids = {
        block.id
        for col in (0, 1)
        for row in (1, 2)
        for block in blocks_meeting(lattice.tile(col, row), 576)
    }
    assert ids == {"utm32n_r10_b576_x0_y1"}


def test_rectangles_that_only_touch_share_nothing() -> None:
    a = Rect(epsg=32632, resolution=10, left=0, top=10, width=10, height=10)
    b = Rect(epsg=32632, resolution=10, left=10, top=10, width=10, height=10)
    assert a.overlap(b) is None


def test_shards_hang_like_tiles_and_own_each_tile_once() -> None:
    lattice = Lattice(epsg=32632, shard_tiles=4)
    square = lattice.shard_square(*lattice.shard_of(-3, 5))
    owned = [
        (col, row)
        for col in range(-20, 20)
        for row in range(-20, 20)
        if lattice.shard_of(col, row) == lattice.shard_of(-3, 5)
    ]
    assert len(owned) == 16
    for col, row in owned:
        shared = square.overlap(lattice.tile(col, row))
        assert shared is not None
        assert shared[1] == (slice(0, 288), slice(0, 288))


@pytest.mark.parametrize("stride", [288, 256, 96, 32, 287])
@pytest.mark.parametrize("anchor", [None, (362612.25, 1987088.5)])
def test_centres_cover_the_ground_once_and_shards_are_made_of_them(
    stride: int, anchor: tuple[float, float] | None
) -> None:
    """A pixel in no centre would be a hole in the map, one in two would be written twice."""
    lattice = Lattice(epsg=32632, stride=stride, shard_tiles=2, anchor=anchor)
    side = 4 * stride
    count = np.zeros((side, side), int)
    left, top = -2 * stride + lattice.halo, 2 * stride - lattice.halo
    square = Rect(
        epsg=32632, resolution=10, left=left, top=top, width=side, height=side, anchor=anchor
    )
    shards: dict[str, int] = {}
    for col in range(-4, 4):
        for row in range(-4, 6):
            tile = lattice.tile(col, row)
            within = tile.overlap(tile.centre)
            assert within is not None
            assert within[1] == (slice(0, stride), slice(0, stride))
            # As much on each side; of an odd rest, one more below and to the right.
            assert [one.start for one in within[0]] == [(288 - stride) // 2] * 2
            found = square.overlap(tile.centre)
            if found is not None:
                count[found[0]] += 1
                shards[tile.shard_id] = shards.get(tile.shard_id, 0) + 1
                shard = lattice.shard_square(*lattice.shard_of(col, row))
                of_shard = shard.overlap(tile.centre)
                assert of_shard is not None
                assert of_shard[1] == (slice(0, stride), slice(0, stride))
    assert (count == 1).all()
    assert set(shards.values()) == {4}


def test_zones() -> None:
    assert zone_of(11.999, 60) == 32632
    assert zone_of(12.0, 60) == 32633
    assert zone_of(180.0, -1) == 32760
    assert zone_of(-180.0, 1) == 32601
    assert zone_strip(32633) == (12.0, 0.0, 18.0, 84.0)
    assert zone_name(32733) == "utm33s"


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"epsg": 4326}, "UTM"),
        ({"epsg": 32661}, "UTM"),
        ({"epsg": 32632, "stride": 300}, "300"),
        ({"epsg": 32632, "stride": 0}, "stride"),
        ({"epsg": 32632, "tile_size": 0}, "tile_size"),
        ({"epsg": 32632, "anchor": (0.0, float("inf"))}, "anchor"),
    ],
)
def test_bad_lattices_are_refused(kwargs: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Lattice(**kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("anchor", [None, (3.5, -7.25)])
def test_a_rectangle_covers_bounds_with_whole_pixels(anchor: tuple[float, float] | None) -> None:
    rect = Rect(
        epsg=32632, resolution=10, left=60_000, top=665_000, width=30, height=20, anchor=anchor
    )
    grid = {"epsg": 32632, "resolution": 10, "anchor": anchor}
    left, bottom, right, top = rect.bounds
    assert Rect.covering(rect.bounds, **grid) == rect
    assert Rect.covering((left - 0.005, bottom, right, top + 0.005), **grid) == rect
    wider = Rect.covering((left - 1, bottom, right + 1, top), **grid)
    assert (wider.left, wider.width, wider.height) == (rect.left - 1, 32, 20)
    point = Rect.covering((left + 4, bottom + 4, left + 4, bottom + 4), **grid)
    assert (point.width, point.height) == (1, 1)


def test_blocks_off_the_lattice_have_names_of_their_own() -> None:
    def name(left: int, top: int) -> str:
        return Block(epsg=32632, size=288, resolution=10, left=left, top=top).id

    assert name(576, -288) == "utm32n_r10_b288_x2_y-1"
    assert name(578, -288) == "utm32n_r10_b288_px578_py-288"
    # A pixel apart they would share a column and a row of the lattice.
    assert len({name(578 + left, 288 + top) for left in range(3) for top in range(3)}) == 9
