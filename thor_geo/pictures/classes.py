"""Classes of places: the values of a column of the table, counted and coloured."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array, UInt8Array

if TYPE_CHECKING:
    import pyarrow as pa

#: A column is one of classes by itself if it has from two to so many different values.
FEW = 20
#: Classes with a colour of their own; the rest of the places share one.
MOST = 12
# Ranges that numbers of many different values are cut into, with equally many places in each.
_RANGES = 6
#: Colours of the classes, the most frequent first: Okabe and Ito's (jfly.uni-koeln.de/color), which
#: colour-blind readers tell apart, then those of Paul Tol's "muted" that differ from them most.
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"),
    *("#882255", "#999933", "#332288", "#f0e442", "#44aa99", "#aa4499"),
)
#: Colours of all other classes together, and of places without a value.
OTHER, NO_VALUE = "#8a949e", "#c9d1d8"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceClasses:
    """A column of a table as classes, the most frequent first.

    Attributes:
        column: Name of the column.
        names: The classes in words, at most `MOST`, and then "other" and "no value", where there
            are such places.
        colours: A colour for each, "#rrggbb".
        codes: Index of each place's class, (N,) int64.
        counts: Places of each class, (len(names),) int64.
    """

    column: str
    names: tuple[str, ...]
    colours: tuple[str, ...]
    codes: Int64Array
    counts: Int64Array

    @classmethod
    def of(cls, name: str, values: pa.ChunkedArray) -> PlaceClasses:
        """Return the classes of a column.

        Numbers with more than `FEW` different values become ranges.

        Args:
            name: Name of the column.
            values: Its values, of any flat type.
        """
        labels, codes = _labels(values)
        counts = np.bincount(codes[codes >= 0], minlength=len(labels))
        order = np.argsort(-counts, kind="stable")
        shown = order[: MOST if len(order) > MOST else len(order)]
        rest, none = len(shown), len(shown) + (len(order) > len(shown))
        new = np.full(len(labels) + 1, rest)
        new[shown] = np.arange(len(shown))
        new[-1] = none
        names = [labels[k] for k in shown.tolist()]
        colours = list(COLOURS[: len(shown)])
        if none > rest:
            names.append(f"{len(order) - len(shown):,} other values")
            colours.append(OTHER)
        if (codes < 0).any():
            names.append("no value")
            colours.append(NO_VALUE)
        coded = new[codes].astype(np.int64)
        return cls(
            column=name,
            names=tuple(names),
            colours=tuple(colours),
            codes=coded,
            counts=np.bincount(coded, minlength=len(names)),
        )

    def palette(self) -> UInt8Array:
        """Return the colours as (len(names), 3) uint8."""
        return np.array(
            [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in self.colours], np.uint8
        ).reshape(-1, 3)

    def means(self, values: Float64Array, chosen: BoolArray) -> Float64Array:
        """Return the mean of values over each class, (len(names), k), 0 for a class without any.

        Args:
            values: A value for each chosen place, (n, k).
            chosen: Which places have one, (N,).
        """
        size = len(self.names)
        sums = [np.bincount(self.codes[chosen], weights=each, minlength=size) for each in values.T]
        counts = np.bincount(self.codes[chosen], minlength=size)
        means: Float64Array = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        return means


def first_with_classes(table: pa.Table, columns: Iterable[str]) -> str | None:
    """Return the first column of a table with few different values; None if there is none.

    Words, and yes or no, come before whole numbers and days, which may be no classes; numbers with
    a fractional part never are.

    Args:
        table: The table.
        columns: Names to choose from, in order.
    """
    import pyarrow as pa

    words, numbers = [], []
    for name in columns:
        kind = table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
            words.append(name)
        elif pa.types.is_integer(kind) or pa.types.is_date(kind):
            numbers.append(name)
    few = (n for n in words + numbers if 2 <= len(_plain(table[n]).unique().drop_null()) <= FEW)
    return next(few, None)


def _plain(values: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, without a dictionary."""
    import pyarrow as pa

    whole = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _labels(values: pa.ChunkedArray) -> tuple[list[str], Int64Array]:
    """Return the different values in words, and the index of each place's value, -1 for null."""
    import pyarrow as pa

    whole = _plain(values)
    encoded = whole.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    numeric = pa.types.is_floating(whole.type) or pa.types.is_integer(whole.type)
    if numeric and len(encoded.dictionary) > FEW:
        return _ranges(whole.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    return [_words(value) for value in encoded.dictionary.to_pylist()], codes


def _ranges(numbers: Float64Array) -> tuple[list[str], Int64Array]:
    finite = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[finite], np.linspace(0, 1, _RANGES + 1)))
    codes = np.full(len(numbers), -1, dtype=np.int64)
    codes[finite] = np.clip(
        np.searchsorted(edges, numbers[finite], side="right") - 1, 0, max(len(edges) - 2, 0)
    )
    if len(edges) == 1:
        return [f"{edges[0]:.4g}"], codes
    return [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)], codes


def _words(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
