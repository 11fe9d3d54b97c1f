"""Writes a static STAC catalogue beside an archive's scenes: what ``data.stac`` reads.

``catalog.json`` beside the index, and one file for each scene in ``items``. Addresses are relative,
so that the folder can be moved or served as it is. STAC 1.0.0 with its extensions `eo`,
`projection` and `raster`; STAC's own software reads it too.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import shapely.geometry

from thor_geo.emulator._archive import Archive, Stored
from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._geometry import WGS84, dense_footprint
from thor_geo.emulator._images import Image, ImageBand
from thor_geo.emulator._raster import Grid
from thor_geo.support.antimeridian import cut_at_antimeridian
from thor_geo.support.files import write_atomic

STAC_VERSION = "1.0.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
)

#: Common names of the extension `eo`, version 1.1.0. Those of the red edge are shared by three
#: bands, and no band of water vapour or SCL has one.
COMMON_NAMES: Mapping[str, str] = {
    "B1": "coastal",
    "B2": "blue",
    "B3": "green",
    "B4": "red",
    "B5": "rededge",
    "B6": "rededge",
    "B7": "rededge",
    "B8": "nir",
    "B8A": "nir08",
    "B9": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}

# Properties of a scene by the names that STAC's extensions have for them.
_PROPERTIES: Mapping[str, str] = {
    "CLOUDY_PIXEL_PERCENTAGE": "eo:cloud_cover",
    "MGRS_TILE": "s2:mgrs_tile",
    "PROCESSING_BASELINE": "s2:processing_baseline",
}


def write_catalogue(folder: str | Path) -> Path:
    """Write a catalogue of a folder's scenes into it; an earlier one is replaced.

    Args:
        folder: A folder that the emulator could serve.

    Returns:
        The path of its ``catalog.json``.

    Raises:
        ArchiveError: If the folder is not an archive, or a scene's id cannot be the name of a file.
        OSError: If it cannot be written.
    """
    archive = Archive.open(folder)
    items = {_name(scene): _item(scene, archive) for scene in archive.scenes}
    (archive.folder / "items").mkdir(exist_ok=True)
    for name, item in items.items():
        _write(archive.folder / "items" / f"{name}.json", item)
    # Last: a reader finds all that it names.
    root = archive.folder / "catalog.json"
    links = [
        {"rel": "item", "href": f"./items/{name}.json", "type": "application/geo+json"}
        for name in items
    ]
    content = {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": archive.folder.resolve().name or "scenes",
        "description": f"{len(items)} scenes, surface reflectance x 10000",
        # A catalogue that is served elsewhere tells by its root what it holds.
        "thor_geo:fingerprint": archive.fingerprint(),
        "links": [_link("root", "./catalog.json"), *links],
    }
    _write(root, content)
    return root


def _name(scene: Image) -> str:
    name = str(scene.properties["system:index"])
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ArchiveError(f"The scene id {name!r} cannot be the name of a file. Choose another.")
    return name


def _item(scene: Image, archive: Archive) -> dict[str, Any]:
    (footprint,) = scene.footprint or ()
    geometry, bbox = _outline(dense_footprint(footprint, WGS84).round(9))
    time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
        milliseconds=float(scene.properties["system:time_start"])
    )
    properties = {
        "datetime": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "proj:epsg": int(footprint.crs.removeprefix("EPSG:")),
        "proj:bbox": list(footprint.bounds),
    }
    for name, ours in _PROPERTIES.items():
        if scene.properties.get(name) is not None:
            properties[ours] = scene.properties[name]
    files: dict[Path, list[tuple[ImageBand, Stored]]] = {}
    for band in scene.bands:
        stored = archive.stored[band.node]
        files.setdefault(stored.path, []).append((band, stored))
    name = _name(scene)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": name,
        "geometry": geometry,
        "bbox": bbox,
        "properties": properties,
        "assets": {_key(path, name): _asset(path, bands) for path, bands in files.items()},
        "links": [_link("root", "../catalog.json"), _link("parent", "../catalog.json")],
    }


def _outline(ring: npt.NDArray[np.float64]) -> tuple[dict[str, Any], list[float]]:
    """Return a ring in degrees as geometry and bounding box of GeoJSON.

    Across the antimeridian the geometry is cut, and west of the box greater than east (RFC 7946,
    sections 3.1.9 and 5.2).
    """
    polygon = shapely.Polygon(ring)
    parts = cut_at_antimeridian(polygon)
    if parts is polygon:
        points = ring.tolist()
        west, south, east, north = polygon.bounds
        coordinates = [[*points, points[0]]]
        return {"type": "Polygon", "coordinates": coordinates}, [west, south, east, north]
    edges = shapely.bounds(shapely.get_parts(parts))
    west, east = edges[:, 0].max(), edges[:, 2].min()
    box = [float(west), float(edges[:, 1].min()), float(east), float(edges[:, 3].max())]
    return dict(shapely.geometry.mapping(parts)), box


def _key(path: Path, scene: str) -> str:
    """Return the end of a file's name, behind that of its scene, such as ``10m`` or ``SCL``."""
    return path.stem.removeprefix(scene).strip("_") or "data"


def _asset(path: Path, bands: list[tuple[ImageBand, Stored]]) -> dict[str, Any]:
    # A list of the file's bands in its order: what comes before, or is not served, has no name.
    count = max(stored.number for _, stored in bands)
    eo: list[dict[str, Any]] = [{} for _ in range(count)]
    raster: list[dict[str, Any]] = [{} for _ in range(count)]
    for band, stored in bands:
        index = stored.number - 1
        eo[index] = {"name": band.name}
        nodata = "nan" if math.isnan(stored.nodata) else stored.nodata
        raster[index] = {"nodata": nodata, "data_type": band.node.dtype.name}
        if band.name in COMMON_NAMES:
            eo[index]["common_name"] = COMMON_NAMES[band.name]
            # An archive holds what the harmonised collection holds: no offset.
            raster[index] |= {"scale": 0.0001, "offset": 0}
    grid = bands[0][0].grid
    assert isinstance(grid, Grid)  # each band of an archive has one
    return {
        "href": f"../{path.name}",
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "eo:bands": eo,
        "raster:bands": raster,
        "proj:shape": list(grid.shape),
        "proj:transform": [*grid.transform, 0.0, 0.0, 1.0],
    }


def _link(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": "application/json"}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(content, indent=1).encode() + b"\n", durable=False)
