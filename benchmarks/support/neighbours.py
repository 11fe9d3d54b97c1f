"""What storing embeddings in fewer bits changes: the values, and who is whose neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.floating[Any]]

#: Neighbours that are looked at.
NEIGHBOURS = 10
# Queries at a time.
_AT_ONCE = 512


def l2_errors(exact: Vectors, stored: Vectors) -> npt.NDArray[np.float64]:
    """Return how far each vector is off, as a share of its length.

    Args:
        exact: (n, D).
        stored: (n, D), what was read back.

    Returns:
        (n,).
    """
    exact, stored = exact.astype(np.float64), stored.astype(np.float64)
    errors: npt.NDArray[np.float64] = np.linalg.norm(stored - exact, axis=1)
    return errors / np.linalg.norm(exact, axis=1)


def nearest(
    vectors: Vectors, queries: npt.NDArray[np.intp], count: int = NEIGHBOURS
) -> npt.NDArray[np.intp]:
    """Return the vectors with the largest cosine to each query, itself left out, in no order.

    Computed in float64: in float32 the sums' own rounding would change the order.

    Args:
        vectors: (n, D).
        queries: Indices of some of them, (q,).
        count: How many.

    Returns:
        Indices, (q, count).
    """
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    found = []
    for start in range(0, len(queries), _AT_ONCE):
        some = queries[start : start + _AT_ONCE]
        cosines = units[some] @ units.T
        cosines[np.arange(len(some)), some] = -np.inf
        found.append(np.argpartition(cosines, -count, axis=1)[:, -count:])
    return np.concatenate(found)


def overlap(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> float:
    """Return the mean share of neighbours that two searches have in common.

    Args:
        one: From `nearest`, (q, count).
        other: Likewise, for the same queries.
    """
    same = (one[:, :, None] == other[:, None, :]).any(axis=2)
    return float(same.mean())


def distances(
    vectors: Vectors, queries: npt.NDArray[np.intp], found: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Return one minus the cosine of each query and what was found for it.

    Args:
        vectors: (n, D), exact.
        queries: Indices of some of them, (q,).
        found: Indices of others, (q, count).

    Returns:
        (q, count).
    """
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    # From the difference: one minus a cosine would lose the small distances.
    return np.stack(
        [
            ((units[some] - units[k]) ** 2).sum(axis=1) / 2
            for k, some in zip(queries, found, strict=True)
        ]
    )
