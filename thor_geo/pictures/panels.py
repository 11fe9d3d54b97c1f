"""The maps of a quicklook, one function per kind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.maps import (
    INK,
    MUTED,
    draw_frame,
    draw_image,
    draw_north,
    draw_scale_bar,
    draw_values,
)
from thor_geo.pictures.zone_pictures import ZonePicture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAILED = "#d4213d"
_EMPTY = "#8a949e"
# Values are written into tiles that are at least this wide, points.
_LABEL_POINTS = 22.0
# Distance below the map's lower edge, inches.
_LEGEND_BELOW = 0.62


def draw_composite(axes: Axes, picture: ZonePicture, *, first: bool, colours: str) -> None:
    """Draw the composite; *colours* describes its colours."""
    assert picture.truecolour is not None
    draw_image(axes, picture.truecolour, picture.bounds)
    _frame(axes, picture, f"Composite, {colours}", first=first)


def draw_embeddings(axes: Axes, picture: ZonePicture, *, first: bool) -> None:
    """Draw the embeddings as colours, with scale and north."""
    draw_image(axes, picture.embeddings, picture.bounds)
    _frame(axes, picture, "Embeddings (PCA)", first=first)
    draw_scale_bar(axes, picture.shown)
    draw_north(axes)
    _legend(axes, picture)


def draw_observations(axes: Axes, picture: ZonePicture, *, first: bool) -> None:
    """Draw the mean number of clear observations of each tile, with a colour bar."""
    values = picture.observations
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    _frame(axes, picture, "Clear observations", first=first)
    draw_values(
        axes,
        values,
        picture.bounds,
        label="mean per pixel and tile",
        cmap="YlGnBu",
        limits=(0, max(1.0, math.ceil(largest))),
    )
    _label_tiles(axes, picture)


def _frame(axes: Axes, picture: ZonePicture, title: str, *, first: bool) -> None:
    draw_frame(axes, picture.epsg, picture.shown, title, first=first)
    _mark(axes, picture)


def _hatched(
    picture: ZonePicture,
) -> Iterator[tuple[tuple[Bounds, ...], str, dict[str, Any]]]:
    """Yield tiles without an embedding, with their label and style."""
    for bounds, colour, hatch, label in (
        (picture.failed, _FAILED, "////", f"failed ({len(picture.failed):,})"),
        (picture.empty, _EMPTY, "....", f"no observations ({len(picture.empty):,})"),
    ):
        if bounds:
            yield (
                bounds,
                label,
                {"facecolor": "white", "edgecolor": colour, "hatch": hatch, "linewidth": 0.8},
            )


def _mark(axes: Axes, picture: ZonePicture) -> None:
    from matplotlib.patches import Rectangle

    for tiles, _, style in _hatched(picture):
        for left, bottom, right, top in tiles:
            axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))


def _legend(axes: Axes, picture: ZonePicture) -> None:
    """Explain the hatches below the map, if there are any."""
    from matplotlib.patches import Patch

    handles = [Patch(label=label, **style) for _, label, style in _hatched(picture)]
    if not handles:
        return
    height = axes.get_window_extent().height / axes.figure.dpi
    legend = axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -_LEGEND_BELOW / height),
        ncols=2,
        fontsize=10,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        labelcolor=MUTED,
    )
    legend.set_zorder(6)


def _label_tiles(axes: Axes, picture: ZonePicture) -> None:
    left, _, right, top = picture.bounds
    side = (right - left) / picture.observations.shape[1]
    points = axes.get_window_extent().width * 72 / axes.figure.dpi
    if points * side / (picture.shown[2] - picture.shown[0]) < _LABEL_POINTS:
        return
    dark = 0.6 * max(1.0, math.ceil(float(np.nanmax(picture.observations, initial=0.0))))
    for (row, col), value in np.ndenumerate(picture.observations):
        if np.isfinite(value) and value > 0:
            axes.text(
                left + (col + 0.5) * side,
                top - (row + 0.5) * side,
                f"{value:.1f}" if value < 10 else f"{value:.0f}",
                fontsize=9,
                color="white" if value > dark else INK,
                ha="center",
                va="center",
                clip_on=True,
            )
