"""The georeference of a grid, in the two conventions that readers of Zarr know.

CF grid mappings (https://cfconventions.org, section 5.6) for xarray, rioxarray and GDAL; the Zarr
conventions ``proj:`` and ``spatial:`` (https://github.com/zarr-conventions) for GeoZarr readers.
"""

from __future__ import annotations

from typing import Any

import pyproj

from thor_geo.ground.lattice import Bounds

# Registration of the two conventions, as version 0.1 of their schemas requires.
_CONVENTIONS = [
    {
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
        "uuid": uuid,
        "name": name,
        "description": description,
    }
    for name, uuid, description in (
        (
            "proj",
            "f17cb550-5864-4468-aeb7-f3180cfb622f",
            "Coordinate reference system information for geospatial data",
        ),
        (
            "spatial",
            "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
            "Spatial coordinate information",
        ),
    )
]

#: Attributes of every map that name its grid mapping.
MAP_ATTRIBUTES = {
    "grid_mapping": "spatial_ref",
    # So that xarray makes it a coordinate, which travels with the array.
    "coordinates": "spatial_ref",
}

_AXES: dict[str, dict[str, Any]] = {
    "x": {
        "standard_name": "projection_x_coordinate",
        "long_name": "easting of the cell centre",
        "units": "metre",
        "axis": "X",
    },
    "y": {
        "standard_name": "projection_y_coordinate",
        "long_name": "northing of the cell centre",
        "units": "metre",
        "axis": "Y",
    },
    "band": {"long_name": "dimension of the embedding", "units": "1"},
}


def array_attributes(
    epsg: int, bounds: Bounds, cell: float, shape: tuple[int, int]
) -> dict[str, Any]:
    """Return the ``proj:`` and ``spatial:`` attributes of a grid.

    Args:
        epsg: EPSG code.
        bounds: Left, bottom, right, top in metres.
        cell: Side of a cell in metres.
        shape: Rows and columns.
    """
    return {
        "zarr_conventions": _CONVENTIONS,
        "proj:code": f"EPSG:{epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": list(bounds),
        "spatial:transform_type": "affine",
        "spatial:transform": [cell, 0.0, bounds[0], 0.0, -cell, bounds[3]],
        "spatial:shape": list(shape),
        "spatial:registration": "pixel",
    }


def grid_mapping(epsg: int, bounds: Bounds, cell: float) -> dict[str, Any]:
    """Return the attributes of a CF grid mapping variable, with GDAL's two beside them.

    Args:
        epsg: EPSG code.
        bounds: Left, bottom, right, top in metres.
        cell: Side of a cell in metres.
    """
    attributes: dict[str, Any] = pyproj.CRS.from_epsg(epsg).to_cf()
    attributes["spatial_ref"] = attributes["crs_wkt"]
    attributes["GeoTransform"] = f"{bounds[0]!r} {cell!r} 0.0 {bounds[3]!r} 0.0 {-cell!r}"
    return attributes


def coordinate_attributes(name: str) -> dict[str, Any]:
    """Return the CF attributes of ``x``, ``y`` or ``band``."""
    return _AXES[name]
