"""Checking columns of vectors, and for int8 their scales."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.checks.faults import FaultKind
from thor_geo.runs.quantise import NODATA, is_scale, is_scale_of
from thor_geo.runs.vectors import CENTRE, EMBEDDING, SCALES

if TYPE_CHECKING:
    import pyarrow as pa

#: The condition for codes to fit their scale.
OWN_SCALE = "the largest code must be 127 or -127; 0 where the scale is 0"
# What vectors of a column are called.
_NAMES = {EMBEDDING: "embeddings", CENTRE: "centres"}


def vector_problems(
    table: pa.Table, column: str, null: npt.NDArray[np.bool_], dimension: int | None
) -> Iterator[tuple[FaultKind, str]]:
    """Check the elements of the vectors, and the scales of int8.

    Args:
        table: The rows.
        column: `EMBEDDING` or `CENTRE`.
        null: Which of them have no vector.
        dimension: D; None for that of the first vector.
    """
    vectors = table[column].combine_chunks().drop_null()
    lengths = vectors.value_lengths().to_numpy(zero_copy_only=False)
    length = dimension or (int(lengths[0]) if len(lengths) else 1)
    if (wrong := int((lengths != length).sum())) > 0:
        yield "values", f"{wrong} {_NAMES[column]} do not have {length} elements"
        return
    coded = SCALES[column] in table.column_names
    # Nulls among floats become NaN; among integers they would turn all values into floats.
    elements = vectors.flatten().fill_null(NODATA) if coded else vectors.flatten()
    numbers = elements.to_numpy(zero_copy_only=False).reshape(-1, length)
    whole = (numbers != NODATA if coded else np.isfinite(numbers)).all(axis=1)
    if not whole.all():
        invalid = NODATA if coded else "NaN, infinity"
        yield "values", f"{int((~whole).sum())} {_NAMES[column]} hold {invalid} or null"
    if coded:
        yield from _scales(table, column, null, numbers, whole)


def _scales(
    table: pa.Table,
    column: str,
    null: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int8],
    whole: npt.NDArray[np.bool_],
) -> Iterator[tuple[FaultKind, str]]:
    """Check that every int8 vector has a scale that fits it, and that no other row has one.

    Args:
        table: The rows.
        column: `EMBEDDING` or `CENTRE`.
        null: Which rows have no vector.
        codes: (n, D), the vectors of the others.
        whole: (n,), which of them are complete.
    """
    scales = table[SCALES[column]].combine_chunks()
    numbers = scales.drop_null().to_numpy(zero_copy_only=False)
    good = is_scale(numbers)
    if not good.all():
        yield "values", f"{int((~good).sum())} scales are negative, NaN or too large"
    if not np.array_equal(scales.is_null().to_numpy(zero_copy_only=False), null):
        yield "values", f"`{SCALES[column]}` is null elsewhere than `{column}`"
        return
    largest = np.abs(codes.astype(np.int16)).max(axis=1)
    wrong = int((whole & good & ~is_scale_of(largest, numbers)).sum())
    if wrong:
        yield "values", f"{wrong} {_NAMES[column]} do not match their scales ({OWN_SCALE})"
