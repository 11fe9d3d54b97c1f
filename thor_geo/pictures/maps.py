"""The parts of every map in a picture: a frame in kilometres, scale, north arrow, colour bar."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Bounds, zone_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1b2733"
MUTED = "#5b6875"
# Smallest distance between ticks, points.
_TICK_POINTS = 55.0


def draw_image(axes: Axes, image: npt.NDArray[Any], bounds: Bounds) -> None:
    """Draw a picture at its place on a map.

    Args:
        axes: The map.
        image: (h, w, 3 or 4) uint8, row 0 = north.
        bounds: Left, bottom, right, top, metres.
    """
    left, bottom, right, top = bounds
    # Few pixels are drawn as squares; many are averaged, so that thin lines do not come and go.
    axes.imshow(
        image,
        extent=(left, right, bottom, top),
        interpolation="nearest" if max(image.shape[:2]) < 800 else "antialiased",
        aspect="auto",
    )


def draw_frame(axes: Axes, epsg: int, bounds: Bounds, title: str, *, first: bool) -> None:
    """Frame a map.

    Args:
        axes: The map.
        epsg: Its UTM zone.
        bounds: The ground it shows: left, bottom, right, top, metres.
        title: Words above it.
        first: Whether it is the leftmost of its row, which has a label along its side.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    left, bottom, right, top = bounds
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_facecolor("#eef1f4")
    axes.set_title(title, fontsize=13, fontweight="bold", color=INK, loc="left", pad=9)
    extent = axes.get_window_extent()
    for axis, pixels in ((axes.xaxis, extent.width), (axes.yaxis, extent.height)):
        many = max(1, int(pixels * 72 / axes.figure.dpi / _TICK_POINTS))
        axis.set_major_locator(MaxNLocator(nbins=min(many, 8), steps=[1, 2, 5, 10], min_n_ticks=1))
        axis.set_major_formatter(FuncFormatter(lambda metres, _: f"{metres / 1000:g}"))
    axes.tick_params(labelsize=10, colors=MUTED, length=4, width=0.8)
    zone = zone_name(epsg)[3:].upper()
    axes.set_xlabel(f"easting, UTM {zone} (km)", fontsize=10.5, color=MUTED)
    if first:
        axes.set_ylabel(f"northing, UTM {zone} (km)", fontsize=10.5, color=MUTED)
        for label in axes.get_yticklabels():
            label.set(rotation=90, verticalalignment="center")
    else:
        axes.tick_params(labelleft=False)
    for spine in axes.spines.values():
        spine.set(edgecolor="#c9d1d8", linewidth=0.8)


def draw_values(
    axes: Axes,
    values: npt.NDArray[np.float32],
    bounds: Bounds,
    *,
    label: str,
    cmap: str,
    limits: tuple[float, float],
) -> None:
    """Draw numbers as colours, with a colour bar below; call it after `draw_frame`.

    Args:
        axes: The map.
        values: (h, w), row 0 = north; NaN is left out.
        bounds: Left, bottom, right, top, metres.
        label: Name of the numbers.
        cmap: Name of the colours.
        limits: Numbers at the ends of the bar; beyond them the colours do not change.
    """
    from matplotlib.figure import Figure

    left, bottom, right, top = bounds
    shown = axes.get_xlim(), axes.get_ylim()
    image = axes.imshow(
        values,
        extent=(left, right, bottom, top),
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
        aspect="auto",
    )
    axes.set_xlim(shown[0])
    axes.set_ylim(shown[1])
    figure = axes.figure
    assert isinstance(figure, Figure)
    box = axes.get_position()
    high = figure.get_figheight()
    bar = figure.add_axes((box.x0, box.y0 - 0.7 / high, box.width, 0.11 / high))
    colours = figure.colorbar(image, cax=bar, orientation="horizontal")
    colours.set_label(label, fontsize=10, color=MUTED)
    colours.outline.set_edgecolor("#c9d1d8")
    bar.tick_params(labelsize=9.5, colors=MUTED, length=3)


def draw_scale_bar(axes: Axes, bounds: Bounds) -> None:
    """Draw a bar of a round length in the lower left corner of a map with these bounds."""
    from matplotlib.patches import Rectangle

    left, bottom, right, _ = bounds
    length = nice_length((right - left) / 4)
    # Sizes in points are converted to metres, so that the bar looks the same on every map.
    metre = (right - left) / (axes.get_window_extent().width * 72 / axes.figure.dpi)
    x, y = left + 14 * metre, bottom + 14 * metre
    box: dict[str, Any] = {"facecolor": "white", "alpha": 0.88, "linewidth": 0, "zorder": 4}
    room = max(length, 36 * metre)  # the words need more than a short bar
    x += (room - length) / 2
    axes.add_patch(
        Rectangle(
            (x - (room - length) / 2 - 8 * metre, y - 7 * metre),
            room + 16 * metre,
            32 * metre,
            **box,
        )
    )
    for k, colour in ((0, INK), (1, "white")):
        axes.add_patch(
            Rectangle(
                (x + k * length / 2, y),
                length / 2,
                4.5 * metre,
                facecolor=colour,
                edgecolor=INK,
                linewidth=0.8,
                zorder=5,
            )
        )
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(x + length / 2, y + 8 * metre, text, fontsize=10, color=INK, ha="center", zorder=5)


def nice_length(longest: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is not longer."""
    power: float = 10.0 ** math.floor(math.log10(longest))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest)


def draw_north(axes: Axes) -> None:
    """Draw a north arrow in the upper right corner."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "alpha": 0.88, "linewidth": 0}
    for text, down, size, weight in (("N", -42, 12, "bold"), ("▲", -22, 15, "normal")):
        axes.annotate(
            text,
            xy=(1, 1),
            xytext=(-18, down),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=size,
            fontweight=weight,
            color=INK,
            ha="center",
            va="center",
            bbox=box,
            zorder=5,
        )
