"""What a user asks for, as frozen keyword-only dataclasses that validate themselves.

Nothing here touches the network, the disk or a model: an invalid request fails in the constructor.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

from thor_geo.bands import S2_DEFAULT_BANDS, Band, BandSelection, bands_from_ee, select_bands
from thor_geo.errors import AreaError, ConfigError

Composite = Literal["median", "mean"]
Mask = Literal["none", "scl"]
Normalize = Literal["thor_stats", "unit_scale", "none", "dataset"]
NodataFill = Literal["value", "mean"]
Merge = Literal["mean", "sum", "concat"]
Pooling = Literal["mean", "max", "grid_mean", "group_mean"]
Implementation = Literal["thorgeo", "official"]

#: SCL classes that the mask `scl` removes: 3 cloud shadow, 8 and 9 cloud (medium, high
#: probability), 10 thin cirrus (Sentinel-2 Level-2A algorithm, scene classification).
SCL_MASKED: tuple[int, ...] = (3, 8, 9, 10)

#: UTM covers 80 S to 84 N (EPSG guidance note 7-2).
UTM_SOUTH, UTM_NORTH = -80.0, 84.0


def check_choice(argument: str, value: object, choices: object) -> None:
    """Refuse a value that is not one of the choices.

    Args:
        argument: Name of the argument, for the message.
        value: Its value.
        choices: A ``Literal`` type.

    Raises:
        ConfigError: If *value* is not among *choices*.
    """
    allowed = get_args(choices)
    if value not in allowed:
        raise ConfigError(
            argument, value, "unknown value", f"Choose from: {', '.join(map(str, allowed))}."
        )


def _check_lon_lat(cls: str, lon: float, lat: float) -> None:
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise AreaError(cls, (lon, lat), "not finite", "Give degrees as plain numbers.")
    if not -180 <= lon <= 180:
        raise AreaError(
            cls,
            lon,
            "longitude is outside -180..180",
            "Give longitude, latitude in degrees (WGS 84).",
        )
    if not UTM_SOUTH <= lat <= UTM_NORTH:
        raise AreaError(
            cls,
            lat,
            f"latitude is outside {UTM_SOUTH:g}..{UTM_NORTH:g}, where UTM tiles end",
            "Cut the area at 80 S and 84 N; polar grids are not supported.",
        )


@dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """A collection, its bands, and how its scenes become one composite.

    Attributes:
        collection: Earth Engine image collection.
        bands: Earth Engine band names; their order is the order of the sample's planes.
        scale_m: Pixel size in metres.
        cloudy_pct: Scenes with a CLOUDY_PIXEL_PERCENTAGE above this are left out, 0..100.
        composite: Per-pixel reduction over the scenes that pass.
        mask: Pixel cloud mask: ``none``, or ``scl`` (cloud shadow, cloud and cirrus classes).
        fill_value: Stored value of a pixel without any clear observation.

    Raises:
        ConfigError: If a value is out of range, or a choice unknown.
        BandError: If a band is unknown or repeated.
    """

    collection: str = "COPERNICUS/S2_SR_HARMONIZED"
    bands: tuple[str, ...] = S2_DEFAULT_BANDS
    scale_m: int = 10
    cloudy_pct: float = 30.0
    composite: Composite = "median"
    mask: Mask = "none"
    fill_value: int = 0

    def __post_init__(self) -> None:
        """Validate, and turn a list of bands into a tuple."""
        object.__setattr__(self, "bands", tuple(self.bands))
        if not self.collection or "/" not in self.collection:
            raise ConfigError(
                "collection",
                self.collection,
                "not an Earth Engine collection id",
                "Use e.g. COPERNICUS/S2_SR_HARMONIZED.",
            )
        bands_from_ee(self.bands)
        if not (isinstance(self.scale_m, int) and self.scale_m > 0):
            raise ConfigError(
                "scale_m", self.scale_m, "not a positive whole number of metres", "Use 10 for THOR."
            )
        if not 0 <= self.cloudy_pct <= 100:
            raise ConfigError(
                "cloudy_pct", self.cloudy_pct, "not a percentage", "Give a number from 0 to 100."
            )
        check_choice("composite", self.composite, Composite)
        check_choice("mask", self.mask, Mask)
        if not 0 <= self.fill_value <= 65535:
            raise ConfigError(
                "fill_value", self.fill_value, "does not fit uint16", "Give 0 to 65535; 0 is usual."
            )

    @property
    def thor_bands(self) -> tuple[Band, ...]:
        """The rows of the band table, in the order of `bands`."""
        return bands_from_ee(self.bands)

    @property
    def selection(self) -> BandSelection:
        """The bands as THOR's encoder wants them, in the order of `bands`."""
        return select_bands(band.channel for band in self.thor_bands)


def _as_utc(argument: str, value: str | dt.date | dt.datetime) -> dt.datetime:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise ConfigError(
                argument, value, f"not a date ({error})", "Write it as YYYY-MM-DD."
            ) from error
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


@dataclass(frozen=True, kw_only=True)
class TemporalSpec:
    """A half-open time window ``[start, end)`` in UTC, as Earth Engine's filterDate takes it.

    Attributes:
        start: First instant of the window.
        end: First instant after the window.

    Raises:
        ConfigError: If *end* is not after *start*.
    """

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        """Validate, and turn dates and naive times into UTC."""
        object.__setattr__(self, "start", _as_utc("start", self.start))
        object.__setattr__(self, "end", _as_utc("end", self.end))
        if self.end <= self.start:
            raise ConfigError(
                "end",
                self.end.date().isoformat(),
                f"not after start={self.start.date().isoformat()}",
                "The window is [start, end): give an end date at least one day later.",
            )

    @classmethod
    def range(cls, start: str | dt.date, end: str | dt.date) -> Self:
        """Return the window from *start* up to, not including, *end* (``YYYY-MM-DD`` or dates)."""
        return cls(start=_as_utc("start", start), end=_as_utc("end", end))

    @classmethod
    def year(cls, year: int) -> Self:
        """Return the calendar year *year*, in UTC."""
        return cls.range(dt.date(year, 1, 1), dt.date(year + 1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class PointBuffer:
    """A square around a point: *buffer_m* metres to each side, in the point's UTM zone.

    Attributes:
        lon: Longitude in degrees, WGS 84.
        lat: Latitude in degrees, WGS 84.
        buffer_m: Half the side in metres.

    Raises:
        AreaError: If the point is outside -180..180, 80 S..84 N, or the buffer is not positive.
    """

    lon: float
    lat: float
    buffer_m: float

    def __post_init__(self) -> None:
        """Validate."""
        _check_lon_lat("PointBuffer", self.lon, self.lat)
        if not (math.isfinite(self.buffer_m) and self.buffer_m > 0):
            raise AreaError(
                "buffer_m", self.buffer_m, "not a positive length", "Give metres, e.g. 2048."
            )


@dataclass(frozen=True, kw_only=True)
class BBox:
    """A box in longitude and latitude, degrees, WGS 84.

    Attributes:
        west: Western edge.
        south: Southern edge.
        east: Eastern edge.
        north: Northern edge.

    Raises:
        AreaError: If an edge is out of range, the box is empty, or it crosses the antimeridian.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        """Validate."""
        _check_lon_lat("bbox", self.west, self.south)
        _check_lon_lat("bbox", self.east, self.north)
        bounds = (self.west, self.south, self.east, self.north)
        if self.west > self.east:
            raise AreaError(
                "bbox",
                bounds,
                f"west {self.west:g} is east of east {self.east:g}",
                "The order is west, south, east, north. Give a box across the antimeridian as two "
                "runs, one on each side.",
            )
        if self.west == self.east or self.south >= self.north:
            raise AreaError(
                "bbox", bounds, "the box is empty", "The order is west, south, east, north."
            )


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """What an embedding looks like: one vector per tile, or a georeferenced map.

    Attributes:
        kind: ``pooled`` or ``grid``.
        pooling: How tokens become one vector (pooled only).
        merge: How the groups' maps become one (grid only).
    """

    kind: Literal["pooled", "grid"]
    pooling: Pooling = "mean"
    merge: Merge = "mean"

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("kind", self.kind, Literal["pooled", "grid"])
        check_choice("pooling", self.pooling, Pooling)
        check_choice("merge", self.merge, Merge)

    @classmethod
    def pooled(cls, pooling: Pooling = "mean") -> Self:
        """Return one vector (D,) per tile: the mean or max over THOR's patch tokens."""
        return cls(kind="pooled", pooling=pooling)

    @classmethod
    def grid(cls, merge: Merge = "mean") -> Self:
        """Return a map (D', h, w) per tile: the groups' token maps, merged."""
        return cls(kind="grid", merge=merge)
