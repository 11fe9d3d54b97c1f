"""Embeddings as int8: one scale for each vector and each cell of a map, symmetric about zero.

A value is ``code * scale``. The scale is the embedding's largest magnitude divided by 127, so codes
range from -127 to 127 and one of them is at an end; -128 marks a missing embedding.

In embeddings whose largest magnitude is between 1.5e-36 and the largest float32, the error is at
most half a scale plus the rounding of the product. Below that, scales lose digits: codes may end
short of 127, a scale may be 0, and the error is half a scale or 9e-44 (64 times the smallest
float32), whichever is larger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.runs.fingerprint import JSON

#: The code of a missing embedding.
NODATA = -128
_LARGEST = 127
# Scales below this are less than 128 times the smallest float32, and rounded by up to half of that:
# the largest code is at least 63, but not always 127.
_COARSE = np.float32(2.0**-142)

#: How run.json and the files' metadata describe int8 embeddings.
DESCRIPTION: dict[str, JSON] = {
    "formula": "embedding * scale",
    "scale": f"float32, one for each vector or cell: its largest absolute value / {_LARGEST}",
    "nodata": NODATA,
}


def quantise(
    values: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return embeddings as codes and scales.

    Args:
        values: Any number of embeddings, each finite or all NaN.
        axis: The axis along an embedding.

    Returns:
        Codes with the shape of *values*, `NODATA` for NaN; and the embeddings' scales, without
        *axis*: NaN where there is none, 0 for one of only zeros (or values up to 9e-44). 127 times
        a scale is finite.
    """
    # These skip NaN, and return NaN if there is nothing else.
    largest: npt.NDArray[np.float32] = np.maximum(
        np.fmax.reduce(values, axis=axis, keepdims=True),
        -np.fmin.reduce(values, axis=axis, keepdims=True),
    )
    scale = largest / np.float32(_LARGEST)
    # For the largest float32 the quotient is rounded up, and 127 times it would be infinity.
    with np.errstate(over="ignore"):
        beyond = np.isinf(scale * np.float32(_LARGEST))
    scale = np.where(beyond, np.nextafter(scale, np.float32(0)), scale)
    # Embeddings with scale 0 get codes 0, those with NaN keep NaN until the last step.
    codes = values / np.where(scale > 0, scale, np.float32(1))
    np.rint(codes, out=codes)
    # Below 1e-36 a scale is rounded so coarsely that 127 times it may be less than the value.
    np.clip(codes, -_LARGEST, _LARGEST, out=codes)
    np.copyto(codes, NODATA, where=np.isnan(codes))
    return codes.astype(np.int8), scale.squeeze(axis)


def is_scale(scale: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which scales `quantise` can have returned: >= 0, and finite when multiplied by 127.

    Args:
        scale: Scales, of any shape.
    """
    with np.errstate(over="ignore"):
        valid: npt.NDArray[np.bool_] = (scale >= 0) & np.isfinite(scale * np.float32(_LARGEST))
    return valid


def is_scale_of(largest: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which scales fit the codes of their embeddings.

    Args:
        largest: The largest magnitude of a code in each embedding.
        scale: The scales, of the same shape; valid by `is_scale`.
    """
    coarse = (scale < _COARSE) & (largest >= _LARGEST // 2)
    fits: npt.NDArray[np.bool_] = np.where(scale > 0, (largest == _LARGEST) | coarse, largest == 0)
    return fits


def dequantise(codes: npt.NDArray[Any], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return embeddings from their codes, NaN where there is none.

    Args:
        codes: int8.
        scale: The scales, NaN without an embedding; of a shape that broadcasts.
    """
    values: npt.NDArray[np.float32] = codes.astype(np.float32)
    values *= scale
    return values
