"""Which columns of somebody's table hold its vectors, and their values."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.ground.geofile import GeoFile
from thor_geo.runs.vectors import CENTRE, EMBEDDING, SCALES
from thor_geo.support.arrays import BoolArray, Float32Array, Int64Array
from thor_geo.support.words import rows_text

if TYPE_CHECKING:
    import pyarrow as pa

# Names of columns that hold a whole vector: ours, Clay's, Earth Index's, Major TOM's, Planet's.
_NAMES = ("embedding", "embeddings", "vector", "vectors", "emb")
_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)")
# With fewer values a list or series of columns is more likely something else: a transform, three
# answers, two dates. Such a one is taken only where nothing else is there.
_USUAL = 8
_LIST = re.compile(r"\s*\[")
# NumPy writes long arrays so.
_CUT = "..."
_CANDIDATES = 8
# Columns of a table that say where its rows are.
_POSITIONS = ("lon", "lat", "longitude", "latitude", "x", "y")
#: Why a row has no vector, for people, by the keys of `TableVectors.left_out`.
REASONS = {
    "null": "without a vector (null or NaN)",
    "not_finite": "with some NaN or infinite values",
    "constant": "with one value throughout",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class TableVectors:
    """The vectors of a table of R rows.

    Attributes:
        words: Which columns hold them, for people.
        values: (R, D); meaningless where `usable` is false.
        usable: Which rows have a vector, (R,).
        left_out: Number of the other rows by reason, the keys of `REASONS`.
        doubt: What speaks against these columns; may be empty.
    """

    words: str
    values: Float32Array
    usable: BoolArray
    left_out: dict[str, int]
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """Columns that may be vectors: one with lists, or several with a number each."""

    columns: tuple[str, ...]
    length: int
    missing: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        if len(self.columns) == 1:
            return f"column {self.columns[0]}"
        return f"columns {self.columns[0]} to {self.columns[-1]}"


def table_vectors(source: GeoFile, table: pa.Table) -> TableVectors:
    """Return the vectors of a table.

    They stand in one column of lists of numbers, or of text that writes such lists as JSON or NumPy
    do; or in columns that are numbered from 0 or 1 without a gap. A column called `embedding`,
    `embeddings`, `vector`, `vectors` or `emb` goes before all others.

    Vectors that are null, hold a NaN or an infinite value, or the same value throughout (zeros, the
    fill value of a raster) are none.

    Args:
        source: The file, for messages.
        table: Its columns.

    Raises:
        ConfigError: If no column, or more than one, may hold them; if they differ in length; if no
            row has one, or all have the same.
    """
    chosen = _choose(source, table)
    names = chosen.columns
    if len(names) > 1:
        values = np.stack([_numbers(table[name]) for name in names], axis=1)
        null = np.isnan(values).all(axis=1)
    else:
        values, null = _listed(source, names[0], table[names[0]])
        values = _scaled(table, names[0], values)
    finite = np.isfinite(values).all(axis=1)
    varied = (values != values[:, :1]).any(axis=1)
    usable: BoolArray = ~null & finite & varied
    left_out = {
        "null": int(null.sum()),
        "not_finite": int((~null & ~finite).sum()),
        "constant": int((~null & finite & ~varied).sum()),
    }
    if not usable.any():
        reasons = ", ".join(f"{n:,} {REASONS[key]}" for key, n in left_out.items() if n)
        raise source.refusal(
            f"none of its {len(table):,} rows has a vector in {chosen.words} ({reasons})",
            "Give rows with finite vectors.",
        )
    first = values[usable.argmax()]
    if usable.sum() > 1 and (values[usable] == first).all():
        raise source.refusal(
            f"all its {usable.sum():,} vectors are the same", "Give vectors that differ by place."
        )
    return TableVectors(
        words=chosen.words,
        values=values,
        usable=usable,
        left_out=left_out,
        doubt=_doubt(chosen, table),
    )


def _doubt(chosen: _Candidate, table: pa.Table) -> str:
    """Return what speaks against a short series of columns: numbers in others beside it."""
    if chosen.length >= _USUAL or chosen.columns[0].lower() in _NAMES:
        return ""
    others = [
        field.name
        for field in table.schema
        if _is_number(field.type)
        and field.name not in chosen.columns
        and field.name.lower() not in _POSITIONS
    ]
    if not others:
        return ""
    more = f" and {len(others) - _CANDIDATES:,} more" if len(others) > _CANDIDATES else ""
    return (
        f"{chosen.words} ({chosen.length} values), not {', '.join(others[:_CANDIDATES])}{more}: "
        "other columns belong to a vector if they are numbered with it (f0, f1, f2 and so on)"
    )


def _choose(source: GeoFile, table: pa.Table) -> _Candidate:
    """Return the columns that hold the vectors."""
    found = [*_list_columns(table), *_numbered_columns(table)]
    named = [each for each in found if each.columns[0].lower() in _NAMES]
    usual = [each for each in found if each.length >= _USUAL]
    fitting = named or usual or found
    if not fitting:
        raise source.refusal(
            "it holds no vectors: no column of lists of numbers, and no columns numbered from 0 or "
            f"1 among {', '.join(table.column_names[:20])}"
            + (", ..." if table.num_columns > 20 else ""),
            "Name the column `embedding`, or its values f0, f1, f2 and so on.",
        )
    if len(fitting) > 1:
        shown = "; ".join(f"{c.words} ({c.length:,} values)" for c in fitting[:_CANDIDATES])
        raise source.refusal(
            f"several of its columns may be the vectors: {shown}"
            + ("; ..." if len(fitting) > _CANDIDATES else ""),
            "Leave one of them in the file, or call it `embedding`.",
        )
    (chosen,) = fitting
    if chosen.missing:
        raise source.refusal(
            f"{', '.join(chosen.missing[:5])}{', ...' if len(chosen.missing) > 5 else ''} missing "
            f"among its {chosen.words}",
            "Give the whole vectors.",
        )
    return chosen


def _list_columns(table: pa.Table) -> list[_Candidate]:
    import pyarrow as pa

    found = []
    for name, field in zip(table.column_names, table.schema, strict=True):
        column, kind = table.column(table.column_names.index(name)), field.type
        if _is_list(kind):
            if _is_number(kind.value_type):
                present = column.drop_null()
                length = len(present[0]) if len(present) else 0
                found.append(_Candidate(columns=(name,), length=length))
        elif pa.types.is_string(kind):
            present = column.drop_null()
            first = present[0].as_py() if len(present) else ""
            if _LIST.match(first):
                values = len(first.split("," if "," in first else None))
                found.append(_Candidate(columns=(name,), length=values))
    return found


def _numbered_columns(table: pa.Table) -> list[_Candidate]:
    series: dict[str, dict[int, str]] = {}
    for field in table.schema:
        match = _NUMBERED.fullmatch(field.name)
        if match and _is_number(field.type):
            series.setdefault(match["prefix"], {})[int(match["number"])] = field.name
    found = []
    for prefix, by_number in series.items():
        first, last = min(by_number), max(by_number)
        span = last - first + 1
        # Other series count years, or are a few columns that happen to end in digits.
        if first > 1 or len(by_number) < 2 or len(by_number) < span / 2:
            continue
        digits = len(by_number[first]) - len(prefix)
        missing = [f"{prefix}{k:0{digits}}" for k in range(first, last) if k not in by_number]
        if missing and len(by_number) < _USUAL:
            continue
        found.append(
            _Candidate(
                columns=tuple(by_number[k] for k in sorted(by_number)),
                length=len(by_number),
                missing=tuple(missing),
            )
        )
    return found


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    kinds = pa.types
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(column: pa.ChunkedArray) -> Float32Array:
    """Return a column of numbers, NaN where it is null, (R,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    floats = pc.cast(column, pa.float64(), safe=False).to_numpy()
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and counted
        return np.asarray(floats, dtype=np.float32)


def _listed(source: GeoFile, name: str, column: pa.ChunkedArray) -> tuple[Float32Array, BoolArray]:
    """Return the vectors of a column of lists, (R, D), and which rows have none, (R,)."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        column = _parsed(source, name, column)
    rows = column.combine_chunks()
    null = ~rows.is_valid().to_numpy(zero_copy_only=False)
    present = np.flatnonzero(~null)
    lengths: Int64Array = (
        rows.drop_null().value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        if len(present)
        else np.zeros(0, dtype=np.int64)
    )
    usual = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    other = lengths != usual
    if other.any():
        where: Sequence[int] = present[other].tolist()
        raise source.refusal(
            f"`{name}` has vectors of {usual:,} values, and others in "
            f"{rows_text(where, dict(zip(where, lengths[other].tolist(), strict=True)))}",
            "Give vectors of one length.",
        )
    values = np.full((len(rows), usual), np.nan, dtype=np.float32)
    values[present] = _numbers(rows.drop_null().flatten()).reshape(-1, usual)
    return values, null


def _parsed(source: GeoFile, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists that were written as text."""
    import pyarrow as pa

    texts = column.to_pylist()
    lists = [_written_list(text) if text else None for text in texts]
    wrong = [k for k, text in enumerate(texts) if text and lists[k] is None]
    if wrong:
        cut = any(_CUT in texts[k] or not texts[k].rstrip().endswith("]") for k in wrong)
        raise source.refusal(
            f"`{name}` is not a list of numbers in "
            f"{rows_text(wrong, {k: texts[k][:40] for k in wrong})}",
            "It was cut when it was written as text (NumPy leaves values out, and shapefiles end "
            "after 254 characters): write it again, as Parquet or with a column for each."
            if cut
            else "Give lists as [0.1, 0.2], or a column for each value.",
        )
    return pa.chunked_array([pa.array(lists, pa.list_(pa.float64()))])


def _written_list(text: str) -> list[float] | None:
    """Return the numbers of a list as text, as JSON or NumPy write it; None if it is none."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    body = text[1:-1]
    try:
        if "," in body:
            numbers = json.loads(f"[{body}]")
            return [np.nan if v is None else float(v) for v in numbers]
        return [float(part) for part in body.split()]
    except (ValueError, TypeError):
        return None


def _scaled(table: pa.Table, name: str, values: Float32Array) -> Float32Array:
    """Return our own int8 codes times their scales, and all other vectors as they are."""
    import pyarrow as pa

    scale = SCALES.get(name) if name in (EMBEDDING, CENTRE) else None
    kind = table.schema.field(name).type
    if scale in table.column_names and _is_list(kind) and pa.types.is_int8(kind.value_type):
        return values * _numbers(table[scale])[:, None]
    return values
