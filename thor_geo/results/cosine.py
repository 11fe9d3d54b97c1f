"""Cosine similarity of one embedding to many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thor_geo.errors import InputError


class Cosine:
    """Embeddings scaled to length one, ready to be compared.

    A vector of zeros has no direction: its similarity to anything is 0.

    Attributes:
        unit: (N, D) float32, rows of length one.
    """

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        """Initialize a new Cosine instance.

        Args:
            vectors: (N, D), finite.
        """
        self.unit = unit_vectors(vectors)

    def similarity(self, query: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the cosine of the angle between a vector and all others, (N,) within [-1, 1].

        Args:
            query: (D,), finite.

        Raises:
            InputError: If it has another length.
        """
        if query.shape != self.unit.shape[1:]:
            raise InputError(
                f"`query` has shape {query.shape}, the embeddings have {self.unit.shape[1]} "
                "dimensions. Compare embeddings of the same model and settings."
            )
        cosines: npt.NDArray[np.float32] = self.unit @ unit_vectors(query[None])[0]
        return np.clip(cosines, -1, 1, out=cosines)

    def nearest(
        self, query: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the *k* most similar rows, the most similar first, and their cosines.

        Equally similar ones keep the order of their rows.

        Args:
            query: (D,), finite.
            k: How many; all if there are fewer.

        Raises:
            InputError: If *query* has another length.
        """
        similarity = self.similarity(query)
        rows = largest(similarity, np.arange(len(similarity)), k)
        return rows, similarity[rows]


def largest(
    values: npt.NDArray[np.float32], candidates: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.int64]:
    """Return the candidates with the *k* largest values, the largest first.

    Equal ones come in the order of the candidates.

    Args:
        values: (N,), finite.
        candidates: Indices into *values*.
        k: How many to return; at most all.
    """
    k = min(k, len(candidates))
    if k == 0:
        return candidates[:0]
    among = values[candidates]
    # All that are as large as the k-th: a partition alone would choose among equals.
    candidates = candidates[among >= np.partition(among, -k)[-k]]
    return candidates[np.argsort(-values[candidates], kind="stable")][:k]


def unit_vectors(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return vectors of length one in the same directions, zeros where a vector is zero.

    Args:
        vectors: (..., D).

    Returns:
        float32, of the same shape.
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    out: npt.NDArray[np.float32] = np.divide(
        vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0
    )
    return out
