"""Footprints of a run as GeoJSON: the ground of its tiles, with few corners, cut at 180 degrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from thor_geo.ground.area import EDGE_METRES, LONLAT, transformer
from thor_geo.ground.lattice import Lattice, zone_strip
from thor_geo.ground.meeting import tile_bounds
from thor_geo.runs.fingerprint import JSON
from thor_geo.support.antimeridian import bounding_box, continuous_longitudes, cut_at_antimeridian
from thor_geo.support.arrays import Int32Array

# Corners in metres from which on an outline is made simpler: catalogues keep, index and draw it.
_MOST_CORNERS = 1000
# Degrees by which straight lines in degrees may leave those in metres: about a metre.
_TOLERANCE = 1e-5
# Coordinates have seven decimals: a centimetre.
_PRECISION = 1e-7


def outline(lattice: Lattice, col: Int32Array, row: Int32Array) -> BaseGeometry:
    """Return the ground of tiles of one zone in longitude and latitude.

    Nothing of a tile is left out. Where the outline has more than a thousand corners, gaps and
    notches of a few tiles are closed, until it has fewer.

    Args:
        lattice: The zone's lattice.
        col: Columns of the tiles, (n,), at least one.
        row: Rows of the tiles, (n,).

    Returns:
        (Multi)polygons between -180 and 180, shells counter-clockwise.
    """
    exact = shapely.simplify(shapely.union_all(_strips(lattice, col, row)), 0)
    side = lattice.tile_size * lattice.resolution
    whole, reach = exact, side / 2
    while shapely.get_num_coordinates(whole) > _MOST_CORNERS:
        grown = shapely.buffer(exact, reach, join_style="mitre")
        whole = shapely.simplify(shapely.buffer(grown, -reach, join_style="mitre"), 0)
        reach *= 2
    return _in_degrees(whole, lattice.epsg)


def _strips(lattice: Lattice, col: Int32Array, row: Int32Array) -> npt.NDArray[np.object_]:
    """Return a box around each sequence of tiles without a gap in a row, in metres.

    The union is that of the tiles, which a country has hundreds of thousands of.
    """
    order = np.lexsort((col, row))
    col, row = col[order], row[order]
    begins = np.flatnonzero(np.append(True, (np.diff(row) != 0) | (np.diff(col) != 1)))
    ends = np.append(begins[1:], len(col)) - 1
    left, bottom, _, top = tile_bounds(lattice, col[begins], row[begins])
    _, _, right, _ = tile_bounds(lattice, col[ends], row[ends])
    strips: npt.NDArray[np.object_] = shapely.box(left, bottom, right, top)
    return strips


def _in_degrees(geometry: BaseGeometry, epsg: int) -> BaseGeometry:
    change = transformer(f"EPSG:{epsg}", LONLAT)
    west, _, east, _ = zone_strip(epsg)

    def moved(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        lon, lat = change.transform(xy[:, 0], xy[:, 1])
        return np.column_stack([continuous_longitudes(lon, (west + east) / 2), lat])

    degrees = shapely.transform(shapely.segmentize(geometry, EDGE_METRES), moved)
    return _tidy(cut_at_antimeridian(shapely.simplify(degrees, _TOLERANCE)))


def surrounding_box(footprints: npt.NDArray[np.object_]) -> BaseGeometry:
    """Return the box around polygons in longitude and latitude.

    Args:
        footprints: (Multi)polygons that are cut at the antimeridian, (n,), at least one.

    Returns:
        A polygon, or where the box crosses the antimeridian its parts on both sides.
    """
    west, south, east, north = bounding_box(footprints.tolist())
    if west <= east:
        return _tidy(shapely.box(west, south, east, north))
    sides = shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)
    return _tidy(shapely.MultiPolygon(sides))


def joined(footprints: Sequence[BaseGeometry]) -> BaseGeometry:
    """Return the ground of several footprints together.

    Args:
        footprints: (Multi)polygons that are cut at the antimeridian.
    """
    return _tidy(shapely.union_all(list(footprints)))


def _tidy(geometry: BaseGeometry) -> BaseGeometry:
    """Return polygons with short coordinates, and shells counter-clockwise as RFC 7946 has them."""
    short = shapely.set_precision(geometry, _PRECISION)
    parts = [orient(part) for part in shapely.get_parts(short)]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def geojson(geometry: BaseGeometry) -> JSON:
    """Return polygons as GeoJSON."""

    def listed(value: object) -> JSON:
        if isinstance(value, float):
            return round(value, 7)
        assert isinstance(value, list | tuple)
        return [listed(part) for part in value]

    described = mapping(geometry)
    return {"type": described["type"], "coordinates": listed(described["coordinates"])}


def box_of(geometry: BaseGeometry) -> list[JSON]:
    """Return the bounding box as GeoJSON has it; west exceeds east across the antimeridian."""
    return [round(edge, 7) for edge in bounding_box([geometry])]
