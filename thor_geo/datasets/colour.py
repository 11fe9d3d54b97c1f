"""Reflectance as colours for display."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def true_colour(
    rgb: npt.NDArray[Any], observations: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Stretch red, green and blue for display.

    Args:
        rgb: (3, H, W) surface reflectance x 10,000.
        observations: (H, W); pixels with 0 become light grey.

    Returns:
        (H, W, 3) uint8: reflectance 0 to 0.3 over the full range with a gamma of 1.2; to 0.8 at
        most where more than a tenth of the values are brighter, as over snow.
    """
    pixels = np.moveaxis(rgb.astype(np.float32), 0, -1)
    valid = np.ones(pixels.shape[:2], bool) if observations is None else observations > 0
    bright = float(np.percentile(pixels[valid], 90)) if valid.any() else 0.0
    top = min(max(3000.0, bright), 8000.0)
    out: npt.NDArray[np.uint8] = (np.clip(pixels / top, 0, 1) ** (1 / 1.2) * 255).astype(np.uint8)
    out[~valid] = 224
    return out
