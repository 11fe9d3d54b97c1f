"""If these fail, an odd area file ends in a traceback, or an area that nobody drew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from thor_geo.errors import AreaError
from thor_geo.ground.area import LONLAT, AreaSpec

BOX = shapely.box(10.6, 59.8, 10.7, 59.9)


def save(path: Path, geometries: list[Any], crs: str | None = "EPSG:4326") -> Path:
    gpd.GeoDataFrame({"n": range(len(geometries))}, geometry=geometries, crs=crs).to_file(path)
    return path


def test_features_without_geometry_are_left_out(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", [None, BOX, shapely.Polygon()])
    assert AreaSpec(file=path).load().geometry.equals(BOX)


@pytest.mark.parametrize(
    ("geometries", "problem"),
    [
        ([BOX, shapely.Point(10, 60)], r"no polygon in row 2 \(Point\)"),
        ([shapely.LineString([(10, 60), (11, 60)])], r"no polygon in row 1 \(LineString\)"),
        ([None, shapely.Polygon()], "holds no geometry"),
    ],
)
def test_anything_but_polygons_is_refused(
    tmp_path: Path, geometries: list[Any], problem: str
) -> None:
    path = save(tmp_path / "a.geojson", geometries)
    with pytest.raises(AreaError, match=problem):
        AreaSpec(file=path).load()


@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84"])
def test_degrees_are_degrees_whichever_name_they_have(tmp_path: Path, crs: str) -> None:
    """GeoParquet's default is OGC:CRS84; the same polygon must not get other edges by it."""
    gpd.GeoDataFrame(geometry=[BOX], crs=crs).to_parquet(tmp_path / "a.parquet")
    area = AreaSpec(file=tmp_path / "a.parquet").load()
    assert area.crs == LONLAT
    assert area.lonlat.equals_exact(BOX)


def test_a_table_without_geometry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(AreaError, match="holds no geometry"):
        AreaSpec(file=tmp_path / "a.csv").load()


def test_coordinates_far_beyond_the_earth_take_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gpkg", [shapely.box(0, 0, 1e15, 1e15)], crs="EPSG:32632")
    with pytest.raises(AreaError, match=r"outline is 4e\+15 m long.*axis order"):
        AreaSpec(file=path).load()


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    for name, values in {"lists": [[1], [2]], "times": pd.to_datetime(["2022-06-01"] * 2)}.items():
        path = tmp_path / f"{name}.parquet"
        pd.DataFrame({"lon": values, "lat": [1.0, 2.0]}).to_parquet(path)
        with pytest.raises(AreaError, match=r"lon|not all numbers"):
            AreaSpec(points=path).load()
