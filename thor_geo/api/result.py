"""The result of the Python call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.api._assemble import Map
from thor_geo.runs.georeference import coordinate_attributes, grid_mapping
from thor_geo.support.arrays import Float32Array

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The embedding of one place, or of one image.

    Attributes:
        data: A vector (D,), float32; or a map as an `xarray.DataArray` (band, y, x), float32, with
            the coordinates of the cells' centres and, for a place, its CRS as in CF and rioxarray.
        meta: All that the numbers depend on: model, weights, normalisation, geometry, sensor,
            window, scenes, versions; see the table in docs/python.md.
    """

    data: Float32Array | xarray.DataArray
    meta: dict[str, Any]


def map_array(embedding_map: Map, epsg: int | None) -> xarray.DataArray:
    """Return a map as an array with coordinates.

    Args:
        embedding_map: The map.
        epsg: EPSG code; None for an image without a place.

    Returns:
        (band, y, x), with ``valid_fraction`` (y, x) beside the coordinates of the axes.
    """
    import xarray

    bands, height, width = embedding_map.values.shape
    left, bottom, right, top = embedding_map.bounds
    x_cell, y_cell = (right - left) / width, (top - bottom) / height
    coordinates: dict[str, Any] = {
        "band": ("band", np.arange(bands), coordinate_attributes("band")),
        "y": ("y", top - (np.arange(height) + 0.5) * y_cell, coordinate_attributes("y")),
        "x": ("x", left + (np.arange(width) + 0.5) * x_cell, coordinate_attributes("x")),
        "valid_fraction": (
            ("y", "x"),
            embedding_map.valid,
            {"long_name": "share of the cell's pixels with an observation", "units": "1"},
        ),
    }
    attributes: dict[str, Any] = {}
    if epsg is not None:
        mapping = grid_mapping(epsg, embedding_map.bounds, x_cell)
        # The cells of a squeezed image are not square.
        mapping["GeoTransform"] = f"{left!r} {x_cell!r} 0.0 {top!r} 0.0 {-y_cell!r}"
        coordinates["spatial_ref"] = ((), 0, mapping)
        attributes = {"grid_mapping": "spatial_ref", "crs": f"EPSG:{epsg}"}
    return xarray.DataArray(
        embedding_map.values,
        dims=("band", "y", "x"),
        coords=coordinates,
        name="embeddings",
        attrs=attributes,
    )
