"""change.png: both runs in the same colours, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.caption import SEPARATOR, colours_legend, format_days, run_caption
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.pictures.marks import Marks
from thor_geo.pictures.sheet import Panel, Row, draw_sheet
from thor_geo.pictures.zone_pictures import MAX_ZONES
from thor_geo.results.cog import RasterExtent
from thor_geo.results.drawing import drawn_pictures, numbers_panel, picture_panel
from thor_geo.runs.opened_run import OpenedRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colours end at this percentile of all changes: a single cell must not darken the rest.
_PERCENTILE = 99.0


class ChangeRaster(NamedTuple):
    """Changes in a zone.

    Attributes:
        extent: Where they lie.
        values: (h, w), NaN unless both runs have an embedding.
        unit: ``cell`` or ``tile``.
    """

    extent: RasterExtent
    values: npt.NDArray[np.float32]
    unit: str


def draw_change(
    runs: tuple[OpenedRun, OpenedRun],
    windows: tuple[int | None, int | None],
    rasters: Mapping[int, ChangeRaster],
    outlined: Sequence[tuple[int, Bounds]],
) -> Figure:
    """Draw the change, with the embeddings of both runs beside it.

    Both are in the colours of the earlier run, so that equal colours mean equal embeddings.

    Args:
        runs: The earlier run, and the later one.
        windows: The time window of each; None if there is only one.
        rasters: Changes by EPSG code; at least one is a number.
        outlined: EPSG code and square in metres of the largest changes, the largest first.
    """
    before, after = runs
    dates = [window_dates(run, window) for run, window in zip(runs, windows, strict=True)]
    everything = np.concatenate([raster.values.ravel() for raster in rasters.values()])
    high = float(np.nanpercentile(everything, _PERCENTILE)) or 1.0
    colours = load_or_fit_colours(before.run, before.plan)
    drawn = [
        (words, *drawn_pictures(run, rasters, window, colours))
        for run, window, words in zip(runs, windows, dates, strict=True)
    ]
    rows = []
    for epsg, raster in list(rasters.items())[:MAX_ZONES]:
        squares = [
            (bounds, str(rank))
            for rank, (zone, bounds) in enumerate(outlined, start=1)
            if zone == epsg
        ]
        panels: list[Panel] = [
            picture_panel(
                raster.extent,
                pictures[epsg].embeddings,
                pictures[epsg].bounds,
                Marks([(bounds, "") for bounds, _ in squares]),
                title=words,
            )
            for words, pictures, _ in drawn
            if epsg in pictures
        ]
        panels.append(
            numbers_panel(
                raster.extent,
                raster.values,
                Marks(squares),
                title="Change",
                label=f"cosine distance of each {raster.unit}, "
                f"to the {_PERCENTILE:.0f}th percentile",
                cmap="magma_r",
                limits=(0, high),
            )
        )
        rows.append(Row(raster.extent.bounds, panels))
    caption = run_caption(after.run, after.plan)
    pictured = [used for _, _, used in drawn if used is not None]
    hidden = len(rasters) - len(rows)
    others = caption.subtitle.partition(SEPARATOR)[2]  # the later run's dates come first
    footer = colours_legend(pictured[0], hidden) if pictured else ""
    return draw_sheet(
        rows,
        replace(
            caption,
            title=f"Change of {caption.title}",
            subtitle=SEPARATOR.join([f"{dates[0]} against {dates[1]}", others]),
        ),
        footer.replace("one fit for the whole run", "one fit, to the first run"),
    )


def window_dates(run: OpenedRun, window: int | None) -> str:
    """Return a run's time window for reading, e.g. ``2022-06-01 to 2022-09-01``.

    Args:
        run: The run.
        window: Index of the window; None if there is only one.
    """
    return format_days(run.windows.spans[window or 0])
