"""From a point, a box or polygons to a rectangle of the pixel grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from shapely.geometry.base import BaseGeometry

from thor_geo.errors import AreaError, ConfigError
from thor_geo.ground.area import LONLAT, Area, AreaSpec, transformer
from thor_geo.ground.chips import chip_around
from thor_geo.ground.lattice import Rect, is_utm, zone_of
from thor_geo.specs import BBox, PointBuffer, TemporalSpec

#: A place: a point with a buffer, a box, or polygons (shapely's in longitude and latitude).
Spatial: TypeAlias = PointBuffer | BBox | AreaSpec | Area | BaseGeometry


@dataclass(frozen=True, kw_only=True)
class Place:
    """An area in one UTM zone.

    Attributes:
        epsg: EPSG code of the zone.
        geometry: The area, metres.
        rect: The smallest rectangle of the zone's pixel grid around it; or a point's chip, which is
            moved by up to half a pixel of the coarsest band.
        point: Easting and northing of the point in metres; None for another place.
    """

    epsg: int
    geometry: BaseGeometry
    rect: Rect
    point: tuple[float, float] | None = None

    @classmethod
    def from_spatial(cls, spatial: Spatial, resolution: int, unit: int) -> Place:
        """Return a place in the zone of its centre, or in its own zone if it has UTM coordinates.

        The pixel grid is that of runs. Around a point, a square of a whole number of the coarsest
        band's pixels is the chip that a run of places has there.

        Args:
            spatial: The place.
            resolution: Pixel size in metres.
            unit: Side in pixels of the coarsest band's pixel; see `chip_unit`.

        Raises:
            AreaError: If it is not a place, or is invalid.
        """
        area = _area(spatial)
        epsg = _utm(area.crs)
        if epsg is None:
            epsg = zone_of(*area.middle)
        geometry = area.in_zone(epsg)
        if not all(map(math.isfinite, geometry.bounds)):
            raise AreaError(
                area.source,
                area.geometry.bounds,
                f"it extends too far from the middle of EPSG:{epsg}",
                "Split it, or use `thor-geo predict`, which treats each UTM zone by itself.",
            )
        rect = _chip(spatial, resolution, unit)
        if rect is None:
            rect = Rect.covering(geometry.bounds, epsg=epsg, resolution=resolution)
        point = None
        if isinstance(spatial, PointBuffer):
            to_zone = transformer(LONLAT, f"EPSG:{epsg}").transform
            point = to_zone(spatial.lon, spatial.lat)
        return cls(epsg=epsg, geometry=geometry, rect=rect, point=point)


def _chip(spatial: Spatial, resolution: int, unit: int) -> Rect | None:
    """Return the chip of a point, if its square has the size of one."""
    if not isinstance(spatial, PointBuffer):
        return None
    size = 2 * spatial.buffer_m / resolution
    if size != int(size) or int(size) % unit:
        return None
    return chip_around(spatial.lon, spatial.lat, size=int(size), resolution=resolution, unit=unit)


def is_place(value: object) -> TypeGuard[Spatial]:
    """Return whether a value is a single place, valid or not."""
    return isinstance(value, PointBuffer | BBox | AreaSpec | Area | BaseGeometry)


def check_kinds(spatials: object, temporal: object, images: object) -> None:
    """Refuse arguments of the wrong kind.

    Args:
        spatials: Places, or None.
        temporal: Time window, or None.
        images: Given pixels, or None.

    Raises:
        ConfigError: If one of them is something else.
    """
    if temporal is not None and not isinstance(temporal, TemporalSpec):
        raise ConfigError(
            "temporal",
            temporal,
            f"a {type(temporal).__name__} is not a time window",
            'Give e.g. TemporalSpec.range("2022-06-01", "2022-09-01").',
        )
    if is_place(spatials):
        raise ConfigError(
            "spatials",
            spatials,
            "one place, not a list of them",
            "Give [place], or use get_embedding.",
        )
    if getattr(images, "ndim", None) == 3:
        raise ConfigError(
            "input_chw",
            getattr(images, "shape", None),
            "one image, not a list of them",
            "Give [image], or use get_embedding.",
        )


def _utm(crs: str) -> int | None:
    code = crs.removeprefix("EPSG:")
    return int(code) if code.isdigit() and is_utm(int(code)) else None


def _area(spatial: Spatial) -> Area:
    if isinstance(spatial, Area):
        return spatial
    if isinstance(spatial, AreaSpec):
        return spatial.load()
    if isinstance(spatial, PointBuffer):
        point = (spatial.lon, spatial.lat)
        return AreaSpec(point=point, buffer_m=spatial.buffer_m).load()
    if isinstance(spatial, BBox):
        return AreaSpec(bbox=(spatial.west, spatial.south, spatial.east, spatial.north)).load()
    if isinstance(spatial, BaseGeometry):
        return Area(geometry=spatial, source="spatial")
    raise AreaError(
        "spatial",
        spatial,
        f"a {type(spatial).__name__} is not a place",
        "Give a PointBuffer, a BBox, an AreaSpec, or a shapely polygon in longitude and latitude.",
    )
