"""The maps of a quicklook, one function per kind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.grid import Bounds, zone_name
from thor_geo.writers.pictures import Image, ZonePicture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1b2733"
MUTED = "#5b6875"
_FAILED = "#d4213d"
_EMPTY = "#8a949e"
# Values are written into tiles that are at least so wide, in points.
_LABEL_POINTS = 22.0
# Ticks are at least so far apart.
_TICK_POINTS = 55.0
# Below the map's lower edge, inches.
_LEGEND_BELOW = 0.62


def draw_composite(axes: Axes, picture: ZonePicture, *, first: bool, colours: str) -> None:
    """Draw the composite; *colours* says what its colours are."""
    assert picture.truecolour is not None
    _image(axes, picture.truecolour, picture.bounds)
    _frame(axes, picture, f"Composite, {colours}", first=first)


def draw_embeddings(axes: Axes, picture: ZonePicture, *, first: bool) -> None:
    """Draw the embeddings as colours, with scale and north."""
    _image(axes, picture.embeddings, picture.bounds)
    _frame(axes, picture, "Embeddings (PCA)", first=first)
    _scale_bar(axes, picture.bounds)
    _north(axes)
    _legend(axes, picture)


def draw_observations(axes: Axes, picture: ZonePicture, *, first: bool) -> None:
    """Draw the mean number of clear observations of each tile, with a colour bar."""
    from matplotlib.figure import Figure

    values = picture.observations
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    left, bottom, right, top = picture.bounds
    image = axes.imshow(
        values,
        extent=(left, right, bottom, top),
        cmap="YlGnBu",
        vmin=0,
        vmax=max(1.0, math.ceil(largest)),
        interpolation="nearest",
        aspect="auto",
    )
    _frame(axes, picture, "Clear observations", first=first)
    _label_tiles(axes, picture)
    figure = axes.figure
    assert isinstance(figure, Figure)
    box = axes.get_position()
    high = figure.get_figheight()
    bar = figure.add_axes((box.x0, box.y0 - 0.7 / high, box.width, 0.11 / high))
    colours = figure.colorbar(image, cax=bar, orientation="horizontal")
    colours.set_label("mean per pixel and tile", fontsize=10, color=MUTED)
    colours.outline.set_edgecolor("#c9d1d8")
    bar.tick_params(labelsize=9.5, colors=MUTED, length=3)


def _image(axes: Axes, image: Image, bounds: Bounds) -> None:
    left, bottom, right, top = bounds
    # Few pixels stay squares; many are averaged, or thin lines would come and go.
    axes.imshow(
        image,
        extent=(left, right, bottom, top),
        interpolation="nearest" if max(image.shape[:2]) < 800 else "antialiased",
        aspect="auto",
    )


def _frame(axes: Axes, picture: ZonePicture, title: str, *, first: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    left, bottom, right, top = picture.bounds
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
    zone = zone_name(picture.epsg)[3:].upper()
    axes.set_xlabel(f"easting, UTM {zone} (km)", fontsize=10.5, color=MUTED)
    if first:
        axes.set_ylabel(f"northing, UTM {zone} (km)", fontsize=10.5, color=MUTED)
        for label in axes.get_yticklabels():
            label.set(rotation=90, verticalalignment="center")
    else:
        axes.tick_params(labelleft=False)
    for spine in axes.spines.values():
        spine.set(edgecolor="#c9d1d8", linewidth=0.8)
    _mark(axes, picture)


def _marked(picture: ZonePicture) -> Iterator[tuple[tuple[Bounds, ...], str, dict[str, Any]]]:
    """Yield tiles without an embedding, what they are called and how they are drawn."""
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

    for tiles, _, style in _marked(picture):
        for left, bottom, right, top in tiles:
            axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))


def _legend(axes: Axes, picture: ZonePicture) -> None:
    """Say below the map what the hatches mean, where there are any."""
    from matplotlib.patches import Patch

    handles = [Patch(label=label, **style) for _, label, style in _marked(picture)]
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
    cols = picture.observations.shape[1]
    width = axes.get_window_extent().width * 72 / axes.figure.dpi / cols
    if width < _LABEL_POINTS:
        return
    left, _, right, top = picture.bounds
    side = (right - left) / cols
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
            )


def _scale_bar(axes: Axes, bounds: Bounds) -> None:
    from matplotlib.patches import Rectangle

    left, bottom, right, _ = bounds
    length = nice_length((right - left) / 4)
    # Sizes in points turned into metres, so that the bar looks alike on every map.
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
    """Return the largest of 1, 2 or 5 times a power of ten that is not longer."""
    power: float = 10.0 ** math.floor(math.log10(longest))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest)


def _north(axes: Axes) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "alpha": 0.88, "linewidth": 0}
    axes.annotate(
        "N",
        xy=(1, 1),
        xytext=(-18, -42),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=12,
        fontweight="bold",
        color=INK,
        ha="center",
        va="center",
        bbox=box,
        zorder=5,
    )
    axes.annotate(
        "▲",
        xy=(1, 1),
        xytext=(-18, -22),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=15,
        color=INK,
        ha="center",
        va="center",
        bbox=box,
        zorder=5,
    )
