"""Maps of results: numbers and colours with places outlined on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.colours import RunColours
from thor_geo.pictures.maps import (
    draw_frame,
    draw_image,
    draw_north,
    draw_scale_bar,
    draw_values,
)
from thor_geo.pictures.marks import Marks, draw_marks
from thor_geo.pictures.pca import Colours
from thor_geo.pictures.sheet import Panel
from thor_geo.pictures.zone_pictures import ZonePicture, drawn_zones, read_pictures, zone_bounds
from thor_geo.results.cog import RasterExtent
from thor_geo.runs.opened_run import OpenedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def numbers_panel(
    extent: RasterExtent,
    values: npt.NDArray[np.float32],
    marks: Marks,
    *,
    title: str,
    label: str,
    cmap: str,
    limits: tuple[float, float],
) -> Panel:
    """Return a map of numbers with a colour bar.

    Args:
        extent: The ground that the map shows.
        values: (h, w), covers *extent*; NaN is left out.
        marks: Places to outline.
        title: Words above.
        label: What the numbers are.
        cmap: Name of the colours.
        limits: Numbers at the ends of the colour bar.
    """

    def draw(axes: Axes, first: bool) -> None:
        draw_frame(axes, extent.epsg, extent.bounds, title, first=first)
        draw_values(axes, values, extent.bounds, label=label, cmap=cmap, limits=limits)
        draw_scale_bar(axes, extent.bounds)
        draw_north(axes)
        draw_marks(axes, extent.bounds, marks)

    return Panel(draw)


def picture_panel(
    extent: RasterExtent, image: npt.NDArray[np.uint8], covers: Bounds, marks: Marks, *, title: str
) -> Panel:
    """Return a map that is a picture.

    Args:
        extent: The ground that the map shows.
        image: (h, w, 3 or 4).
        covers: Left, bottom, right, top of the picture, metres.
        marks: Places to outline.
        title: Words above.
    """

    def draw(axes: Axes, first: bool) -> None:
        draw_image(axes, image, covers)
        draw_frame(axes, extent.epsg, extent.bounds, title, first=first)
        draw_marks(axes, extent.bounds, marks)

    return Panel(draw)


def drawn_pictures(
    opened: OpenedRun,
    zones: Iterable[int],
    window: int | None,
    colours: RunColours | None = None,
) -> tuple[dict[int, ZonePicture], Colours | None]:
    """Read the embeddings of zones as pictures in the run's colours.

    Args:
        opened: The run.
        zones: EPSG codes; those are left out that do not fit a picture (see `drawn_zones`).
        window: Which time window; None if there is only one.
        colours: Other colours than the run's own.

    Returns:
        Pictures by EPSG code, and their colours.

    Raises:
        RunDirectoryError: If a file cannot be read.
    """
    wanted = set(zones)
    plan = opened.plan
    within = {
        index: zone_bounds(plan, index)
        for index in drawn_zones(plan)
        if plan.lattices[index].epsg in wanted
    }
    if not within:
        return {}, None
    pictures, used = read_pictures(
        opened.run,
        plan,
        None,
        opened.windows,
        colours=colours,
        within=within,
        times=[opened.time_index(window) or 0],
    )
    return {picture.epsg: picture for picture in pictures}, used
