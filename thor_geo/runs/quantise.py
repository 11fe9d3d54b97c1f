"""Embeddings as int8: one scale for each tile, symmetric about zero.

A value is ``code * scale``. The scale is the tile's largest magnitude over 127, so that codes are
-127 to 127 and one of them is at an end; -128 stands where there is no embedding.

A value is off by half a scale and the rounding of the product at most, in tiles whose largest
magnitude is anything from 1.5e-36 to the largest float32. Below that, scales lose digits: codes may
end short of 127, a scale may be 0, and a value is off by half a scale or 9e-44 (64 times the
smallest float32), whichever is more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.runs.fingerprint import JSON

#: The code where there is no embedding.
NODATA = -128
_LARGEST = 127
# Scales below are fewer than 128 times the smallest float32, and up to a half of that off: the
# largest value is at least 63 of them, and not always 127.
_COARSE = np.float32(2.0**-142)

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
        values: Embeddings of any number of tiles; finite, or NaN where there is none, in a whole
            tile or in some of its cells.
        axes: The axes that run within a tile.

    Returns:
        Codes of the shape of *values*, `NODATA` where there is no embedding; and the tiles' scales,
        without *axes*: NaN in tiles without any embedding, 0 in tiles of nothing but zeros (or
        values up to 9e-44). 127 scales are finite.
    """
    # These pass over NaN, and give NaN where there is nothing else.
    largest: npt.NDArray[np.float32] = np.maximum(
        np.fmax.reduce(values, axis=axes, keepdims=True),
        -np.fmin.reduce(values, axis=axes, keepdims=True),
    )
    scale = largest / np.float32(_LARGEST)
    # Of the largest float32, the quotient is rounded up, and 127 of it would be infinity.
    with np.errstate(over="ignore"):
        beyond = np.isinf(scale * np.float32(_LARGEST))
    scale = np.where(beyond, np.nextafter(scale, np.float32(0)), scale)
    # Neither zero nor NaN divides; codes of such tiles are 0, and NaN until the last step.
    codes = values / np.where(scale > 0, scale, np.float32(1))
    np.rint(codes, out=codes)
    # Below 1e-36 a scale is itself rounded so coarsely that 127 of it may be less than the value.
    np.clip(codes, -_LARGEST, _LARGEST, out=codes)
    np.copyto(codes, NODATA, where=np.isnan(codes))
    return codes.astype(np.int8), scale.squeeze(axes)


def is_scale(scale: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which scales `quantise` can have made: not negative nor NaN, 127 of them finite.

    Args:
        scale: Scales, of any shape.
    """
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.bool_] = (scale >= 0) & np.isfinite(scale * np.float32(_LARGEST))
    return found


def is_scale_of(largest: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which scales can be those of their tiles' codes.

    Args:
        largest: The largest magnitude of a code in each tile.
        scale: The tiles' scales, of the same shape; `is_scale` is true of them.
    """
    coarse = (scale < _COARSE) & (largest >= _LARGEST // 2)
    found: npt.NDArray[np.bool_] = np.where(scale > 0, (largest == _LARGEST) | coarse, largest == 0)
    return found


def dequantise(codes: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return embeddings from their codes, NaN in tiles without embedding.

    Args:
        codes: int8.
        scale: The tiles' scales, NaN where there is no embedding; of a shape that broadcasts.
    """
    values: npt.NDArray[np.float32] = codes.astype(np.float32)
    values *= scale
    return values
