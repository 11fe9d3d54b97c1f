"""If these fail, a bad table is found out about after hours of work, or never."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tests.support.place_tables import csv, load
from thor_geo.errors import ConfigError

BOX = shapely.box(11, 60, 12, 61)


def layer(path: Path, shapes: list[Any], crs: Any = 4326) -> Path:
    names = [f"p{k}" for k in range(len(shapes))]
    gpd.GeoDataFrame({"plot": names}, geometry=shapes, crs=crs).to_parquet(path)
    return path


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, **settings)
    return str(caught.value)


def test_missing_and_unparsable_coordinates_are_told_together(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,n\n1,2,a\n,,b\n\n3,north,c\n5x,,d\n1,,e\n", "survey.csv")
    text = refusal(path)
    assert text.startswith(f"`data.places.file='{path}'`: `lon` is not a number in 1 row of 5")
    assert "4 (line 6: 5x)" in text
    assert "`lat` is not a number in 1 row of 5: 3 (line 5: north)" in text
    assert "no coordinates in 2 rows of 5: 2 (line 3), 5 (line 7) (rows are counted from 1," in text
    assert "Give decimal degrees." in text
    assert text.endswith("`data.places.on_bad_row: skip` goes on without such rows.")
    places = load(path, on_bad_row="skip")
    assert len(places) == 5
    assert places.lon.tolist()[0] == 1
    assert np.isnan(places.lon[1:]).all()
    assert np.isnat(places.starts[1:]).all()
    assert dict(places.skipped) == {
        1: "no coordinates",
        2: "`lat` is not a number: north",
        3: "`lon` is not a number: 5x",
        4: "no coordinates",
    }
    assert places.columns["n"].to_pylist() == list("abcde")


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    """Where values have line breaks, the number of the row says little."""
    path = csv(tmp_path, 'sep=;\n\nlon;lat;n\n1;2;"two\nlines"\n\n"";"";"x\ny"\n1;2;\n;;\n')
    assert "in 2 rows of 4: 2 (line 7), 4 (line 10)" in refusal(path)


def test_lines_end_as_they_did_on_old_computers(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon;lat\r1;2\r;\r\r;\r1;2\r")
    assert "in 2 rows of 4: 2 (line 3), 3 (line 5)" in refusal(path)


def test_long_outlines_have_lines(tmp_path: Path) -> None:
    ring = ", ".join(f"{k / 1e4:.4f} 1" for k in range(20_000))
    path = csv(tmp_path, f'wkt\n"POLYGON ((0 0, {ring}, 0 0))"\nPOLYGON\n')
    assert "`wkt` is not a geometry in 1 row of 2: 2 (line 3: POLYGON)" in refusal(path)


def test_what_is_skipped_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = csv(tmp_path, "lon,lat\n1,2\n,\n1,85\n1,86\n")
    with caplog.at_level(logging.WARNING):
        load(path, on_bad_row="skip")
    assert "3 of 4 rows in" in caplog.text
    assert "UTM tiles end (2), no coordinates (1)" in caplog.text


def test_a_table_without_a_good_row_is_refused_even_so(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat\n,\n1,85\n")
    text = refusal(path, on_bad_row="skip")
    assert "no coordinates in 1 row of 2: 1 (line 2)" in text
    assert "on_bad_row" not in text


@pytest.mark.parametrize("text", ["lon,lat,crop\n", "lon,lat,crop"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    assert "the table is empty" in refusal(csv(tmp_path, text), on_bad_row="skip")
    gpd.GeoDataFrame({"a": []}, geometry=[], crs=4326).to_file(tmp_path / "a.gpkg")
    assert "the table is empty" in refusal(tmp_path / "a.gpkg")
    layer(tmp_path / "a.parquet", [])
    assert "the table is empty" in refusal(tmp_path / "a.parquet")


def test_exchanged_longitude_and_latitude_are_said_so(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat\n35.6,139.7\n34.7,135.5\n43.1,85\n")
    text = refusal(path)
    assert "look exchanged: give the two columns each other's names" in text
    assert "in 2 rows of 3: 1 (line 2: 35.6, 139.7), 2" in text
    # The third row, taken for one beyond 84 N or in another country, would hide what is wrong.
    assert "look exchanged" in refusal(path, on_bad_row="skip")
    path = csv(tmp_path, "lon,lat\n" + "40,-80\n" * 20 + "35,-91\n33,-95\n34,-100\n")
    assert "look exchanged" in refusal(path, on_bad_row="skip")
    path = layer(tmp_path / "a.parquet", [shapely.Point(35.6, 139.7), shapely.Point(34, 60)])
    assert "write longitude first" in refusal(path)


def test_one_slip_in_a_good_table_is_a_fault_of_its_row(tmp_path: Path) -> None:
    good = "11,60\n" * 20
    path = csv(tmp_path, f"lon,lat\n{good}11,600\n")
    assert "outside -180..180, -90..90 in 1 row of 21: 21 (line 22: 11, 600)" in refusal(path)
    assert list(load(path, on_bad_row="skip").skipped) == [20]
    path = csv(tmp_path, f"lon,lat\n{good}60,111\n")
    assert "look exchanged" in refusal(path)
    assert list(load(path, on_bad_row="skip").skipped) == [20]
    path = csv(tmp_path, "lon,lat\n11,60\n11,95\n12,61\n12,-91\n")
    assert list(load(path, on_bad_row="skip").skipped) == [1, 3]


def test_metres_in_columns_of_degrees_are_said_so(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat\n666000,6654000\n")
    assert "Name columns of metres x and y, and give `data.places.crs`" in refusal(path)


def test_degrees_and_exchanged_axes_are_said_so_where_the_crs_has_metres(tmp_path: Path) -> None:
    path = csv(tmp_path, "x,y\n12,60\n12.5,60.2\n")
    text = refusal(path, crs="EPSG:32632", on_bad_row="skip")
    assert "look like degrees, and lie beyond the area of EPSG:32632, longitude 6 to 12" in text
    assert "latitude 0 to 84, in 2 rows of 2: 1 (line 2: 12, 60), 2" in text
    assert "Name the columns lon and lat, and leave `data.places.crs` out." in text
    path = csv(tmp_path, "x,y\n6654000,666000\n6655000,667000\n")
    text = refusal(path, crs="EPSG:32632", on_bad_row="skip")
    assert "x and y look exchanged" in text
    assert "Give the two columns each other's names." in text
    path = layer(tmp_path / "a.parquet", [shapely.Point(12, 60)], 3857)
    assert len(load(path)) == 1  # Null Island is in its area
    path = layer(tmp_path / "a.parquet", [shapely.Point(12, 60)], 3035)
    assert "'Assign projection', to EPSG:4326" in refusal(path)
    path = layer(tmp_path / "a.parquet", [shapely.Point(3e6, 4.3e6), shapely.Point(4e6, 3e6)], 3035)
    assert len(load(path)) == 2
    path = layer(tmp_path / "a.parquet", [shapely.Point(2e6, 6654000)], 32632)
    assert len(load(path)) == 1  # far from its zone, and nothing tells why


def test_decimal_commas_between_commas_are_said_so(tmp_path: Path) -> None:
    path = csv(tmp_path, "plot,lon,lat\na,11,5,60,25\n")
    assert "Decimal commas need semicolons between columns" in refusal(path)
    path = csv(tmp_path, 'plot,lon,lat\na,"11,5",60.25\nb,"11.5 E",60\n')
    assert "`lon` is not a number in 2 rows of 2" in refusal(path)


def test_longitudes_beyond_180_are_turned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tables of the Pacific count from 0 to 360."""
    path = csv(tmp_path, "lon,lat\n181,-17\n359.5,51\n180,0\n-180,0\n-181,2\n11.1,2\n")
    places = load(path)
    assert places.lon.tolist() == [-179, -0.5, 180, -180, 179, 11.1]
    assert "the longitudes of 3 rows are turned by 360 degrees, such as row 1" in caplog.text
    path = layer(tmp_path / "a.parquet", [shapely.Point(181, -17), shapely.Point(361, -17)])
    assert "outside -180..180, -90..90 in 1 row of 2: 2 (361, -17)" in refusal(path)


def test_places_beyond_utm_are_faults_of_their_rows(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat\n10,84\n10,84.1\n10,-80\n10,-81\n")
    text = refusal(path)
    assert "beyond 80 S or 84 N, where UTM tiles end in 2 rows of 4: 2 (line 3: 10, 84.1)" in text
    assert list(load(path, on_bad_row="skip").skipped) == [1, 3]
    path = layer(tmp_path / "a.parquet", [shapely.Point(0, 0), shapely.Point(1e6, 0)], 3575)
    assert "beyond 80 S or 84 N" in refusal(path)


def test_coordinates_that_do_not_fit_their_crs(tmp_path: Path) -> None:
    shapes = [shapely.Point(4.3e6, 3.2e6), shapely.Point(1e12, 6.6e6)]
    path = layer(tmp_path / "a.parquet", shapes, 3035)
    assert "do not fit the CRS EPSG:3035 in 1 row of 2: 2 (1e+12, 6.6e+06)" in refusal(path)


def test_ids_are_unique_and_complete(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,plot\n1,2,a\n1,2,b\n1,2,a\n1,2,\n1,2,a\n1,2,c\n")
    text = refusal(path, id="plot")
    assert text.startswith("`data.places.id='plot'`")
    assert "no id in 1 row of 6: 4 (line 5)" in text
    assert "an id that an earlier row has in 2 rows of 6: 3 (line 4: a), 5 (line 6: a)" in text
    places = load(path, id="plot", on_bad_row="skip")
    assert dict(places.skipped) == {
        2: "an id that an earlier row has: a",
        3: "no id",
        4: "an id that an earlier row has: a",
    }
    assert places.columns["plot"].to_pylist() == ["a", "b", "a", None, "a", "c"]
    path = tmp_path / "a.parquet"
    pd.DataFrame({"lon": [1] * 3, "lat": [2] * 3, "n": [7.0, None, 7.0]}).to_parquet(path)
    assert list(load(path, id="n", on_bad_row="skip").skipped) == [1, 2]


def test_a_column_in_which_most_values_repeat_is_none_of_ids(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,crop\n" + "1,2,maize\n1,2,wheat\n" * 3)
    text = refusal(path, id="crop", on_bad_row="skip")
    assert "it holds no ids: 4 of 6 rows repeat one, such as maize" in text


def test_points_and_polygons_do_not_mix(tmp_path: Path) -> None:
    path = layer(tmp_path / "a.parquet", [BOX, shapely.Point(1, 2), None, shapely.Point(1, 2)])
    text = refusal(path, on_bad_row="skip")
    assert "it mixes 2 points (first in row 2) and 1 polygon (first in row 1;" in text


def test_other_shapes_and_empty_ones_are_faults_of_their_rows(tmp_path: Path) -> None:
    line = shapely.LineString([(1, 2), (3, 4)])
    several = shapely.MultiPoint([(1, 2), (3, 4)])
    shapes = [shapely.Point(1, 2), line, None, shapely.Point(), several]
    path = layer(tmp_path / "a.parquet", [*shapes, shapely.MultiPoint([(5, 6)])])
    text = refusal(path)
    assert "a polygon in 2 rows of 6: 2 (LineString), 5 (MultiPoint); no coordinates in 2" in text
    places = load(path, on_bad_row="skip")
    assert places.lon[5] == 5
    assert places.skipped[1] == "neither a point nor a polygon: LineString"
    assert places.skipped[2] == places.skipped[3] == "no coordinates"


def test_a_bad_geometry_in_text_is_a_fault_of_its_row(tmp_path: Path) -> None:
    path = csv(tmp_path, 'wkt,n\nPOINT (1 2),a\nPOINT (1,b\n,c\n"POINT (181 2)",d\n')
    text = refusal(path)
    assert "`wkt` is not a geometry in 1 row of 4: 2 (line 3: POINT (1)" in text
    assert "no coordinates in 1 row of 4: 3 (line 4)" in text
    places = load(path, on_bad_row="skip")
    assert places.lon[[0, 3]].tolist() == [1, -179]
    assert places.columns.column_names == ["n"]
    table = {"geometry": [shapely.Point(1, 2).wkb, b"\x01\x01", None], "n": [1, 2, 3]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert list(load(tmp_path / "a.parquet", on_bad_row="skip").skipped) == [1, 2]


def test_all_that_is_wrong_with_a_row_is_its_reason(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,day\n1,2,2021-06-01\n,,soon\n")
    assert load(path, date="day", on_bad_row="skip").skipped == {
        1: "no coordinates; `day` is not a date of 1900 to 2100: soon"
    }


def test_a_missing_file_and_one_that_is_none_are_said_so(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.csv")
    path = csv(tmp_path, b"\x00\x01\x02", "a.gpkg")
    assert "not readable" in refusal(path)
    assert "no lon and lat" in refusal(csv(tmp_path, "a,b\n1,2\n"))


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("longtitude,lattitude", "`longtitude` and `lattitude` are coordinates, rename them `lon`"),
        ("Lat_WGS84,Long_WGS84", "`Long_WGS84` and `Lat_WGS84` are coordinates, rename them `lon`"),
        ("gps_lon,gps_lat", "`gps_lon` and `gps_lat`"),
        ("X_LAEA,Y_LAEA", "`X_LAEA` and `Y_LAEA` are coordinates, rename them `x` and `y`"),
        ("utm_e,utm_n", "`utm_e` and `utm_n`"),
    ],
)
def test_columns_that_may_be_coordinates_are_named(tmp_path: Path, header: str, hint: str) -> None:
    assert f"If {hint}" in refusal(csv(tmp_path, f"{header},latest\n1,2,3\n"))
    assert "If `" not in refusal(csv(tmp_path, "latest,plantation,year\n1,2,3\n"))
