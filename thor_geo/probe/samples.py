"""The samples of a probe: embeddings with a label each, and what became of all others."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from thor_geo.probe.joining import Joined
from thor_geo.probe.spec import ProbeSpec, SampleUnit, Vectors
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array, ObjectArray


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of tiles, cells or places of a run that became samples, or why they did not.

    Attributes:
        labelled: With a label and an embedding.
        unlabelled: Without a label.
        thin: Labelled on too little of their ground (`ProbeSpec.min_cover`).
        without_embedding: With a label, but failed, empty, outside the area or not done yet.
        thinned: Labelled, but left out at random (`ProbeSpec.max_samples`).
        without_group: Places with a label and an embedding, but no group (`ProbeSpec.group`).
    """

    labelled: int
    unlabelled: int
    thin: int
    without_embedding: int
    thinned: int
    without_group: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Tiles, cells or places with an embedding and a label.

    Attributes:
        unit: What they are.
        side: Side of the ground that a sample stands for, metres.
        vectors: Embeddings, (N, D) float32.
        values: Codes of classes, or numbers, (N,) float64.
        tile: Index of the tile in the plan, (N,) int64.
        epsg: UTM zone, (N,) int64.
        x: Easting of the centre of that ground, metres, (N,).
        y: Northing of the centre, metres, (N,).
        tied: Whether several classes are equally frequent on that ground, (N,) bool.
        counts: What became of all tiles, cells or places.
    """

    unit: SampleUnit
    side: float
    vectors: npt.NDArray[np.float32]
    values: Float64Array
    tile: Int64Array
    epsg: Int64Array
    x: Float64Array
    y: Float64Array
    tied: BoolArray
    counts: Counts

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.values)

    def take(self, chosen: npt.NDArray[Any]) -> Self:
        """Return some of the samples.

        Args:
            chosen: Indices or a mask.
        """
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{n: v[chosen] for n, v in columns.items() if isinstance(v, np.ndarray)}
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceSamples(Samples):
    """Places with an embedding and a label.

    Attributes:
        kind: Which vectors they have. The ground is the chip, or the cell for ``centre``.
        reach_m: Chips of places this far apart on the ground share no pixel, metres.
        lon: Longitude of the place, degrees, (N,).
        lat: Latitude of the place, degrees, (N,).
        place: Row of the table, (N,) int64.
        starts: First instant of the window, microseconds since 1970 UTC, (N,) int64.
        ends: First instant after the window, likewise, (N,) int64.
        group: Group of each as text, (N,); None if no column of groups is asked for.
    """

    kind: Vectors
    reach_m: float
    lon: Float64Array
    lat: Float64Array
    place: Int64Array
    starts: Int64Array
    ends: Int64Array
    group: ObjectArray | None


class LabelTally:
    """Counts the squares without a usable label.

    Attributes:
        unlabelled: Squares without a label.
        thin: Squares that are labelled on too little of their ground.
    """

    def __init__(self, least: float) -> None:
        """Initialize a new LabelTally instance.

        Args:
            least: Least share of a square that must be labelled.
        """
        self._least = least
        self.unlabelled = self.thin = 0

    def accept(self, joined: Joined, eligible: BoolArray) -> BoolArray:
        """Return which of the eligible squares have a usable label, and count the others.

        Args:
            joined: Labels of the squares.
            eligible: Which squares count at all, of the same shape.
        """
        labelled = np.isfinite(joined.value)
        thick = labelled & (joined.cover >= self._least)
        self.unlabelled += int((eligible & ~labelled).sum())
        self.thin += int((eligible & labelled & ~thick).sum())
        return eligible & thick


def thinned(count: int, spec: ProbeSpec) -> Int64Array:
    """Return the indices of the samples to use, ascending: at most `ProbeSpec.max_samples`.

    Args:
        count: Number of samples.
        spec: Settings.
    """
    if count <= spec.max_samples:
        return np.arange(count)
    chosen = np.random.default_rng(spec.seed).choice(count, spec.max_samples, replace=False)
    return np.sort(chosen)
