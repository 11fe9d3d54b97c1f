"""Columns of a table of places: which are written beside the embeddings, and with what types."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thor_geo.errors import ConfigError
from thor_geo.ground._dates import times_of_text
from thor_geo.ground._row_faults import ColumnValues, RowFault
from thor_geo.ground.geofile import GeoFile
from thor_geo.support.arrays import AnyArray

if TYPE_CHECKING:
    from thor_geo.ground.places import PlacesSpec

_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?$"
# Columns that a message names.
_NAMED = 30


def column_of(columns: Any, name: str, argument: str) -> Any:
    """Return a column by its name.

    Args:
        columns: pyarrow Table.
        name: Name of the column.
        argument: Name of the argument that gave it, for messages.

    Raises:
        ConfigError: If there is none, or there are several.
    """
    names = columns.column_names
    if names.count(name) > 1:
        raise ConfigError(
            argument, name, f"{names.count(name)} columns have this name", "Rename all but one."
        )
    if name in names:
        return columns.column(name)
    lower = {column.lower(): column for column in names}
    near = difflib.get_close_matches(name.lower(), list(lower), n=1)
    shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    raise ConfigError(
        argument,
        name,
        "the table has no such column",
        (f"Did you mean `{lower[near[0]]}`? " if near else "")
        + (f"It has {shown}." if names else "It has no columns beside the geometry."),
    )


def kept_columns(
    spec: PlacesSpec, source: GeoFile, columns: Any, reserved: Sequence[str], *, text: bool
) -> Any:
    """Return the column of ids, if there is one, and the columns to keep, as outputs have them.

    Args:
        spec: What the user says about the table.
        source: Its file, for messages.
        columns: pyarrow Table with all its columns.
        reserved: Names that outputs have of their own.
        text: Whether the file is one of text, whose columns have no types.

    Raises:
        ConfigError: If a column is missing, has a reserved name, or a type that cannot be kept.
    """
    names = columns.column_names if spec.keep is None else spec.keep
    names = [name for name in names if name != spec.id]
    if spec.id is not None:
        column_of(columns, spec.id, "data.places.id")
        if spec.id in reserved and spec.id != "id":
            raise ConfigError(
                "data.places.id",
                spec.id,
                "outputs have a column of this name",
                "Rename it in the table.",
            )
    for name in names:
        column_of(columns, name, "data.places.keep")
    if taken := [name for name in names if name in reserved]:
        one = len(taken) == 1
        them, columns_of = ("it", "a column") if one else ("them", "columns")
        *others, last = taken
        raise ConfigError(
            "data.places.keep",
            taken[0] if spec.keep is None else spec.keep,
            f"outputs have {columns_of} of their own called {', '.join(others)}"
            f"{' and ' if others else ''}{last}",
            (
                "If `id` is the id of each place, give `data.places.id: id`. "
                if "id" in taken
                else ""
            )
            + f"Rename {them}, or name the columns to keep without {them}.",
        )
    names = [spec.id, *names] if spec.id is not None else names
    chosen = [columns.column(name) for name in names]
    refused = {
        name: str(column.type)
        for name, column in zip(names, chosen, strict=True)
        if not _is_plain(column.type)
    }
    if refused:
        shown = ", ".join(f"{name} ({kind[:40]})" for name, kind in refused.items())
        raise ConfigError(
            "data.places.keep",
            next(iter(refused)),
            f"{source.path} has columns that cannot stand beside embeddings: {shown}",
            "Take them apart into plain columns, or name the columns to keep without them.",
        )
    return pa.table([_output_column(column, text) for column in chosen], names=names)


def id_faults(spec: PlacesSpec, columns: Any) -> list[RowFault]:
    """Return which rows have no id, or one that an earlier row has.

    Args:
        spec: What the user says about the table.
        columns: pyarrow Table with the column of ids.

    Raises:
        ConfigError: If most ids repeat, so that the column is none of ids.
    """
    if spec.id is None:
        return []
    column = columns.column(spec.id)
    faults = []
    missing = np.asarray(pc.is_null(column, nan_is_null=True))
    codes = column.combine_chunks().dictionary_encode().indices
    codes = codes.fill_null(-1).to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    repeated = np.ones(len(codes), dtype=np.bool_)
    repeated[first] = False
    repeated &= ~missing
    if missing.any():
        faults.append(
            RowFault(
                argument="data.places.id",
                value=spec.id,
                problem="no id",
                rows=np.flatnonzero(missing),
                remedy="Fill in what is missing, or remove the rows.",
            )
        )
    rows = np.flatnonzero(repeated)
    if len(rows):
        fault = RowFault(
            argument="data.places.id",
            value=spec.id,
            problem="an id that an earlier row has",
            rows=rows,
            values=ColumnValues(column, rows),
            remedy="Give each row its own, or leave data.places.id out: rows then go by their "
            "number.",
        )
        if 2 * len(rows) > len(column):
            raise ConfigError(
                fault.argument,
                spec.id,
                f"it holds no ids: {len(rows):,} of {len(column):,} rows repeat one, such as "
                f"{fault.values[0] if fault.values else ''}",
                fault.remedy,
            )
        faults.append(fault)
    return faults


def column_digest(column: Any) -> str:
    """Return the SHA-256 of a column's type, values and nulls.

    It is the same for all files that hold the same, however they store it.

    Args:
        column: pyarrow chunked array of a plain type.
    """
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    digest = hashlib.sha256(f"{column.type} {len(column)} ".encode())
    digest.update(np.packbits(np.asarray(column.is_valid(), dtype=np.bool_)).tobytes())
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        wide = column.cast(pa.large_binary()).fill_null(b"")
        lengths = pc.binary_length(wide).to_numpy(zero_copy_only=False)
        digest.update(lengths.astype("<i8").tobytes())
        ends = np.frombuffer(wide.buffers()[1], dtype=np.int64)[wide.offset :][[0, len(wide)]]
        if (data := wide.buffers()[2]) is not None:
            digest.update(memoryview(data)[ends[0] : ends[1]])
    elif pa.types.is_boolean(kind):
        digest.update(np.asarray(column.fill_null(False), dtype=np.uint8).tobytes())
    elif pa.types.is_primitive(kind):
        bits = pa.uint64() if kind.bit_width == 64 else pa.uint32()
        if kind.bit_width < 32:
            bits = pa.uint16() if kind.bit_width == 16 else pa.uint8()
        digest.update(column.view(bits).fill_null(0).to_numpy(zero_copy_only=False).tobytes())
    else:  # decimals
        digest.update("\n".join(map(str, column.to_pylist())).encode())
    return digest.hexdigest()


def array_digest(*arrays: AnyArray) -> str:
    """Return the SHA-256 of arrays, with their types.

    Args:
        arrays: NumPy arrays of numbers or times.
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        # NaN and NaT have one pattern of bits each.
        same = np.where(np.isnan(array), np.full((), np.nan, array.dtype), array)
        digest.update(np.ascontiguousarray(same).tobytes())
    return digest.hexdigest()


def _is_plain(kind: Any) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return False
    types = pa.types
    return bool(
        types.is_null(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_date(kind)
        or types.is_time(kind)
        or types.is_timestamp(kind)
    )


def _output_column(column: Any, text: bool) -> Any:
    """Return a column with a type that Parquet keeps; that of a text file with one of its own."""
    kind = column.type
    if text and pa.types.is_string(kind):
        return _typed_text(column)
    if pa.types.is_null(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_large_binary(kind):
        return pc.cast(column, pa.binary())
    if pa.types.is_date64(kind):
        return pc.cast(column, pa.date32())
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pc.cast(column, pa.timestamp("ms", kind.tz))
    if pa.types.is_time32(kind) and kind.unit == "s":
        return pc.cast(column, pa.time32("ms"))
    return column


def _typed_text(column: Any) -> Any:
    """Return text as truth values, dates or times, if all of it is; numbers are numbers already."""
    bare = pc.utf8_trim_whitespace(column)
    bare = pc.if_else(pc.equal(bare, ""), None, bare)
    if bare.null_count == len(bare):
        return column
    if _all(bare, _BOOLEAN):
        return pc.equal(pc.utf8_lower(bare), "true")
    if _all(bare, _DATE):
        try:
            return pc.cast(bare, pa.date32())
        except pa.ArrowInvalid:  # 2021-02-30
            return column
    if _all(bare, _TIME):
        times = times_of_text(bare)
        return times if pa.types.is_timestamp(times.type) else column
    return column


def _all(texts: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())
