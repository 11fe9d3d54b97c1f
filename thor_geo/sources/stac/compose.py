"""From the bands of many items to the planes of one block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.sources.stac.items import StacItem
from thor_geo.sources.stac.reduce import observations, reduce_scenes
from thor_geo.specs import SensorSpec
from thor_geo.support.arrays import BoolArray, UInt16Array

#: Reads a band of an item on the block's grid: its values, and where there are any.
Read = Callable[[StacItem, str], tuple[npt.NDArray[Any], BoolArray]]


def compose_planes(
    sensor: SensorSpec, items: Sequence[StacItem], read: Read, size: int
) -> UInt16Array:
    """Return the bands of a composite, and how many items were seen in all of them.

    Args:
        sensor: Bands, composite, mask and fill value.
        items: The items; of a mosaic, from the lowest to the topmost.
        read: Reads their bands.
        size: Side of the block in pixels.

    Returns:
        Planes (bands + 1, size, size), uint16.
    """
    planes = np.empty((len(sensor.bands) + 1, size, size), np.uint16)
    if sensor.composite == "mosaic":
        _lay_mosaic(sensor, items, read, planes)
    else:
        _reduce_bands(sensor, items, read, planes)
    return planes


def _reduce_bands(
    sensor: SensorSpec, items: Sequence[StacItem], read: Read, planes: UInt16Array
) -> None:
    """Reduce band by band: of all items one band is held at a time."""
    shape = (len(items), *planes.shape[1:])
    clear = np.empty(shape, bool)
    for k, item in enumerate(items):
        clear[k] = _clear(sensor, item, read)
    complete = clear.copy()
    values, seen = np.empty(shape, np.uint16), np.empty(shape, bool)
    for plane, band in zip(planes, sensor.bands, strict=False):
        for k, item in enumerate(items):
            values[k], seen[k] = read(item, band)
        seen &= clear
        complete &= seen
        plane[:] = reduce_scenes(sensor, values, seen)
    planes[-1] = observations(complete)


def _lay_mosaic(
    sensor: SensorSpec, items: Sequence[StacItem], read: Read, planes: UInt16Array
) -> None:
    """Lay item upon item; a pixel takes all its bands from one item with data in all of them."""
    planes[:-1], planes[-1] = sensor.fill_value, 0
    for item in items:
        complete = _clear(sensor, item, read)
        bands = []
        for band in sensor.bands:
            values, seen = read(item, band)
            complete = complete & seen
            bands.append(values)
        for plane, values in zip(planes, bands, strict=False):
            np.copyto(plane, values, where=complete, casting="unsafe")
        planes[-1] += complete


def _clear(sensor: SensorSpec, item: StacItem, read: Read) -> BoolArray:
    """Return where an item's pixels are not masked."""
    if sensor.mask != "scl":
        return np.array(True)
    classes, seen = read(item, "SCL")
    clear: BoolArray = seen & ~np.isin(classes, sensor.removed_classes)
    return clear
