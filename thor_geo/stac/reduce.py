"""Composites in NumPy: what the Earth Engine graph of `earthengine.recipe` computes.

Values are integers and means of two of them, so that float64 holds every step exactly, but the
division of a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint16]

#: Pixels that are reduced at a time, which bounds the memory that sorting them takes.
STRIP_PIXELS = 2**16

#: Largest value that can be stored.
_LARGEST = 65535


def median(values: npt.NDArray[Any], seen: Mask) -> Floats:
    """Return the median over scenes; of an even number the mean of the two in the middle.

    Args:
        values: Values (scenes, pixels), integers.
        seen: Which of them count.

    Returns:
        Medians (pixels,); 0 where none counts.
    """
    count = seen.sum(axis=0)
    # One pixel's values side by side: sorting them is several times faster.
    ordered = np.where(seen, values, np.iinfo(np.int32).max).T.astype(np.int32, order="C")
    ordered.sort(axis=1)
    pixel = np.arange(ordered.shape[0])
    low = ordered[pixel, np.maximum(count - 1, 0) // 2].astype(np.float64)
    high = ordered[pixel, np.minimum(count // 2, ordered.shape[1] - 1)].astype(np.float64)
    return np.where(count > 0, (low + high) / 2, 0.0)


def mean(values: npt.NDArray[Any], seen: Mask) -> Floats:
    """Return the mean over scenes.

    Args:
        values: Values (scenes, pixels), integers.
        seen: Which of them count.

    Returns:
        Means (pixels,); 0 where none counts.
    """
    total = np.where(seen, values, 0).sum(axis=0, dtype=np.float64)
    result: Floats = total / np.maximum(seen.sum(axis=0), 1)
    return result


#: Reductions over scenes by the name that `SensorSpec.composite` has for them.
REDUCTIONS: Mapping[str, Callable[[npt.NDArray[Any], Mask], Floats]] = {
    "median": median,
    "mean": mean,
}


def reduced(composite: str, values: npt.NDArray[Any], seen: Mask, fill_value: int) -> Pixels:
    """Return one band of a composite, as it is stored.

    Rounded half up, limited to what uint16 holds, and *fill_value* where no scene counts.

    Args:
        composite: Name of a reduction in `REDUCTIONS`.
        values: Values (scenes, rows, columns), integers.
        seen: Which of them count.
        fill_value: Value of pixels in which none counts.

    Returns:
        Pixels (rows, columns), uint16.
    """
    scenes, height, width = values.shape
    pixels = np.empty((height, width), np.uint16)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        flat = values[:, part].reshape(scenes, -1), seen[:, part].reshape(scenes, -1)
        result = np.clip(np.floor(REDUCTIONS[composite](*flat) + 0.5), 0, _LARGEST)
        filled = np.where(flat[1].any(axis=0), result, fill_value)
        pixels[part] = filled.reshape(-1, width)
    return pixels


def observations(seen: Mask) -> Pixels:
    """Return how many scenes count in each pixel, uint16, saturating.

    Args:
        seen: Whether every band of a scene counts (scenes, rows, columns).
    """
    return np.minimum(seen.sum(axis=0), _LARGEST).astype(np.uint16)


def harmonised(values: npt.NDArray[Any], offset: int) -> Pixels:
    """Return values with an offset added, limited to what uint16 holds.

    What falls below 0 becomes 0, and still counts as an observation: as in other harmonised
    services (Sentinel Hub's `harmonizeValues` clamps negative values to zero); Earth Engine's page
    does not say it, and its uint16 leaves no other way.

    Args:
        values: Values as they are in the file, integers.
        offset: What to add, DN.
    """
    return np.clip(values.astype(np.int32) + offset, 0, _LARGEST).astype(np.uint16)
