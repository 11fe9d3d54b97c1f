"""Small pictures of large composites, in the colours of `thor_geo.datasets.colour`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.composites import StoredBlock
from thor_geo.datasets.colour import RGB_BANDS, colour_bands, picture_bands, picture_title
from thor_geo.ground.lattice import Block, Rect
from thor_geo.specs.sentinel1 import AnySensor, storage_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Most blocks that are read for one picture: 400 blocks of 576 px cover 115 km x 115 km.
MAX_BLOCKS = 400


def composite_picture(
    find: Callable[[Block], StoredBlock | None],
    sensor: AnySensor,
    rect: Rect,
    shape: tuple[int, int],
    *,
    blocks: Sequence[Block],
) -> npt.NDArray[np.uint8] | None:
    """Return a picture of cached composites, made of the nearest pixels.

    Args:
        find: Returns a block from the cache, or None.
        sensor: Bands of the blocks.
        rect: The ground to show.
        shape: Height and width of the picture in pixels.
        blocks: The blocks that it lies on.

    Returns:
        (height, width, 3) uint8, light grey where there is no data; None if the bands make no
        picture (see `picture_bands`), or the ground needs more than `MAX_BLOCKS` blocks.
    """
    bands = picture_bands(sensor.bands)
    if bands is None or len(blocks) > MAX_BLOCKS:
        return None
    planes = [sensor.bands.index(band) for band in bands]
    rows = ((np.arange(shape[0]) + 0.5) * rect.height / shape[0]).astype(int)
    cols = ((np.arange(shape[1]) + 0.5) * rect.width / shape[1]).astype(int)
    image = np.zeros((len(bands), *shape), storage_of(sensor).disk)
    observations = np.zeros(shape, np.uint8)
    for block in blocks:
        stored, shared = find(block), rect.overlap(block)
        if stored is None or shared is None:
            continue
        (in_rows, in_cols), window = shared
        pixels, clear = stored.read(*window)
        to_rows = np.flatnonzero((rows >= in_rows.start) & (rows < in_rows.stop))
        to_cols = np.flatnonzero((cols >= in_cols.start) & (cols < in_cols.stop))
        target = np.ix_(to_rows, to_cols)
        source = np.ix_(rows[to_rows] - in_rows.start, cols[to_cols] - in_cols.start)
        observations[target] = clear[source]
        for k, plane in enumerate(planes):
            image[k][target] = pixels[plane][source]
    return colour_bands(image, bands, observations)


def plot_sample(
    sample: dict[str, Any],
    bands: Sequence[str],
    *,
    show_titles: bool = True,
    suptitle: str | None = None,
) -> Figure:
    """Plot a sample in colours, with the number of clear observations beside it.

    Args:
        sample: A sample of a dataset; the planes and observations of its first sensor are shown.
        bands: Names of that sensor's planes.
        show_titles: Whether to title each panel.
        suptitle: Title of the figure.

    Returns:
        A matplotlib figure.

    Raises:
        RGBBandsMissingError: If the bands make no picture; see `picture_bands`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from torchgeo.datasets import RGBBandsMissingError

    names = picture_bands(bands)
    if names is None:
        raise RGBBandsMissingError()
    planes = [bands.index(name) for name in names]
    observations = sample["observations"][0].numpy()
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.imshow(colour_bands(sample["image"][planes].numpy(), names, observations))
    shown = right.imshow(observations, cmap="viridis", vmin=0)
    figure.colorbar(shown, ax=right, fraction=0.046)
    image = "Image" if names == RGB_BANDS else picture_title(names)
    for axes, title in ((left, image), (right, "Clear observations")):
        axes.axis("off")
        if show_titles:
            axes.set_title(title)
    if suptitle is not None:
        figure.suptitle(suptitle)
    return figure
