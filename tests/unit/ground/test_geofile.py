"""If these fail, a file that people have is refused, or another layer, row or place is taken."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely

from thor_geo.errors import AreaError, ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.geofile import GeoFile, read_geofile, without_geometry

POINTS = [shapely.Point(11.98, 59.995), shapely.Point(11.985, 59.996)]
BOX = shapely.box(11.97, 59.99, 11.99, 60.0)


def frame(geometry: list[Any], **columns: Any) -> gpd.GeoDataFrame:
    columns = columns or {"id": list("abcdefgh"[: len(geometry)])}
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=4326)


def read(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    return read_geofile(GeoFile(path=path, argument="file", layer=layer))


def csv(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "a.geojson",
        "A.GEOJSON",
        "a.gpkg",
        "A.SHP",
        "a.parquet",
        "a.PARQUET",
        "a.geoparquet",
        "a.gpq",
    ],
)
def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix.lower() in (".parquet", ".geoparquet", ".gpq"):
        frame([BOX]).to_parquet(path)
    else:
        frame([BOX]).to_file(tmp_path / path.name.lower())
        for part in tmp_path.iterdir():
            part.rename(tmp_path / (part.name.upper() if name.isupper() else part.name))
    assert AreaSpec(file=path).load().geometry.equals(BOX)


@pytest.mark.parametrize("name", ["p.geojson", "p.gpkg", "p.parquet", "p.csv"])
def test_points_of_any_file_are_points(tmp_path: Path, name: str) -> None:
    path, points = tmp_path / name, frame(POINTS)
    if path.suffix == ".parquet":
        points.to_crs(32632).to_parquet(path)
    elif path.suffix == ".csv":
        pd.DataFrame({"wkt": points.geometry.to_wkt()}).to_csv(path, index=False)
    else:
        points.assign(geometry=[shapely.MultiPoint([p]) for p in POINTS]).to_file(path)
    area = AreaSpec(points=path, buffer_m=50).load()
    squares = gpd.GeoSeries(list(area.geometry.geoms), crs=area.crs).centroid.to_crs(4326)
    places = sorted(zip(squares.x, squares.y, strict=True))
    np.testing.assert_allclose(places, [(p.x, p.y) for p in POINTS], atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "id,lon,lat\na,11.98,59.995\nb,11.985,59.996\n",
        "id, lon , lat\n a, 11.98, 59.995\n b, 11.985, 59.996\n",
        "id;Long;Latitude\na;11,98;59,995\nb;11,985;59,996\n",
        "id\tlon\tlat\na\t11.98\t59.995\nb\t11.985\t59.996\n",
        "TH_LAT,TH_LONG,GPS_LAT,GPS_LONG,id\n59.995,11.98,1,2,a\n59.996,11.985,1,2,b\n",
        "POINT_LAT,POINT_LONG,id\n59.995,11.98,a\n59.996,11.985,b\n",
        "sep=;\r\nid;lon;lat\r\na;11,98;59,995\r\nb;11,985;59,996\r\n",
        "id,decimalLatitude,decimalLongitude\na,59.995,11.98\nb,59.996,11.985\n",
        'WKT,id\n"POINT (11.98 59.995)",a\n"SRID=4326;POINT (11.985 59.996)",b\n',
        'system:index,id,.geo\n0,a,"{""geodesic"":false,""type"":""Point"",""coordinates"":'
        '[11.98,59.995]}"\n1,b,"{""type"":""Point"",""coordinates"":[11.985,59.996]}"\n',
        b"\xef\xbb\xbflon,lat,id\n11.98,59.995,a\n11.985,59.996,b\n",
        "lon,lat,id\n11.98,59.995,a\n11.985,59.996,b\n".encode("utf-16"),
        "id,lon,lat\na,11.98,59.995,\nb,11.985,59.996,\n",
        'id,lon,lat,"a;b;c;d"\na,11.98,59.995,1\nb,11.985,59.996,2\n',
    ],
)
def test_tables_hold_their_places_in_columns(tmp_path: Path, text: str | bytes) -> None:
    rows = read(csv(tmp_path, text))
    assert rows.geometry.tolist() == POINTS
    assert rows.crs.to_string() == "OGC:CRS84"
    assert rows["id"].tolist() == ["a", "b"]


def test_decimal_commas_are_numbers_in_every_column(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon;lat;height;kind\n11,5;60,25;3,5;a,b\n12;61;4;c\n")
    rows = read(path)
    assert rows["height"].tolist() == [3.5, 4]
    assert rows["kind"].tolist() == ["a,b", "c"]
    assert rows.geometry.x.tolist() == [11.5, 12]


def test_codes_keep_their_digits(tmp_path: Path) -> None:
    """A code of a crop or parcel as a number would be another code."""
    path = csv(tmp_path, "lon,lat,code,parcel,n,m\n1,2,007,12345678901234567,7,7\n3,4,12,,8,\n")
    rows = read(path)
    assert rows["code"].tolist() == ["007", "12"]
    assert rows["parcel"].iloc[0] == "12345678901234567"
    assert rows["n"].dtype == np.int64
    assert rows["m"].dtype == np.float64


def test_a_plain_parquet_table_has_wkb_or_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"id": [1, 2], "geometry": [p.wkb for p in POINTS]}).to_parquet(path)
    assert read(path).geometry.tolist() == POINTS
    pd.DataFrame({"lat": [59.995, None], "lon": [11.98, None]}).to_parquet(path)
    assert read(path).geometry.tolist() == [POINTS[0], None]
    pd.DataFrame({"geom": [shapely.Point(6e5, 6.6e6).wkb]}).to_parquet(path)
    with pytest.raises(ConfigError, match=r"outside -180.*row 1 \(600000, 6.6e\+06\).*CRS"):
        read(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,lon,lat\na,11.98,59.995\nb,,\n", r"no coordinates in row 2 \(counted"),
        ("id,lon,lat\n" + "a,,\n" * 7, "holds no geometry"),
        ("id,lon,lat\n" + "a,1,2\n" + "a,,\n" * 7, "in rows 2, 3, 4, 5, 6 and 2 more"),
        ("id,lon,lat\na,11.98,5x\nb,1,north\n", r"rows 1 \(5x\) and 2 \(north\)"),
        ("id,lon,lat\na,11,98,59,995\n", "more values than its header.*semicolons"),
        ("lon,lat\n11,98\n", r"row 1 \(11, 98\)"),
        ("lat,lon\n11,98\n", None),
        ("lon,lat\n59.9,111.2\n", "exchanged"),
        ("lon,lat\n10,85\n", r"-80\.\.84.*row 1 \(10, 85\)"),
        ("lon,longitude,lat\n10,10,60\n", "several"),
        ("x,y\n10,60\n", "lon and lat .*x, y"),
        ("lon,lat\n", "is empty"),
        ("", "not readable"),
        ('wkt\n"POINT (1 2)"\n"POINT (1"\n', "row 2"),
        ('wkt\n"POLYGON ((1 2, 2 2, 2 3, 1 2))"\n', r"row 1 \(Polygon\).*`file`"),
        (b"id,lon,lat\n\xd8rje,11.98,59.995\n", "UTF-8"),
    ],
)
def test_an_imperfect_table_is_refused_with_file_and_row(
    tmp_path: Path, text: str | bytes, problem: str | None
) -> None:
    path = csv(tmp_path, text)
    if problem is None:
        AreaSpec(points=path).load()
        return
    with pytest.raises(AreaError, match=problem) as caught:
        AreaSpec(points=path).load()
    assert str(path) in str(caught.value)


def test_points_beyond_180_are_turned(tmp_path: Path) -> None:
    """Tables of the Pacific count from 0 to 360."""
    rows = read(csv(tmp_path, "lon,lat\n181,-17\n359.5,51\n,\n180,0\n"))
    assert rows.geometry.x.tolist()[:2] == [-179, -0.5]
    assert without_geometry(rows).tolist() == [False, False, True, False]
    assert rows.geometry.x.tolist()[3] == 180
    frame([shapely.Point(181, -17), POINTS[0]]).to_file(tmp_path / "a.geojson")
    assert read(tmp_path / "a.geojson").geometry.x.tolist() == [-179, 11.98]
    area = AreaSpec(points=csv(tmp_path, "lon,lat\n181,-17\n"), buffer_m=50).load()
    assert area.middle == pytest.approx((-179, -17), abs=1e-6)
    frame([shapely.Point(6e5, 6e6)]).set_crs(32632, allow_override=True).to_parquet(
        tmp_path / "a.parquet"
    )
    assert read(tmp_path / "a.parquet").geometry.x.tolist() == [6e5]


def test_integers_with_gaps_lose_no_digit(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,parcel,n\n1,2,1234567890123456789,7\n3,4,,\n")
    rows = read(path)
    assert rows["parcel"].iloc[0] == "1234567890123456789"
    assert rows["n"].iloc[0] == 7
    assert rows["n"].isna().tolist() == [False, True]


def kml(*layers: tuple[str, str]) -> str:
    folders = "".join(
        f"<Folder><name>{name}</name>{f'<Placemark>{shape}</Placemark>' if shape else ''}</Folder>"
        for name, shape in layers
    )
    return f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{folders}</Document></kml>'


POINT_KML = "<Point><coordinates>11.98,59.995</coordinates></Point>"


def test_of_several_layers_none_is_taken_silently(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    frame([BOX]).to_file(path, layer="y2018")
    style = pd.DataFrame({"styleName": ["blue"]})
    pyogrio.write_dataframe(style, path, layer="layer_styles")
    pyogrio.write_dataframe(frame([]), path, layer="sketch", geometry_type="Polygon")
    assert len(read(path)) == 1  # neither QGIS's styles nor a layer without features counts
    frame(POINTS).to_file(path, layer="y2022")
    with pytest.raises(ConfigError, match=r"2 layers: 'y2018' \(1 feature\), 'y2022' \(2 feat"):
        read(path)
    assert read(path, "y2022").geometry.tolist() == POINTS
    with pytest.raises(
        AreaError, match=r"`layer='y2020'`.*'y2018', 'sketch', 'y2022', 'layer_styles'"
    ):
        AreaSpec(file=path, layer="y2020").load()
    text = tmp_path / "a.kml"
    text.write_text(kml(("plots", POINT_KML), ("empty", ""), ("plots", POINT_KML)))
    with pytest.raises(AreaError, match="2 layers: 'plots'"):
        AreaSpec(points=text).load()
    assert not AreaSpec(points=text, layer="plots").load().geometry.is_empty


def test_of_a_collection_with_polygons_the_polygons_are_taken(tmp_path: Path) -> None:
    """Google Earth and repairing programs write such collections around one polygon."""
    ring = "11.97,59.99 11.99,59.99 11.99,60 11.97,60 11.97,59.99"
    polygon = f"<outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing>"
    shape = f"{POINT_KML}<Polygon>{polygon}</outerBoundaryIs></Polygon>"
    path = tmp_path / "a.kml"
    path.write_text(kml(("plot", f"<MultiGeometry>{shape}</MultiGeometry>")))
    assert AreaSpec(file=path).load().geometry.equals(BOX)
    west, east = shapely.box(11.97, 59.99, 11.98, 60), shapely.box(11.98, 59.99, 11.99, 60)
    line = shapely.LineString([(11, 59), (11, 60)])
    for parts in ([west, east], [west, line, east], [shapely.MultiPolygon([west]), east]):
        frame([shapely.GeometryCollection(parts)]).to_parquet(tmp_path / "a.parquet")
        assert AreaSpec(file=tmp_path / "a.parquet").load().geometry.equals(BOX)
    frame([shapely.GeometryCollection([line]), BOX]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(AreaError, match=r"no polygon in row 1 \(GeometryCollection\)"):
        AreaSpec(file=tmp_path / "a.parquet").load()


def test_a_layer_needs_a_file_that_has_layers(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat\n1,2\n")
    with pytest.raises(AreaError, match=r"`layer='a'`.*has no layers\. Leave it out"):
        AreaSpec(points=path, layer="a").load()
    with pytest.raises(AreaError, match="`layer='a'`: there is no file"):
        AreaSpec(point=(1, 2), buffer_m=5, layer="a")


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that packs files under the names they shall have."""

    def pack(name: str = "a.zip", **members: Path) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for inside, path in members.items():
                parts = path.parent.glob(f"{path.stem}.*") if path.suffix == ".shp" else [path]
                for part in parts:
                    file.write(part, f"{inside}/{part.name}".removeprefix("top/"))
            file.writestr("__MACOSX/export/._a.shp", b"")
            file.writestr("export/readme.csv", "note\nhello\n")
        return tmp_path / name

    return pack


def test_an_archive_is_searched_for_the_one_file_in_it(
    tmp_path: Path, archive: Callable[..., Path]
) -> None:
    for folder in "xy":
        (tmp_path / folder).mkdir()
    frame([BOX]).to_file(tmp_path / "x" / "aoi.shp")
    frame([BOX]).to_parquet(tmp_path / "y" / "B.GeoParquet")
    shp, parquet = tmp_path / "x" / "aoi.shp", tmp_path / "y" / "B.GeoParquet"
    for name, members in (
        ("flat.zip", {"top": shp}),
        ("folder.ZIP", {"export": shp}),
        ("no suffix", {"export": shp}),
        ("p.zip", {"export": parquet}),
    ):
        assert AreaSpec(file=archive(name, **members)).load().geometry.equals(BOX)
    both = archive("both.zip", export=shp, top=parquet)
    with pytest.raises(ConfigError, match=r"2 layers: 'B' .* 'aoi'"):
        read(both)
    assert len(read(both, "aoi")) == 1
    twice = archive("twice.zip", a=shp, b=shp)
    with pytest.raises(ConfigError, match=r"'a/aoi\.shp:aoi'"):
        read(twice)
    assert len(read(twice, "b/aoi.shp:aoi")) == 1
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as file:
        file.writestr("export/notes.txt", "hello")
    with pytest.raises(ConfigError, match=r"the archive holds export/notes\.txt"):
        read(tmp_path / "none.zip")


def test_rows_keep_their_order_columns_and_types(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,day,lon,lat,crop\n7,2021-06-01,,,\n8,2021-06-02,1,2,maize\n")
    rows = read(path)
    assert without_geometry(rows).tolist() == [True, False]
    assert rows["id"].dtype == np.int64
    assert rows["crop"].isna().tolist() == [True, False]
    assert list(rows.columns) == ["id", "day", "lon", "lat", "crop", "geometry"]


@pytest.mark.parametrize("version", ["V1", "V2", "NONE"])
@pytest.mark.parametrize("written", ["projjson", "wkt", "default"])
def test_parquets_own_geometry_type_says_the_crs(
    tmp_path: Path, version: str, written: str
) -> None:
    """Its coordinates taken for degrees would be another place, or none."""
    duckdb = pytest.importorskip("duckdb", "1.5", reason="has no GEOMETRY before 1.5")
    if (version, written) == ("V1", "wkt"):
        pytest.skip("DuckDB refuses to write it")
    path = tmp_path / "a.parquet"
    utm = pyproj.CRS("EPSG:32632")
    crs = {"projjson": utm.to_json(), "wkt": utm.to_wkt(), "default": "OGC:CRS84"}[written]
    x, y = (11.98, 59.995) if written == "default" else (666_000, 6_654_000)
    duckdb.sql(
        f"COPY (SELECT 'POINT({x} {y})'::GEOMETRY('{crs}') AS shape, 7 AS id) "
        f"TO '{path}' (FORMAT parquet, GEOPARQUET_VERSION '{version}')"
    )
    rows = read(path)
    assert rows["id"].tolist() == [7]
    assert rows.crs.equals(pyproj.CRS(crs))
    assert rows.geometry.x.tolist() == [x]
    assert AreaSpec(points=path).load().lonlat.distance(POINTS[0]) < 0.1


def test_a_spreadsheet_is_a_table_and_its_sheets_are_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.XLSX"
    table = pd.DataFrame({"Lon": [11.98], "Lat": [59.995], "crop": ["maize"]})
    pyogrio.write_dataframe(table, path, layer="survey", driver="XLSX")
    rows = read(path)
    assert rows.geometry.tolist() == POINTS[:1]
    assert rows["crop"].tolist() == ["maize"]
    pyogrio.write_dataframe(table, path, layer="second", driver="XLSX", append=True)
    with pytest.raises(ConfigError, match=r"2 layers: 'survey' \(1 feature\), 'second'"):
        read(path)
