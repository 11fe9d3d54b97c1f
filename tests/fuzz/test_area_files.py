"""If these fail, a damaged or odd area ends a run with a traceback, or worse, moves the area."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from tests.support.fuzz_campaign import fuzz
from tests.support.fuzz_mutations import damaged, damaged_json
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.lattice import zone_strip

RING = [[10.6, 59.8], [10.9, 59.8], [10.9, 60.0], [10.6, 60.0], [10.6, 59.8]]
HOLE = [[10.7, 59.85], [10.7, 59.9], [10.8, 59.9], [10.7, 59.85]]
POLYGON: dict[str, Any] = {"type": "Polygon", "coordinates": [RING, HOLE]}
METRES = [[5e5, 6.6e6], [5.1e5, 6.6e6], [5.1e5, 6.61e6], [5e5, 6.6e6]]


def collection(*geometries: Any, crs: str | None = None) -> dict[str, Any]:
    features = [
        {"type": "Feature", "properties": {"name": "a", "n": k}, "geometry": geometry}
        for k, geometry in enumerate(geometries)
    ]
    whole: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    return whole if crs is None else {**whole, "crs": {"type": "name", "properties": {"name": crs}}}


AREAS = [
    collection(POLYGON),
    collection(
        {"type": "MultiPolygon", "coordinates": [[RING], [[[x + 6, y, 3] for x, y in RING]]]}
    ),
    collection({"type": "Polygon", "coordinates": [METRES]}, crs="urn:ogc:def:crs:EPSG::32632"),
    collection(POLYGON, {"type": "GeometryCollection", "geometries": [POLYGON]}),
    POLYGON,
]
POINTS = pd.DataFrame({"lon": [10.6, 10.7, 16.9], "lat": [59.8, -33.0, 0.0], "name": list("abc")})


def check_area(area: Area) -> None:
    """Assert that an area is what its class promises."""
    assert area.geometry.geom_type in ("Polygon", "MultiPolygon")
    assert shapely.is_valid(area.geometry)
    assert area.geometry.area > 0
    west, south, east, north = area.lonlat.bounds
    assert -180 <= west < east <= 180
    assert -80 <= south < north <= 84
    for epsg, part in area.zones().items():
        zone_strip(epsg)
        assert not part.is_empty
        assert shapely.is_valid(part) or part.area > 0


def check_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    check_area(AreaSpec(file=path).load())


def check_points(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    check_area(AreaSpec(points=path, buffer_m=100).load())


@pytest.mark.parametrize("inputs", ["values", "bytes"])
def test_geojson(tmp_path: Path, inputs: str) -> None:
    path = tmp_path / "area.geojson"
    texts = [json.dumps(area).encode() for area in AREAS]
    check_file(path, texts[0])
    check_file(path, texts[2])
    strategy = damaged_json(AREAS) if inputs == "values" else damaged(texts)
    fuzz(f"GeoJSON area, {inputs}", strategy, lambda content: check_file(path, content))


def test_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "area.gpkg"
    frame = gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Polygon(RING)], crs="EPSG:4326")
    frame.to_file(path)
    seed = path.read_bytes()
    check_file(path, seed)
    fuzz("GeoPackage area", damaged([seed]), lambda content: check_file(path, content), share=0.5)


def test_points_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    seeds = [POINTS.to_csv(index=False).encode(), b"lon,lat\r\n10.5,59\r\n", b'"lat","lon"\n1,2\n']
    check_points(path, seeds[0])
    fuzz("points table, CSV", damaged(seeds), lambda content: check_points(path, content))


def test_points_as_parquet(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    buffer = io.BytesIO()
    POINTS.to_parquet(buffer)
    check_points(path, buffer.getvalue())
    seeds = [buffer.getvalue()]
    fuzz("points table, Parquet", damaged(seeds), lambda content: check_points(path, content))


def test_polygons_in_an_archive(tmp_path: Path) -> None:
    path, buffer = tmp_path / "area.zip", io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/area.geojson", json.dumps(AREAS[0]))
    check_file(path, buffer.getvalue())
    seeds = [buffer.getvalue()]
    fuzz("area in a zip", damaged(seeds), lambda content: check_file(path, content), share=0.5)


def test_polygons_in_a_table(tmp_path: Path) -> None:
    path, wkt = tmp_path / "area.csv", shapely.Polygon(RING).wkt
    seeds = [f'id,wkt\n1,"{wkt}"\n2,"SRID=4326;{wkt}"\n'.encode(), f"wkt;n\n{wkt};1,5\n".encode()]
    check_file(path, seeds[0])
    check_file(path, seeds[1])
    fuzz("WKT table", damaged(seeds), lambda content: check_file(path, content), share=0.5)
