"""If these fail, what stands beside an embedding is not what the user's table holds."""

from __future__ import annotations

import datetime as dt
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from tests.support.place_tables import csv, load
from thor_geo.errors import ConfigError

POINTS = [shapely.Point(11.98, 59.995), shapely.Point(11.985, 59.996)]
CASES = Path(__file__).parents[4] / "shared" / "cases"


def layer(**columns: Any) -> gpd.GeoDataFrame:
    columns = columns or {"crop": ["maize", None], "count": pd.array([7, None], dtype="Int64")}
    return gpd.GeoDataFrame(columns, geometry=POINTS, crs=4326)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb", "a.parquet", "a.zip"])
def test_every_file_of_points_keeps_integers_with_gaps(tmp_path: Path, name: str) -> None:
    """pandas would make floats of them."""
    path = tmp_path / name
    if name == "a.parquet":
        layer().to_parquet(path)
    elif name == "a.zip":
        layer().to_file(tmp_path / "points.shp")
        with zipfile.ZipFile(path, "w") as archive:
            for part in sorted(tmp_path.glob("points.*")):
                archive.write(part, f"export/{part.name}")
    elif name == "a.fgb":
        # Its own order would follow a Hilbert curve.
        layer().to_file(path, SPATIAL_INDEX="NO")
    else:
        layer().to_file(path)
    places = load(path)
    np.testing.assert_allclose(places.lon, [11.98, 11.985], rtol=0, atol=1e-12)
    np.testing.assert_allclose(places.lat, [59.995, 59.996], rtol=0, atol=1e-12)
    assert places.columns.column_names == ["crop", "count"]
    assert places.columns.to_pydict() == {"crop": ["maize", None], "count": [7, None]}
    assert pa.types.is_integer(places.columns.schema.field("count").type)
    assert places.columns.schema.field("crop").type == pa.string()
    assert places.columns.schema.metadata is None


def test_a_spreadsheet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    table = pd.DataFrame(
        {
            "lon": [1.5, 2],
            "lat": [60.0, 61],
            "n": pd.array([7, None], dtype="Int64"),
            "c": ["a", "b"],
        }
    )
    pyogrio.write_dataframe(table, path, layer="survey", driver="XLSX")
    places = load(path, keep=["c", "n"])
    assert places.columns.to_pydict() == {"c": ["a", "b"], "n": [7, None]}
    assert pa.types.is_integer(places.columns.schema.field("n").type)


def test_columns_of_text_files_get_types_of_their_own(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "lon,lat,n,code,parcel,x1,yes,day,at,utc,kind,none\n"
        "1,2,7,007,12345678901234567890,1.5,true,2021-06-01,2021-06-01 10:30,2021-06-01T10:30Z,a,\n"
        "3,4,,012,,2,FALSE,,2021-06-01 11:30:00.25,2021-06-01T10:30+02:00,2021-06-01,\n"
        "5,6,-9007199254740993,,3,,,2021-06-03,,,NA,\n",
    )
    columns = load(path).columns
    assert {f.name: str(f.type) for f in columns.schema} == {
        "lon": "int64",
        "lat": "int64",
        "n": "int64",
        "code": "string",
        "parcel": "string",
        "x1": "double",
        "yes": "bool",
        "day": "date32[day]",
        "at": "timestamp[us]",
        "utc": "timestamp[us, tz=UTC]",
        "kind": "string",
        "none": "string",
    }
    rows = columns.to_pydict()
    assert rows["n"] == [7, None, -9007199254740993]
    assert rows["code"] == ["007", "012", None]
    assert rows["parcel"] == ["12345678901234567890", None, "3"]
    assert rows["yes"] == [True, False, None]
    assert rows["day"] == [dt.date(2021, 6, 1), None, dt.date(2021, 6, 3)]
    assert rows["at"][1] == dt.datetime(2021, 6, 1, 11, 30, 0, 250_000)
    assert rows["utc"][1] == dt.datetime(2021, 6, 1, 8, 30, tzinfo=dt.UTC)
    assert rows["kind"] == ["a", "2021-06-01", None]
    assert rows["none"] == [None] * 3


def test_columns_of_parquet_keep_their_types_and_dictionaries_become_values(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.parquet"
    columns = {
        "i": pa.array([1, None], pa.int16()),
        "u": pa.array([2**63, None], pa.uint64()),
        "f": pa.array([1.5, None], pa.float32()),
        "t": pa.array([None, dt.datetime(2021, 6, 1)], pa.timestamp("ns", "Europe/Oslo")),
        "d": pa.array([dt.date(2021, 6, 1), None]),
        "b": pa.array([True, None]),
        "m": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
        "c": pa.array(["maize", None]).dictionary_encode(),
        "w": pa.array([b"x", None]),
        "l": pa.array(["long", None], pa.large_string()),
        "z": pa.nulls(2),
    }
    pq.write_table(pa.table({"lon": [1.0, 2.0], "lat": [3.0, 4.0], **columns}), path)
    kept = load(path, keep=list(columns)).columns
    assert [str(field.type) for field in kept.schema] == [
        "int16",
        "uint64",
        "float",
        "timestamp[ns, tz=Europe/Oslo]",
        "date32[day]",
        "bool",
        "decimal128(5, 2)",
        "string",
        "binary",
        "string",
        "string",
    ]
    for name, values in columns.items():
        assert kept.column(name).to_pylist() == values.to_pylist()


def test_types_survive_the_files_that_are_written(tmp_path: Path) -> None:
    """A column read back as another type would be refused when the run goes on."""
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "lon": [1.0],
            "lat": [3.0],
            "s": pa.array([1_600_000_000], pa.timestamp("s")),
            "t": pa.array([dt.time(10, 30)], pa.time32("s")),
            "d": pa.array([dt.date(2021, 6, 1)], pa.date64()),
            "b": pa.array([b"x"], pa.large_binary()),
        }
    )
    with pa.OSFile(str(path), "wb") as file:
        pq.write_table(table, file)
    kept = load(path).columns
    again = tmp_path / "b.parquet"
    pq.write_table(kept, again)
    assert pq.read_table(again).schema.equals(kept.schema)


def test_a_pandas_index_with_a_name_is_a_column_and_one_without_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"lon": [1.0, 2.0], "lat": [3.0, 4.0]}, index=["a", "b"])
    frame.to_parquet(path)
    assert load(path).columns.column_names == ["lon", "lat"]
    frame.rename_axis("plot").to_parquet(path)
    assert load(path, id="plot", keep=[]).columns.to_pydict() == {"plot": ["a", "b"]}


def test_the_covering_of_geoparquet_is_no_column_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    layer().to_parquet(path, write_covering_bbox=True)
    assert "bbox" in pq.read_schema(path).names
    assert load(path).columns.column_names == ["crop", "count"]


def test_columns_cut_from_geoparquet_are_a_plain_table(tmp_path: Path) -> None:
    """pyarrow keeps the metadata of a geometry that was not selected."""
    layer(crop=["rye", "oats"]).to_parquet(tmp_path / "whole.parquet")
    cut = pq.read_table(tmp_path / "whole.parquet", columns=["crop"])
    cut = cut.append_column("lon", pa.array([10.0, 11.0])).append_column(
        "lat", pa.array([59.0, 60.0])
    )
    pq.write_table(cut, tmp_path / "cut.parquet")
    assert b"geo" in pq.read_schema(tmp_path / "cut.parquet").metadata
    places = load(tmp_path / "cut.parquet")
    assert places.lon.tolist() == [10, 11]
    assert places.columns["crop"].to_pylist() == ["rye", "oats"]


@pytest.mark.parametrize("encoding", ["wkb", "geoarrow"])
def test_both_encodings_of_geoparquet_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.parquet"
    layer().to_crs(32632).to_parquet(path, geometry_encoding=encoding, schema_version="1.1.0")
    np.testing.assert_allclose(load(path).lon, [11.98, 11.985], atol=1e-9)


def test_which_columns_are_kept(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,plot,day,crop\n1,2,a,2021-06-01,maize\n")
    assert load(path).columns.column_names == ["lon", "lat", "plot", "day", "crop"]
    assert load(path, id="plot").columns.column_names == ["plot", "lon", "lat", "day", "crop"]
    places = load(path, id="plot", date="day", keep=["crop", "lat"])
    assert places.columns.column_names == ["plot", "crop", "lat"]
    assert places.id == "plot"
    assert load(path, id="plot", keep=["crop", "plot"]).columns.column_names == ["plot", "crop"]
    assert load(path, keep=[]).columns.column_names == []
    assert load(path, keep=[]).id is None


def test_reserved_names_are_refused_but_the_id_may_be_called_so(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,id,crop\n1,2,a,maize\n")
    with pytest.raises(ConfigError, match=r"`data\.places\.keep='id'`.*`data\.places\.id: id`"):
        load(path)
    assert load(path, id="id").columns.column_names == ["id", "lon", "lat", "crop"]
    assert load(path, keep=["crop"]).columns.column_names == ["crop"]
    path = csv(tmp_path, "lon,lat,status,place\n1,2,a,b\n")
    with pytest.raises(
        ConfigError, match=r"columns of their own called status and place.*Rename them"
    ):
        load(path)
    with pytest.raises(ConfigError, match=r"`data\.places\.id='place'`"):
        load(path, id="place", keep=[])


def test_nested_columns_are_refused_by_name_unless_they_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = {"lon": [1.0], "lat": [2.0], "tags": [["a"]], "site": [{"a": 1}], "crop": ["maize"]}
    pq.write_table(pa.table(table), path)
    with pytest.raises(ConfigError, match=r"tags \(list<.*\), site \(struct<.*plain columns"):
        load(path)
    assert load(path, keep=["crop"]).columns.to_pydict() == {"crop": ["maize"]}


@pytest.mark.parametrize(
    ("settings", "argument", "remedy"),
    [
        ({"id": "plot"}, "id", r"Did you mean `plot_id`\? It has lon, lat, plot_id, Surveyed"),
        ({"date": "surveyd"}, "date", "Did you mean `Surveyed`"),
        ({"keep": ["crop"]}, "keep", "It has lon, lat"),
        ({"year": "jahr"}, "year", "It has lon"),
        ({"start": "Surveyed", "end": "ende"}, "end", "It has lon"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(
    tmp_path: Path, settings: dict[str, Any], argument: str, remedy: str
) -> None:
    path = csv(tmp_path, "lon,lat,plot_id,Surveyed\n1,2,a,2021-06-01\n")
    with pytest.raises(ConfigError, match=remedy) as caught:
        load(path, **settings)
    assert caught.value.argument == f"data.places.{argument}"


def test_two_columns_of_one_name_are_refused_where_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = [pa.array([1.0]), pa.array([2.0]), pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.table(values, names=["lon", "lat", "crop", "crop"]), path)
    with pytest.raises(ConfigError, match="2 columns have this name"):
        load(path, keep=["crop"])
    assert len(load(path, keep=["lat"])) == 1
    path = csv(tmp_path, "lon,lat,crop,crop,,\n1,2,a,b,c,d\n")
    with pytest.raises(ConfigError, match="2 columns have this name"):
        load(path)
    # R writes the names of rows without a name for their column.
    assert load(path, keep=["Unnamed: 4"]).columns.to_pydict() == {"Unnamed: 4": ["c"]}


@pytest.mark.parametrize(
    "text",
    [
        "\ufefflon,lat,crop\n11.5,60.25,maize\n",
        "lon;lat;crop\n11,5;60,25;maize\n",
        "sep=;\nlon;lat;crop\n11.5;60.25;maize\n",
        'lon,lat,crop\n"11,5","60,25",maize\n',
        "Longitude\tLATITUDE\tcrop\n 11.5\t60.25 \tmaize\n",
    ],
)
def test_what_spreadsheets_write_is_understood(tmp_path: Path, text: str) -> None:
    places = load(csv(tmp_path, text), keep=["crop"])
    assert (places.lon.tolist(), places.lat.tolist()) == ([11.5], [60.25])
    assert places.columns.to_pydict() == {"crop": ["maize"]}


def test_x_and_y_need_a_crs(tmp_path: Path) -> None:
    path = csv(tmp_path, "plot,x,y\na,666000,6654000\nb,,6654000\n")
    with pytest.raises(ConfigError, match=r"`data\.places\.crs=None`.*e\.g\. data\.places\.crs"):
        load(path)
    places = load(path, crs="EPSG:32632", on_bad_row="skip")
    np.testing.assert_allclose((places.lon[0], places.lat[0]), (11.9758, 59.9897), atol=1e-4)
    assert places.skipped == {1: "no coordinates"}
    path = csv(tmp_path, "Easting;Northing\n666000,5;6654000,5\n")
    np.testing.assert_allclose(load(path, crs="EPSG:32632").lat, 59.9897, atol=1e-4)


def test_a_crs_is_for_what_states_none(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    layer().to_file(path)
    assert len(load(path, crs="EPSG:4326")) == 2
    with pytest.raises(ConfigError, match=r"`data\.places\.crs='EPSG:32632'`.*another CRS"):
        load(path, crs="EPSG:32632")
    path = tmp_path / "b.shp"
    layer().to_crs(32632).to_file(path)
    path.with_suffix(".prj").unlink()
    with pytest.raises(ConfigError, match=r"no CRS\. Give it with `data\.places\.crs`"):
        load(path)
    np.testing.assert_allclose(load(path, crs="EPSG:32632").lon, [11.98, 11.985], atol=1e-9)
    path = csv(tmp_path, "lon,lat\n1,2\n")
    with pytest.raises(ConfigError, match="lon and lat are degrees"):
        load(path, crs="EPSG:32632")
    path = csv(tmp_path, 'wkt\n"POINT (666000 6654000)"\n')
    np.testing.assert_allclose(load(path, crs="EPSG:32632").lat, 59.9897, atol=1e-4)
    path = csv(tmp_path, 'wkt\n"SRID=32632;POINT (666000 6654000)"\n')
    np.testing.assert_allclose(load(path).lat, 59.9897, atol=1e-4)
    path = csv(tmp_path, 'wkt\n"SRID=32632;POINT (666000 6654000)"\nPOINT (1 2)\n')
    with pytest.raises(ConfigError, match="mixes EPSG:32632 and EPSG:4326"):
        load(path)


def test_text_in_another_encoding_is_read_from_shapefiles(tmp_path: Path) -> None:
    path = tmp_path / "a.shp"
    layer(name=["Ærø", None]).to_file(path, encoding="ISO-8859-1")
    path.with_suffix(".cpg").unlink()
    assert load(path).columns.to_pydict() == {"name": ["Ærø", None]}


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb"])
def test_times_of_layers_keep_what_their_zone_means(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    at = pd.to_datetime(["2021-06-01 00:30", "2021-12-01 00:30"]).tz_localize("Europe/Oslo")
    options = {"SPATIAL_INDEX": "NO"} if name == "a.fgb" else {}
    layer(at=at, plain=at.tz_localize(None)).to_file(path, **options)
    places = load(path, date="at", days=(0, 0))
    assert places.columns.schema.field("at").type == pa.timestamp("us", "UTC")
    assert places.columns["at"].to_pylist()[1] == dt.datetime(2021, 11, 30, 23, 30, tzinfo=dt.UTC)
    assert places.columns.schema.field("plain").type == pa.timestamp("us")
    assert str(places.starts[0].astype("datetime64[D]")) == "2021-05-31"


def test_a_layer_is_chosen_as_areas_choose_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    layer().to_file(path, layer="y2018")
    layer().to_file(path, layer="y2022")
    with pytest.raises(ConfigError, match=r"2 layers.*`data\.places\.layer`"):
        load(path)
    assert len(load(path, layer="y2022")) == 2
    with pytest.raises(ConfigError, match=r"`data\.places\.layer='y2020'`"):
        load(path, layer="y2020")


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")
@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("06-points-files/pts.geojson", {"keep": []}, None),
        ("06-points-files/pts.gpkg", {"keep": []}, None),
        ("06-points-files/pts.parquet", {"keep": []}, None),
        ("06-points-files/bom.csv", {"keep": []}, None),
        ("06-points-files/spaces.csv", {"keep": []}, None),
        ("06-points-files/semicolon.csv", {"keep": []}, None),
        ("08-label-tables/lonlat.csv", {"id": "id"}, 400),
        ("08-label-tables/lucas_like.csv", {"id": "POINT_ID"}, 400),
        ("10-one-bad-feature/single_multipoints.gpkg", {}, None),
        ("10-one-bad-feature/far_invalid.parquet", {"within": True}, None),
        ("16-zip-with-folder/flat.zip", {"within": True}, None),
        ("16-zip-with-folder/folder.zip", {"within": True}, None),
    ],
)
def test_files_that_people_had_are_read(
    name: str, settings: dict[str, Any], count: int | None
) -> None:
    places = load(CASES / name, **settings)
    assert len(places) == (count or len(places))
    assert np.isfinite(places.lon).all()
    assert not places.skipped
