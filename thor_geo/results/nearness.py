"""Which vectors are near each other: lists around centres that are learnt from a sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from thor_geo.errors import DependencyError
from thor_geo.support.arrays import Float32Array

# Lists for so many vectors: about the square root of their number, so that choosing lists and
# reading a few of them cost alike. More would make the build slow without making answers faster.
_MOST_LISTS = 2048
# Nearness is measured in so many principal components. All of a vector's dimensions would take
# twelve times the arithmetic (of 768) and find no more neighbours (benchmarks/similar.py).
_COMPONENTS = 64
# Steps of k-means; later ones hardly move a centre.
_STEPS = 10
# Vectors from which the principal components are computed.
_MOST_FITTED = 65_536


class Nearness(NamedTuple):
    """How vectors become lists.

    Attributes:
        axes: Principal components of vectors of length one, (D, d) float32.
        offset: Their mean along these, (d,) float32.
        centres: Centres of the lists along these, (lists, d) float32.
    """

    axes: Float32Array
    offset: Float32Array
    centres: Float32Array

    def project(self, vectors: Float32Array) -> Float32Array:
        """Return vectors (n, D), scaled to length one, along the axes, (n, d)."""
        along: Float32Array = vectors @ self.axes
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        np.divide(along, lengths, out=along, where=lengths > 0)
        along -= self.offset
        return along


def lists_for(vectors: int) -> int:
    """Return a number of lists for so many vectors: a power of two, about their square root."""
    root = max(1.0, np.sqrt(vectors))
    return int(min(_MOST_LISTS, 2 ** round(np.log2(root))))


def learn_nearness(sample: Float32Array, lists: int) -> Nearness:
    """Learn which vectors are near each other.

    Args:
        sample: Vectors of length one, (n, D); n > 0.
        lists: Number of lists; there are no more than vectors in the sample.

    Raises:
        DependencyError: If faiss is not installed.
    """
    lists = min(lists, len(sample))
    fitted = sample[:: max(1, len(sample) // _MOST_FITTED)]
    mean = fitted.mean(axis=0, dtype=np.float64)
    centred = fitted - mean.astype(np.float32)
    # In double precision: directions of embeddings may differ in the fourth digit only.
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    kept = np.ascontiguousarray(axes[:, ::-1][:, :_COMPONENTS]).astype(np.float32)
    offset = (mean @ kept).astype(np.float32)
    along = np.ascontiguousarray(sample @ kept - offset)
    means = load_faiss().Kmeans(
        along.shape[1],
        lists,
        niter=_STEPS,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    means.train(along)
    return Nearness(kept, offset, np.array(means.centroids, dtype=np.float32))


def load_faiss() -> Any:
    """Return the package faiss, which finds the centres and the nearest of them.

    Raises:
        DependencyError: If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise DependencyError(
            "`thor-geo index` needs the package faiss-cpu: pip install 'thor-geo[index]'. Answers "
            "from an index that is there do not need it."
        ) from error
    return faiss
