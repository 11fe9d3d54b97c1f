"""When places are looked at: a window of time for each row of a table."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thor_geo.errors import ConfigError
from thor_geo.ground._dates import FIRST_YEAR, LAST_YEAR, instants_of
from thor_geo.ground._place_columns import column_of
from thor_geo.ground._row_faults import ColumnValues, RowFault
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import BoolArray, Datetime64Array

if TYPE_CHECKING:
    from thor_geo.ground.places import PlacesSpec

# Beginnings of dates; years; and days as spreadsheets count them, from 1900 (here 1982 to 2064).
_DAY, _YEAR = re.compile(r"\s*\d{1,4}[-/.]\d"), re.compile(r"(?:19|20)\d\d(?:\.0)?")
_SERIAL = re.compile(r"[3-5]\d{4}(?:\.\d+)?")
_ISO = "Write dates as YYYY-MM-DD, e.g. 2021-06-01."


def row_windows(
    spec: PlacesSpec, columns: Any, window: TemporalSpec | None, earliest: dt.date | None
) -> tuple[Datetime64Array, Datetime64Array, list[RowFault]]:
    """Return first instant and first instant after the window of each row, and rows' faults.

    Args:
        spec: What the user says about the table.
        columns: pyarrow Table of n rows.
        window: Window of all rows, where columns give none.
        earliest: Day of the sensor's first image.

    Returns:
        Two arrays datetime64[us] (n,), UTC, NaT where a row has no window; and the faults.

    Raises:
        ConfigError: If a column is missing or holds no dates, or there is no window at all.
    """
    faults: list[RowFault] = []
    starts: Datetime64Array
    ends: Datetime64Array
    if spec.date is not None:
        day: Datetime64Array = _read(columns, "date", spec.date, faults).astype("datetime64[D]")
        starts = day + np.timedelta64(spec.days[0], "D")
        ends = day + np.timedelta64(spec.days[1] + 1, "D")
        argument, value = "date", spec.date
    elif spec.start is not None and spec.end is not None:
        starts = _read(columns, "start", spec.start, faults)
        ends = _read(columns, "end", spec.end, faults)
        argument, value = "end", spec.end
        wrong = np.flatnonzero(ends <= starts)
        if len(wrong):
            faults.append(
                _fault(
                    argument,
                    value,
                    "the end is not after the start",
                    wrong,
                    _spans(starts, ends, wrong),
                    "The window is [start, end): give the day after its last.",
                )
            )
    elif spec.year is not None:
        years = _years(columns, spec.year, faults)
        starts, ends = years, years + np.timedelta64(1, "Y")
        argument, value = "year", spec.year
    elif window is not None:
        return *_of_all(window, len(columns), earliest), faults
    else:
        raise ConfigError(
            "data.start",
            None,
            "places need a window of time",
            "Give data.start and data.end, or name a column with data.places.date.",
        )
    starts, ends = starts.astype("datetime64[us]"), ends.astype("datetime64[us]")
    if earliest is not None:
        early = np.flatnonzero((ends <= np.datetime64(earliest)) & ~np.isnat(starts))
        if len(early):
            faults.append(
                _fault(
                    argument,
                    value,
                    f"the window ends before the sensor's first image, {earliest.isoformat()}",
                    early,
                    _spans(starts, ends, early),
                    "Leave such rows out, or give other dates.",
                )
            )
    return starts, ends, faults


def _of_all(
    window: TemporalSpec, count: int, earliest: dt.date | None
) -> tuple[Datetime64Array, Datetime64Array]:
    start, end = (np.datetime64(s.replace(tzinfo=None), "us") for s in (window.start, window.end))
    if earliest is not None and end <= np.datetime64(earliest):
        raise ConfigError(
            "data.end",
            window.end.date().isoformat(),
            f"the window ends before the sensor's first image, {earliest.isoformat()}",
            "Give a later window.",
        )
    return np.full(count, start), np.full(count, end)


def _read(columns: Any, argument: str, name: str, faults: list[RowFault]) -> Datetime64Array:
    """Return the instants in a column, NaT where there are none."""
    column = column_of(columns, name, f"data.places.{argument}")
    read = instants_of(column)
    if read is None:
        raise ConfigError(
            f"data.places.{argument}",
            name,
            f"the column holds no dates but {column.type}",
            f"{_ISO} For years there is data.places.year.",
        )
    if read.unclear is not None:
        raise ConfigError(
            f"data.places.{argument}",
            name,
            f"it cannot be told whether {read.unclear} begins with the day or the month",
            _ISO,
        )
    _report(argument, name, column, np.isnat(read.values) & ~read.wrong, read.wrong, "date", faults)
    return read.values


def _years(columns: Any, name: str, faults: list[RowFault]) -> Datetime64Array:
    """Return a column of calendar years as datetime64[Y], NaT where there are none."""
    column = column_of(columns, name, "data.places.year")
    kind = column.type
    texts = column
    if pa.types.is_floating(kind):
        # Readers turn whole numbers with gaps into floats.
        numbers = pc.cast(column, pa.float64())
        whole = pc.and_(pc.is_finite(numbers), pc.equal(numbers, pc.round(numbers)))
        whole = pc.if_else(whole, numbers, -1.0)
        texts = pc.cast(pc.cast(whole, pa.int64(), safe=False), pa.string())
    elif pa.types.is_integer(kind) or pa.types.is_null(kind):
        texts = pc.cast(column, pa.string())
    elif not pa.types.is_string(kind):
        raise ConfigError(
            "data.places.year",
            name,
            f"the column holds no years but {kind}",
            "Give whole numbers, e.g. 2021. For dates there is data.places.date.",
        )
    texts = pc.utf8_trim_whitespace(texts)
    matches = pc.fill_null(pc.match_substring_regex(texts, r"^\d{4}$"), False)
    numbers = pc.cast(pc.if_else(matches, texts, "0"), pa.int64()).to_numpy()
    inside = (numbers >= FIRST_YEAR) & (numbers <= LAST_YEAR)
    blank = np.asarray(pc.fill_null(pc.equal(texts, ""), True), dtype=np.bool_)
    _report("year", name, column, blank, ~inside & ~blank, "year", faults)
    years: Datetime64Array = np.where(inside, numbers - 1970, 0).astype("datetime64[Y]")
    years[~inside] = np.datetime64("NaT", "Y")
    return years


def _report(
    argument: str,
    name: str,
    column: Any,
    blank: BoolArray,
    wrong: BoolArray,
    noun: str,
    faults: list[RowFault],
) -> None:
    if blank.any():
        fill = "Fill in what is missing, or remove the rows."
        faults.append(
            _fault(argument, name, f"no {noun} in `{name}`", np.flatnonzero(blank), None, fill)
        )
    if wrong.any():
        rows = np.flatnonzero(wrong)
        problem = f"`{name}` is not a {noun} of {FIRST_YEAR} to {LAST_YEAR}"
        remedy = _remedy(noun, column, rows)
        faults.append(_fault(argument, name, problem, rows, ColumnValues(column, rows), remedy))


def _remedy(noun: str, column: Any, rows: Any) -> str:
    """Return what to do about values that are no dates, or no years."""
    text = str(column[int(rows[0])].as_py())
    if noun == "year":
        whole = "Give whole numbers, e.g. 2021."
        return f"{whole} For dates there is data.places.date." if _DAY.match(text) else whole
    if _YEAR.fullmatch(text):
        return f"{_ISO} For years there is data.places.year."
    if _SERIAL.fullmatch(text):
        return f"{_ISO} {text} looks like a spreadsheet's number of a day: format it as a date."
    return _ISO


def _fault(
    argument: str, value: str, problem: str, rows: Any, values: Any, remedy: str
) -> RowFault:
    return RowFault(
        argument=f"data.places.{argument}",
        value=value,
        problem=problem,
        rows=rows,
        values=values,
        remedy=remedy,
    )


def _spans(starts: Datetime64Array, ends: Datetime64Array, rows: Any) -> list[str]:
    pairs = zip(starts[rows].tolist(), ends[rows].tolist(), strict=True)
    return [f"{_shown(start)} to {_shown(end)}" for start, end in pairs]


def _shown(instant: dt.date) -> str:
    if isinstance(instant, dt.datetime) and instant.time() == dt.time():
        return instant.date().isoformat()
    return instant.isoformat()
