"""If these fail, a foreign image in the cache is read as a block, from wherever it points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from thor_geo.composites._raster import identity, read_window

SHAPE = (3, 64, 64)
WINDOW = slice(0, 64)


def write(path: Path, **changes: Any) -> None:
    options = {
        "driver": "GTiff",
        "width": 64,
        "height": 64,
        "count": 3,
        "dtype": "uint16",
        "crs": "EPSG:32632",
        "transform": from_origin(5e5, 6.6e6, 10, 10),
        **changes,
    }
    with rasterio.open(path, "w", **options) as file:
        if options["width"] <= 128:
            shape = (options["count"], options["height"], options["width"])
            file.write(np.ones(shape, dtype=options["dtype"]))


def read(path: Path) -> np.ndarray[Any, Any]:
    which = identity(path)
    assert which is not None
    return read_window(path, which, SHAPE, WINDOW, WINDOW)


def test_a_block_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif").shape == SHAPE


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": 2}, "instead of"),
        ({"width": 128}, "instead of"),
        ({"dtype": "float32"}, "not uint16"),
        # two billion pixels, a few bytes on disk
        ({"width": 60_000, "height": 60_000, "sparse_ok": True, "tiled": True}, "instead of"),
        ({"tiled": True, "blockxsize": 8192, "blockysize": 8192, "sparse_ok": True}, "tiles"),
    ],
)
def test_another_image_is_refused_before_its_pixels_are_read(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    write(tmp_path / "a.tif", **changes)
    with pytest.raises(rasterio.errors.RasterioError, match=problem):
        read(tmp_path / "a.tif")


def test_a_format_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "secret.tif")
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{k}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{tmp_path / "secret.tif"}</SourceFilename>'
        f"<SourceBand>{k}</SourceBand></SimpleSource></VRTRasterBand>"
        for k in (1, 2, 3)
    )
    path = tmp_path / "a.tif"
    path.write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{bands}</VRTDataset>')
    with rasterio.open(path) as file:
        assert file.driver == "VRT", "it is one that would be followed"
    with pytest.raises(rasterio.errors.RasterioError):
        read(path)
