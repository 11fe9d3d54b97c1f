"""What storing embeddings in fewer bits changes: the values, and the nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

# Queries at a time.
_AT_ONCE = 512


def l2_errors(exact: Vectors, stored: Vectors) -> Floats:
    """Return how far each vector (n, D) is off, as a share of its length: (n,)."""
    exact, stored = exact.astype(np.float64), stored.astype(np.float64)
    errors: Floats = np.linalg.norm(stored - exact, axis=1) / np.linalg.norm(exact, axis=1)
    return errors


def _units(vectors: Vectors) -> Floats:
    # In float32 the rounding of the sums would change the order of neighbours.
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    return units


def nearest(vectors: Vectors, queries: Indices, count: int = 10) -> Indices:
    """Return the vectors with the largest cosine to each query, in no order.

    Args:
        vectors: (n, D).
        queries: Indices of some of them, (q,).
        count: How many, the query itself not counted.

    Returns:
        Indices, (q, count).
    """
    units = _units(vectors)
    parts = []
    for start in range(0, len(queries), _AT_ONCE):
        some = queries[start : start + _AT_ONCE]
        cosines = units[some] @ units.T
        cosines[np.arange(len(some)), some] = -np.inf
        parts.append(np.argpartition(cosines, -count, axis=1)[:, -count:])
    return np.concatenate(parts)


def overlap(first: Indices, other: Indices) -> float:
    """Return the mean share of neighbours (q, count) that two searches have in common."""
    same = (first[:, :, None] == other[:, None, :]).any(axis=2)
    return float(same.mean())


def distances(vectors: Vectors, queries: Indices, neighbours: Indices) -> Floats:
    """Return one minus the cosine of each query (q,) and its neighbours (q, count)."""
    units = _units(vectors)
    # From the difference: one minus a cosine would lose the small distances.
    return np.stack(
        [
            ((units[some] - units[k]) ** 2).sum(axis=1) / 2
            for k, some in zip(queries, neighbours, strict=True)
        ]
    )
