"""Composites in NumPy: what the Earth Engine graph of `earthengine.recipe` computes.

Values are integers and means of two of them, so that float64 holds every step exactly, but the
division of a mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.specs import SensorSpec
from thor_geo.support.arrays import BoolArray, Float64Array, UInt16Array

#: Pixels that are reduced at a time, which bounds the memory that sorting them takes.
STRIP_PIXELS = 2**16

#: Largest value that can be stored.
_LARGEST = 65535


def percentile(values: npt.NDArray[Any], seen: BoolArray, rank: float) -> Float64Array:
    """Return a percentile over scenes, linear between ranks; of 50 it is the median.

    How Earth Engine interpolates is unconfirmed; its emulator does so linearly too.

    Args:
        values: Values (scenes, pixels), integers.
        seen: Which of them count.
        rank: Which percentile, 0 to 100.

    Returns:
        Percentiles (pixels,); 0 where none counts.
    """
    count = seen.sum(axis=0)
    # A scalar with its type: NumPy 2.5 refuses a Python integer that does not fit uint16 values.
    last = np.int32(np.iinfo(np.int32).max)
    # One pixel's values side by side: sorting them is several times faster.
    ordered = np.where(seen, values, last).T.astype(np.int32, order="C")
    ordered.sort(axis=1)
    position = rank / 100 * np.maximum(count - 1, 0)
    lower = np.floor(position).astype(np.int64)
    weight = position - lower
    pixel = np.arange(ordered.shape[0])
    low = ordered[pixel, lower].astype(np.float64)
    high = ordered[pixel, lower + (weight > 0)].astype(np.float64)
    # Written so that a weight of one half gives exactly the mean of the two.
    return np.where(count > 0, low * (1 - weight) + high * weight, 0.0)


def mean(values: npt.NDArray[Any], seen: BoolArray) -> Float64Array:
    """Return the mean over scenes.

    Args:
        values: Values (scenes, pixels), integers.
        seen: Which of them count.

    Returns:
        Means (pixels,); 0 where none counts.
    """
    total = np.where(seen, values, 0).sum(axis=0, dtype=np.float64)
    result: Float64Array = total / np.maximum(seen.sum(axis=0), 1)
    return result


#: Composites that `reduce_scenes` makes.
REDUCTIONS = ("median", "mean", "percentile")


def reduce_scenes(sensor: SensorSpec, values: npt.NDArray[Any], seen: BoolArray) -> UInt16Array:
    """Return one band of a composite, as it is stored.

    Rounded half up, limited to what uint16 holds, and the fill value where no scene counts.

    Args:
        sensor: Its composite, one of `REDUCTIONS`, and the fill value.
        values: Values (scenes, rows, columns), integers.
        seen: Which of them count.

    Returns:
        Pixels (rows, columns), uint16.
    """
    scenes, height, width = values.shape
    rank = 50.0 if sensor.percentile is None else sensor.percentile
    pixels = np.empty((height, width), np.uint16)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        flat, flat_seen = values[:, part].reshape(scenes, -1), seen[:, part].reshape(scenes, -1)
        result = (
            mean(flat, flat_seen)
            if sensor.composite == "mean"
            else percentile(flat, flat_seen, rank)
        )
        whole = np.clip(np.floor(result + 0.5), 0, _LARGEST)
        filled = np.where(flat_seen.any(axis=0), whole, sensor.fill_value)
        pixels[part] = filled.reshape(-1, width)
    return pixels


def observations(seen: BoolArray) -> UInt16Array:
    """Return how many scenes count in each pixel, uint16, saturating.

    Args:
        seen: Whether every band of a scene counts (scenes, rows, columns).
    """
    count: UInt16Array = np.minimum(seen.sum(axis=0), _LARGEST).astype(np.uint16)
    return count


def harmonised(values: npt.NDArray[Any], offset: int) -> UInt16Array:
    """Return values with an offset added, limited to what uint16 holds.

    What falls below 0 becomes 0, and still counts as an observation: as in other harmonised
    services (Sentinel Hub's `harmonizeValues` clamps negative values to zero); Earth Engine's page
    does not say it, and its uint16 leaves no other way.

    Args:
        values: Values as they are in the file, integers.
        offset: What to add, DN.
    """
    shifted: UInt16Array = np.clip(values.astype(np.int32) + offset, 0, _LARGEST).astype(np.uint16)
    return shifted
