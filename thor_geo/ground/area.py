"""From what the user calls an area to polygons in UTM zones."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.errors import AreaError
from thor_geo.ground.lattice import zone_of, zone_strip, zones_of
from thor_geo.specs import UTM_NORTH, UTM_SOUTH, BBox, PointBuffer
from thor_geo.support.antimeridian import (
    cut_at_antimeridian,
    middle_of,
)

_log = logging.getLogger(__name__)

#: Longitude and latitude in this order (OGC:CRS84), as GeoParquet and GeoJSON have them.
LONLAT = "OGC:CRS84"

#: Longest edge when a polygon changes CRS: an east-west chord of 0.01 degrees leaves its parallel
#: by at most L^2 tan(lat) / 8R = 0.15 m at 80 degrees.
EDGE_DEGREES = 0.01
EDGE_METRES = 500.0
# Points of an outline with edges that short: the coastlines of the world have a tenth of it.
_MOST_POINTS = 20_000_000
# Half the side of the square that stands for a bare point, metres: far below a pixel.
_POINT_M = 0.05

# By its default method, shapely.make_valid leaves out the ground where parts overlap.
REPAIR = "Repair it with shapely.make_valid(..., method='structure') or QGIS 'Fix geometries'."
CUT = f"Cut it at 180 degrees, and at 84 N or 80 S. {REPAIR}"
_SOURCES = "bbox, point with buffer_m, file, or points"


@cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    """Return a transformer in x, y (longitude, latitude) order; threads may share it.

    To make one takes 10 ms, as long as all else about a shard's rows.
    """
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def _reproject(geometry: BaseGeometry, source: str, target: str) -> BaseGeometry:
    try:
        geographic = pyproj.CRS.from_user_input(source).is_geographic
        change: Callable[..., Any] = transformer(source, target).transform
        edge = EDGE_DEGREES if geographic else EDGE_METRES
        if not geometry.length / edge < _MOST_POINTS:
            raise AreaError(
                "area",
                source,
                f"its outline is {geometry.length:.3g} {'degrees' if geographic else 'm'} long",
                "Coordinates do not fit the CRS: check crs and axis order.",
            )
        dense = shapely.segmentize(geometry, edge)
        return shapely.transform(dense, lambda xy: np.column_stack(change(xy[:, 0], xy[:, 1])))
    except pyproj.exceptions.ProjError as error:
        raise AreaError(
            "area",
            source[:80],
            f"its CRS cannot be transformed to {target} ({error})",
            "Save the area in EPSG:4326 or in a UTM zone.",
        ) from error


@dataclass(frozen=True, kw_only=True)
class AreaSpec:
    """Where to embed: exactly one of a box, a point, a polygon file and a table of points.

    Attributes:
        bbox: West, south, east, north; degrees, or metres with `crs`. In degrees, west is greater
            than east where the box crosses the antimeridian: [177, -19, -178, -16].
        crs: CRS of `bbox`, e.g. ``EPSG:32631``.
        point: Longitude and latitude in degrees; needs `buffer_m`.
        buffer_m: Half the side in metres of the square around a point; with `points` it may be
            left out, which takes the tiles that hold the points.
        file: Polygons in a file that geopandas reads, zipped or not.
        layer: Layer of `file` or `points`, where it has several.
        points: Points in such a file, or in a table with ``lon`` and ``lat``.

    Raises:
        AreaError: If not exactly one area is given, or a value is out of range.
    """

    bbox: tuple[float, float, float, float] | None = None
    crs: str = LONLAT
    point: tuple[float, float] | None = None
    buffer_m: float | None = None
    file: Path | None = None
    layer: str | None = None
    points: Path | None = None

    def __post_init__(self) -> None:
        """Validate everything that needs no file."""
        sources = [n for n in ("bbox", "point", "file", "points") if getattr(self, n) is not None]
        if len(sources) != 1:
            replaced = " On the command line, --data.area='{file: ...}' replaces a config's area."
            raise AreaError(
                "area",
                sources,
                "exactly one area is needed",
                f"Give one of {_SOURCES}.{replaced if sources else ''}",
            )
        if self.point is not None:
            if self.buffer_m is None:
                raise AreaError(
                    "buffer_m", None, "`point` needs it", "Give metres to each side, e.g. 2048."
                )
            PointBuffer(lon=self.point[0], lat=self.point[1], buffer_m=self.buffer_m)
        elif self.buffer_m is not None and not (
            self.points is not None and math.isfinite(self.buffer_m) and self.buffer_m >= 0
        ):
            raise AreaError(
                "buffer_m",
                self.buffer_m,
                "not a length for `points`",
                "It goes with `point` and `points` only, in metres.",
            )
        if self.bbox is not None and self.crs == LONLAT:
            BBox(west=self.bbox[0], south=self.bbox[1], east=self.bbox[2], north=self.bbox[3])
        if self.crs != LONLAT and self.bbox is None:
            raise AreaError("crs", self.crs, "it goes with `bbox` only", "Files carry their own.")
        if self.layer is not None and self.file is None and self.points is None:
            raise AreaError("layer", self.layer, "there is no file", "It goes with `file`.")

    def load(self) -> Area:
        """Read and validate the area.

        Raises:
            AreaError: If a file is missing or unreadable, or the geometry is empty, invalid or
                outside what UTM tiles cover.
        """
        from thor_geo.ground import _area_files

        if self.bbox is not None:
            return _from_bbox(self.bbox, self.crs)
        if self.point is not None:
            assert self.buffer_m is not None
            return _from_points(np.array([self.point]), self.buffer_m)
        if self.points is not None:
            lonlat = _area_files.read_points(self.points, self.layer)
            return _from_points(lonlat, self.buffer_m or 0.0)
        assert self.file is not None
        return _area_files.area_of_file(self.file, self.layer)


@dataclass(frozen=True, kw_only=True)
class Area:
    """A valid, non-empty polygonal area.

    Attributes:
        geometry: (Multi)polygon in `crs`. In degrees it is cut at the antimeridian, as RFC 7946 has
            it; one that crosses it otherwise (an edge from 179 to -179, or longitudes beyond 180)
            is cut here.
        crs: Anything pyproj understands; x before y.
        source: What the user called it, for messages.

    Raises:
        AreaError: If the geometry is empty, not polygonal, self-intersecting, or reaches beyond
            84 N or 80 S.
    """

    geometry: BaseGeometry
    crs: str = LONLAT
    source: str = "area"

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "geometry", _cut(self.geometry, self.crs, self.source))
        if self.geometry.is_empty or self.geometry.area == 0:
            raise AreaError(
                self.source,
                self.geometry.wkt[:80],
                "the area is empty",
                "Give polygons, or points with a buffer.",
            )
        if not self.geometry.is_valid:
            raise AreaError(
                self.source,
                self.geometry.wkt[:80],
                f"invalid geometry: {shapely.is_valid_reason(self.geometry)}",
                REPAIR,
            )
        west, south, east, north = self.lonlat.bounds
        if not all(map(math.isfinite, (west, south, east, north))):
            raise AreaError(
                self.source, self.crs, "coordinates do not fit the CRS", "Check crs and axis order."
            )
        if west < -180 or east > 180:
            raise AreaError(
                self.source, (west, east), "these are not longitudes", "Check crs and axis order."
            )
        if south < UTM_SOUTH or north > UTM_NORTH:
            raise AreaError(
                self.source,
                (south, north),
                "the area reaches beyond 80 S or 84 N, where UTM tiles end",
                "Cut it there; polar grids are not supported.",
            )

    @cached_property
    def lonlat(self) -> BaseGeometry:
        """The area in longitude and latitude, edges densified if it comes from elsewhere.

        It lies between -180 and 180, and is cut there.
        """
        if self.crs == LONLAT:
            return self.geometry
        moved = _reproject(self.geometry, self.crs, LONLAT)
        # Where coordinates do not fit the CRS they are infinite, which is refused.
        if not np.isfinite(moved.bounds).all():
            return moved
        return _cut(moved, LONLAT, self.source, aloud=False)

    @property
    def middle(self) -> tuple[float, float]:
        """Longitude and latitude of the area's centroid."""
        return middle_of(self.lonlat)

    def in_zone(self, epsg: int) -> BaseGeometry:
        """Return the whole area in one UTM zone's metres, even where it leaves the zone's strip.

        Args:
            epsg: EPSG code of the zone.
        """
        utm = f"EPSG:{epsg}"
        # An area that came in this very CRS stays exact: no round trip.
        if self.crs == utm:
            return self.geometry
        moved = _reproject(self.lonlat, LONLAT, utm)
        # The parts on both sides of the antimeridian touch in metres.
        touches = self.lonlat.bounds[0] == -180 and self.lonlat.bounds[2] == 180
        return shapely.union_all(shapely.get_parts(moved)) if touches else moved

    def zones(self) -> dict[int, BaseGeometry]:
        """Return the area's part in every UTM zone strip it meets, in metres, by EPSG code."""
        return self._zones

    @cached_property
    def _zones(self) -> dict[int, BaseGeometry]:
        lonlat = self.lonlat
        west, south, east, north = lonlat.bounds
        parts: dict[int, BaseGeometry] = {}
        for zone in sorted(_zones_within(shapely.get_parts(lonlat))):
            strip = zone_strip(zone)
            part = shapely.intersection(lonlat, shapely.box(*strip))
            if part.area == 0:  # empty, or only an edge on the zone's border
                continue
            inside = (
                strip[0] <= west and strip[1] <= south and east <= strip[2] and north <= strip[3]
            )
            utm = f"EPSG:{zone}"
            # An area that came in this very CRS stays exact: no round trip.
            if inside and self.crs == utm:
                parts[zone] = self.geometry
            else:
                parts[zone] = _reproject(part, LONLAT, utm)
        return parts


def _cut(geometry: BaseGeometry, crs: str, source: str, *, aloud: bool = True) -> BaseGeometry:
    """Return polygons cut at the antimeridian, if they are in degrees.

    Raises:
        AreaError: If they go round a pole, or are invalid once they are put together.
    """
    if crs != LONLAT and not _is_geographic(crs):
        return geometry
    try:
        parts = cut_at_antimeridian(geometry)
    except ValueError as error:
        raise AreaError(source, geometry.wkt[:80], str(error), CUT) from error
    if aloud and parts is not geometry:
        tell_crossing(source, parts)
    return parts


def tell_crossing(source: str, parts: Any) -> None:
    """Say where an area lies whose longitudes were read anew; some mean the other way round."""
    edges = shapely.bounds(shapely.get_parts(parts))[:, [0, 2]]
    eastern = edges[:, 0] >= 0
    begins = edges[eastern, 0].min(initial=180)
    ends = edges[~eastern, 1].max(initial=-180)
    if begins < 180 and ends > -180 and (edges[~eastern, 1] < 180).all():
        _log.warning(
            "%s: it crosses the antimeridian, from %g to %g degrees.", source, begins, ends
        )
        return
    _log.warning(
        "%s: its longitudes are turned by 360 degrees: it lies from %g to %g degrees.",
        source,
        edges[:, 0].min(),
        edges[:, 1].max(),
    )


@cache
def _is_geographic(crs: str) -> bool:
    try:
        return pyproj.CRS.from_user_input(crs).is_geographic
    except pyproj.exceptions.CRSError:  # which is refused where the area is brought to degrees
        return False


def _zones_within(parts: npt.NDArray[np.object_]) -> set[int]:
    """Return the UTM zones whose strips polygons may meet."""
    zones: set[int] = set()
    for west, south, east, north in shapely.bounds(parts).tolist():
        for lat in {math.copysign(1, south), math.copysign(1, north)}:
            zones.update(range(zone_of(west, lat), zone_of(east, lat) + 1))
    return zones


def _from_bbox(bbox: tuple[float, float, float, float], crs: str) -> Area:
    if crs == LONLAT:
        box = BBox(west=bbox[0], south=bbox[1], east=bbox[2], north=bbox[3])
        parts = [shapely.box(*part) for part in box.parts]
        if box.west < box.east and box.east - box.west > 180:
            # A point in between says that the edges are meant to be that long.
            parts = [shapely.segmentize(part, 90) for part in parts]
        whole = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
        return Area(geometry=whole, source="bbox")
    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise AreaError("crs", crs, f"unknown CRS ({error})", "Give e.g. EPSG:32631.") from error
    if bbox[0] >= bbox[2] or bbox[1] >= bbox[3]:
        raise AreaError("bbox", bbox, "the box is empty", "The order is left, bottom, right, top.")
    authority = known.to_authority()
    name = ":".join(authority) if authority else crs
    return Area(geometry=shapely.box(*bbox), crs=name, source="bbox")


def _from_points(lonlat: npt.NDArray[np.float64], buffer_m: float) -> Area:
    half = buffer_m or _POINT_M
    squares: list[BaseGeometry] = []
    zones = zones_of(*lonlat.T)
    for zone in np.unique(zones):
        utm = f"EPSG:{zone}"
        chosen = lonlat[zones == zone]
        x, y = transformer(LONLAT, utm).transform(chosen[:, 0], chosen[:, 1])
        boxes = shapely.box(x - half, y - half, x + half, y + half)
        if len(np.unique(zones)) == 1:
            return Area(geometry=shapely.union_all(boxes), crs=utm, source="point")
        squares.extend(_reproject(box, utm, LONLAT) for box in boxes)
    return Area(geometry=shapely.union_all(squares), source="points")
