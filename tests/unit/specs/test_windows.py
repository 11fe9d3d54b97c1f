"""If one of these fails, a run covers other dates than its user wrote down."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from thor_geo.cli.arguments import with_listed_windows
from thor_geo.errors import ConfigError
from thor_geo.specs import TemporalSpec, Windows

SPRING, SUMMER = ["2022-03-01", "2022-06-01"], ["2022-06-01", "2022-09-01"]


def test_windows_come_back_from_the_settings_that_a_run_records() -> None:
    listed = Windows.from_dates(windows=[SPRING, SUMMER])
    assert [one.start for one in listed] == [
        dt.datetime(2022, 3, 1, tzinfo=dt.UTC),
        dt.datetime(2022, 6, 1, tzinfo=dt.UTC),
    ]
    assert listed.times == (0, 1)
    assert listed.span == TemporalSpec.range("2022-03-01", "2022-09-01")
    recorded = json.loads(json.dumps(listed.settings()))
    assert set(recorded) == {"windows"}
    assert Windows.from_settings({**recorded, "bands": []}) == listed


def test_start_and_end_are_recorded_as_ever_and_make_no_time_axis() -> None:
    one = Windows.from_dates(*SUMMER)
    settings = {"start": "2022-06-01T00:00:00+00:00", "end": "2022-09-01T00:00:00+00:00"}
    assert one.settings() == settings
    assert (len(one), one.times) == (1, (None,))
    assert Windows.from_settings(settings) == one
    # A list of one is a list: a script that makes lists gets the same layout for each of them.
    assert Windows.from_dates(windows=[SUMMER]).times == (0,)


@pytest.mark.parametrize(
    "windows",
    [
        [["2022-03-01", "2022-06-01"], ["2022-04-01", "2022-05-01"]],
        [["2022-06-01T12:00", "2022-06-02"]],
    ],
)
def test_windows_may_overlap_and_begin_at_any_second(windows: list[list[str]]) -> None:
    assert len(Windows.from_dates(windows=windows)) == len(windows)


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({}, r"data\.start=None.*data\.start and data\.end required.*data\.windows"),
        ({"start": "2022-06-01"}, r"data\.end=None.*--data\.end="),
        ({"start": "2022-06-01", "windows": [SUMMER]}, r"start=.*`windows` is given too.*null"),
        ({"end": "2022-06-01", "windows": [SUMMER]}, r"end=.*`windows` is given too"),
        ({"windows": []}, r"there is no window\. Give a list of \[start, end\] pairs"),
        ({"windows": [SUMMER, SPRING]}, "does not come after.*start earlier first"),
        ({"windows": [SUMMER, SUMMER]}, "does not come after.*each window once"),
        ({"windows": [["2022-06-01", "2022-07-01"], SUMMER]}, "same start.*Run them separately"),
        ({"windows": [SUMMER, ["2022-06-01", "2022-07-01"]]}, "same start.*Run them separately"),
        ({"windows": [["2022-06-01", "2022-06-01"]]}, r"windows=.*end=.*not after"),
        ({"windows": [["June", "2022-06-01"]]}, r"windows=.*start='June'.*YYYY-MM-DD"),
        ({"windows": ["2022-06-01", "2022-09-01"]}, "not a pair of dates"),
        ({"windows": [["2022-06-01", "2022-07-01", "2022-08-01"]]}, "not a pair of dates"),
        ({"windows": [[2022, 2023]]}, r"windows=\[2022, 2023\]`: not a pair of dates.*Give a list"),
        ({"windows": [None]}, r"windows=None`: not a pair of dates.*\[\[2022-03-01"),
        ({"windows": 5}, r"windows=5`: not a list of \[start, end\] pairs.*\[\[2022-03-01"),
        ({"windows": "2022-06-01"}, r"windows='2022-06-01'`: not a list.*\[\[2022-03-01"),
        ({"windows": [["2022-06-01", "2022-07-01T00:00:00.5"]]}, "fractions of a second"),
    ],
)
def test_windows_that_cannot_be_are_refused(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Windows.from_dates(**kwargs)


ENDS = ["--data.end=null", "--data.start=null"]


def test_a_list_on_the_command_line_replaces_the_configs_one_window() -> None:
    args = ["predict", "-c", "run.yaml", "--data.windows=[[2022-06-01,2022-09-01]]"]
    assert with_listed_windows(args) == [*args, *ENDS]
    apart = [*args[:3], *args[3].split("="), "--job=1/2"]
    assert with_listed_windows(apart) == [*apart[:-1], *ENDS, "--job=1/2"]
    # Whoever gives both has made a mistake, which is told.
    both = [*args, "--data.start=2022-06-01"]
    assert with_listed_windows(both) == both
    assert with_listed_windows(args[:3]) == args[:3]


@pytest.mark.parametrize("null", ["--data.windows=null", "--data.init_args.windows=~"])
def test_no_list_leaves_the_configs_one_window(null: str) -> None:
    assert with_listed_windows(["predict", null]) == ["predict", null]
    # As the last word on it, after a list, too.
    args = ["predict", "--data.windows=[[2022-06-01,2022-09-01]]", null]
    assert with_listed_windows(args) == args


def test_a_later_configs_list_replaces_an_earlier_ones_window(tmp_path: Path) -> None:
    one, seasons, mixed, again = (tmp_path / f"{name}.yaml" for name in "abcd")
    one.write_text("data: {start: 2022-06-01, end: 2022-09-01}")
    seasons.write_text("data: {init_args: {windows: [[2022-03-01, 2022-06-01]]}}")
    mixed.write_text("data: {windows: [[2022-03-01, 2022-06-01]], end: 2022-09-01}")
    again.write_text("data: {windows: null}")
    first, second = ["-c", str(one)], [f"--config={seasons}"]
    assert with_listed_windows([*first, *second]) == [*first, *second, *ENDS]
    # Dates that come later, or stand in the same config, are a contradiction, which is told.
    assert with_listed_windows([*second, *first]) == [*second, *ENDS, *first]
    for args in ([*first, "-c", str(mixed)], [*second, *first, "-c", str(again)]):
        assert with_listed_windows(args) == args


def test_a_window_cannot_be_added_to_a_list() -> None:
    with pytest.raises(ConfigError, match=r"data\.windows\+=.*nothing can be added.*a list of"):
        with_listed_windows(["predict", "--data.windows+=[[2022-06-01,2022-09-01]]"])
