"""quicklook.png: what a person looks at first.

One row of maps per UTM zone, and per time window of a list: the composite (where the caller has
pixels), the embeddings as colours, and the number of clear observations. All rows share one set of
colours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from thor_geo.plan import Plan
from thor_geo.specs import Windows
from thor_geo.writers._files import replacing
from thor_geo.writers.caption import Caption, caption_of
from thor_geo.writers.opening import TrueColour
from thor_geo.writers.panels import INK, MUTED, draw_composite, draw_embeddings, draw_observations
from thor_geo.writers.pca import Colours
from thor_geo.writers.pictures import (
    MAX_SHARDS,
    ZonePicture,
    drawn_windows,
    drawn_zones,
    read_pictures,
)
from thor_geo.writers.rundir import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

# All lengths in inches, at 100 dots each.
_DPI = 100
_WIDTH = 16.0
_LEFT, _RIGHT, _GAP = 0.95, 0.45, 0.5
_HEADER, _FOOTER = 1.2, 0.6
# Above a map its title, below it ticks, axis label and colour bar.
_ABOVE, _BELOW = 0.55, 1.1
# Above that the time window, in a list of windows.
_HEADING = 0.3
_MAX_MAP_HEIGHT = 8.5
# The observations need less room than the maps beside them.
_OBSERVATIONS_WIDTH = 0.62
# Titles and labels need this much, however narrow the map.
_MIN_COLUMN = 3.0
# Zones with a lower ratio of height to width have their panels below one another.
_WIDE = 0.4


class _Box(NamedTuple):
    """A panel's place: left edge, distance from the row's top, width and height, inches."""

    left: float
    down: float
    width: float
    height: float


def write_quicklook(
    run: RunDirectory,
    plan: Plan,
    *,
    truecolour: TrueColour | None = None,
    windows: Windows | None = None,
) -> None:
    """Draw ``quicklook.png`` of a finished run, or say that it is too large for one.

    Args:
        run: The run directory; every shard of the plan has a marker.
        plan: Its plan.
        truecolour: Called once per zone with its EPSG code, bounds in metres and a shape (rows,
            columns), and in a list of time windows with the index of one; returns uint8 RGB of
            that shape, row 0 = north, or None. None leaves the true colours out.
        windows: The run's time windows; None for one.
    """
    zones = drawn_zones(plan)
    if not zones:
        _log.warning(
            "quicklook.png is not drawn: it would take more than %s shards. `thor-geo merge` makes "
            "one file of the run, of which GIS tools show parts.",
            f"{MAX_SHARDS:,}",
        )
        return
    pictures, colours = read_pictures(run, plan, truecolour, windows)
    hidden = len(set(plan.shards.zone.tolist())) - len(zones)
    caption = caption_of(run, plan)
    if windows is not None and (left_out := len(windows) - len(drawn_windows(plan, windows))):
        caption = replace(caption, rest=f"{left_out} of {len(windows)} windows are not drawn.")
    figure = draw_quicklook(pictures, colours, caption, hidden=hidden)
    with replacing(run.quicklook) as temporary:
        # No `Software` entry: equal runs give equal pictures whatever draws them.
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})


def draw_quicklook(
    pictures: Sequence[ZonePicture],
    colours: Colours | None,
    caption: Caption,
    *,
    hidden: int = 0,
) -> Figure:
    """Draw the picture.

    Args:
        pictures: One per zone and time window, in ascending order of EPSG codes.
        colours: What the embeddings' colours are; None if no tile has an embedding.
        caption: The words.
        hidden: Number of zones that are not among *pictures*.

    Returns:
        A figure 1600 pixels wide.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_layout(picture, _HEADING if picture.window else 0.0) for picture in pictures]
    height = _HEADER + sum(tall for _, tall in rows) + _FOOTER
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    _draw_header(figure, caption)
    top = height - _HEADER
    for picture, (boxes, tall) in zip(pictures, rows, strict=True):
        if picture.window:
            _draw_window(figure, picture.window, left=boxes[0].left, top=top)
        draws: list[Callable[..., None]] = [draw_embeddings, draw_observations]
        if picture.truecolour is not None:
            draws.insert(0, partial(draw_composite, colours=caption.picture))
        for draw, box in zip(draws, boxes, strict=True):
            axes = figure.add_axes(
                (
                    box.left / _WIDTH,
                    (top - box.down - box.height) / height,
                    box.width / _WIDTH,
                    box.height / height,
                )
            )
            draw(axes, picture, first=box.left == boxes[0].left)
        top -= tall
    windows = any(picture.window for picture in pictures)
    _draw_footer(figure, colours, hidden, caption, windows=windows)
    return figure


def _layout(picture: ZonePicture, heading: float) -> tuple[list[_Box], float]:
    """Place the panels of a zone: side by side, or one below the other where the zone is wide.

    Args:
        picture: What is drawn.
        heading: Height of a line above the titles, inches.

    Returns:
        The boxes, and the height they take together with their labels.
    """
    left, bottom, right, top = picture.bounds
    aspect = (top - bottom) / (right - left)
    maps = 1 if picture.truecolour is None else 2
    if aspect < _WIDE:
        width = _WIDTH - _LEFT - _RIGHT
        tall = _ABOVE + width * aspect + _BELOW
        first = heading + _ABOVE
        boxes = [_Box(_LEFT, k * tall + first, width, width * aspect) for k in range(maps + 1)]
        return boxes, heading + (maps + 1) * tall
    shares = [1.0] * maps + [_OBSERVATIONS_WIDTH]
    room = _WIDTH - _LEFT - _RIGHT - _GAP * maps
    unit = min(room / sum(shares), _MAX_MAP_HEIGHT / aspect)
    columns = [max(share * unit, _MIN_COLUMN) for share in shares]
    # What the columns leave is shared by both sides; smaller panels hang from the same edge.
    at = _LEFT + max(0.0, room - sum(columns)) / 2
    boxes = []
    for share, column in zip(shares, columns, strict=True):
        boxes.append(_Box(at, heading + _ABOVE, share * unit, share * unit * aspect))
        at += column + _GAP
    return boxes, heading + _ABOVE + unit * aspect + _BELOW


def _draw_header(figure: Figure, caption: Caption) -> None:
    def at(inches_from_top: float) -> float:
        return 1 - inches_from_top / figure.get_figheight()

    left, right = 0.45 / _WIDTH, 1 - 0.45 / _WIDTH
    figure.text(left, at(0.62), caption.title, fontsize=23, fontweight="bold", color=INK)
    figure.text(left, at(1.0), caption.subtitle, fontsize=12.5, color=MUTED)
    if caption.notice:
        figure.text(
            right,
            at(0.55),
            caption.notice,
            fontsize=13,
            fontweight="bold",
            color="#7a3e00",
            ha="right",
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#ffe9c7", "edgecolor": "#e0a040"},
        )


def _draw_window(figure: Figure, window: str, *, left: float, top: float) -> None:
    """Write the days of a row's time window above its maps; *left* and *top* in inches."""
    y = (top - _HEADING - 0.06) / figure.get_figheight()
    figure.text(left / _WIDTH, y, window, fontsize=15, fontweight="bold", color=INK)


def _draw_footer(
    figure: Figure, colours: Colours | None, hidden: int, caption: Caption, *, windows: bool
) -> None:
    y = 0.3 / figure.get_figheight()
    if colours is None:
        text = "No tile has an embedding."
    else:
        parts = [
            f"{name} {share:.0%}"
            for name, share in zip(("red", "green", "blue"), colours.share, strict=True)
        ]
        all_of = "zones and windows" if windows else "zones"
        text = (
            f"Colours: first three principal components of the embeddings ({', '.join(parts)} of "
            f"the variance), one fit for all {all_of}, 2nd to 98th percentile."
        )
    if hidden:
        text += f" {hidden} more {'zone is' if hidden == 1 else 'zones are'} not drawn."
    if caption.rest:
        text += f" {caption.rest}"
    figure.text(0.45 / _WIDTH, y, text, fontsize=10.5, color=MUTED)
    figure.text(1 - 0.45 / _WIDTH, y, caption.mark, fontsize=10.5, color=MUTED, ha="right")
