"""What the raw bands below samples of a probe must be, read from the scene by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from thor_geo.probe.samples import Samples


def check_bands(scene: Path, samples: Samples, features: np.ndarray) -> None:
    """Check mean and standard deviation of each band below each sample.

    Args:
        scene: A GeoTIFF in the samples' zone.
        samples: The samples.
        features: Their features, (n, 2 C), NaN where the scene has no pixel.
    """
    half = samples.side / 2
    with rasterio.open(scene) as file:
        for k in range(len(samples)):
            x, y = samples.x[k], samples.y[k]
            window = file.window(x - half, y - half, x + half, y + half)
            pixels = file.read(window=window, boundless=True, masked=True).astype(np.float64)
            parts = [band.compressed() for band in pixels]
            if not len(parts[0]):
                assert np.isnan(features[k]).all()
                continue
            expected = [*(p.mean() for p in parts), *(p.std() for p in parts)]
            np.testing.assert_allclose(features[k], expected, rtol=1e-6, atol=1e-9)
