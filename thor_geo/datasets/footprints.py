"""The ground that files cover, zone by zone, and the pixel grid that they share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.datasets.geotiff import RasterFile
from thor_geo.datasets.placement import warp_line
from thor_geo.errors import AreaError, ConfigError
from thor_geo.ground.area import LONLAT, Area
from thor_geo.ground.lattice import ON_GRID, Lattice

# How far a pixel's size may be off, as a share: a zone has 10^6 pixels of 10 m from the equator to
# its end, and an edge counts as on the grid within 10^-3 of a pixel.
_SAME_SIZE = 1e-9


@dataclass(frozen=True, kw_only=True)
class ZonedArea(Area):
    """An area with a part in each zone that has data, even beyond the zone's own strip.

    Attributes:
        parts: The geometry in each zone, in metres, by EPSG code.
    """

    parts: Mapping[int, BaseGeometry]

    def zones(self) -> dict[int, BaseGeometry]:
        """Return the parts, ascending EPSG code."""
        return dict(sorted(self.parts.items()))


def covered_area(files: Sequence[RasterFile], within: Area | None = None) -> ZonedArea:
    """Return the ground that files cover, each in its own zone.

    Args:
        files: The files.
        within: Only the ground in this area; None for all of it.

    Raises:
        AreaError: If no file meets *within*, or the files lie where UTM tiles do not.
    """
    parts: dict[int, BaseGeometry] = {}
    for epsg in sorted({file.epsg for file in files}):
        boxes = [shapely.box(*file.bounds) for file in files if file.epsg == epsg]
        covered = Area(geometry=shapely.union_all(boxes), crs=f"EPSG:{epsg}", source="paths")
        part = covered.geometry if within is None else _shared(covered, within, epsg)
        if part.area > 0:
            parts[epsg] = part
    if not parts:
        assert within is not None
        raise AreaError(
            within.source,
            within.geometry.wkt[:80],
            f"none of the {len(files)} files meets it",
            "Leave data.area out to take all ground that the files cover.",
        )
    if len(parts) == 1:
        ((epsg, whole),) = parts.items()
        return ZonedArea(geometry=whole, crs=f"EPSG:{epsg}", source="paths", parts=parts)
    lonlat = [Area(geometry=part, crs=f"EPSG:{epsg}").lonlat for epsg, part in parts.items()]
    return ZonedArea(geometry=shapely.union_all(lonlat), source="paths", parts=parts)


def _shared(covered: Area, within: Area, epsg: int) -> BaseGeometry:
    """Return the polygons that two areas share, in the zone's metres."""
    if within.crs == covered.crs:
        asked = within.geometry
    else:
        # A zone's projection has no sensible values far away, so only what is near is projected.
        near = _polygons(within.lonlat.intersection(shapely.box(*covered.lonlat.bounds)))
        if near.area == 0:
            return near
        asked = Area(geometry=near, crs=LONLAT, source=within.source).in_zone(epsg)
    return _polygons(asked.intersection(covered.geometry))


def _polygons(geometry: BaseGeometry) -> BaseGeometry:
    """Return the polygons of a geometry, without the points and lines where others only touch."""
    parts = shapely.get_parts(geometry)
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def grid_anchors(
    files: Sequence[RasterFile], lattice: Lattice
) -> dict[int, tuple[float, float] | None]:
    """Return the anchors that put tiles on the files' own pixels, by EPSG code.

    Args:
        files: The files.
        lattice: Resolution, and the user's anchor or None; its zone is not used.

    Returns:
        The user's anchor, if there is one. Otherwise None for a zone whose files lie on the usual
        grid, and for an odd grid its pixel corner nearest to the origin of the coordinates, which
        does not depend on which files there are.

    Raises:
        ConfigError: If the files have another resolution, or the files of a zone have no common
            grid.
    """
    anchors: dict[int, tuple[float, float] | None] = {}
    res = lattice.resolution
    for file in files:
        if not math.isclose(file.resolution, res, rel_tol=1e-6):
            raise ConfigError(
                "resolution",
                res,
                f"{file.name} has pixels of {file.resolution:.12g} m",
                "Set data.resolution to that of all files, in whole metres, or warp them: "
                f"{warp_line(file.path, res)}",
            )
        if file.epsg not in anchors:
            usual = Lattice(epsg=file.epsg, resolution=res).origin
            shared = file.left % res, file.top % res
            anchors[file.epsg] = lattice.anchor or (shared if _is_off_grid(file, usual) else None)
        lies_on = Lattice(epsg=file.epsg, resolution=res, anchor=anchors[file.epsg]).origin
        if _is_off_grid(file, lies_on):
            if abs(file.resolution - res) > _SAME_SIZE * res:
                raise ConfigError(
                    "paths",
                    str(file.path),
                    f"its pixels are {file.resolution:.12g} m, not {res}, and so leave the grid of "
                    f"{res} m",
                    f"Warp it, and give utm.tif in its place: {warp_line(file.path, res)}",
                )
            corner = f"{file.name} begins at ({file.left!r}, {file.top!r})"
            if lattice.anchor is not None:
                raise ConfigError(
                    "anchor",
                    lattice.anchor,
                    f"{corner}, not a whole number of pixels from it",
                    "Leave it out: then the files' own grid is used.",
                )
            raise ConfigError(
                "paths",
                str(file.path),
                f"{corner}, a fraction of a pixel beside other files of its zone",
                f"Warp all onto one grid, this one by {warp_line(file.path, res)}",
            )
    return anchors


def _is_off_grid(file: RasterFile, origin: tuple[float, float]) -> bool:
    """Return whether a file's pixels lie off a grid."""
    steps = [(file.left - origin[0]) / file.resolution, (file.top - origin[1]) / file.resolution]
    return any(abs(step - round(step)) > ON_GRID for step in steps)
