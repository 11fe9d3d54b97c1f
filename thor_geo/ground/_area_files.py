"""Areas and points from files of places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from thor_geo.errors import AreaError
from thor_geo.ground.area import CUT, LONLAT, REPAIR, Area, tell_crossing
from thor_geo.ground.geofile import GeoFile, read_geofile, without_geometry
from thor_geo.specs import UTM_NORTH, UTM_SOUTH
from thor_geo.support.antimeridian import cut_all_at_antimeridian
from thor_geo.support.words import rows_text


def read_points(path: Path, layer: str | None) -> npt.NDArray[np.float64]:
    """Return longitude and latitude of the points of a file, (N, 2).

    Args:
        path: The file.
        layer: Its layer, where it has several.

    Raises:
        AreaError: If it cannot be read, or a row holds no point that a UTM tile may hold.
    """
    source = GeoFile(path=Path(path).expanduser(), argument="points", layer=layer, error=AreaError)
    frame = read_geofile(source)
    missing = np.flatnonzero(without_geometry(frame)).tolist()
    if missing:
        raise source.refusal(
            f"no coordinates in {rows_text(missing)}", "Fill them in, or remove the rows."
        )
    others = np.flatnonzero(frame.geom_type != "Point").tolist()
    if others:
        kinds = frame.geom_type.tolist()
        raise source.refusal(
            f"no point in {rows_text(others, kinds)}",
            "Give one point in each row; for polygons there is `file`.",
        )
    try:
        points = shapely.get_coordinates(frame.geometry.to_crs(LONLAT).to_numpy())
    except pyproj.exceptions.ProjError as error:
        raise source.refusal(
            f"its CRS cannot be transformed to {LONLAT} ({error})", "Save the points in EPSG:4326."
        ) from error
    lon, lat = points.T
    inside = (np.abs(lon) <= 180) & (lat >= UTM_SOUTH) & (lat <= UTM_NORTH)
    beyond = np.flatnonzero(~inside).tolist()  # not finite among them
    if beyond:
        raise source.refusal(
            f"longitude, latitude outside -180..180, {UTM_SOUTH:g}..{UTM_NORTH:g}, where UTM tiles "
            f"end, in {rows_text(beyond, [f'{x:g}, {y:g}' for x, y in points.tolist()])}",
            "Leave them out; polar grids are not supported.",
        )
    return points


def area_of_file(path: Path, layer: str | None) -> Area:
    """Return the polygons of a file as one area, in the file's CRS.

    Args:
        path: The file.
        layer: Its layer, where it has several.

    Raises:
        AreaError: If it cannot be read, or holds other than valid polygons.
    """
    source = GeoFile(path=Path(path).expanduser(), argument="file", layer=layer, error=AreaError)
    frame = read_geofile(source)
    frame = frame[~without_geometry(frame)]
    others = frame[~frame.geom_type.isin(("Polygon", "MultiPolygon"))]
    if len(others):
        raise source.refusal(
            f"no polygon in {rows_text(others.index.tolist(), others.geom_type.to_dict())}",
            "Give polygons; for points there is `points`.",
        )
    if frame.crs.is_geographic:
        # Before they are looked at and merged: an edge across the line looks like any other.
        try:
            parts = cut_all_at_antimeridian(frame.geometry.to_numpy())
        except ValueError as error:
            raise source.refusal(f"a polygon across the antimeridian: {error}", CUT) from error
        changed = parts != frame.geometry.to_numpy()
        if changed.any():
            tell_crossing("file", parts[changed])
        frame = frame.set_geometry(parts, crs=frame.crs)
    broken = frame[~frame.geometry.is_valid]
    if len(broken):
        reasons = {k: shapely.is_valid_reason(polygon) for k, polygon in broken.geometry.items()}
        raise source.refusal(f"invalid polygon in {rows_text(list(reasons), reasons)}", REPAIR)
    try:
        # The union of one is itself, but of a detailed coast takes longer than all the planning.
        whole = frame.geometry.union_all() if len(frame) > 1 else frame.geometry.iloc[0]
    except shapely.errors.GEOSException as error:
        raise source.refusal(
            f"its polygons cannot be merged ({error})", "Dissolve them in QGIS."
        ) from error
    return Area(geometry=whole, crs=_crs_name(frame.crs), source="file")


def _crs_name(crs: pyproj.CRS) -> str:
    """Return what areas call a CRS. They keep it: straight edges are densified when it changes."""
    authority = crs.to_authority()
    if authority in (("EPSG", "4326"), ("OGC", "CRS84")):  # GeoParquet's default is the latter
        return LONLAT
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt()
