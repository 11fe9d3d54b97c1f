"""Composites in colours for display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: Sentinel-2's red, green and blue.
RGB_BANDS = ("B4", "B3", "B2")

# Display ranges, in hundredths of a dB, of co-polarised and cross-polarised backscatter and their
# difference. THOR's means for IW (VV -13 dB, VH -21 dB) lie in the middle.
_CO, _CROSS, _DIFFERENCE = (-2500, 0), (-3200, -700), (0, 1500)


def picture_bands(bands: Sequence[str]) -> tuple[str, ...] | None:
    """Return the bands that a picture shows; None if none of them is among *bands*.

    For Sentinel-2 red, green and blue; for Sentinel-1 the co-polarised band (VV or HH), then the
    cross-polarised one (VH or HV), if present.

    Args:
        bands: Earth Engine names of one sensor's bands.
    """
    if set(RGB_BANDS) <= set(bands):
        return RGB_BANDS
    return tuple(name for name in ("VV", "HH", "VH", "HV") if name in bands) or None


def picture_title(bands: Sequence[str]) -> str:
    """Return what a picture's colours mean; *bands* are those of `picture_bands`."""
    if tuple(bands) == RGB_BANDS:
        return "true colour"
    return bands[0] if len(bands) == 1 else f"{bands[0]}, {bands[1]}, {bands[0]} - {bands[1]}"


def colour_bands(
    pixels: npt.NDArray[Any],
    bands: Sequence[str],
    observations: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Colour the bands of a picture.

    Args:
        pixels: (n, H, W), as stored.
        bands: Their names, as `picture_bands` gives them.
        observations: (H, W); pixels with 0 become light grey.

    Returns:
        (H, W, 3) uint8; see `true_colour` and `radar_colour`.
    """
    if tuple(bands) == RGB_BANDS:
        return true_colour(pixels, observations)
    return radar_colour(pixels, bands, observations)


def true_colour(
    rgb: npt.NDArray[Any], observations: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Stretch red, green and blue for display.

    Args:
        rgb: (3, H, W) surface reflectance x 10,000.
        observations: (H, W); pixels with 0 become light grey.

    Returns:
        (H, W, 3) uint8: reflectance 0 to 0.3 over the full range, with a gamma of 1.2; where more
        than a tenth of the values are brighter, as over snow, 0 to at most 0.8.
    """
    pixels = np.moveaxis(rgb.astype(np.float32), 0, -1)
    valid = np.ones(pixels.shape[:2], bool) if observations is None else observations > 0
    bright = float(np.percentile(pixels[valid], 90)) if valid.any() else 0.0
    top = min(max(3000.0, bright), 8000.0)
    out: npt.NDArray[np.uint8] = (np.clip(pixels / top, 0, 1) ** (1 / 1.2) * 255).astype(np.uint8)
    out[~valid] = 224
    return out


def radar_colour(
    pixels: npt.NDArray[Any],
    bands: Sequence[str],
    observations: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Stretch backscatter for display.

    Args:
        pixels: (1 or 2, H, W) hundredths of a dB.
        bands: Their names, the co-polarised one first.
        observations: (H, W); pixels with 0 become light grey.

    Returns:
        (H, W, 3) uint8. Two polarisations: red is VV (HH) from -25 to 0 dB, green VH (HV) from -32
        to -7 dB, blue their difference in dB from 0 to 15. One polarisation: grey, over its range.
    """
    values = pixels.astype(np.float32)
    ranges = [_CO if name in ("VV", "HH") else _CROSS for name in bands]
    planes = [
        np.clip((plane - low) / (high - low), 0, 1)
        for plane, (low, high) in zip(values, ranges, strict=True)
    ]
    if len(planes) == 2:
        low, high = _DIFFERENCE
        planes.append(np.clip((values[0] - values[1] - low) / (high - low), 0, 1))
    else:
        planes *= 3
    out: npt.NDArray[np.uint8] = (np.stack(planes, axis=-1) * 255).astype(np.uint8)
    if observations is not None:
        out[observations == 0] = 224
    return out
