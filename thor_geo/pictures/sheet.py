"""A sheet of maps: a caption, rows of maps of one zone each, and a line below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.caption import Caption
from thor_geo.pictures.maps import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Dots per inch; all lengths here are inches.
DPI = 100
WIDTH = 16.0
_LEFT, _RIGHT, _GAP = 0.95, 0.45, 0.5
#: Room above all maps for the caption, and below them for a line of text.
HEADER, FOOTER = 1.2, 0.6
# Room above a map for its title, and below it for ticks, axis label and colour bar.
_ABOVE, _BELOW = 0.55, 1.1
# Room above that for a row's heading, if it has one.
_HEADING = 0.3
_MAX_MAP_HEIGHT = 8.5
# Titles and labels need this width, however narrow the map.
_MIN_COLUMN = 3.0
# Zones with a lower ratio of height to width have their panels below one another.
_WIDE = 0.4


def save_png(figure: Figure, path: Path, dpi: float = DPI) -> None:
    """Save a figure; equal figures give equal bytes, whatever version draws them.

    Args:
        figure: The figure.
        path: The file, whatever its suffix.
        dpi: Dots per inch.
    """
    # Without a `Software` entry, which would contain the version of matplotlib.
    figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})


class Panel(NamedTuple):
    """One map of a row.

    Attributes:
        draw: Draws it on axes; its second argument is whether it is the leftmost.
        share: Width relative to the widest.
    """

    draw: Callable[[Axes, bool], None]
    share: float = 1.0


class Row(NamedTuple):
    """Maps of the same ground.

    Attributes:
        bounds: Left, bottom, right, top, metres.
        panels: The maps, from left to right.
        heading: Text above them, e.g. the days of a time window.
    """

    bounds: Bounds
    panels: Sequence[Panel]
    heading: str = ""


class _Box(NamedTuple):
    """A panel's place: left edge, distance from the row's top, width and height, inches."""

    left: float
    down: float
    width: float
    height: float


def draw_sheet(rows: Sequence[Row], caption: Caption, footer: str) -> Figure:
    """Draw a sheet.

    Args:
        rows: The maps.
        caption: Text above them.
        footer: Text below them.

    Returns:
        A figure 1600 pixels wide.
    """
    placed = [_layout(row) for row in rows]
    height = HEADER + sum(tall for _, tall in placed) + FOOTER
    figure = captioned_figure(height, caption, footer)
    top = height - HEADER
    for row, (boxes, tall) in zip(rows, placed, strict=True):
        if row.heading:
            figure.text(
                boxes[0].left / WIDTH,
                (top - _HEADING - 0.06) / height,
                row.heading,
                fontsize=15,
                fontweight="bold",
                color=INK,
            )
        for panel, box in zip(row.panels, boxes, strict=True):
            axes = figure.add_axes(
                (
                    box.left / WIDTH,
                    (top - box.down - box.height) / height,
                    box.width / WIDTH,
                    box.height / height,
                )
            )
            panel.draw(axes, box.left == boxes[0].left)
        top -= tall
    return figure


def captioned_figure(height: float, caption: Caption, footer: str) -> Figure:
    """Return a figure with its caption and the line below, and nothing between them.

    Args:
        height: Its height, inches; `HEADER` and `FOOTER` of it are taken.
        caption: Text above.
        footer: Text below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    _draw_header(figure, caption)
    y = 0.3 / height
    footer = f"{footer} {caption.rest}".strip()
    figure.text(0.45 / WIDTH, y, footer, fontsize=10.5, color=MUTED)
    figure.text(1 - 0.45 / WIDTH, y, caption.mark, fontsize=10.5, color=MUTED, ha="right")
    return figure


def _layout(row: Row) -> tuple[list[_Box], float]:
    """Place the panels of a zone: side by side, or one below the other if the zone is wide.

    Returns:
        The boxes, and their height together with their labels.
    """
    left, bottom, right, top = row.bounds
    aspect = (top - bottom) / (right - left)
    count = len(row.panels)
    heading = _HEADING if row.heading else 0.0
    if aspect < _WIDE:
        width = WIDTH - _LEFT - _RIGHT
        tall = _ABOVE + width * aspect + _BELOW
        first = heading + _ABOVE
        boxes = [_Box(_LEFT, k * tall + first, width, width * aspect) for k in range(count)]
        return boxes, heading + count * tall
    shares = [panel.share for panel in row.panels]
    room = WIDTH - _LEFT - _RIGHT - _GAP * (count - 1)
    unit = min(room / sum(shares), _MAX_MAP_HEIGHT / aspect)
    columns = [max(share * unit, _MIN_COLUMN) for share in shares]
    # Room that the columns leave is split between both sides; panels align at their upper edge.
    position = _LEFT + max(0.0, room - sum(columns)) / 2
    boxes = []
    for share, column in zip(shares, columns, strict=True):
        boxes.append(_Box(position, heading + _ABOVE, share * unit, share * unit * aspect))
        position += column + _GAP
    return boxes, heading + _ABOVE + unit * aspect + _BELOW


def _draw_header(figure: Figure, caption: Caption) -> None:
    def height(inches_from_top: float) -> float:
        return 1 - inches_from_top / figure.get_figheight()

    left, right = 0.45 / WIDTH, 1 - 0.45 / WIDTH
    figure.text(left, height(0.62), caption.title, fontsize=23, fontweight="bold", color=INK)
    figure.text(left, height(1.0), caption.subtitle, fontsize=12.5, color=MUTED)
    if caption.notice:
        figure.text(
            right,
            height(0.55),
            caption.notice,
            fontsize=13,
            fontweight="bold",
            color="#7a3e00",
            ha="right",
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#ffe9c7", "edgecolor": "#e0a040"},
        )
