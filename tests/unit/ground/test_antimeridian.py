"""If these fail, ground beside 180 degrees is left out, taken twice, or put round the world."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from thor_geo.api._place import Place
from thor_geo.checks.overlap import redundant_tiles
from thor_geo.cli.options import parse_bbox
from thor_geo.errors import AreaError, ConfigError
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.runs.geoparquet import geo_metadata
from thor_geo.runs.plan_file import read_plan, write_plan
from thor_geo.specs import BBox, PointBuffer
from thor_geo.support.antimeridian import (
    continuous_longitudes,
    cut_all_at_antimeridian,
    cut_at_antimeridian,
    middle_of,
)

LATTICE = Lattice(epsg=32601, tile_size=96)
FIJI = (179.95, -17.03, -179.96, -16.97)
CHUKOTKA = (179.9, 66.0, -179.93, 66.05)
PLACES = pytest.mark.parametrize("box", [FIJI, CHUKOTKA], ids=["fiji", "chukotka"])


def _uncut(box: tuple[float, float, float, float], east: float) -> shapely.Polygon:
    west, south, _, north = box
    return shapely.Polygon([(west, south), (east, south), (east, north), (west, north)])


def _ways(box: tuple[float, float, float, float], folder: Path) -> dict[str, Area]:
    """Return the same ground in each way in which files and people have it."""
    west, south, east, north = box
    halves = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    jump, beyond = _uncut(box, east), _uncut(box, east + 360)
    lower = shapely.box(west - 360, south, east, north)
    ways = {
        "rfc7946": Area(geometry=shapely.MultiPolygon(halves)),
        "jump": Area(geometry=jump),
        "beyond 180": Area(geometry=beyond),
        "below -180": Area(geometry=lower),
        "bbox": AreaSpec(bbox=box).load(),
    }
    for name, rows in {"cut": halves, "one": [jump], "both": [beyond, lower]}.items():
        file = folder / f"{name}.geojson"
        geopandas.GeoSeries(rows, crs="OGC:CRS84").to_file(file, driver="GeoJSON")
        ways[f"file {name}"] = AreaSpec(file=file).load()
    nad83 = folder / "nad83.gpkg"  # what files of the Aleutians have
    geopandas.GeoSeries([jump], crs="EPSG:4269").to_file(nad83)
    ways["another datum"] = AreaSpec(file=nad83).load()
    return ways


@PLACES
def test_an_area_across_is_the_same_in_whatever_form_it_comes(
    box: tuple[float, float, float, float], tmp_path: Path
) -> None:
    west, south, east, north = box
    wanted = (180 - west + east + 180) * (north - south)
    plans = {}
    for name, area in _ways(box, tmp_path).items():
        assert area.lonlat.is_valid, name
        assert area.lonlat.area == pytest.approx(wanted, rel=1e-6), name
        assert area.lonlat.bounds == pytest.approx((-180, south, 180, north), abs=1e-7), name
        assert area.middle[0] == pytest.approx((west + east + 360) / 2, abs=1e-6), name
        plans[name] = Plan.from_area(area, LATTICE)
    assert len({plan.digest for plan in plans.values()}) == 1


@PLACES
def test_tiles_on_both_sides_cover_the_ground_and_each_centre_has_one_zone(
    box: tuple[float, float, float, float],
) -> None:
    west, south, east, north = box
    plan = Plan.from_area(AreaSpec(bbox=box).load(), LATTICE)
    assert [lattice.epsg % 100 for lattice in plan.lattices] == [1, 60]
    footprints = plan.footprints()
    assert shapely.is_valid(footprints).all()
    # Laid side by side in longitudes that go on, they cover the box without a gap.
    whole = shapely.union_all(shapely.polygons(_from_east(plan.rings())))
    ground = shapely.box(west, south, east + 360, north)
    # Edges that are straight in UTM are nearly straight in degrees.
    assert ground.difference(whole).area < 1e-6 * ground.area
    for k, epsg in enumerate(lattice.epsg for lattice in plan.lattices):
        centres = shapely.centroid(shapely.polygons(_from_east(plan.rings())))
        in_zone = plan.zone == k
        side = shapely.get_x(centres[in_zone]) < 180
        np.testing.assert_array_equal(plan.primary[in_zone], side == (epsg % 100 == 60))
    assert plan.crosses_antimeridian


@PLACES
def test_the_line_is_a_border_of_zones_like_any_other(
    box: tuple[float, float, float, float],
) -> None:
    west, south, east, north = box
    plan = Plan.from_area(AreaSpec(bbox=box).load(), LATTICE)
    # The same six degrees to the west, between zones 59 and 60.
    beside = (west - 6, south, east + 360 - 6, north)
    other = Plan.from_area(AreaSpec(bbox=beside).load(), LATTICE)
    assert not other.crosses_antimeridian
    spare, others = (
        redundant_tiles(each, np.ones(len(each), dtype=np.bool_)) for each in (plan, other)
    )
    for k, j in ((0, 1), (1, 0)):
        ours, theirs = plan.zone == k, other.zone == j
        for mine, wanted in (
            (plan.col, other.col),
            (plan.row, other.row),
            (plan.primary, other.primary),
            (spare, others),
        ):
            np.testing.assert_array_equal(mine[ours], wanted[theirs])


def _from_east(rings: np.ndarray) -> np.ndarray:
    """Return rings with longitudes from 0 to 360, where 180 is nothing special."""
    return np.stack([rings[..., 0] % 360, rings[..., 1]], axis=-1)


def test_footprints_across_are_cut_as_the_standards_want(tmp_path: Path) -> None:
    plan = Plan.from_area(AreaSpec(bbox=FIJI).load(), LATTICE)
    rings, footprints = plan.rings(), plan.footprints()
    across = np.abs(rings[..., 0]).max(axis=1) > 180
    assert across.any()
    assert not across.all()
    kinds = shapely.get_type_id(footprints)
    np.testing.assert_array_equal(kinds == shapely.GeometryType.MULTIPOLYGON, across)
    for polygon in footprints[across]:
        western, eastern = sorted(polygon.geoms, key=lambda part: part.bounds[0])
        assert western.bounds[0] == -180
        assert eastern.bounds[2] == 180
        assert western.exterior.is_ccw
        assert eastern.exterior.is_ccw
    write_plan(tmp_path / "plan.parquet", plan, rows_at_once=7)
    assert read_plan(tmp_path / "plan.parquet").digest == plan.digest
    frame = geopandas.read_parquet(tmp_path / "plan.parquet")
    assert shapely.equals_exact(frame.geometry.to_numpy(), footprints, tolerance=0).all()
    # Readers filter by the covering: on either side they find every tile that is there.
    for side in ((179.9, -17.1, 180, -16.9), (-180, -17.1, -179.9, -16.9)):
        near = geopandas.read_parquet(tmp_path / "plan.parquet", bbox=side)
        wanted = shapely.intersects(footprints, shapely.box(*side)).sum()
        assert len(near) == wanted
    assert json.loads(geo_metadata(footprints))["columns"]["geometry"]["geometry_types"] == [
        "Polygon",
        "MultiPolygon",
    ]


def test_a_place_across_lies_in_one_zone_and_has_its_whole_ground() -> None:
    for spatial in (
        PointBuffer(lon=179.999, lat=-17, buffer_m=960),
        BBox(west=179.99, south=-17.01, east=-179.991, north=-16.99),
        _uncut((179.99, -17.01, 0, -16.99), -179.991),
    ):
        place = Place.from_spatial(spatial, 10, 2)
        assert place.epsg == 32760
        assert place.geometry.geom_type == "Polygon"
        assert 150 < place.rect.width < 260
    assert Place.from_spatial(PointBuffer(lon=-179.999, lat=66, buffer_m=960), 10, 2).epsg == 32601


def test_a_utm_box_that_reaches_across_is_kept() -> None:
    utm = Place.from_spatial(PointBuffer(lon=179.999, lat=-17, buffer_m=960), 10, 2).geometry
    area = Area(geometry=utm, crs="EPSG:32760")
    assert sorted(area.zones()) == [32701, 32760]
    assert area.in_zone(32760).equals(utm)
    parts = area.zones()
    assert parts[32701].area + parts[32760].area == pytest.approx(utm.area, rel=2e-3)


def test_longitudes_away_from_the_line_stay_bit_by_bit() -> None:
    lon = np.random.default_rng(0).uniform(6, 12, 1000)
    np.testing.assert_array_equal(continuous_longitudes(lon, 9.0), lon)
    np.testing.assert_array_equal(
        continuous_longitudes(np.array([-179.5, 179.5, 180.0, -180.0]), 177.0),
        [180.5, 179.5, 180.0, 180.0],
    )
    box = shapely.box(-170, 0, 175, 1)
    assert cut_at_antimeridian(shapely.segmentize(box, 10)).area == pytest.approx(345)
    world = shapely.box(-180, -60, 180, 60)
    assert cut_at_antimeridian(world) is world
    assert middle_of(shapely.MultiPolygon([shapely.box(10, 0, 11, 1), shapely.box(20, 0, 21, 1)]))[
        0
    ] == pytest.approx(15.5)
    assert Area(geometry=world).lonlat is world


def test_holes_go_with_their_shell() -> None:
    shell = [(177, -19), (-178, -19), (-178, -16), (177, -16)]
    hole = [(179, -18), (-179, -18), (-179, -17), (179, -17)]
    west = [(-179.5, -16.5), (-179.2, -16.5), (-179.2, -16.2)]
    whole = cut_at_antimeridian(shapely.Polygon(shell, [hole, west]))
    assert whole.is_valid
    assert whole.area == pytest.approx(15 - 2 - 0.045)
    points = np.array([shapely.Point(180, 1), shapely.box(10, 0, 11, 1)])
    assert (cut_all_at_antimeridian(points) == points).all()


def test_a_crossing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Area(geometry=_uncut(FIJI, FIJI[2]), source="field")
    assert "field: it crosses the antimeridian, from 179.95 to -179.96 degrees" in caplog.text


@pytest.mark.parametrize(
    ("box", "words"),
    [((190, 0, 200, 1), "from -170 to -160 degrees"), ((0, 0, 360, 1), "from -180 to 180 degrees")],
)
def test_longitudes_to_360_are_told(
    box: tuple[float, float, float, float], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        area = Area(geometry=shapely.box(*box), source="field")
    assert f"field: its longitudes are turned by 360 degrees: it lies {words}" in caplog.text
    assert area.lonlat.area == pytest.approx(box[2] - box[0])


@pytest.mark.parametrize("name", ["world.geojson", "world.gpkg", "world.parquet"])
def test_the_four_corners_of_the_world_in_a_file_are_the_world(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An edge of 360 degrees is no crossing."""
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(-180, -60, 180, 60)], crs=4326)
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
    area = AreaSpec(file=path).load()
    assert area.lonlat.area == pytest.approx(360 * 120)
    assert len(area.zones()) == 120
    assert not caplog.text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: AreaSpec(bbox=(10.9, 59.8, 10.6, 60.0)),
            r"359\.7 degrees wide.*west, south, east, north",
        ),
        (lambda: Area(geometry=shapely.Polygon([(0, 70), (120, 80), (-120, 75)])), "pole"),
        (lambda: Area(geometry=shapely.box(500_000, 10, 600_000, 20)), "these are not longitudes"),
        (lambda: Area(geometry=shapely.box(0, 0, 1, 1), crs="EPSG:99"), "cannot be transformed"),
        (
            lambda: Area(
                geometry=shapely.Polygon([(179, 0), (-179, 1), (179, 1), (-179, 0), (179, 0)])
            ),
            "Self-intersection",
        ),
    ],
)
def test_what_cannot_be_put_together_is_refused(make: Any, words: str) -> None:
    with pytest.raises(AreaError, match=words):
        make()


def test_a_box_on_the_command_line_may_cross() -> None:
    assert parse_bbox("--bbox", "179,-18,-179,-16") == (179, -18, -179, -16)
    for text in ("10.9,59,10.6,60", "5,1,5,2", "1,3,2,2", "170,0,190,1"):
        with pytest.raises(ConfigError, match="not a box"):
            parse_bbox("--bbox", text)


def test_edges_on_the_line_but_for_rounding_add_nothing_beyond_it() -> None:
    edge = [(179.9, -17), (180, -17), (-180 + 1e-12, -16.95), (180, -16.9), (179.9, -16.9)]
    area = Area(geometry=shapely.Polygon(edge))
    assert sorted(area.zones()) == [32760]
    assert area.lonlat.bounds[2] == 180


@pytest.mark.parametrize("box", [(-170, 10, 170, 11), (-179.9, 10, 179.9, 11), (-180, 10, 180, 11)])
def test_a_box_wider_than_half_the_world_stays_it(
    box: tuple[float, float, float, float], caplog: pytest.LogCaptureFixture
) -> None:
    area = AreaSpec(bbox=box).load()
    assert area.lonlat.area == pytest.approx(box[2] - box[0])
    assert not caplog.text
