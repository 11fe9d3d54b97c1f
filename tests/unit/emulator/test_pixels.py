"""Grids, sampling across zones and resolutions, formats and limits."""

from __future__ import annotations

from typing import Any

import ee
import numpy as np
import pytest
from pyproj import Transformer

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
LEFT, TOP = 600_000.0, 6_600_000.0


def _one(rng_seed: int = 0, side: int = 60, **fields: Any) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(rng_seed)
    values = rng.integers(1, 5000, (side, side)).astype(np.uint16)
    return {"id": "a", "date": "2022-06-01", "bands": {"B2": values}, **fields}, values


def test_coarser_bands_are_doubled_onto_the_finer_grid(serve: Any, pixels: Any, grid: Any) -> None:
    scene, ten = _one()
    twenty, sixty = ten[:30, :30] + 1, ten[:10, :10] + 2
    scene["bands"] |= {"B5": twenty, "B1": sixty}
    serve([{**scene, "resolution": {"B5": 20, "B1": 60}}])
    got = pixels(ee.Image(f"{COLLECTION}/a"), grid(60, 60))
    np.testing.assert_array_equal(got["B2"], ten)
    np.testing.assert_array_equal(got["B5"], np.kron(twenty, np.ones((2, 2))))
    np.testing.assert_array_equal(got["B1"], np.kron(sixty, np.ones((6, 6))))


def test_windows_are_where_they_are_asked_for(serve: Any, pixels: Any, grid: Any) -> None:
    scene, values = _one()
    serve([scene])
    image = ee.Image(f"{COLLECTION}/a")
    inside = pixels(image, grid(7, 5, left=LEFT + 200, top=TOP - 130))["B2"]
    np.testing.assert_array_equal(inside, values[13:18, 20:27])
    beyond = pixels(image, grid(80, 70, left=LEFT - 100, top=TOP + 50))["B2"]
    expected = np.zeros((70, 80))
    expected[5:65, 10:70] = values
    np.testing.assert_array_equal(beyond, expected)
    # Off the lattice by 4 m, every pixel's centre still lies in the same scene pixel.
    shifted = pixels(image, grid(60, 60, left=LEFT + 4, top=TOP - 4))["B2"]
    np.testing.assert_array_equal(shifted, values)
    coarse = pixels(image, grid(20, 20, resolution=30))["B2"]
    np.testing.assert_array_equal(coarse, values[1::3, 1::3])
    away = pixels(image, grid(4, 4, left=0))["B2"]
    assert not away.any()


def test_a_request_of_several_strips_is_seamless(
    serve: Any, pixels: Any, grid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thor_geo.emulator import _pixels

    scene, values = _one()
    serve([scene])
    monkeypatch.setattr(_pixels, "STRIP_PIXELS", 60 * 7)
    np.testing.assert_array_equal(pixels(ee.Image(f"{COLLECTION}/a"), grid(60, 60))["B2"], values)


def test_another_zone_is_sampled_by_pixel_centres(serve: Any, pixels: Any, grid: Any) -> None:
    scene, values = _one(side=120)
    serve([scene])
    east, north = Transformer.from_crs("EPSG:32632", "EPSG:32633", always_xy=True).transform(
        LEFT + 600, TOP - 600
    )
    left, top = round(east - 200, -1), round(north + 200, -1)
    got = pixels(ee.Image(f"{COLLECTION}/a"), grid(40, 40, left=left, top=top, epsg=32633))["B2"]
    back = Transformer.from_crs("EPSG:32633", "EPSG:32632", always_xy=True)
    for row in range(40):
        for column in range(40):
            x, y = back.transform(left + 10 * column + 5, top - 10 * row - 5)
            assert got[row, column] == values[int((TOP - y) // 10), int((x - LEFT) // 10)]


def test_band_ids_choose_bands(serve: Any, pixels: Any, stack: Any) -> None:
    serve(stack(1)[0])
    got = pixels(ee.Image(f"{COLLECTION}/S0"), bandIds=["SCL", "B2"])
    assert got.dtype.names == ("SCL", "B2")


def test_geotiff_carries_the_grid(serve: Any, grid: Any) -> None:
    from rasterio.io import MemoryFile

    scene, values = _one()
    serve([scene])
    request = {"expression": ee.Image(f"{COLLECTION}/a"), "fileFormat": "GEO_TIFF"}
    with MemoryFile(ee.data.computePixels({**request, "grid": grid(60, 60)})) as memory:
        source = memory.open()
        assert source.crs.to_epsg() == 32632
        assert source.bounds == (LEFT, TOP - 600, LEFT + 600, TOP)
        assert source.descriptions == ("B2",)
        np.testing.assert_array_equal(source.read(1), values)


def test_size_limit_counts_a_mask_byte_per_band(serve: Any, pixels: Any, grid: Any) -> None:
    serve([_one()[0]])
    one = ee.Image.constant([0] * 12).toUint16()
    # 1182 px square is the largest that fits with 12 bands of uint16: 12 x 3 bytes.
    assert pixels(one, grid(1182, 1182)).shape == (1182, 1182)
    total = 1183 * 1183 * 12 * 3
    message = (
        rf"Total request size \({total} bytes\) must be less than or equal to 50331648 bytes\."
    )
    with pytest.raises(ee.EEException, match=message):
        pixels(one, grid(1183, 1183))
    with pytest.raises(ee.EEException, match="Total request size"):
        pixels(one.toDouble(), grid(683, 683))


def test_other_limits_and_bad_grids(serve: Any, pixels: Any, grid: Any) -> None:
    serve([_one()[0]])
    image = ee.Image(f"{COLLECTION}/a")
    with pytest.raises(ee.EEException, match=r"dimensions \(32769x1\) must be less than or equal"):
        pixels(image, grid(32769, 1))
    with pytest.raises(ee.EEException, match=r"Number of bands \(1025\)"):
        pixels(ee.Image.constant([0] * 1025), grid(1, 1))
    with pytest.raises(ee.EEException, match="CRS of a map projection could not be parsed"):
        pixels(image, {**grid(), "crsCode": "EPSG:0"})
    with pytest.raises(ee.EEException, match="must be positive"):
        pixels(image, grid(0, 5))
    with pytest.raises(ee.EEException, match="needs crsCode, affineTransform and dimensions"):
        pixels(image, {"dimensions": {"width": 1, "height": 1}})
    with pytest.raises(ee.EEException, match="'PNG' is not supported"):
        ee.data.computePixels({"expression": image, "fileFormat": "PNG", "grid": grid()})
    with pytest.raises(ee.EEException, match="'visualizationOptions' is not supported"):
        pixels(image, visualizationOptions={"ranges": []})
    with pytest.raises(ee.EEException, match="does not evaluate to an Image: int"):
        pixels(ee.ImageCollection(COLLECTION).size())
