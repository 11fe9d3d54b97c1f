"""Two searches among vectors: the most similar to one, and those like some examples."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.errors import InputError
from thor_geo.explorer.indexed import FoundPlaces, IndexedPlaces
from thor_geo.explorer.located import LocatedVectors
from thor_geo.results import Cosine
from thor_geo.results.cosine import largest
from thor_geo.support.arrays import Float32Array, Int64Array
from thor_geo.support.blas import one_blas_thread

# Inverse strength of the probe's L2 penalty: scikit-learn's default, on standardised embeddings.
_C = 1.0
# Steps of its solver; a few dozen examples take fewer than 50.
_STEPS = 1000


class Similar(NamedTuple):
    """Cosine to each place (N,), and the most similar places, the most similar first."""

    cosine: Float32Array
    nearest: Int64Array


class _Scale(NamedTuple):
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


class Comparison:
    """Compares the vectors of places; safe to use from several threads."""

    def __init__(self, places: LocatedVectors, indexed: IndexedPlaces | None = None) -> None:
        """Initialize a new Comparison instance.

        Args:
            places: The places, at least one.
            indexed: Finds places that are not in memory; None if all are.
        """
        self.places, self._indexed = places, indexed
        self._lock = threading.Lock()

    def similar(self, place: int, k: int) -> Similar:
        """Return how similar all places are to one of them.

        Args:
            place: Index of that place.
            k: How many of the most similar places to return, without the place itself; at most
                all.
        """
        with self._lock:  # the first thread computes the unit vectors
            cosine = self._cosine
        values = cosine.similarity(self.places.vectors[place])
        others = np.flatnonzero(self.places.searched)
        return Similar(values, largest(values, others[others != place], k))

    def found(self, place: int, k: int) -> FoundPlaces | None:
        """Return the most similar places of the whole run; None if all of it is in memory.

        Args:
            place: Index of a place.
            k: How many, as in `similar`.

        Raises:
            RunDirectoryError: If the index cannot be read.
        """
        return None if self._indexed is None else self._indexed.nearest(place, k)

    def probe(self, positive: Int64Array, negative: Int64Array) -> Float32Array:
        """Fit a logistic regression to examples; return each place's probability of "positive".

        Embeddings are standardised by the mean and deviation of all places, and both classes have
        the same weight, however many examples they have.

        Args:
            positive: Indices of places.
            negative: Indices of other places.

        Returns:
            (N,) float32.

        Raises:
            InputError: If one class has no example, or a place is in both.
        """
        from scipy.special import expit
        from sklearn.linear_model import LogisticRegression

        if not len(positive) or not len(negative):
            raise InputError(
                f"`examples`: {len(positive)} positive and {len(negative)} negative ones. "
                "A probe needs at least one of each."
            )
        if len(np.intersect1d(positive, negative)):
            raise InputError(
                "`examples`: a place is both positive and negative. Erase one of the two."
            )
        with self._lock:
            scale = self._scale
        vectors = self.places.vectors
        chosen = np.concatenate([positive, negative])
        labels = np.repeat([1, 0], [len(positive), len(negative)])
        model = LogisticRegression(C=_C, class_weight="balanced", max_iter=_STEPS)
        with one_blas_thread():
            model.fit((vectors[chosen] - scale.mean) / scale.deviation, labels)
        # The same as standardising all vectors, without a second copy of them.
        weights = model.coef_[0] / scale.deviation
        offset = model.intercept_[0] - scale.mean @ weights
        logits = vectors @ weights.astype(np.float32) + np.float32(offset)
        scores: Float32Array = expit(logits)
        return scores

    def prepare(self) -> None:
        """Do the work now that the first request would have to wait for.

        Vectors that are far away, and not needed for the map, are left for that request.
        """
        from sklearn.linear_model import LogisticRegression

        assert LogisticRegression
        if self.places.colours is not None:
            return
        with self._lock:
            assert self._cosine is not None
            assert self._scale is not None

    @cached_property
    def _cosine(self) -> Cosine:
        return Cosine(self.places.vectors)

    @cached_property
    def _scale(self) -> _Scale:
        mean = self.places.vectors.mean(axis=0, dtype=np.float64)
        deviation = self.places.vectors.std(axis=0, dtype=np.float64)
        # A dimension that does not vary stays as it is, as in scikit-learn's StandardScaler.
        return _Scale(mean, np.where(deviation > 0, deviation, 1.0))
