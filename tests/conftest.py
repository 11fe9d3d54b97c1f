from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

ROOT = Path(__file__).parent.parent

WriteTif = Callable[..., Path]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real scenes, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real scenes are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def write_tif() -> WriteTif:
    """Return a function that writes pixels (C, H, W) as a GeoTIFF in UTM zone 32."""

    def write(
        path: Path,
        pixels: npt.NDArray[Any],
        corner: tuple[float, float],
        res: float = 10,
        *,
        scale: float | None = None,
        **profile: Any,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        bands, height, width = pixels.shape
        settings: dict[str, Any] = {
            "driver": "GTiff",
            "crs": "EPSG:32632",
            "transform": from_origin(*corner, res, res),
            "count": bands,
            "height": height,
            "width": width,
            "dtype": np.dtype(pixels.dtype).name,
        }
        with rasterio.open(path, "w", **{**settings, **profile}) as file:
            file.write(pixels)
            if scale is not None:
                file.scales = [scale] * bands
        return path

    return write
