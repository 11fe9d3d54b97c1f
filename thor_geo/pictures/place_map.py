"""A map of places anywhere on the Earth: equal-area, with dots that do not hide each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Bounds
from thor_geo.pictures.maps import INK, MUTED, draw_scale_bar
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# An azimuthal map is used up to so many degrees of longitude: half of it from the centre, shapes
# are squeezed by a tenth (Snyder, USGS Professional Paper 1395, equation 24-20: cos(c / 2)).
_AZIMUTHAL_DEGREES = 110.0
# Room around the places, as a share of the longer side.
_ROOM = 0.06
# Ratio of height to width of a map.
_LOWEST, _TALLEST = 0.45, 0.8
# Distances of meridians and parallels, degrees.
_STEPS = (30.0, 20.0, *(f * 10.0**-e for e in range(5) for f in (10, 5, 2)), 1e-4)
# Fewest lines across a map.
_LINES = 3
_LINE = "#d5dce3"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceGround:
    """The ground of a map of places.

    Attributes:
        crs: Its equal-area projection, as PROJ names it.
        middle: Longitude of the central meridian, degrees.
        bounds: Left, bottom, right, top, metres.
        x: Eastings of the places, (N,) metres.
        y: Northings.
        azimuthal: Whether distances near the centre are true.
    """

    crs: str
    middle: float
    bounds: Bounds
    x: Float64Array
    y: Float64Array
    azimuthal: bool

    @classmethod
    def around(cls, lon: Float64Array, lat: Float64Array, *, least_m: float) -> PlaceGround:
        """Return the ground of a map that holds all places.

        Args:
            lon: Longitudes, degrees (N,).
            lat: Latitudes.
            least_m: Smallest side of the map, metres.
        """
        west, width = _arc(lon)
        middle = (west + width / 2 + 180) % 360 - 180
        south, north = float(lat.min()), float(lat.max())
        azimuthal = width <= _AZIMUTHAL_DEGREES and north - south <= _AZIMUTHAL_DEGREES
        if azimuthal:
            crs = f"+proj=laea +lat_0={(south + north) / 2:.6f} +lon_0={middle:.6f} +datum=WGS84"
        else:
            # All the way round, nothing speaks for another meridian.
            middle = 0.0 if width > 300 else middle
            crs = f"+proj=eqearth +lon_0={middle:.6f} +datum=WGS84"
        x, y = transformer(LONLAT, crs).transform(lon, lat)
        return cls(
            crs=crs,
            middle=middle,
            bounds=_framed(x, y, least_m),
            x=np.asarray(x),
            y=np.asarray(y),
            azimuthal=azimuthal,
        )

    def points(self, positions: Int64Array) -> list[tuple[float, float]]:
        """Return easting and northing of some of the places, metres."""
        return list(zip(self.x[positions].tolist(), self.y[positions].tolist(), strict=True))

    def ranked(self, positions: Int64Array) -> list[tuple[Bounds, str]]:
        """Return marks around some of the places, with their ranks beside them."""
        points = enumerate(self.points(positions), start=1)
        return [((x, y, x, y), str(rank)) for rank, (x, y) in points]

    @property
    def aspect(self) -> float:
        """Ratio of height to width."""
        left, bottom, right, top = self.bounds
        return (top - bottom) / (right - left)


def _arc(lon: Float64Array) -> tuple[float, float]:
    """Return west end and width in degrees of the shortest arc that holds all longitudes."""
    different = np.unique(np.round(lon, 6))
    gaps = np.diff(different, append=different[0] + 360)
    k = int(gaps.argmax())
    return float(different[(k + 1) % len(different)]), 360.0 - float(gaps[k])


def _framed(x: Float64Array, y: Float64Array, least: float) -> Bounds:
    left, right, bottom, top = float(x.min()), float(x.max()), float(y.min()), float(y.max())
    room = max(right - left, top - bottom, least) * _ROOM
    width = max(right - left + 2 * room, least)
    height = max(top - bottom + 2 * room, least)
    width, height = max(width, height / _TALLEST), max(height, width * _LOWEST)
    cx, cy = (left + right) / 2, (bottom + top) / 2
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Dots:
    """Places as dots: those that would cover each other are one dot, the larger the more.

    Attributes:
        x: Mean easting of each dot's places, (n,) metres.
        y: Mean northing.
        count: Places of each dot, (n,).
        member: Dot of each place, (N,).
    """

    x: Float64Array
    y: Float64Array
    count: Int64Array
    member: Int64Array

    @classmethod
    def of(cls, x: Float64Array, y: Float64Array, side: float) -> Dots:
        """Return the dots of places.

        Args:
            x: Eastings, (N,) metres.
            y: Northings.
            side: Side of the squares whose places are one dot, metres.
        """
        col, row = (np.floor((v - v.min(initial=0)) / side).astype(np.int64) for v in (x, y))
        _, member, count = np.unique(
            row * (int(col.max(initial=0)) + 1) + col, return_inverse=True, return_counts=True
        )
        member = member.ravel()
        return cls(
            x=np.bincount(member, weights=x) / count,
            y=np.bincount(member, weights=y) / count,
            count=count,
            member=member,
        )

    def means(self, values: npt.NDArray[Any]) -> Float64Array:
        """Return the mean of values over each dot, (n, k).

        Args:
            values: A value for each place, (N, k).
        """
        sums = [np.bincount(self.member, weights=column) for column in values.T]
        return np.stack(sums, axis=1) / self.count[:, None]

    def most(self, codes: Int64Array, classes: int) -> Int64Array:
        """Return the most frequent class of each dot, (n,).

        Args:
            codes: Class of each place, (N,).
            classes: Number of classes.
        """
        table = np.bincount(self.member * classes + codes, minlength=len(self.count) * classes)
        most: Int64Array = table.reshape(-1, classes).argmax(axis=1)
        return most


def dot_points(places: int) -> float:
    """Return the diameter of a dot of one place, points: large where there are few."""
    return float(np.interp(math.log10(max(places, 1)), (1, 2, 3, 4), (8.5, 7, 5.5, 4)))


def dots_on(axes: Axes, ground: PlaceGround, chosen: BoolArray) -> Dots:
    """Return the dots of some of a map's places; call it after `draw_place_frame`.

    Args:
        axes: The map.
        ground: Its ground, with N places.
        chosen: Which of them, (N,).
    """
    left, _, right, _ = ground.bounds
    metre = (right - left) / (axes.get_window_extent().width * 72 / axes.figure.dpi)
    return Dots.of(ground.x[chosen], ground.y[chosen], dot_points(len(ground.x)) * metre)


def draw_dots(axes: Axes, dots: Dots, colours: Any, places: int, **style: Any) -> Any:
    """Draw dots; return what matplotlib makes of them.

    Args:
        axes: The map.
        dots: The dots.
        colours: (n, 3) uint8, or (n,) numbers with `cmap` and `norm` among the style.
        places: Number of the map's places, for the size of a dot.
        **style: Further arguments of ``scatter``.
    """
    size = dot_points(places)
    # From the diameter that fits beside the next dot to one that overlaps it by a third.
    diameter = size * (0.85 + 0.5 * np.minimum(np.log10(dots.count) / 3, 1))
    given = np.asarray(colours)
    rgb = given / 255 if given.ndim == 2 else given
    # Scales of numbers begin with colours that are hardly seen on the map's own.
    edge = "white" if given.ndim == 2 else "#7b8691"
    order = np.argsort(dots.count, kind="stable")  # the most places on top
    return axes.scatter(
        dots.x[order],
        dots.y[order],
        s=diameter[order] ** 2,
        c=rgb[order],
        # Above the scale, which lies in a corner that may have places.
        **{"edgecolors": edge, "linewidths": 0.35, "zorder": 5.5, **style},
    )


def draw_bar_above(axes: Axes, drawn: Any) -> None:
    """Draw a colour bar above the right end of a map.

    Args:
        axes: The map.
        drawn: From `draw_dots`, of numbers.
    """
    from matplotlib.figure import Figure

    box, figure = axes.get_position(), axes.figure
    assert isinstance(figure, Figure)
    tall, width = figure.get_figheight(), 0.32 * box.width
    bar = figure.add_axes((box.x1 - width, box.y1 + 0.14 / tall, width, 0.11 / tall))
    colours = figure.colorbar(drawn, cax=bar, orientation="horizontal")
    colours.outline.set_edgecolor("#c9d1d8")
    bar.xaxis.set_ticks_position("top")
    bar.tick_params(labelsize=9.5, colors=MUTED, length=3)


def draw_place_frame(axes: Axes, ground: PlaceGround, title: str) -> None:
    """Frame a map of places with meridians, parallels and a scale.

    Args:
        axes: The map.
        ground: Its ground.
        title: Words above it.
    """
    left, bottom, right, top = ground.bounds
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_facecolor("#f6f8fa")
    axes.set_title(title, fontsize=13, fontweight="bold", color=INK, loc="left", pad=9)
    for spine in axes.spines.values():
        spine.set(edgecolor="#c9d1d8", linewidth=0.8)
    axes.tick_params(labelsize=10, colors=MUTED, length=4, width=0.8)
    _draw_graticule(axes, ground)
    if ground.azimuthal:
        draw_scale_bar(axes, ground.bounds)


def _draw_graticule(axes: Axes, ground: PlaceGround) -> None:
    left, bottom, right, top = ground.bounds
    to_ground = transformer(LONLAT, ground.crs).transform
    lon, lat = _seen(ground)
    ticks: dict[str, tuple[list[float], list[str]]] = {"x": ([], []), "y": ([], [])}
    for axis, values, others in (("x", lon, lat), ("y", lat, lon)):
        step = next((s for s in _STEPS if (values[1] - values[0]) / s >= _LINES), _STEPS[-1])
        along = np.linspace(*others, 200)
        first, last = math.ceil(values[0] / step - 1e-9), math.floor(values[1] / step + 1e-9)
        for k in range(first, last + 1):
            value = np.full(len(along), k * step)
            where = (value, along) if axis == "x" else (along, value)
            x, y = (np.asarray(v) for v in to_ground(*where))
            axes.plot(x, y, color=_LINE, linewidth=0.8, zorder=1)
            # Where the line leaves the map, below or at the left.
            cross = _crossing(y, x, bottom) if axis == "x" else _crossing(x, y, left)
            low, high = (left, right) if axis == "x" else (bottom, top)
            if cross is not None and low <= cross <= high:
                ticks[axis][0].append(cross)
                ticks[axis][1].append(_degrees(k * step, step, "EW" if axis == "x" else "NS"))
    axes.set_xticks(*ticks["x"])
    axes.set_yticks(*ticks["y"], rotation=90, verticalalignment="center")


def _seen(ground: PlaceGround) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return first and last longitude (it may pass 180) and latitude that a map shows."""
    left, bottom, right, top = ground.bounds
    x, y = (
        v.ravel() for v in np.meshgrid(np.linspace(left, right, 60), np.linspace(bottom, top, 60))
    )
    lon, lat = (np.asarray(v) for v in transformer(ground.crs, LONLAT).transform(x, y))
    back_x, back_y = transformer(LONLAT, ground.crs).transform(lon, lat)
    on_earth = np.isfinite(lon) & (np.hypot(back_x - x, back_y - y) < (right - left) / 1000)
    turned = (lon[on_earth] - ground.middle + 180) % 360 - 180 + ground.middle
    # Not quite half way round: there, a line would jump to the other side of the map.
    turned = np.clip(turned, ground.middle - 179.99, ground.middle + 179.99)
    return (
        (float(turned.min()), float(turned.max())),
        (float(lat[on_earth].min()), float(lat[on_earth].max())),
    )


def _crossing(across: Float64Array, along: Float64Array, edge: float) -> float | None:
    """Return where a line crosses an edge of the map; None if it does not."""
    side = np.sign(across - edge)
    at = np.flatnonzero(side[1:] * side[:-1] <= 0)
    if not len(at):
        return None
    k = int(at[0])
    a, b = across[k], across[k + 1]
    share = 0.0 if a == b else (edge - a) / (b - a)
    return float(along[k] + share * (along[k + 1] - along[k]))


def _degrees(value: float, step: float, halves: str) -> str:
    value = (value + 180) % 360 - 180 if halves == "EW" else value
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{abs(value):.{digits}f}°"
    return text if round(abs(value), digits) in (0, 180) else text + halves[value < 0]
