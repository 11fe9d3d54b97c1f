"""Places that UTM tiles can cover."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thor_geo.errors import AreaError

#: UTM covers 80 S to 84 N (EPSG guidance note 7-2).
UTM_SOUTH, UTM_NORTH = -80.0, 84.0


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
        west: Western edge. East of `east` it says that the box crosses the antimeridian.
        south: Southern edge.
        east: Eastern edge.
        north: Northern edge.

    Raises:
        AreaError: If an edge is out of range, or the box is empty, or crosses the antimeridian and
            is more than 180 degrees wide.
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
        if self.west > self.east and (width := self.east + 360 - self.west) > 180:
            raise AreaError(
                "bbox",
                bounds,
                f"west {self.west:g} is east of east {self.east:g}, which means a box across the "
                f"antimeridian that is {width:g} degrees wide, at most 180",
                "The order is west, south, east, north.",
            )
        if self.west == self.east or self.south >= self.north:
            raise AreaError(
                "bbox", bounds, "the box is empty", "The order is west, south, east, north."
            )

    @property
    def parts(self) -> tuple[tuple[float, float, float, float], ...]:
        """West, south, east and north of the box, or of its parts beside the antimeridian."""
        if self.west < self.east:
            return ((self.west, self.south, self.east, self.north),)
        both = (
            (self.west, self.south, 180.0, self.north),
            (-180.0, self.south, self.east, self.north),
        )
        return tuple(part for part in both if part[0] < part[2])
