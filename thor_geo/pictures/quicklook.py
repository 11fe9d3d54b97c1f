"""quicklook.png: the picture that a person looks at first.

It has a row of maps for each UTM zone, and for each time window of a list: the composite (if the
caller has pixels), the embeddings as colours, and the number of clear observations. All rows share
one set of colours.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.pictures.caption import Caption, colours_legend, run_caption
from thor_geo.pictures.colours import RunColours, write_colours
from thor_geo.pictures.maps import draw_north, draw_scale_bar
from thor_geo.pictures.panels import draw_composite, draw_embeddings, draw_observations
from thor_geo.pictures.pca import Colours
from thor_geo.pictures.place_quicklook import draw_places
from thor_geo.pictures.sheet import Panel, Row, draw_sheet, save_png
from thor_geo.pictures.zone_pictures import (
    MAX_SHARDS,
    TrueColour,
    ZonePicture,
    drawn_windows,
    drawn_zones,
    read_pictures,
)
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows
from thor_geo.storage.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

#: The maps that can be drawn of a run.
LAYERS = ("composite", "pca", "observations")
# The observations need less room than the maps beside them.
_OBSERVATIONS_SHARE = 0.62


def write_quicklook(
    run: RunDirectory,
    plan: Plan,
    *,
    truecolour: TrueColour | None = None,
    windows: Windows | None = None,
    colours: RunColours | None = None,
) -> None:
    """Draw ``quicklook.png`` of a finished run, and write its colours as ``colours.json``.

    If a run is too large for a picture, a warning says so.

    Args:
        run: The run directory; every shard of the plan has a marker.
        plan: Its plan.
        truecolour: Called once for each zone with its EPSG code, bounds in metres and a shape
            (rows, columns), and with a list of time windows with the index of one; returns uint8
            RGB of that shape, row 0 = north, or None. None leaves the composites out. Of places it
            is called for some chips, with the index of a window of the plan.
        windows: The run's time windows; None for one.
        colours: The colours of the finished run; None to fit them.
    """
    if isinstance(plan, PlacePlan):
        _write_place_quicklook(run, plan, truecolour, colours)
        return
    zones = drawn_zones(plan)
    if not zones:
        _log.warning(
            "quicklook.png is not drawn: it would take more than %s shards. `thor-geo view "
            "--bbox ... --png` draws a part of the run.",
            f"{MAX_SHARDS:,}",
        )
        return
    fitted = write_colours(run, plan, colours)
    pictures, drawn = read_pictures(run, plan, truecolour, windows, colours=fitted)
    hidden = len(set(plan.shards.zone.tolist())) - len(zones)
    caption = run_caption(run, plan)
    if windows is not None and (left_out := len(windows) - len(drawn_windows(plan, windows))):
        caption = replace(caption, rest=f"{left_out} of {len(windows)} windows are not drawn.")
    figure = draw_quicklook(pictures, drawn, caption, hidden=hidden)
    with atomic_path(run.quicklook) as temporary:
        save_png(figure, temporary)


def _write_place_quicklook(
    run: RunDirectory, plan: PlacePlan, truecolour: TrueColour | None, colours: RunColours | None
) -> None:
    if not run.has_pooled:
        _log.warning(
            "quicklook.png is not drawn: a run of places without vectors (output.pooled=false) has "
            "nothing to colour its places by."
        )
        return
    fitted = write_colours(run, plan, colours)
    figure = draw_places(run, plan, LAYERS, truecolour=truecolour, colours=fitted)
    with atomic_path(run.quicklook) as temporary:
        save_png(figure, temporary)


def draw_quicklook(
    pictures: Sequence[ZonePicture],
    colours: Colours | None,
    caption: Caption,
    *,
    hidden: int = 0,
    layers: Collection[str] = LAYERS,
) -> Figure:
    """Draw the picture.

    Args:
        pictures: One per zone and time window, in ascending order of EPSG codes.
        colours: The embeddings' colours; None if no tile has an embedding.
        caption: The words.
        hidden: Number of zones that are not among *pictures*.
        layers: The maps to draw, from `LAYERS`; the composite only if there is one.

    Returns:
        A figure 1600 pixels wide.
    """
    rows = [
        Row(picture.shown, list(_panels(picture, caption, layers)), picture.window)
        for picture in pictures
    ]
    return draw_sheet(rows, caption, colours_legend(colours, hidden) if "pca" in layers else "")


def _panels(picture: ZonePicture, caption: Caption, layers: Collection[str]) -> Iterator[Panel]:
    # One map of a row has scale and north arrow: that of the embeddings, or the first.
    composite = picture.truecolour is not None and "composite" in layers
    if composite:
        yield Panel(partial(_composite, picture, caption.picture, "pca" not in layers))
    if "pca" in layers:
        yield Panel(partial(_embeddings, picture))
    if "observations" in layers:
        alone = not composite and "pca" not in layers
        yield Panel(partial(_observations, picture, alone), 1 if alone else _OBSERVATIONS_SHARE)


def _composite(picture: ZonePicture, colours: str, oriented: bool, axes: Axes, first: bool) -> None:
    draw_composite(axes, picture, first=first, colours=colours)
    if oriented:
        draw_scale_bar(axes, picture.shown)
        draw_north(axes)


def _embeddings(picture: ZonePicture, axes: Axes, first: bool) -> None:
    draw_embeddings(axes, picture, first=first)


def _observations(picture: ZonePicture, oriented: bool, axes: Axes, first: bool) -> None:
    draw_observations(axes, picture, first=first)
    if oriented:
        draw_scale_bar(axes, picture.shown)
        draw_north(axes)
