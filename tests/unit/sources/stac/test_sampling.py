"""If these fail, a catalogue's pixels lie beside their place, or no data passes for some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

from thor_geo.errors import SceneError, StacError
from thor_geo.ground.lattice import Block
from thor_geo.sources.stac.sampling import CLASS_DTYPES, sample

#: Off the lattice of blocks, so that the raster ends inside the block.
LEFT, TOP = 600_180.0, 6_649_920.0
BLOCK = Block(epsg=32632, size=64, resolution=10, left=60_000, top=665_000)


def raster(path: Path, resolution: float, **profile: Any) -> np.ndarray[Any, Any]:
    """Write a raster in zone 32 in which every pixel differs, but for the empty first row."""
    values = np.arange(1, 41 * 53 + 1, dtype=profile.get("dtype", "uint16")).reshape(41, 53)
    values[0] = 0
    with rasterio.open(
        path,
        "w",
        **{
            "driver": "GTiff",
            "width": 53,
            "height": 41,
            "count": 1,
            "dtype": values.dtype,
            "crs": "EPSG:32632",
            "transform": from_origin(LEFT, TOP, resolution, resolution),
            **profile,
        },
    ) as file:
        file.write(values, 1)
    return values


def expected(path: Path, block: Block) -> np.ndarray[Any, Any]:
    """Look each pixel centre up by itself, through GDAL's own indexing."""
    left, _, _, top = block.bounds
    steps = (np.arange(block.size) + 0.5) * block.resolution
    x, y = np.meshgrid(left + steps, top - steps)
    transformer = Transformer.from_crs(block.epsg, 32632, always_xy=True)
    points = zip(*(axis.ravel() for axis in transformer.transform(x, y)), strict=True)
    with rasterio.open(path) as file:
        return np.array([value[0] for value in file.sample(points)]).reshape(x.shape)


@pytest.mark.parametrize("resolution", [10, 20, 60])
@pytest.mark.parametrize("epsg", [32632, 32633])
def test_each_pixel_is_the_files_pixel_under_its_centre(
    tmp_path: Path, resolution: int, epsg: int
) -> None:
    raster(tmp_path / "a.tif", resolution)
    block = BLOCK
    if epsg == 32633:
        x, y = Transformer.from_crs(32632, epsg, always_xy=True).transform(LEFT, TOP)
        left, top = round(x / 10) - 20, round(y / 10) + 20
        block = Block(epsg=epsg, size=64, resolution=10, left=left, top=top)
    found = sample(str(tmp_path / "a.tif"), 1, block, "B4", scene="x")
    values = expected(tmp_path / "a.tif", block)
    assert 0 < (values > 0).sum() < values.size
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.seen, values > 0)


@pytest.mark.parametrize("resolution", [10, 20, 60])
def test_between_zones_a_pixel_in_100_000_may_be_a_neighbour(
    tmp_path: Path, resolution: int
) -> None:
    # GDAL's warper places centres to a millionth of a pixel (0 is refused): what lies on an edge
    # may fall to the other side. With its default tolerance thousands of pixels differ.
    values = np.random.default_rng(0).integers(1, 60_000, (9000 // resolution,) * 2, np.uint16)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    grid = from_origin(LEFT, TOP, resolution, resolution)
    height, width = values.shape
    with rasterio.open(
        tmp_path / "a.tif", "w", height=height, width=width, transform=grid, **profile
    ) as file:
        file.write(values, 1)
    x, y = Transformer.from_crs(32632, 32633, always_xy=True).transform(LEFT, TOP)
    block = Block(epsg=32633, size=576, resolution=10, left=round(x / 10) + 90, top=round(y / 10))
    got = sample(str(tmp_path / "a.tif"), 1, block, "B4", scene="x")
    left, _, _, top = block.bounds
    steps = (np.arange(block.size) + 0.5) * block.resolution
    centres = np.meshgrid(left + steps, top - steps)
    x, y = Transformer.from_crs(32633, 32632, always_xy=True).transform(*centres)
    column = np.floor((x - LEFT) / resolution).astype(int)
    row = np.floor((TOP - y) / resolution).astype(int)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    exact = np.where(inside, values[np.where(inside, row, 0), np.where(inside, column, 0)], 0)
    assert inside.mean() > 0.8
    assert (got.values != exact).sum() <= 3
    assert got.read == got.seen.sum() * 2


@pytest.mark.parametrize("epsg", [32632, 32633])
def test_a_file_that_is_cut_short_is_an_error_not_zeros(tmp_path: Path, epsg: int) -> None:
    values = np.random.default_rng(0).integers(1, 60_000, (512, 512), np.uint16)
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    grid = from_origin(LEFT, TOP, 10, 10)
    with rasterio.open(path, "w", height=512, width=512, transform=grid, **profile) as file:
        file.write(values, 1)
    path.write_bytes(path.read_bytes()[:200_000])
    x, y = Transformer.from_crs(32632, epsg, always_xy=True).transform(LEFT, TOP)
    block = Block(epsg=epsg, size=512, resolution=10, left=round(x / 10), top=round(y / 10))
    with pytest.raises(rasterio.errors.RasterioError):
        sample(str(path), 1, block, "B4", scene="x")


def test_the_files_own_nodata_is_not_a_value(tmp_path: Path) -> None:
    raster(tmp_path / "a.tif", 10, nodata=60)
    found = sample(str(tmp_path / "a.tif"), 1, BLOCK, "B4", scene="x")
    # 0 is a value then; 60 is none.
    assert found.seen.sum() == 41 * 46 - 1
    assert not (found.values == 60).any()


@pytest.mark.parametrize("epsg", [32632, 32633, 32760])
def test_a_block_beside_the_file_reads_nothing(tmp_path: Path, epsg: int) -> None:
    raster(tmp_path / "a.tif", 10)
    beside = Block(epsg=epsg, size=64, resolution=10, left=70_000, top=665_000)
    found = sample(str(tmp_path / "a.tif"), 1, beside, "B4", scene="x")
    assert (found.read, found.seen.any(), found.values.any()) == (0, False, False)


@pytest.mark.parametrize(
    ("profile", "match"),
    [
        ({"dtype": "float32"}, "holds float32"),
        ({"dtype": "uint8"}, "holds uint8"),
        ({"crs": None}, "not on an upright grid"),
        ({"transform": rasterio.Affine(10, 1, LEFT, 0, -10, TOP)}, "not on an upright grid"),
    ],
)
def test_what_is_not_reflectance_on_an_upright_grid_is_refused(
    tmp_path: Path, profile: dict[str, Any], match: str
) -> None:
    if profile.get("dtype") == "uint8":
        profile = {**profile, "width": 5, "height": 5}
        with rasterio.open(
            tmp_path / "a.tif",
            "w",
            driver="GTiff",
            count=1,
            crs="EPSG:32632",
            transform=from_origin(LEFT, TOP, 10, 10),
            **profile,
        ) as file:
            file.write(np.ones((5, 5), np.uint8), 1)
    else:
        raster(tmp_path / "a.tif", 10, **profile)
    with pytest.raises(SceneError, match=f"Item 'x' has a file for B4 that.*{match}"):
        sample(str(tmp_path / "a.tif"), 1, BLOCK, "B4", scene="x")
    if profile.get("dtype") == "uint8":
        classes = sample(str(tmp_path / "a.tif"), 1, BLOCK, "SCL", CLASS_DTYPES, scene="x")
        assert classes.seen.sum() == 25


def test_a_band_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    raster(tmp_path / "a.tif", 10)
    with pytest.raises(StacError, match="should hold it as band 2, and has 1"):
        sample(str(tmp_path / "a.tif"), 2, BLOCK, "B4", scene="x")
