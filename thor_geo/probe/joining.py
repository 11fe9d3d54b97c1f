"""Squares of ground, and the labels that are joined to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from thor_geo.probe.spec import Task
from thor_geo.support.arrays import Float64Array


class Squares(NamedTuple):
    """A regular grid of squares of ground: cells of a map, or one tile.

    Attributes:
        epsg: EPSG code of the UTM zone.
        left: Western edge, metres.
        top: Northern edge, metres.
        side: Side of a square, metres.
        rows: Number of rows; row 0 = north.
        cols: Number of columns.
    """

    epsg: int
    left: float
    top: float
    side: float
    rows: int
    cols: int

    def boxes(self) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Return left, bottom, right and top of every square, each (rows * columns,)."""
        col = np.tile(np.arange(self.cols, dtype=np.float64), self.rows)
        row = np.repeat(np.arange(self.rows, dtype=np.float64), self.cols)
        left, top = self.left + col * self.side, self.top - row * self.side
        return left, top - self.side, left + self.side, top


class Joined(NamedTuple):
    """Labels of squares.

    Attributes:
        value: Code of the class, or number; NaN without a label, (rows, columns) float64.
        cover: Share of the square that is labelled, (rows, columns) float64; 1 where a point is.
        tied: Whether several classes are equally frequent, (rows, columns) bool.
    """

    value: Float64Array
    cover: Float64Array
    tied: npt.NDArray[np.bool_]


class Labels(Protocol):
    """Labels of a probe.

    Attributes:
        name: Name of the target.
        kind: ``points``, ``polygons``, ``raster``, or ``column`` for a kept column of places.
        task: What is predicted.
        source: The file, for messages and the record.
        names: Names of classes for tables and pictures, by the class as text; may be empty.
        notes: What a user should know about how the labels were read.
    """

    name: str
    kind: str
    task: Task
    source: str
    names: Mapping[str, str]
    notes: tuple[str, ...]

    def class_of(self, code: float) -> str | int:
        """Return the class that a code stands for."""

    def record(self) -> Mapping[str, object]:
        """Return the record of the labels for probe.json."""


class JoinableLabels(Labels, Protocol):
    """Labels that can be joined to squares of ground."""

    def join(self, squares: Squares) -> Joined:
        """Return the labels of squares."""

    def extent(self) -> tuple[float, float, float, float]:
        """Return west, south, east and north of all labels, degrees."""


def heaviest_class(
    weights: Float64Array, codes: Float64Array
) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    """Return the class with the largest weight in each square; among equals, the lowest code.

    Args:
        weights: Area or number of points of each class, (n, K), not negative.
        codes: Codes of the classes, (K,), ascending.

    Returns:
        Codes (n,), NaN where no class has a weight, and whether another class has the same weight,
        (n,).
    """
    value = np.full(len(weights), np.nan)
    tied = np.zeros(len(weights), dtype=np.bool_)
    if weights.shape[1]:
        most = weights.max(axis=1)
        labelled = most > 0
        # Equal areas may differ in their last bits.
        first = weights >= most[:, None] * (1 - 1e-9)
        value[labelled] = codes[first.argmax(axis=1)[labelled]]
        tied = labelled & (first.sum(axis=1) > 1)
    return value, tied
