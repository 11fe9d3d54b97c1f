"""If these fail, a parcel is embedded beside its ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from tests.support.place_tables import load
from thor_geo.errors import ConfigError
from thor_geo.ground.places import Places

BOX = shapely.box(11, 60, 11.01, 60.01)
# Its centroid lies outside.
HOOK = shapely.Polygon([(11, 60), (12, 60), (12, 60.1), (11.1, 60.1), (11.1, 61), (11, 61)])


def layer(path: Path, shapes: list[Any], crs: Any = 4326) -> Path:
    gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=crs).to_parquet(path)
    return path


def points(places: Places) -> Any:
    return shapely.points(places.lon, places.lat)


def test_the_place_of_a_polygon_is_a_point_inside(tmp_path: Path) -> None:
    shapes = [BOX, HOOK, shapely.MultiPolygon([BOX, shapely.box(20, 50, 20.001, 50.001)])]
    path = layer(tmp_path / "a.parquet", shapes)
    places = load(path)
    assert shapely.within(points(places), shapes).all()
    assert places.polygons is None
    assert load(path, within=True).polygons.tolist() == shapes


@pytest.mark.parametrize("crs", [32632, 3035, 4258])
def test_polygons_of_any_crs_are_in_degrees(tmp_path: Path, crs: int) -> None:
    moved = gpd.GeoSeries([BOX, HOOK], crs=4326).to_crs(crs)
    places = load(layer(tmp_path / "a.parquet", moved.tolist(), crs), within=True)
    assert shapely.within(points(places), places.polygons).all()
    overlap = shapely.area(shapely.intersection(places.polygons, [BOX, HOOK]))
    np.testing.assert_allclose(overlap, shapely.area([BOX, HOOK]), rtol=0.005)


def test_a_polygon_across_the_antimeridian_is_cut_and_holds_its_place(tmp_path: Path) -> None:
    across = shapely.box(179.9, -17, 180.3, -16.9)
    jumping = shapely.Polygon([(179.9, -17), (-179.7, -17), (-179.7, -16.9), (179.9, -16.9)])
    places = load(layer(tmp_path / "a.parquet", [across, jumping, BOX]), within=True)
    assert (np.abs(places.lon[:2]) > 179).all()
    assert shapely.within(points(places), places.polygons).all()
    assert places.polygons[0].equals(places.polygons[1])
    assert places.polygons[0].bounds == (-180, -17, 180, -16.9)
    metres = gpd.GeoSeries([across], crs=4326).to_crs(32701)
    places = load(layer(tmp_path / "a.parquet", metres.tolist(), 32701), within=True)
    assert places.polygons[0].bounds[0] == -180
    assert shapely.within(points(places), places.polygons).all()


def test_invalid_polygons_are_repaired_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bow = shapely.Polygon([(11, 60), (12, 61), (12, 60), (11, 61)])
    flat = shapely.Polygon([(11, 60), (12, 60), (11, 60), (11, 60)])
    path = layer(tmp_path / "a.parquet", [BOX, bow, flat])
    with pytest.raises(ConfigError, match="a polygon without area in 1 row of 3: 3"):
        load(path)
    places = load(path, within=True, on_bad_row="skip")
    assert "2 invalid polygons are repaired, such as row 2" in caplog.text
    assert shapely.within(points(places)[:2], places.polygons[:2]).all()
    assert shapely.is_valid(places.polygons[:2]).all()
    assert places.polygons[2] is None


def test_a_polygon_round_a_pole_is_a_fault_of_its_row(tmp_path: Path) -> None:
    pole = shapely.Polygon([(0, 70), (120, 70), (-120, 70)])
    places = load(layer(tmp_path / "a.parquet", [BOX, pole]), within=True, on_bad_row="skip")
    assert places.skipped[1].startswith("a polygon across the antimeridian: it goes round a pole")
    assert places.polygons[1] is None


def test_within_needs_polygons(tmp_path: Path) -> None:
    path = layer(tmp_path / "a.parquet", [shapely.Point(1, 2)])
    with pytest.raises(ConfigError, match=r"`data\.places\.within=True`.*holds points"):
        load(path, within=True)


def test_heights_do_not_count(tmp_path: Path) -> None:
    high = shapely.force_3d([BOX, HOOK], 500)
    flat, raised = (
        load(layer(tmp_path / "a.parquet", list(shapes)), within=True)
        for shapes in ([BOX, HOOK], high)
    )
    assert flat.digests == raised.digests
    assert not shapely.has_z(raised.polygons).any()
