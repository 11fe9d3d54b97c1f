"""The two questions to a set of vectors: what is like this one, and what is like these examples."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.errors import InputError
from thor_geo.explorer.places import Places
from thor_geo.results import Cosine
from thor_geo.support.arrays import Float32Array, Int64Array

# Inverse strength of the probe's L2 penalty: scikit-learn's default, on standardised embeddings.
_C = 1.0
# Steps of its solver; a few dozen examples take fewer than 50.
_STEPS = 1000


class Similar(NamedTuple):
    """Cosine to every place (N,), and the places most similar, the most similar first."""

    cosine: Float32Array
    nearest: Int64Array


class _Scale(NamedTuple):
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


class Comparison:
    """Compares the vectors of places. Several threads may ask at once."""

    def __init__(self, places: Places) -> None:
        """Initialize a new Comparison instance.

        Args:
            places: At least one.
        """
        self.places = places
        self._lock = threading.Lock()

    def similar(self, place: int, k: int) -> Similar:
        """Return how similar all places are to one of them.

        Args:
            place: Its index.
            k: How many of the most similar places to name, itself left out; all if there are
                not so many.
        """
        with self._lock:  # the first to ask makes the unit vectors
            cosine = self._cosine
        values = cosine.to(self.places.vectors[place])
        others = np.flatnonzero(self.places.searched)
        others = others[others != place]
        k = min(k, len(others))
        if k == 0:
            return Similar(values, others)
        among = values[others]
        # All that are as similar as the k-th: among equals, rows decide, not the partition.
        others = others[among >= np.partition(among, -k)[-k]]
        return Similar(values, others[np.argsort(-values[others], kind="stable")][:k])

    def probe(self, positive: Int64Array, negative: Int64Array) -> Float32Array:
        """Fit a logistic regression to examples; return its probability of "positive" anywhere.

        Embeddings are standardised with mean and deviation of all places, and both classes weigh
        the same, however many examples each has.

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
                "A probe needs one of each at least."
            )
        if len(np.intersect1d(positive, negative)):
            raise InputError("`examples`: a place is both positive and negative. Take one away.")
        with self._lock:
            scale = self._scale
        vectors = self.places.vectors
        chosen = np.concatenate([positive, negative])
        labels = np.repeat([1, 0], [len(positive), len(negative)])
        model = LogisticRegression(C=_C, class_weight="balanced", max_iter=_STEPS)
        model.fit((vectors[chosen] - scale.mean) / scale.deviation, labels)
        # The same as to standardise all vectors, without a second copy of them.
        weights = model.coef_[0] / scale.deviation
        offset = model.intercept_[0] - scale.mean @ weights
        logits = vectors @ weights.astype(np.float32) + np.float32(offset)
        scores: Float32Array = expit(logits)
        return scores

    def prepare(self) -> None:
        """Do now what the first question would wait for."""
        from sklearn.linear_model import LogisticRegression

        assert LogisticRegression
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
        # A dimension that does not vary tells nothing: as scikit-learn's StandardScaler.
        return _Scale(mean, np.where(deviation > 0, deviation, 1.0))
