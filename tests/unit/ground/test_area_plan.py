from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from thor_geo.errors import AreaError
from thor_geo.ground.area import LONLAT, Area, AreaSpec, transformer
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan

LATTICE = Lattice(epsg=32601)


def plan_of(lattice: Lattice = LATTICE, **spec: object) -> Plan:
    return Plan.from_area(AreaSpec(**spec).load(), lattice)  # type: ignore[arg-type]


def test_no_ground_falls_between_zones_at_12_e_60_n() -> None:
    plan = plan_of(bbox=(11.9, 59.95, 12.1, 60.05))
    assert [lattice.epsg for lattice in plan.lattices] == [32632, 32633]
    union = shapely.union_all(plan.footprints())
    rng = np.random.default_rng(0)
    points = shapely.points(rng.uniform(11.9, 12.1, 2000), rng.uniform(59.95, 60.05, 2000))
    assert shapely.covers(union, points).all()
    # every tile knows whether its zone is the one its centre lies in
    centres = shapely.get_x(shapely.centroid(plan.footprints()))
    assert ((centres < 12) == (plan.zone == 0))[plan.primary].all()
    assert ((centres < 12) != (plan.zone == 0))[~plan.primary].all()
    assert not plan.primary.all()


def test_the_same_ground_has_the_same_tile_in_every_run() -> None:
    small = plan_of(bbox=(11.90, 59.95, 11.95, 59.97))
    large = plan_of(bbox=(11.70, 59.90, 12.05, 60.10))
    ids = {tile.id for tile in large.tiles(range(len(large)))}
    assert {tile.id for tile in small.tiles(range(len(small)))} <= ids


def test_tiles_that_only_touch_the_area_are_left_out() -> None:
    box = (501120.0, 5629056.0, 501120.0 + 2 * 2880, 5629056.0 + 2880)
    lattice = Lattice(epsg=32631, anchor=(501120.0, 5629056.0 + 2880))
    assert len(plan_of(lattice, bbox=box, crs="EPSG:32631")) == 2


def test_an_anchored_lattice_takes_the_scene_as_one_tile_and_the_free_one_as_four() -> None:
    box = (501360.0, 5629040.0, 502000.0, 5629680.0)
    anchored = Lattice(epsg=32631, tile_size=64, anchor=(501360.0, 5629680.0))
    assert plan_of(anchored, bbox=box, crs="EPSG:32631").tile(0).bounds == box
    assert len(plan_of(Lattice(epsg=32631, tile_size=64), bbox=box, crs="EPSG:32631")) == 4


def test_shards_are_contiguous_and_hold_their_tiles() -> None:
    plan = plan_of(Lattice(epsg=32601, shard_tiles=3), bbox=(11.8, 59.8, 12.2, 60.1))
    assert plan.shards[0].start == 0
    assert plan.shards[-1].stop == len(plan)
    for shard, following in zip(plan.shards, plan.shards[1:], strict=False):
        assert shard.stop == following.start
    assert len({shard.id for shard in plan.shards}) == len(plan.shards)
    for shard in plan.shards:
        for tile in plan.tiles(range(shard.start, shard.stop)):
            assert tile.shard_id == shard.id
            shared = shard.square.overlap(tile)
            assert shared is not None
            assert shared[1] == (slice(0, 288), slice(0, 288))


def test_tiles_of_a_shard_come_in_reading_order() -> None:
    plan = plan_of(bbox=(10.5, 59.8, 10.9, 60.0))
    for shard in plan.shards:
        part = slice(shard.start, shard.stop)
        order = np.lexsort((plan.col[part], -plan.row[part]))
        assert (order == np.arange(len(shard))).all()


def test_both_hemispheres() -> None:
    plan = plan_of(bbox=(10, -0.1, 10.1, 0.1))
    assert [lattice.epsg for lattice in plan.lattices] == [32632, 32732]
    assert shapely.union_all(plan.footprints()).covers(shapely.box(10, -0.1, 10.1, 0.1))


def test_footprints_agree_with_the_tiles_transform() -> None:
    plan = plan_of(bbox=(10.5, 59.8, 10.6, 59.9))
    tile, footprint = plan.tile(0), plan.footprints(0, 1)[0]
    x, y = transformer(LONLAT, "EPSG:32632").transform(*footprint.exterior.coords.xy)
    assert (min(x), min(y), max(x), max(y)) == pytest.approx(tile.bounds, abs=1e-3)


def test_a_point_with_a_buffer_is_a_square_in_its_own_zone() -> None:
    area = AreaSpec(point=(121.5, 31.2), buffer_m=2048).load()
    assert area.crs == "EPSG:32651"
    left, bottom, right, top = area.geometry.bounds
    assert (right - left, top - bottom) == pytest.approx((4096, 4096))


def test_points_take_the_tiles_that_hold_them(tmp_path: Path) -> None:
    table = pd.DataFrame({"lon": [10.5, 10.51, 13.2], "lat": [59.8, 59.8, 60.3]})
    table.to_csv(tmp_path / "points.csv")
    plan = plan_of(points=tmp_path / "points.csv")
    footprints = plan.footprints()
    for lon, lat in zip(table.lon, table.lat, strict=True):
        assert shapely.covers(footprints, shapely.Point(lon, lat)).sum() == 1
    assert len(plan) <= 3


def test_files_are_read_in_whatever_crs_they_have(tmp_path: Path) -> None:
    box = shapely.box(10.5, 59.8, 10.6, 59.9)
    frame = gpd.GeoDataFrame(geometry=[box], crs=LONLAT)
    frame.to_file(tmp_path / "a.geojson")
    frame.to_crs(25832).to_file(tmp_path / "b.gpkg")
    frame.to_crs(32632).to_file(tmp_path / "c.gpkg")
    plans = [plan_of(file=tmp_path / name) for name in ("a.geojson", "b.gpkg", "c.gpkg")]
    assert len({plan.digest for plan in plans}) == 1


def test_long_edges_are_straight_in_the_files_own_crs(tmp_path: Path) -> None:
    box = (4_000_000, 3_800_000, 4_300_000, 3_830_000)
    frame = gpd.GeoDataFrame(geometry=[shapely.box(*box)], crs="EPSG:3035")
    frame.to_file(tmp_path / "laea.gpkg")
    lattice = Lattice(epsg=32601, tile_size=576)
    file = plan_of(lattice, file=tmp_path / "laea.gpkg")
    assert file.digest == plan_of(lattice, bbox=box, crs="EPSG:3035").digest


def test_digest_tells_plans_apart() -> None:
    boxes = [(10.5, 59.8, 10.6, 59.9), (10.5, 59.8, 10.65, 59.9)]
    assert len({plan_of(bbox=box).digest for box in boxes}) == 2
    sizes = [Lattice(epsg=32601, shard_tiles=k) for k in (4, 8)]
    assert len({plan_of(lattice, bbox=boxes[0]).digest for lattice in sizes}) == 2


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "exactly one"),
        ({"bbox": (0, 0, 1, 1), "file": "x"}, "exactly one"),
        ({"point": (0, 0)}, "buffer_m"),
        ({"point": (0, 88), "buffer_m": 5.0}, "84 N"),
        ({"bbox": (0, 0, 1, 1), "buffer_m": 5.0}, "buffer_m"),
        ({"bbox": (0, 0, 0, 1)}, "empty"),
        ({"bbox": (5, 0, 4, 1), "crs": "EPSG:32631"}, "empty"),
        ({"bbox": (0, 0, 4, 1), "crs": "EPSG:99"}, "CRS"),
        ({"bbox": (0, 9_500_000, 4000, 9_600_000), "crs": "EPSG:32631"}, "84 N"),
        ({"file": "missing.geojson"}, "no such file"),
        ({"points": "missing.csv"}, "no such file"),
    ],
)
def test_bad_areas_are_refused(spec: dict[str, object], says: str) -> None:
    with pytest.raises(AreaError, match=says):
        plan_of(**spec)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(10, 60), (10.2, 60.2), (10.2, 60), (10, 60.2)])
    frame = gpd.GeoDataFrame(geometry=[bow_tie], crs=LONLAT)
    frame.to_file(tmp_path / "bow.geojson")
    with pytest.raises(AreaError, match="Self-intersection"):
        plan_of(file=tmp_path / "bow.geojson")
    frame.iloc[:0].to_file(tmp_path / "empty.gpkg")
    with pytest.raises(AreaError, match="no geometry"):
        plan_of(file=tmp_path / "empty.gpkg")
    (tmp_path / "text.geojson").write_text("hello")
    with pytest.raises(AreaError, match="not readable"):
        plan_of(file=tmp_path / "text.geojson")
    pd.DataFrame({"x": [1], "y": [2]}).to_csv(tmp_path / "xy.csv")
    with pytest.raises(AreaError, match=r"no lon and lat .*x, y"):
        plan_of(points=tmp_path / "xy.csv")
    pd.DataFrame({"lon": ["12 E"], "lat": ["60 N"]}).to_csv(tmp_path / "text.csv")
    with pytest.raises(AreaError, match="decimal degrees"):
        plan_of(points=tmp_path / "text.csv")
    (tmp_path / "broken.parquet").write_text("hello")
    with pytest.raises(AreaError, match="not readable"):
        plan_of(points=tmp_path / "broken.parquet")


def test_lines_have_no_area() -> None:
    with pytest.raises(AreaError, match="empty"):
        Area(geometry=shapely.LineString([(0, 0), (1, 1)]))


def test_an_anchor_belongs_to_one_zone() -> None:
    with pytest.raises(AreaError, match="2 UTM zones"):
        plan_of(Lattice(epsg=32601, anchor=(0.0, 0.0)), bbox=(11.9, 59.95, 12.1, 60.05))
