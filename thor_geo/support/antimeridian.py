"""Longitudes around the antimeridian (180 degrees), where they jump by 360.

As in RFC 7946 (GeoJSON, section 3.1.9), a geometry that crosses it is cut there: its parts lie
between -180 and 180. Many files hold the same ground in one polygon instead, with an edge from 179
to -179, or with longitudes beyond 180.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

# Coordinates this near to the antimeridian, in degrees, are on it: a tenth of a millimetre.
_ON_LINE = 1e-9


def continuous_longitudes(
    longitudes: npt.NDArray[np.float64], middle: float | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return longitudes within 180 degrees of a meridian; others are left as they are, bit by bit.

    Args:
        longitudes: Degrees, -180 to 180.
        middle: The meridian, degrees.
    """
    ahead = np.asarray(longitudes) - middle
    turns = np.where(ahead > 180, -360.0, np.where(ahead < -180, 360.0, 0.0))
    return np.where(turns == 0, longitudes, longitudes + turns)


def crosses_antimeridian(geometry: BaseGeometry) -> bool:
    """Return whether polygons in degrees cross the antimeridian without being cut there.

    An edge of more than 180 degrees of longitude is one that crosses it, the short way; one of 360
    is an edge of the whole world.

    Args:
        geometry: (Multi)polygon, longitude first.
    """
    west, _, east, _ = geometry.bounds
    return bool(west < -180 or east > 180 or _jumps(shapely.get_rings(geometry)).any())


def _jumps(rings: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    steps = np.abs(np.diff(coordinates[:, 0]))
    jumps: npt.NDArray[np.bool_] = (np.diff(ring) == 0) & (steps > 180) & (steps < 360)
    return jumps


def cut_at_antimeridian(geometry: BaseGeometry) -> BaseGeometry:
    """Return polygons in degrees with the parts on both sides of the antimeridian apart.

    Args:
        geometry: (Multi)polygon, longitude first.

    Returns:
        The same ground between -180 and 180; the geometry itself where it does not cross, or its
        coordinates are not degrees.

    Raises:
        ValueError: If a ring goes round a pole, or is invalid once it is put together.
    """
    west, south, east, north = geometry.bounds
    if not (-360 <= west <= east <= 360 and -90 <= south <= north <= 90):  # NaN and empty, too
        return geometry
    if not crosses_antimeridian(geometry):
        return geometry
    parts = [
        piece for polygon in shapely.get_parts(geometry) for piece in _cut(_continuous(polygon))
    ]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def cut_all_at_antimeridian(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Return geometries in degrees, each as `cut_at_antimeridian` does, points as they are.

    Args:
        geometries: (n,) polygons or points, longitude first.

    Raises:
        ValueError: As `cut_at_antimeridian` does.
    """
    out = geometries.copy()
    for k in np.flatnonzero(may_cross_antimeridian(geometries)).tolist():
        out[k] = cut_at_antimeridian(geometries[k])
    return out


def may_cross_antimeridian(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return which geometries in degrees are to be cut, or at least looked at more closely, (n,).

    Args:
        geometries: (n,) polygons or points, longitude first, or None.
    """
    bounds = shapely.bounds(geometries)
    # A jump makes a polygon look wide: the others need no closer look.
    wide: npt.NDArray[np.bool_] = bounds[:, 2] - bounds[:, 0] > 180
    wide |= (bounds[:, 0] < -180) | (bounds[:, 2] > 180)
    wide &= shapely.get_dimensions(geometries) == 2
    return wide


def _continuous(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return a polygon whose longitudes go on beyond 180 instead of jumping."""
    shell = _continuous_ring(polygon.exterior)
    west, east = shell[:, 0].min(), shell[:, 0].max()
    holes = []
    for interior in polygon.interiors:
        hole = _continuous_ring(interior)
        hole[:, 0] += 360 * round(((west + east) / 2 - hole[:, 0].mean()) / 360)
        holes.append(hole)
    whole = shapely.Polygon(shell, holes)
    if not whole.is_valid:
        raise ValueError(f"invalid geometry: {shapely.is_valid_reason(whole)}")
    return whole


def _continuous_ring(ring: Any) -> npt.NDArray[np.float64]:
    points: npt.NDArray[np.float64] = shapely.get_coordinates(ring)
    steps = np.diff(points[:, 0])
    turns = np.where((np.abs(steps) > 180) & (np.abs(steps) < 360), -360 * np.sign(steps), 0.0)
    points[1:, 0] += np.cumsum(turns)
    if points[0, 0] != points[-1, 0]:
        raise ValueError("it goes round a pole")
    return points


def _cut(polygon: shapely.Polygon) -> list[BaseGeometry]:
    """Return the pieces of a continuous polygon, each between -180 and 180."""
    west, _, east, _ = polygon.bounds
    pieces: list[BaseGeometry] = []
    for turn in range(int((west + 180) // 360), int((east + 180) // 360) + 1):
        first, last = 360.0 * turn - 180, 360.0 * turn + 180
        part = shapely.intersection(polygon, shapely.box(first, -90, last, 90))
        # Not the slivers of edges that lie on the line but for rounding.
        polygons = [
            piece
            for piece in shapely.get_parts(part)
            if piece.area > 0 and piece.bounds[2] - piece.bounds[0] > _ON_LINE
        ]
        # RFC 7946 and GeoParquet want shells counter-clockwise.
        pieces += [orient(shapely.transform(piece, _turned(turn))) for piece in polygons]
    return pieces


def _turned(turn: int) -> Any:
    def turned(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        longitudes = points[:, 0] - 360 * turn
        on_line = np.abs(np.abs(longitudes) - 180) < _ON_LINE
        longitudes = np.where(on_line, np.copysign(180.0, longitudes), longitudes)
        return np.column_stack([longitudes, points[:, 1]])

    return turned


def cut_rings(rings: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Return closed rings as polygons, those across the antimeridian cut there.

    Args:
        rings: (n, points, 2), longitude first; small, so that a jump is a crossing.
    """
    polygons: npt.NDArray[Any] = np.asarray(shapely.polygons(rings))
    longitudes = rings[..., 0]
    across = np.abs(np.diff(longitudes, axis=1)).max(axis=1, initial=0) > 180
    across |= (np.abs(longitudes) > 180).any(axis=1)
    for k in np.flatnonzero(across).tolist():
        polygons[k] = shapely.MultiPolygon(
            [part for piece in _cut(_continuous(polygons[k])) for part in shapely.get_parts(piece)]
        )
    return polygons


def middle_of(geometry: BaseGeometry) -> tuple[float, float]:
    """Return longitude and latitude of the centroid of polygons, also of those that are cut.

    Args:
        geometry: (Multi)polygon between -180 and 180.
    """
    parts = shapely.get_parts(geometry)
    bounds = shapely.bounds(parts)
    turn_before = _longest_gap(bounds[:, 0].tolist(), bounds[:, 2].tolist())
    turned = [
        shapely.transform(part, lambda points: points + np.array([360.0, 0.0]))
        if west < turn_before
        else part
        for part, west in zip(parts, bounds[:, 0].tolist(), strict=True)
    ]
    centre = shapely.MultiPolygon(turned).centroid if len(turned) > 1 else turned[0].centroid
    return (centre.x + 180) % 360 - 180 if centre.x >= 180 else centre.x, centre.y


def bounding_box(geometries: Iterable[BaseGeometry]) -> tuple[float, float, float, float]:
    """Return west, south, east and north of polygons that are cut at the antimeridian.

    Args:
        geometries: (Multi)polygons between -180 and 180, at least one.

    Returns:
        The smallest box; west is greater than east where it crosses the antimeridian (RFC 7946,
        section 5.2).
    """
    bounds = np.concatenate([shapely.bounds(shapely.get_parts(each)) for each in geometries])
    turned = np.where(bounds[:, 0] < _longest_gap(*bounds[:, [0, 2]].T.tolist()), 360.0, 0.0)
    west, east = float((bounds[:, 0] + turned).min()), float((bounds[:, 2] + turned).max())
    south, north = float(bounds[:, 1].min()), float(bounds[:, 3].max())
    if west >= 180:
        west, east = west - 360, east - 360
    return west, south, east - 360 if east > 180 else east, north


def _longest_gap(west: Sequence[float], east: Sequence[float]) -> float:
    """Return the longitude before which parts are to be turned by 360, to lie together.

    It is the eastern end of the longest stretch of longitude without a part; -180 where that is the
    one across the antimeridian.
    """
    longest, before, reached = 0.0, -180.0, min(west)
    for start, end in sorted(zip(west, east, strict=True)):
        if start - reached > longest:
            longest, before = start - reached, start
        reached = max(reached, end)
    return before if longest > 360 - (reached - min(west)) else -180.0
