"""118 real Sentinel-2 scenes against their reference values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
import rasterio

from thor_geo.emulator import Archive, EmulatorServer

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
CORNER = {"left": 501_360.0, "top": 5_629_680.0, "epsg": 32631}


@pytest.fixture(scope="module")
def folder() -> Path:
    found = Path(__file__).parents[4] / "shared" / "data" / "scenes" / "wc_be_31UDS"
    if not found.is_dir():
        pytest.skip(f"real scenes are not at {found}")
    return found


@pytest.fixture
def summer(folder: Path, connect: Any) -> Iterator[Any]:
    with EmulatorServer(folder) as server:
        connect(server.url)
        yield ee.ImageCollection(COLLECTION).filterDate("2018-05-01", "2018-09-01")


def test_reference_values(summer: Any, pixels: Any, grid: Any, clear: Any) -> None:
    area = grid(64, 64, **CORNER)
    low = summer.filter(ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", 30))
    assert summer.size().getInfo() == 38
    assert low.size().getInfo() == 23
    for scenes, expected in ((summer, 931.4), (summer.map(clear), 657.8), (low, 650.4)):
        got = pixels(scenes.select(["B2"]).median(), area)["B2"]
        assert abs(got.mean() - expected) < 0.5


def test_every_band_equals_numpy(
    folder: Path, summer: Any, pixels: Any, grid: Any, clear: Any
) -> None:
    rounded = summer.map(clear).select(["B.*"]).median().add(0.5).floor().toUint16()
    got = pixels(rounded.unmask(0, False), grid(64, 64, **CORNER))
    stack, masks = [], []
    for scene in Archive.open(folder).scenes:
        name = scene.properties["system:index"]
        if not "20180501" <= name.rsplit("_", 1)[1] < "20180901":
            continue
        with rasterio.open(folder / f"{name}.tif") as source:
            stack.append(source.read().astype(float))
        with rasterio.open(folder / f"{name}_SCL.tif") as source:
            masks.append(~np.isin(source.read(1), (0, 3, 8, 9, 10)))
    values = np.where(np.array(masks)[:, None], np.array(stack), np.nan)
    expected = np.floor(np.nanmedian(values, axis=0) + 0.5)
    for band, name in enumerate(got.dtype.names):
        np.testing.assert_array_equal(got[name], expected[band])


def test_the_major_tom_chip_is_served_off_the_lattice(
    folder: Path, connect: Any, pixels: Any, grid: Any
) -> None:
    chips = folder.parents[1] / "chips" / "majortom"
    with rasterio.open(chips / "199U_1099R_20200223_S2L2A.tif") as source:
        expected, transform = source.read(1), source.transform
    with EmulatorServer(chips) as server:
        connect(server.url)
        image = ee.ImageCollection(COLLECTION).first().select("B2")
        area = grid(1068, 1068, left=transform.c, top=transform.f, epsg=32648)
        np.testing.assert_array_equal(pixels(image, area)["B2"], expected)
