"""Polygons of labels that are larger than a UTM zone: metres far from it are no place."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from thor_geo.ground.lattice import zone_of
from thor_geo.probe import open_labels
from thor_geo.probe.joining import Squares

WORLD = shapely.box(-180, -60, 180, 60)
WEST = shapely.box(-180, -60, 0, 60)


def squares(lon: float, lat: float) -> Squares:
    zone = zone_of(lon, lat)
    x, y = Transformer.from_crs(4326, zone, always_xy=True).transform(lon, lat)
    return Squares(zone, x - 2000, y + 2000, 1000, 4, 4)


@pytest.mark.parametrize("crs", [4326, 3857])
@pytest.mark.parametrize(
    ("polygon", "lon", "cover"),
    [
        (WORLD, 9, 1),
        (WORLD, -100, 1),
        (WORLD, 179.9, 1),
        (WORLD, -179.9, 1),
        (WEST, -100, 1),
        (WEST, -179.9, 1),
        (WEST, 179.9, 0),
        (WEST, 100, 0),
        (shapely.union(WORLD, shapely.box(-10, 60, 10, 70)), -100, 1),
    ],
)
def test_a_polygon_wider_than_a_zone_labels_the_ground_it_covers(
    crs: int, polygon: shapely.Polygon, lon: float, cover: float, tmp_path: Path
) -> None:
    frame = gpd.GeoDataFrame({"use": ["sea"]}, geometry=[polygon], crs=4326).to_crs(crs)
    frame.to_file(tmp_path / "a.gpkg")
    labels = open_labels(tmp_path / "a.gpkg", "use")
    np.testing.assert_allclose(labels.join(squares(lon, -17.5)).cover, cover)
    record = labels.record()
    assert (record["repaired_polygons"], record["polygons_left_out"]) == (0, 0)


def test_a_polygon_round_the_pole_labels_the_ground_around_it(tmp_path: Path) -> None:
    ice = shapely.Point(0, 0).buffer(1_500_000)
    gpd.GeoDataFrame({"use": ["ice"]}, geometry=[ice], crs=3413).to_file(tmp_path / "a.gpkg")
    labels = open_labels(tmp_path / "a.gpkg", "use")
    np.testing.assert_allclose(labels.join(squares(10, 80)).cover, 1)
    np.testing.assert_allclose(labels.join(squares(10, 70)).cover, 0)
