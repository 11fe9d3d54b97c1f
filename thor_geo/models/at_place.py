"""What belongs to a place within its tile: the cell that holds it, the patches of its polygon."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.errors import InputError


def centre_cells(grid: Tensor, place_at: Tensor, image_size: int) -> Tensor:
    """Return the cell of each map that holds the tile's place.

    Args:
        grid: Maps (B, D', h, w); row 0 is the tile's top row.
        place_at: Row and column of each place, (B, 2), in pixels from the upper left corner of its
            tile; floating point, on the CPU or the maps' device.
        image_size: Side of the tiles in pixels.

    Returns:
        (B, D'), of the maps' type: ``grid[b, :, row * h // image_size, col * w // image_size]``.

    Raises:
        InputError: If a place lies outside its tile.
    """
    batch, _, height, width = grid.shape
    # MPS has no float64: the cells are found where the places are, and only they move.
    if not bool(((place_at >= 0) & (place_at < image_size)).all()):
        raise InputError(
            f"`place_at` has places outside their tiles of {image_size} px: {place_at.tolist()}. "
            "Give rows and columns in pixels from the tile's upper left corner."
        )
    rows = (place_at[:, 0] * height / image_size).long().to(grid.device)
    cols = (place_at[:, 1] * width / image_size).long().to(grid.device)
    return grid[torch.arange(batch, device=grid.device), :, rows, cols]


def patch_shares(within: Tensor, shapes: Iterable[tuple[int, int]]) -> Tensor:
    """Return which share of each patch lies within the place's polygon.

    Args:
        within: (B, H, W), 1 for pixels within the polygon and 0 for others.
        shapes: Rows and columns of the patches of each group, in the order of the tokens.

    Returns:
        float32 (B, N): the shares, group by group, row by row. A pixel that two patches divide
        counts with its part in each.
    """
    return torch.cat([_shares(within, *shape).flatten(1) for shape in shapes], dim=1)


def _shares(within: Tensor, rows: int, cols: int) -> Tensor:
    counts = _sums(_sums((within > 0).long(), rows).mT, cols).mT
    return counts.float() / (within.shape[1] * within.shape[2])


def _sums(pixels: Tensor, parts: int) -> Tensor:
    """Return the sums of *parts* equal parts of the second axis, each times *parts*.

    In whole numbers, from the sums up to each edge, which may lie within a pixel.
    """
    edges = torch.arange(parts + 1, device=pixels.device) * pixels.shape[1]
    whole, rest = edges // parts, edges % parts
    ended = F.pad(pixels, (0, 0, 0, 1))
    before = ended.cumsum(dim=1) - ended
    upto = before[:, whole] * parts + ended[:, whole] * rest[:, None]
    return upto.diff(dim=1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean along the second axis, float32.

    Args:
        values: (B, N, D).
        weights: (B, N), not negative.

    Returns:
        (B, D), NaN where all weights are 0.
    """
    total = (values.float() * weights[..., None]).sum(dim=1)
    return total / weights.sum(dim=1, keepdim=True)


def largest_within(values: Tensor, weights: Tensor) -> Tensor:
    """Return the maximum along the second axis over what has a weight, float32.

    Args:
        values: (B, N, D).
        weights: (B, N), not negative.

    Returns:
        (B, D), NaN where all weights are 0.
    """
    counted = weights > 0
    inside = values.float().masked_fill(~counted[..., None], -math.inf).amax(dim=1)
    return inside.masked_fill(~counted.any(dim=1)[:, None], math.nan)
