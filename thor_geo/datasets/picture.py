"""Small true-colour pictures of large composites."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from thor_geo.composites import StoredBlock
from thor_geo.datasets.colour import true_colour
from thor_geo.datasets.composite import CompositeDataset
from thor_geo.grid import Block, Rect, blocks_meeting
from thor_geo.specs import SensorSpec

#: Most blocks read for one picture: 400 of 576 px cover 115 km x 115 km.
MAX_BLOCKS = 400


def composite_picture(
    find: Callable[[Block], StoredBlock | None],
    sensor: SensorSpec,
    rect: Rect,
    shape: tuple[int, int],
    *,
    block_size: int,
) -> npt.NDArray[np.uint8] | None:
    """Sample cached composites down to a picture, nearest pixel.

    Args:
        find: Returns a cached block, or None.
        sensor: Bands of the blocks.
        rect: The ground to show.
        shape: Height and width of the picture in pixels.
        block_size: Side of a block in pixels.

    Returns:
        (height, width, 3) uint8, light grey where there is no data; None if B4, B3 and B2 are not
        all among the bands, or the ground takes more than `MAX_BLOCKS` blocks.
    """
    bands = CompositeDataset.rgb_bands
    blocks = list(blocks_meeting(rect, block_size))
    if not set(bands) <= set(sensor.bands) or len(blocks) > MAX_BLOCKS:
        return None
    planes = [sensor.bands.index(band) for band in bands]
    rows = ((np.arange(shape[0]) + 0.5) * rect.height / shape[0]).astype(int)
    cols = ((np.arange(shape[1]) + 0.5) * rect.width / shape[1]).astype(int)
    image = np.zeros((3, *shape), np.uint16)
    observations = np.zeros(shape, np.uint8)
    for block in blocks:
        stored, shared = find(block), rect.overlap(block)
        if stored is None or shared is None:
            continue
        (in_rows, in_cols), window = shared
        pixels, clear = stored.read(*window)
        to_rows = np.flatnonzero((rows >= in_rows.start) & (rows < in_rows.stop))
        to_cols = np.flatnonzero((cols >= in_cols.start) & (cols < in_cols.stop))
        to = np.ix_(to_rows, to_cols)
        at = np.ix_(rows[to_rows] - in_rows.start, cols[to_cols] - in_cols.start)
        observations[to] = clear[at]
        for k, plane in enumerate(planes):
            image[k][to] = pixels[plane][at]
    return true_colour(image, observations)
