# Parameters carry the API's names: that is how arguments are bound.
# ruff: noqa: N803
"""Geometries and the test whether two of them overlap.

Only what selects scenes: points, rectangles and polygons in any CRS, with planar or geodesic edges.
Ground that merely touches does not overlap. Geometries across the antimeridian are not handled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError

from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._functions import expect, function

Points = npt.NDArray[np.float64]  # (n, 2)

#: Points put on each edge before it is brought to another CRS. On an edge of 100 km, the chord
#: between two neighbours is within 2 cm of the curve.
EDGE_POINTS = 64
WGS84 = "EPSG:4326"


@dataclass(frozen=True)
class Projection:
    """A coordinate reference system.

    Args:
        crs: ``EPSG:...`` code or WKT.
    """

    crs: str


@dataclass(frozen=True)
class Footprint:
    """An upright rectangle in its own CRS.

    Args:
        crs: ``EPSG:...`` code.
        bounds: (left, bottom, right, top).
    """

    crs: str
    bounds: tuple[float, float, float, float]

    def ring(self) -> Points:
        """Return the four corners, counter-clockwise."""
        left, bottom, right, top = self.bounds
        return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])

    def lonlat(self) -> list[list[float]]:
        """Return the closed ring of corners in degrees."""
        ring = _to_crs(self.ring(), self.crs, WGS84)
        return [*ring.tolist(), ring[0].tolist()]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A point (one vertex), or a polygon's rings.

    Args:
        rings: Open rings, the shell first.
        crs: CRS of the coordinates.
        geodesic: True if edges follow the shortest path on the ellipsoid.
    """

    rings: tuple[Points, ...]
    crs: str
    geodesic: bool

    def overlaps(self, footprint: Footprint) -> bool:
        """Return whether the geometry and a footprint share any interior."""
        if not self.geodesic and self.crs == footprint.crs and self._upright():
            low, high = self.rings[0].min(axis=0), self.rings[0].max(axis=0)
            left, bottom, right, top = footprint.bounds
            if len(self.rings[0]) == 1:
                return bool(left <= low[0] < right and bottom < low[1] <= top)
            return bool(low[0] < right and high[0] > left and low[1] < top and high[1] > bottom)
        # Scenes are small, so they are well defined in the geometry's CRS; the reverse is not true.
        return _polygons_overlap(self._dense(), [dense_footprint(footprint, self.crs)])

    def _upright(self) -> bool:
        """Whether this is a point or an upright rectangle."""
        if len(self.rings) != 1:
            return False
        ring = self.rings[0]
        if len(ring) == 1:
            return True
        steps = np.roll(ring, -1, axis=0) - ring
        return len(ring) == 4 and bool(np.all((steps == 0).any(axis=1)))

    def _dense(self) -> list[Points]:
        """Rings with the points on their geodesic edges; planar edges stay straight here."""
        if not self.geodesic or len(self.rings[0]) == 1:
            return list(self.rings)
        geod = Geod(ellps="WGS84")
        dense = []
        for ring in self.rings:
            points: list[tuple[float, float]] = []
            for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                points += [(x1, y1), *geod.npts(x1, y1, x2, y2, EDGE_POINTS)]
            dense.append(np.array(points))
        return dense


@dataclass(frozen=True, eq=False)
class Feature:
    """A geometry with properties."""

    geometry: Geometry
    properties: Mapping[str, Any]


def _to_crs(points: Points, source: str, target: str) -> Points:
    if source == target:
        return points
    x, y = Transformer.from_crs(source, target, always_xy=True).transform(*points.T)
    return np.column_stack([x, y])


@lru_cache(maxsize=4096)
def dense_footprint(footprint: Footprint, crs: str) -> Points:
    """Return a footprint's open ring in another CRS, with points on its edges.

    Args:
        footprint: The footprint.
        crs: ``EPSG:...`` code.
    """
    ring = footprint.ring()
    steps = np.linspace(0, 1, EDGE_POINTS, endpoint=False)[:, None]
    edges = [a + (b - a) * steps for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True)]
    return _to_crs(np.concatenate(edges), footprint.crs, crs)


def _polygons_overlap(first: list[Points], second: list[Points]) -> bool:
    """Whether two sets of rings (even-odd rule) overlap: edges cross, or one lies in the other."""
    a, b = np.concatenate(first), np.concatenate(second)
    if (a.max(axis=0) <= b.min(axis=0)).any() or (b.max(axis=0) <= a.min(axis=0)).any():
        return False
    # A vertex decides where one lies in the other, the middle where both have the same outline.
    for inner, outer in ((first, second), (second, first)):
        if _inside(np.stack([inner[0][0], inner[0].mean(axis=0)]), outer).any():
            return True
    return any(_edges_cross(ring, other) for ring in first for other in second)


def _inside(points: Points, rings: list[Points]) -> npt.NDArray[np.bool_]:
    """Whether points lie inside rings, by the even-odd rule."""
    x, y = points[:, :1], points[:, 1:]
    inside = np.zeros(len(points), dtype=bool)
    for ring in rings:
        (x1, y1), (x2, y2) = ring.T, np.roll(ring, -1, axis=0).T
        spans = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
        inside ^= (spans & (x < crossing)).sum(axis=1) % 2 == 1
    return inside


def _edges_cross(ring: Points, other: Points) -> bool:
    """Whether any edge of one ring properly crosses any edge of the other."""
    if len(ring) < 2 or len(other) < 2:
        return False
    p, r = ring[:, None], (np.roll(ring, -1, axis=0) - ring)[:, None]
    q, s = other[None], (np.roll(other, -1, axis=0) - other)[None]

    def cross(u: Points, v: Points) -> Points:
        """Return the z component of the cross products."""
        result: Points = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
        return result

    sides_other = cross(r, q - p) * cross(r, q + s - p)
    sides_one = cross(s, p - q) * cross(s, p + r - q)
    return bool(((sides_other < 0) & (sides_one < 0)).any())


@function("Projection")
def _projection(crs: Any) -> Projection:
    text = expect(crs, str, "crs")
    try:
        CRS.from_user_input(text)
    except CRSError:
        raise RequestError(f"The CRS of a map projection could not be parsed: '{text}'.") from None
    return Projection(text)


def _geometry(rings: Any, crs: Any, geodesic: Any) -> Geometry:
    code = WGS84 if crs is None else expect(crs, Projection, "crs").crs
    # "true if the inputs are numbers", which are in EPSG:4326; edges in metres are straight.
    curved = code == WGS84 if geodesic is None else expect(geodesic, bool, "geodesic")
    if curved and code != WGS84:
        raise RequestError("Geodesic edges are supported by the emulator in EPSG:4326 only.")
    arrays = []
    for ring in rings:
        try:
            points = np.array(ring, dtype=np.float64)
        except (TypeError, ValueError):
            raise RequestError(f"Invalid coordinates: {ring!r:.200}.") from None
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise RequestError(f"Invalid coordinates: {ring!r:.200}.")
        closed = len(points) > 1 and (points[0] == points[-1]).all()
        arrays.append(points[:-1] if closed else points)
    return Geometry(tuple(arrays), code, curved)


@function("GeometryConstructors.Point")
def _point(coordinates: Any, crs: Any = None) -> Geometry:
    return _geometry([[coordinates]], crs, False)


@function("GeometryConstructors.Rectangle")
def _rectangle(
    coordinates: Any, crs: Any = None, geodesic: Any = None, evenOdd: Any = True
) -> Geometry:
    del evenOdd  # Both rules agree on a rectangle.
    numbers = np.ravel(np.array(expect(coordinates, list, "coordinates"), dtype=object))
    if len(numbers) != 4:
        raise RequestError(f"A Rectangle needs 4 numbers, got {coordinates!r}.")
    left, bottom, right, top = numbers
    ring = [[left, bottom], [right, bottom], [right, top], [left, top]]
    return _geometry([ring], crs, geodesic)


@function("GeometryConstructors.Polygon")
def _polygon(
    coordinates: Any, crs: Any = None, geodesic: Any = None, evenOdd: Any = True
) -> Geometry:
    del evenOdd  # Both rules agree on rings that do not cross themselves.
    rings = expect(coordinates, list, "coordinates")
    if not rings or any(len(ring) < 3 for ring in rings):
        raise RequestError(f"A Polygon needs rings of at least 3 points, got {coordinates!r:.200}.")
    return _geometry(rings, crs, geodesic)


@function("Feature")
def _feature(geometry: Any, metadata: Any = None) -> Feature:
    return Feature(expect(geometry, Geometry, "geometry"), metadata or {})


def as_geometry(value: Any, argument: str) -> Geometry:
    """Return a geometry, from itself or from a feature.

    Raises:
        RequestError: If the value is neither.
    """
    return value.geometry if isinstance(value, Feature) else expect(value, Geometry, argument)
