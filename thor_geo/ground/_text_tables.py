"""Tables of text: CSV and its relatives, as spreadsheets and statistics programs write them."""

from __future__ import annotations

import codecs
import csv
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from thor_geo.errors import first_line

if TYPE_CHECKING:
    from thor_geo.ground.geofile import GeoFile

_SEPARATORS = (",", ";", "\t", "|")
# The first line by which spreadsheets tell each other the separator.
_STATED = re.compile(r'"?sep=(.)"?', re.I)
_NEWLINE, _RETURN = re.compile(r"\r\n?"), re.compile(r"\r(?!\n)")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WHOLE = r"^[+-]?\d+$"
_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
# 007 is a code, and float64 holds 15 digits of any whole number.
_CODE, _LONG_CODE = r"^[+-]?0\d+$", r"^[+-]?\d{16,}$"


def parse_text(source: GeoFile, content: bytes) -> pa.Table:
    """Return a table of text, its columns with types of their own.

    Whichever of comma, semicolon, tab and bar is most frequent in the header separates columns, or
    what a line ``sep=;`` before it says.
    Blanks around names and before values do not count. Where commas do not separate columns, they
    may be decimal. Columns in which all texts are numbers are int64 or float64.

    Args:
        source: The file, for messages.
        content: Its bytes: UTF-8, or UTF-16 with a byte-order mark.

    Raises:
        ConfigError: If it is not such a table, or a row is longer than the header.
    """
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise source.refusal(
            f"not readable: it is not {encoding.upper()} text ({first_line(error)})",
            "Save it as UTF-8 ('CSV UTF-8' in a spreadsheet, or iconv -f WINDOWS-1252 -t UTF-8).",
        ) from error
    # Where lines end as on old Macs, pandas 3.1 loses the row after a blank line.
    if _RETURN.search(text):
        text = _NEWLINE.sub("\n", text)
    separator, start = _separator(text)
    try:
        frame = _parse(text[start:], separator)
        names = _names(text[start:], separator, frame.columns)
    except pd.errors.ParserWarning as error:
        raise source.refusal(
            "not readable: its rows have more values than its header has names",
            "Give each value a column. Decimal commas need semicolons between columns.",
        ) from error
    except ValueError as error:  # pandas' own classes among them
        raise source.refusal(
            f"not readable ({first_line(error)})",
            "Give a table with a header and a row for each place.",
        ) from error
    del text
    table = pa.Table.from_pandas(frame, preserve_index=False)
    del frame
    columns = []
    for k in range(table.num_columns):
        texts = table.column(k).cast(pa.string())
        columns.append(_typed(texts, decimal_comma=separator != ","))
    return pa.table(columns, names=names)


def text_lines(content: bytes) -> Callable[[Sequence[int]], dict[int, int]]:
    """Return a function from rows of such a table, from 0, to lines of its file, from 1.

    Args:
        content: The file's bytes.
    """

    def lines(rows: Sequence[int]) -> dict[int, int]:
        text = _NEWLINE.sub("\n", content.decode(_encoding(content)))
        separator, start = _separator(text)
        found: dict[int, int] = {}
        before, row = text.count("\n", 0, start), -1  # the header
        reader = csv.reader(StringIO(text[start:]), delimiter=separator, skipinitialspace=True)
        limit = csv.field_size_limit(sys.maxsize)  # outlines are long
        try:
            line = 1
            for values in reader:
                # Lines without a value are no rows, for pandas.
                if len(values) > 1 or "".join(values).strip():
                    if row in rows:
                        found[row] = before + line
                    row += 1
                line = reader.line_num + 1
                if len(found) == len(rows):
                    break
        finally:
            csv.field_size_limit(limit)
        return found

    return lines


def numbers_in(texts: Any, *, decimal_comma: bool = False) -> tuple[Any, Any]:
    """Return texts as float64, null where they are blank or no number, and which are none.

    Args:
        texts: pyarrow array or chunked array of strings.
        decimal_comma: Whether commas are decimal.
    """
    bare = _bare(texts, decimal_comma)
    is_number = pc.match_substring_regex(bare, _NUMBER)
    numbers = pc.cast(pc.if_else(is_number, bare, None), pa.float64())
    return numbers, pc.fill_null(pc.invert(is_number), False)


def _encoding(content: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")


def _separator(text: str) -> tuple[str, int]:
    """Return what separates columns, and where the header begins."""
    blank = len(text) - len(text.lstrip())
    end = text.find("\n", blank)
    end = len(text) if end < 0 else end
    first = text[blank:end]
    if stated := _STATED.fullmatch(first.strip("\r\n ")):
        return stated[1], end + 1
    return max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", first).count), 0


def _parse(text: str, separator: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Longer rows than the header would lose their ends, or move by a column.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            StringIO(text), sep=separator, dtype=str, skipinitialspace=True, index_col=False
        )


def _names(text: str, separator: str, numbered: Iterable[str]) -> list[str]:
    """Return the header's names, and pandas' own for columns without one.

    pandas numbers columns of the same name: the first would be taken for the only one.
    """
    reader = csv.reader(StringIO(text), delimiter=separator, skipinitialspace=True)
    header = next(values for values in reader if len(values) > 1 or "".join(values).strip())
    return [
        name.strip() or str(other).strip() for name, other in zip(header, numbered, strict=True)
    ]


def _bare(texts: Any, decimal_comma: bool) -> Any:
    """Return texts as Arrow reads numbers; null where blank."""
    bare = pc.utf8_trim_whitespace(texts)
    if decimal_comma:
        bare = pc.replace_substring(bare, ",", ".")
    bare = pc.replace_substring_regex(bare, r"^\+", "")
    return pc.if_else(pc.equal(bare, ""), None, bare)


def _typed(texts: Any, decimal_comma: bool) -> Any:
    """Return a column of text as numbers, if all its texts are and none loses a digit by it."""
    bare = _bare(texts, decimal_comma)
    if bare.null_count == len(bare) or _any(bare, _CODE):
        return texts
    if _all(bare, _WHOLE):
        try:
            return pc.cast(bare, pa.int64())
        except pa.ArrowInvalid:
            return texts
    if not _all(bare, _NUMBER) or _any(bare, _LONG_CODE):
        return texts
    return pc.cast(bare, pa.float64())


def _all(texts: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _any(texts: Any, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())
