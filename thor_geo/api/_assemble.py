"""The vector or map of an image from the outputs of its inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
import torch
import torch.nn.functional as F
from shapely.geometry.base import BaseGeometry

from thor_geo.api._cut import Cut
from thor_geo.errors import InputError
from thor_geo.ground.images import stitch
from thor_geo.ground.lattice import Bounds
from thor_geo.support.arrays import Float32Array


@dataclass(frozen=True, kw_only=True)
class Map:
    """A map and its position.

    Attributes:
        values: (D', h, w), row 0 is north.
        valid: (h, w): share of each cell's pixels that have an observation.
        bounds: Left, bottom, right, top of its outer edges, metres.
    """

    values: Float32Array
    valid: Float32Array
    bounds: Bounds


def merge_vectors(
    parts: Sequence[Float32Array], weights: Sequence[int], pooling: str
) -> Float32Array:
    """Return the vector of an image from those of its tiles: their weighted mean, or maximum.

    Args:
        parts: Vectors of the tiles, (D,) each.
        weights: For each tile, its number of pixels of the image; 0 leaves the tile out.
        pooling: How each vector was pooled.

    Returns:
        (D,), NaN if all weights are 0.
    """
    counted = np.array(weights) > 0
    if not counted.any():
        return np.full_like(parts[0], np.nan)
    if len(parts) == 1:
        return parts[0]
    stacked = np.stack(parts)[counted]
    if pooling == "max":
        return np.asarray(stacked.max(axis=0))
    mean = np.average(stacked, axis=0, weights=np.array(weights)[counted])
    return np.asarray(mean, dtype=np.float32)


def merge_maps(
    parts: Sequence[Float32Array],
    cut: Cut,
    clear: npt.NDArray[np.bool_],
    *,
    corner: tuple[float, float],
    resolution: int,
    cell: int,
) -> Map:
    """Return the map of an image from those of its inputs.

    Args:
        parts: Maps of the inputs, (D', n, n) each, in the order of the cut's windows.
        cut: How the image was cut.
        clear: Whether each pixel of the cut has an observation, (h, w).
        corner: Easting and northing of the cut's upper left corner, metres.
        resolution: Pixel size in metres.
        cell: Side of a tile's cells in pixels.
    """
    (top, bottom), (left, right) = cut.result
    if cut.windows:
        whole = stitch(list(parts), cut.windows, cell=cell)
        values = whole[:, top // cell : bottom // cell, left // cell : right // cell]
    else:
        values = parts[0]
    shown = np.zeros((bottom - top, right - left), np.float32)
    observed = clear[top:bottom, left:right]
    shown[: observed.shape[0], : observed.shape[1]] = observed
    pooled = F.adaptive_avg_pool2d(torch.from_numpy(shown)[None], values.shape[1:])
    x, y = corner
    bounds = (
        x + left * resolution,
        y - bottom * resolution,
        x + right * resolution,
        y - top * resolution,
    )
    return Map(values=np.ascontiguousarray(values), valid=pooled[0].numpy(), bounds=bounds)


def cell_at(whole: Map, point: tuple[float, float]) -> Float32Array:
    """Return the cell of a map that holds a point, (D',).

    Args:
        whole: The map.
        point: Easting and northing, metres.

    Raises:
        InputError: If the point lies outside the map.
    """
    _, height, width = whole.values.shape
    left, bottom, right, top = whole.bounds
    row = math.floor((top - point[1]) * height / (top - bottom))
    col = math.floor((point[0] - left) * width / (right - left))
    if not (0 <= row < height and 0 <= col < width):
        raise InputError(
            f"output=centre: the point {point} lies outside the map {whole.bounds}. Give a larger "
            "buffer_m."
        )
    return whole.values[:, row, col].copy()


def crop_map(whole: Map, area: BaseGeometry) -> Map:
    """Crop a map to an area.

    Args:
        whole: The map.
        area: The area, in the map's coordinates.

    Returns:
        The rows and columns with a cell whose centre lies in the area; other cells in them are NaN.
        If the area holds no centre, the cell nearest to its middle.
    """
    _, height, width = whole.values.shape
    left, bottom, right, top = whole.bounds
    x_cell, y_cell = (right - left) / width, (top - bottom) / height
    x = left + (np.arange(width) + 0.5) * x_cell
    y = top - (np.arange(height) + 0.5) * y_cell
    inside = np.asarray(shapely.intersects_xy(area, *np.meshgrid(x, y)), dtype=np.bool_)
    if not inside.any():
        middle = area.centroid
        inside[np.abs(y - middle.y).argmin(), np.abs(x - middle.x).argmin()] = True
    rows, cols = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    window = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    values = np.where(inside[window], whole.values[:, *window], np.float32(np.nan))
    return Map(
        values=values,
        valid=whole.valid[window],
        bounds=(
            float(left + cols[0] * x_cell),
            float(top - (rows[-1] + 1) * y_cell),
            float(left + (cols[-1] + 1) * x_cell),
            float(top - rows[0] * y_cell),
        ),
    )
