"""If one of these fails, a catalogue finds a run where it is not, or cannot draw its ground."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from tests.support.synthetic_run import TWO_ZONES, plan_of
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.publish.footprint import box_of, geojson, joined, outline, surrounding_box
from thor_geo.support.antimeridian import bounding_box

FIJI = (179.9, -17.0, -179.9, -16.9)


@pytest.mark.parametrize("area", [TWO_ZONES, FIJI])
def test_an_outline_is_the_ground_of_the_tiles(area: tuple[float, float, float, float]) -> None:
    plan = plan_of(area)
    for k, lattice in enumerate(plan.lattices):
        chosen = plan.zone == k
        ground = outline(lattice, plan.col[chosen], plan.row[chosen])
        tiles = shapely.union_all(plan.footprints()[chosen])
        assert ground.is_valid
        assert ground.symmetric_difference(tiles).area < 2e-4 * tiles.area
        for part in shapely.get_parts(ground):
            assert part.exterior.is_ccw
            assert part.bounds[0] >= -180
            assert part.bounds[2] <= 180


def test_ground_across_the_antimeridian_is_cut_there_and_has_a_small_box() -> None:
    plan = plan_of(FIJI)
    chosen = plan.zone == 0
    ground = outline(plan.lattices[0], plan.col[chosen], plan.row[chosen])
    assert ground.geom_type == "MultiPolygon"
    west, south, east, north = (float(str(edge)) for edge in box_of(ground))
    assert 179 < west < 180
    assert -180 < east < -179
    assert (round(south), round(north)) == (-17, -17)
    assert surrounding_box(plan.footprints()).geom_type == "MultiPolygon"
    assert surrounding_box(plan_of().footprints()).geom_type == "Polygon"


def test_ground_far_apart_has_the_box_that_does_not_go_the_long_way_round() -> None:
    sides = [shapely.box(170, 0, 180, 1), shapely.box(-180, 0, -175, 1)]
    boxes = [*sides, shapely.box(160, 2, 161, 3)]
    assert bounding_box(boxes) == (160, 0, -175, 3)
    assert bounding_box([shapely.box(-180, 0, -175, 1)]) == (-180, 0, -175, 1)
    assert bounding_box([shapely.box(-10, 0, 10, 1)]) == (-10, 0, 10, 1)


def test_ragged_ground_gets_few_corners_and_loses_no_tile() -> None:
    rng = np.random.default_rng(0)
    kept = np.flatnonzero(rng.random(3600) < 0.5)
    col, row = (kept % 60).astype(np.int32), (2000 + kept // 60).astype(np.int32)
    lattice = Lattice(epsg=32632)
    ground = outline(lattice, col, row)
    assert shapely.get_num_coordinates(ground) < 1000
    plan = Plan(
        lattices=(lattice,),
        zone=np.zeros(len(col), np.uint8),
        col=col,
        row=row,
        primary=np.ones(len(col), np.bool_),
    )
    footprints = shapely.union_all(plan.footprints())
    assert footprints.difference(ground).area < 1e-4 * footprints.area


def test_geojson_reads_back_as_the_same_ground() -> None:
    plan = plan_of()
    ground = outline(plan.lattices[0], plan.col, plan.row)
    assert shape(geojson(ground)).equals_exact(ground, 1e-7)
    assert joined([ground, ground]).equals(ground)
