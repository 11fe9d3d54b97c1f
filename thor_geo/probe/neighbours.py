"""kNN by products of matrices."""

from __future__ import annotations

import numpy as np

from thor_geo.support.arrays import AnyArray, Float32Array, Int64Array

# Distances that are held at a time.
_DISTANCES = 1 << 21


def nearest_rows(known: Float32Array, asked: Float32Array, k: int) -> Int64Array:
    """Return the *k* rows nearest to others by Euclidean distance, in no order, (M, k).

    Args:
        known: (N, D).
        asked: (M, D).
        k: At most N.
    """
    if k == len(known):
        return np.tile(np.arange(k), (len(asked), 1))
    squares = np.einsum("nd,nd->n", known, known)
    step = max(_DISTANCES // len(known), 1)
    rows = [np.empty((0, k), dtype=np.int64)]
    for begin in range(0, len(asked), step):
        # Without the square of the other vector, which is the same in a row.
        distances = asked[begin : begin + step] @ known.T
        distances *= -2
        distances += squares
        rows.append(np.argpartition(distances, k - 1, axis=1)[:, :k])
    return np.concatenate(rows)


def most_frequent(classes: Int64Array) -> Int64Array:
    """Return the most frequent class of each row, the lowest of equally frequent ones, (M,).

    Args:
        classes: (M, k), from 0.
    """
    count = int(classes.max()) + 1
    cells = np.arange(len(classes))[:, None] * count + classes
    votes = np.bincount(cells.ravel(), minlength=len(classes) * count)
    most: Int64Array = votes.reshape(-1, count).argmax(axis=1)
    return most


def predict_nearest(
    known: Float32Array, targets: AnyArray, asked: Float32Array, k: int, *, classes: bool
) -> AnyArray:
    """Return the most frequent class, or the mean, of the nearest samples, (M,).

    Args:
        known: Standardised features, (N, D).
        targets: Their classes as integers, or numbers, (N,).
        asked: Standardised features, (M, D).
        k: How many neighbours; all if there are fewer.
        classes: Whether targets are classes.
    """
    nearest = nearest_rows(known, asked, min(k, len(known)))
    if not classes:
        means: AnyArray = targets[nearest].mean(axis=1)
        return means
    names, codes = np.unique(targets, return_inverse=True)
    found: AnyArray = names[most_frequent(codes.reshape(-1)[nearest])]
    return found
