"""Vectors in columns of Parquet files: lists of one length, and what the footer says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.runs.conventions import FOOTER_KEY, EmbeddingFacts
from thor_geo.runs.shard import Dtype
from thor_geo.support.arrays import BoolArray
from thor_geo.support.jsontext import canonical_json, parse_json

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of vectors: of the whole tile, and of the cell that holds a place.
EMBEDDING, CENTRE = "embedding", "centre"
#: By column of vectors: the column of their scales, for int8.
SCALES = {EMBEDDING: "scale", CENTRE: "centre_scale"}
#: Keys of the footer that say how long vectors are, as ``dimensions``.
_KEYS = {EMBEDDING: FOOTER_KEY, CENTRE: CENTRE}


def vector_facts(metadata: str, plan: Plan, dimension: int, dtype: Dtype) -> bytes:
    """Return what the footer says about the embeddings, as JSON.

    Args:
        metadata: `RunDirectory.metadata`.
        plan: The plan.
        dimension: D, the length of an embedding.
        dtype: Type of the embedding's elements.

    Raises:
        ValueError: If *metadata* is not JSON.
    """
    lattice = plan.lattices[0]
    facts = EmbeddingFacts.from_metadata(
        metadata,
        dimensions=dimension,
        dtype=dtype,
        gsd=lattice.resolution,
        side=lattice.tile_size,
        stride=None if isinstance(plan, PlacePlan) else lattice.step,
    )
    return canonical_json(facts.geoemb())


def centre_facts(dimension: int) -> bytes:
    """Return what the footer says about the vectors in `CENTRE`, as JSON.

    Args:
        dimension: D', their length.
    """
    return canonical_json({"dimensions": dimension})


def vector_length(schema: pa.Schema, column: str = EMBEDDING) -> int:
    """Return the length of a vector, as the footer of a pooled file states it.

    Args:
        schema: Schema of the file, with its metadata.
        column: `EMBEDDING` or `CENTRE`.

    Raises:
        ValueError: If it states no such number.
    """
    key = _KEYS[column]
    try:
        length = parse_json((schema.metadata or {})[key.encode()])["dimensions"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the footer's `{key}` is missing or damaged") from error
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"the footer's `{key}` has dimensions {length!r:.50}")
    return length


def as_column(values: Any, kind: pa.DataType) -> pa.Array:
    """Return values as one Arrow array of a type.

    Args:
        values: An array of Arrow or NumPy, a column in one chunk, or a list.
        kind: The type.
    """
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        return pa.array(values, kind)
    return values if values.type == kind else values.cast(kind)


def vector_column(values: npt.NDArray[Any], null: BoolArray) -> pa.ListArray:
    """Return vectors as a column.

    Args:
        values: (n, D).
        null: Which of them are null, (n,).
    """
    import pyarrow as pa

    ends = np.cumsum(~null, dtype=np.int64) * values.shape[1]
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(values[~null].ravel()), mask=pa.array(null)
    )


def stack_vectors(column: pa.Array, length: int) -> npt.NDArray[Any]:
    """Return the embeddings of the rows that have one, (m, D), with the column's type.

    Args:
        column: `embedding` in one piece.
        length: D.

    Raises:
        ValueError: If a row has another length, or an integer in it is null.
    """
    import pyarrow as pa

    rows = column.drop_null()
    lengths = rows.value_lengths().unique().to_pylist()
    if lengths not in ([], [length]):
        raise ValueError(f"embeddings of {length} elements have a length of {lengths!s:.100}")
    elements = rows.flatten()
    if elements.null_count and pa.types.is_integer(elements.type):
        raise ValueError(f"{elements.null_count} codes of embeddings are null")
    # Nulls among floats become NaN.
    values: npt.NDArray[Any] = elements.to_numpy(zero_copy_only=False)
    return values.reshape(-1, length)
