"""Maps of results: numbers and colours with places outlined on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.colours import RunColours
from thor_geo.pictures.maps import (
    INK,
    draw_frame,
    draw_image,
    draw_north,
    draw_scale_bar,
    draw_values,
)
from thor_geo.pictures.pca import Colours
from thor_geo.pictures.sheet import Panel
from thor_geo.pictures.zone_pictures import ZonePicture, drawn_zones, read_pictures, zone_bounds
from thor_geo.results.cog import RasterExtent
from thor_geo.runs.opened_run import OpenedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour of outlines.
MARK = "#e8442e"
# Squares that are smaller than this on paper, in points, are drawn as rings.
_SMALLEST = 9.0
# Smallest distance between words, points.
_APART = 14.0


class Marks(NamedTuple):
    """Places to outline on a map.

    Attributes:
        squares: Left, bottom, right, top, metres, and the word beside each.
        queries: Easting and northing of the query points, metres.
    """

    squares: Sequence[tuple[Bounds, str]]
    queries: Sequence[tuple[float, float]] = ()


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
        _outline(axes, extent.bounds, marks)

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
        _outline(axes, extent.bounds, marks)

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


def _outline(axes: Axes, bounds: Bounds, marks: Marks) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.5, foreground="white")]
    points = axes.get_window_extent().width * 72 / axes.figure.dpi / (bounds[2] - bounds[0])
    taken = list(marks.queries)
    for (left, bottom, right, top), word in marks.squares:
        x, y = (left + right) / 2, (bottom + top) / 2
        if (right - left) * points < _SMALLEST:
            axes.plot(
                x, y, "o", ms=_SMALLEST, mfc="none", mec=MARK, mew=1.6, path_effects=halo, zorder=6
            )
            x, y = x + 9 / points, y + 6 / points
        else:
            axes.add_patch(
                Rectangle(
                    (left, bottom),
                    right - left,
                    top - bottom,
                    facecolor="none",
                    edgecolor=MARK,
                    linewidth=1.8,
                    path_effects=halo,
                    zorder=6,
                )
            )
        # The first are the most important: a word that would cover an earlier one is left out.
        if any(math.dist((x, y), other) * points < _APART for other in taken):
            continue
        taken.append((x, y))
        axes.text(
            x,
            y,
            word,
            fontsize=10,
            fontweight="bold",
            color=MARK,
            ha="center",
            va="center",
            path_effects=halo,
            zorder=7,
            clip_on=True,
        )
    for x, y in marks.queries:
        axes.plot(x, y, "*", ms=19, mfc="#ffd23f", mec=INK, mew=1.2, path_effects=halo, zorder=8)
