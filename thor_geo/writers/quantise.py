"""Embeddings as int8: one scale for each tile, symmetric about zero.

A value is ``code * scale``, off by half a scale at most. The scale is the tile's largest magnitude
over 127, so that codes are -127 to 127; -128 stands where there is no embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.writers.fingerprint import JSON

#: The code where there is no embedding.
NODATA = -128
_LARGEST = 127

#: What run.json and the files' metadata say of int8 embeddings.
DESCRIPTION: dict[str, JSON] = {
    "formula": "embedding * scale",
    "scale": f"float32, one for each tile: its largest absolute value / {_LARGEST}",
    "nodata": NODATA,
}


def quantise(
    values: npt.NDArray[np.float32], axes: int | tuple[int, ...]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return embeddings as codes and scales.

    Args:
        values: Embeddings of any number of tiles, finite; NaN in the whole of a tile that has none.
        axes: The axes that run within a tile.

    Returns:
        Codes of the shape of *values*, `NODATA` in tiles without embedding; and the tiles' scales,
        without *axes*: NaN in tiles without embedding, 0 in tiles that are zero everywhere.
    """
    largest = np.maximum(
        values.max(axis=axes, keepdims=True), -values.min(axis=axes, keepdims=True)
    )
    scale = largest / np.float32(_LARGEST)
    # Neither zero nor NaN divides; codes of such tiles are 0, and NaN until the last step.
    codes = values / np.where(scale > 0, scale, np.float32(1))
    np.rint(codes, out=codes)
    # Below 1e-36 a scale is itself rounded so coarsely that 127 of it may be less than the value.
    np.clip(codes, -_LARGEST, _LARGEST, out=codes)
    np.copyto(codes, NODATA, where=np.isnan(codes))
    return codes.astype(np.int8), scale.squeeze(axes)


def dequantise(codes: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return embeddings from their codes, NaN in tiles without embedding.

    Args:
        codes: int8.
        scale: The tiles' scales, NaN where there is no embedding; of a shape that broadcasts.
    """
    values: npt.NDArray[np.float32] = codes.astype(np.float32)
    values *= scale
    return values
