"""Days and times in columns of tables, whatever they are written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thor_geo.support.arrays import BoolArray, Datetime64Array, Int64Array

#: First and last year of what counts as a date: what is beyond stands for none, as 9999-12-31 does.
FIRST_YEAR, LAST_YEAR = 1900, 2100

_TIME = (
    r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = rf"(?P<name>(?i:{'|'.join(_MONTHS)})[A-Za-z]*)\.?"
# Which of day and month comes first can be told where they are written so.
_CLEAR = (
    rf"^(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){_TIME}$",
    rf"^(?P<year>\d{{4}})(?P<month>\d{{2}})(?P<day>\d{{2}}){_TIME}$",
    rf"^(?P<day>\d{{1,2}})\.\s*(?P<month>\d{{1,2}})\.\s*(?P<year>\d{{4}}){_TIME}$",
    rf"^(?P<day>\d{{1,2}})[-/. ]+{_NAME}[-/., ]+(?P<year>\d{{4}}){_TIME}$",
    rf"^{_NAME} (?P<day>\d{{1,2}}),? (?P<year>\d{{4}}){_TIME}$",
)
# Here it follows from the others of the column, if one of them has a number above twelve.
_EITHER = rf"^(?P<first>\d{{1,2}})[-/](?P<second_one>\d{{1,2}})[-/](?P<year>\d{{4}}){_TIME}$"


@dataclass(frozen=True, kw_only=True, eq=False)
class Instants:
    """What a column says of time.

    Attributes:
        values: Instants in UTC, datetime64[us] (n,); NaT where there is none.
        wrong: Where there is a value that is no date (n,).
        zoned: Where a zone is stated (n,).
        unclear: A value of which nobody can tell what its day is and what its month; None if all
            are clear.
    """

    values: Datetime64Array
    wrong: BoolArray
    zoned: BoolArray
    unclear: str | None = None


def instants_of(column: Any) -> Instants | None:
    """Return the instants in a column; None if its type has none.

    Dates are midnights, and times without a zone are in UTC.

    Args:
        column: pyarrow chunked array: dates, timestamps, text, or whole numbers such as 20210601.
    """
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        values = _microseconds(pc.cast(column, pa.timestamp("us", zone), safe=False))
        missing = np.isnat(values)
        wrong = ~missing & ~_plausible(values)
        values[wrong] = np.datetime64("NaT", "us")
        return Instants(values=values, wrong=wrong, zoned=np.full(len(values), zone is not None))
    if pa.types.is_floating(kind):
        column = pc.cast(column, pa.float64())
        if not pc.all(pc.and_(pc.is_finite(column), pc.equal(column, pc.round(column)))).as_py():
            return None
        column = pc.cast(column, pa.int64(), safe=False)
        kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        column = pc.cast(column, pa.string())
    elif not pa.types.is_string(kind):
        return None
    return _instants_of_text(column)


def times_of_text(column: Any) -> Any:
    """Return a column of times that GDAL wrote as text as timestamps; as it is if zones are mixed.

    Args:
        column: pyarrow chunked array of strings.
    """
    read = _instants_of_text(column)
    missing = np.asarray(column.is_null())
    zoned = bool(read.zoned[~missing].any())
    if read.wrong.any() or read.unclear or (zoned and not read.zoned[~missing].all()):
        return column
    return pa.chunked_array([pa.array(read.values, pa.timestamp("us", "UTC" if zoned else None))])


def _microseconds(column: Any) -> Datetime64Array:
    values = pc.cast(column, pa.int64()).to_numpy(zero_copy_only=False)
    mask = np.asarray(column.is_null())
    out = np.where(mask, 0, values).astype("int64").astype("datetime64[us]")
    out[mask] = np.datetime64("NaT", "us")
    return out


def _plausible(values: Datetime64Array) -> BoolArray:
    first, last = (np.datetime64(f"{year}-01-01") for year in (FIRST_YEAR, LAST_YEAR + 1))
    inside: BoolArray = (values >= first) & (values < last)
    return inside


def _instants_of_text(column: Any) -> Instants:
    """Return the instants in text: each of its different values is read once."""
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # pyarrow before 19 for some types
        encoded = pa.concat_arrays(encoded.chunks)
    encoded = encoded.dictionary_encode()
    texts = pc.utf8_trim_whitespace(encoded.dictionary)
    blank = np.asarray(pc.equal(texts, ""), dtype=np.bool_)
    read = _Readings(len(texts))
    for pattern in _CLEAR:
        read.add(pc.extract_regex(texts, pattern))
    unclear = None
    either = pc.extract_regex(texts, _EITHER)
    if either.null_count < len(either):
        first, second = _field(either, "first"), _field(either, "second_one")
        day_first, month_first = first > 12, second > 12
        differ = np.flatnonzero((first != second) & np.asarray(either.is_valid()))
        if bool(day_first.any()) == bool(month_first.any()) and len(differ):
            unclear = str(texts[int(differ[0])].as_py())
        day, month = (second, first) if month_first.any() else (first, second)
        read.add(either, month=month, day=day)
    index = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    values = np.append(read.values, np.datetime64("NaT", "us"))
    zoned = np.append(read.zoned, False)
    wrong = np.append(np.isnat(read.values) & ~blank, False)
    return Instants(values=values[index], wrong=wrong[index], zoned=zoned[index], unclear=unclear)


class _Readings:
    """Instants of texts, filled in pattern by pattern."""

    def __init__(self, count: int) -> None:
        self.values: Datetime64Array = np.full(count, np.datetime64("NaT", "us"))
        self.zoned: BoolArray = np.zeros(count, dtype=np.bool_)

    def add(self, match: Any, **given: Int64Array) -> None:
        """Fill in what a pattern matches.

        Args:
            match: pyarrow array of structs with the pattern's groups, null where it does not match.
            given: Fields that are not groups of the pattern.
        """
        matched = np.asarray(match.is_valid())
        if not matched.any():
            return
        names = [field.name for field in match.type]
        if "name" in names:
            start = pc.utf8_lower(pc.utf8_slice_codeunits(match.field("name"), 0, 3))
            found = pc.index_in(start, pa.array(_MONTHS)).fill_null(-1)
            given = {"month": found.to_numpy(zero_copy_only=False).astype(np.int64) + 1}
        year, month, day = (
            given[name] if name in given else _field(match, name)
            for name in ("year", "month", "day")
        )
        inside = matched & (year >= FIRST_YEAR) & (year <= LAST_YEAR)
        inside &= (month >= 1) & (month <= 12) & (day >= 1)
        months = np.where(inside, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
        days = months.astype("datetime64[D]")
        days += np.where(inside, day - 1, 0).astype("timedelta64[D]")
        inside &= days.astype("datetime64[M]") == months
        hour, minute, second = (_field(match, name) for name in ("hour", "minute", "second"))
        inside &= (hour < 24) & (minute < 60) & (second < 60)
        fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(match.field("fraction"), 6, "0"), 0, 6)
        offset, zoned = _offsets(match.field("zone"))
        seconds = (hour * 60 + minute - offset) * 60 + second
        microseconds = (seconds * 1_000_000 + _integers(fraction)).astype("timedelta64[us]")
        instants = days.astype("datetime64[us]") + microseconds
        self.values[inside] = instants[inside]
        self.zoned |= inside & zoned


def _offsets(zone: Any) -> tuple[Int64Array, BoolArray]:
    """Return minutes east of Greenwich, and where a zone is stated at all."""
    zone = pc.replace_substring(zone, ":", "")
    stated = np.asarray(pc.fill_null(pc.not_equal(zone, ""), False))
    sign = np.where(np.asarray(pc.fill_null(pc.starts_with(zone, "-"), False)), -1, 1)
    digits = pc.replace_substring_regex(zone, r"[^0-9]", "")
    hours = _integers(pc.utf8_slice_codeunits(digits, 0, 2))
    return sign * (hours * 60 + _integers(pc.utf8_slice_codeunits(digits, 2, 4))), stated


def _field(match: Any, name: str) -> Int64Array:
    return _integers(match.field(name))


def _integers(texts: Any) -> Int64Array:
    """Return texts of digits as numbers, 0 where there is none."""
    digits = pc.if_else(pc.fill_null(pc.equal(texts, ""), True), "0", texts)
    numbers: Int64Array = pc.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)
    return numbers
