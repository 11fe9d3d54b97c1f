"""If these fail, a place is looked at in another season, or a bad date goes unnoticed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.place_tables import csv, days, load
from thor_geo.errors import ConfigError
from thor_geo.ground.places import PlacesSpec

ONE_DAY = (0, 0)


def of_dates(folder: Path, *dates: str) -> Path:
    lines = [f'1,2,"{date}"' for date in dates]
    return csv(folder, "\n".join(["lon,lat,day", *lines]) + "\n")


def of_column(folder: Path, values: Any) -> Path:
    path = folder / "a.parquet"
    ones = np.ones(len(values))
    pq.write_table(pa.table({"lon": ones, "lat": ones, "day": values}), path)
    return path


def test_the_window_is_around_the_date_in_whole_days(tmp_path: Path) -> None:
    path = of_dates(tmp_path, "2021-06-01", "2020-01-01")
    places = load(path, date="day")
    assert days(places.starts) == ["2021-04-17", "2019-11-17"]
    assert days(places.ends) == ["2021-07-17", "2020-02-16"]
    places = load(path, date="day", days=ONE_DAY)
    assert days(places.starts) == ["2021-06-01", "2020-01-01"]
    assert days(places.ends) == ["2021-06-02", "2020-01-02"]
    assert places.starts.dtype == np.dtype("datetime64[us]")


@pytest.mark.parametrize(
    "text",
    [
        "2021-06-01",
        " 2021-06-01 ",
        "2021/06/01",
        "2021-6-1",
        "20210601",
        "2021-06-01T23:59:59Z",
        "2021-06-01 12:00",
        "2021-06-02T00:30:00+02:00",
        "2021-05-31T23:30:00.5-0100",
        "01.06.2021",
        "1. 6. 2021",
        "1 June 2021",
        "01-Jun-2021",
        "June 1, 2021",
        "1.6.2021 08:15",
    ],
)
def test_dates_are_read_as_people_write_them(tmp_path: Path, text: str) -> None:
    places = load(of_dates(tmp_path, text), date="day", days=ONE_DAY)
    assert days(places.starts) == ["2021-06-01"]


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["01/06/2021", "13/06/2021"], ["2021-06-01", "2021-06-13"]),
        (["06/01/2021", "06-13-2021"], ["2021-06-01", "2021-06-13"]),
        (["05/05/2021"], ["2021-05-05"]),
        (["2021-06-01", "01.07.2021"], ["2021-06-01", "2021-07-01"]),
    ],
)
def test_the_order_of_day_and_month_follows_from_the_column(
    tmp_path: Path, dates: list[str], expected: list[str]
) -> None:
    assert days(load(of_dates(tmp_path, *dates), date="day", days=ONE_DAY).starts) == expected


@pytest.mark.parametrize(
    "dates", [["05/05/2021", "01/02/2021"], ["13/06/2021", "06/13/2021"], ["01-02-2021 10:00"]]
)
def test_a_date_that_may_be_two_is_refused(tmp_path: Path, dates: list[str]) -> None:
    """Half of the rows in the wrong season would look like any other result."""
    with pytest.raises(ConfigError, match=r"day or the month.*YYYY-MM-DD") as caught:
        load(of_dates(tmp_path, *dates), date="day", on_bad_row="skip")
    assert caught.value.argument == "data.places.date"


@pytest.mark.parametrize(
    "values",
    [
        pa.array([dt.date(2021, 6, 1)]),
        pa.array([dt.date(2021, 6, 1)], pa.date64()),
        pa.array([dt.datetime(2021, 6, 1, 23)], pa.timestamp("ns")),
        pa.array([dt.datetime(2021, 6, 1, 23)], pa.timestamp("s")),
        # Midnight in Oslo is still the day before in UTC.
        pa.array([dt.datetime(2021, 6, 1, 22, 30)], pa.timestamp("us", "Europe/Oslo")),
        pa.array([20210601]),
        pa.array([20210601.0]),
        pa.array(["2021-06-01"]).dictionary_encode(),
        pa.array(["2021-06-01"], pa.large_string()),
    ],
)
def test_columns_of_dates_of_any_type(tmp_path: Path, values: Any) -> None:
    places = load(of_column(tmp_path, values), date="day", days=ONE_DAY)
    assert days(places.starts) == ["2021-06-01"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([True]), "bool"),
        (pa.array([44348.5]), "double"),
        (pa.array([np.inf]), "double"),
        (pa.array([[1]]), "list"),
    ],
)
def test_a_column_of_other_things_is_refused(tmp_path: Path, values: Any, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"holds no dates but {kind}.*data.places.year"):
        load(of_column(tmp_path, values), date="day", keep=[], on_bad_row="skip")


def test_bad_dates_are_counted_and_the_first_five_shown_with_their_lines(tmp_path: Path) -> None:
    wrong = [
        "2021-02-30",
        "summer",
        "01/06/21",
        "9999-12-31",
        "2021-06-01T25:00",
        "2021",
        "12.13.2021",
    ]
    path = of_dates(tmp_path, "2021-06-01", "", *wrong)
    with pytest.raises(ConfigError) as caught:
        load(path, date="day")
    assert caught.value.argument == "data.places.date"
    assert caught.value.value == "day"
    message = str(caught.value)
    assert "no date in `day` in 1 row of 9: 2 (line 3)" in message
    assert (
        "`day` is not a date of 1900 to 2100 in 7 rows of 9: 3 (line 4: 2021-02-30), 4 (line"
        in message
    )
    assert "6 (line 7: 9999-12-31), 7 (line 8: 2021-06-01T25:00), ... (rows are counted" in message
    assert "YYYY-MM-DD" in message
    assert "on_bad_row: skip" in message
    places = load(path, date="day", on_bad_row="skip", days=ONE_DAY)
    assert days(places.starts) == ["2021-06-01", *[None] * 8]
    assert np.isnan(places.lon[1:]).all()
    assert places.skipped[1] == "no date in `day`"
    assert places.skipped[3] == "`day` is not a date of 1900 to 2100: summer"
    assert list(places.skipped) == list(range(1, 9))


def test_start_and_end_are_a_half_open_window_of_instants(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "lon,lat,a,b\n1,2,2021-06-01,2021-07-01\n1,2,2021-06-01T12:00Z,2021-06-01T13:00+00:00\n",
    )
    places = load(path, start="a", end="b")
    assert places.ends[0] == np.datetime64("2021-07-01")
    assert places.starts[1] == np.datetime64("2021-06-01T12:00")
    assert places.ends[1] == np.datetime64("2021-06-01T13:00")


def test_an_end_that_is_not_after_its_start_is_a_fault_of_the_row(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "lon,lat,a,b\n1,2,2021-06-01,2021-07-01\n1,2,2021-06-01,2021-05-01\n"
        "1,2,2021-06-01,2021-06-01\n1,2,,2021-06-01\n",
    )
    with pytest.raises(ConfigError) as caught:
        load(path, start="a", end="b")
    assert "no date in `a` in 1 row of 4: 4 (line 5)" in str(caught.value)
    assert "not after the start in 2 rows of 4: 2 (line 3: 2021-06-01 to 2021-05-01)" in str(
        caught.value
    )
    places = load(path, start="a", end="b", on_bad_row="skip")
    assert list(places.skipped) == [1, 2, 3]
    assert places.skipped[2] == "the end is not after the start: 2021-06-01 to 2021-06-01"


@pytest.mark.parametrize(
    "years",
    [[2020, None], [2020.0, None], ["2020", " "], pa.array([2020.0, None], pa.float16())],
)
def test_a_year_is_a_calendar_year(tmp_path: Path, years: list[Any]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"lon": [1, 1], "lat": [2, 2], "y": years}), path)
    places = load(path, year="y", on_bad_row="skip")
    assert days(places.starts) == ["2020-01-01", None]
    assert days(places.ends) == ["2021-01-01", None]
    assert places.skipped == {1: "no year in `y`"}


def test_what_is_no_year_is_a_fault_of_the_row(tmp_path: Path) -> None:
    path = csv(tmp_path, "lon,lat,y\n1,2,2020\n1,2,20\n1,2,2021.5\n1,2,inf\n")
    with pytest.raises(ConfigError, match=r"not a year of 1900 to 2100 in 3 rows of 4: 2 \(line 3"):
        load(path, year="y")
    path = of_column(tmp_path, pa.array([dt.date(2021, 6, 1)]))
    with pytest.raises(ConfigError, match=r"no years but date32.*data\.places\.date"):
        load(path, year="day")


@pytest.mark.parametrize(
    ("date", "remedy"),
    [("2021", "For years there is data.places.year"), ("44348", "44348 looks like a spreadsheet")],
)
def test_numbers_for_dates_are_said_to_be_what_they_look_like(
    tmp_path: Path, date: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=remedy):
        load(of_dates(tmp_path, date), date="day")
    with pytest.raises(ConfigError, match=r"For dates there is data\.places\.date"):
        load(of_dates(tmp_path, "2021-06-01"), year="day")


def test_windows_that_end_before_the_first_image_are_faults(tmp_path: Path) -> None:
    first = dt.date(2015, 6, 27)
    path = of_dates(tmp_path, "2014-06-01", "2015-06-01", "2021-06-01")
    with pytest.raises(
        ConfigError, match=r"first image, 2015-06-27 in 1 row of 3: 1 \(line 2: 2014-"
    ):
        load(path, date="day", earliest=first)
    places = load(path, date="day", earliest=first, on_bad_row="skip")
    assert list(places.skipped) == [0]
    assert len(load(path, date="day")) == 3
    one = csv(tmp_path, "lon,lat,a,b\n1,2,,2014-01-01\n1,2,2021-01-01,2021-02-01\n", "b.csv")
    assert load(one, start="a", end="b", earliest=first, on_bad_row="skip").skipped == {
        0: "no date in `a`"
    }
    # The window of [-45, 45] ends on the day after the 26th, which is the day of the first image.
    assert len(load(of_dates(tmp_path, "2015-05-13"), date="day", earliest=first)) == 1
    with pytest.raises(ConfigError, match=r"`data\.end='2021-09-01'`"):
        load(path, earliest=dt.date(2022, 1, 1))


def test_without_columns_all_rows_have_one_window_and_there_must_be_one(tmp_path: Path) -> None:
    path = of_dates(tmp_path, "2014-06-01", "")
    places = load(path)
    assert days(places.starts) == ["2021-06-01"] * 2
    assert days(places.ends) == ["2021-09-01"] * 2
    with pytest.raises(ConfigError, match=r"`data\.start=None`.*data\.places\.date"):
        PlacesSpec(file=path).load()
