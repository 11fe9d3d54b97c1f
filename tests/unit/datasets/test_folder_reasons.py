"""If these fail, a file is refused for another reason than the true one, or misread."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin
from rasterio.warp import transform

from thor_geo.datamodules import FolderDataModule
from thor_geo.datasets import FolderDataset
from thor_geo.datasets.geotiff import find_files, read_headers
from thor_geo.errors import ConfigError
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import select_bands

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

LEFT, TOP, SIDE = 600_000, 6_640_000, 96
PIXELS = np.random.default_rng(0).integers(1, 9000, (3, SIDE, SIDE), dtype=np.uint16)
BANDS = ["BLUE", "GREEN", "RED"]


def plan(folder: Path, **settings: Any) -> FolderDataModule:
    module = FolderDataModule(
        paths=str(folder),
        bands=settings.pop("bands", BANDS),
        start="2022-06-01",
        end="2022-06-02",
        tile_size=48,
        **settings,
    )
    module.load_plan()
    return module


def gcps(path: Path, crs: str | None) -> Path:
    """Write a file that three of its corners place, as they do a Sentinel-1 scene."""
    x = [LEFT, LEFT + SIDE * 10, LEFT]
    y = [TOP, TOP, TOP - SIDE * 10]
    if crs == "EPSG:4326":
        x, y = transform("EPSG:32632", crs, x, y)
    places = zip([0, 0, SIDE], [0, SIDE, 0], x, y, strict=True)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint16"}
    path.parent.mkdir()
    with rasterio.open(path, "w", **profile) as file:
        file.write(PIXELS)
        points = [GroundControlPoint(*place) for place in places]
        file.gcps = (points, rasterio.CRS.from_string(crs) if crs else rasterio.CRS())
    return path


def misplaced(folder: Path, case: str, write_tif: Any) -> Path:
    path = folder / "in" / "a.tif"
    if case == "south-up":
        flipped = rasterio.Affine(10, 0, LEFT, 0, 10, TOP - SIDE * 10)
        return Path(write_tif(path, PIXELS[:, ::-1], (LEFT, TOP), transform=flipped))
    if case == "9.999999":
        return Path(write_tif(path, PIXELS, (LEFT, TOP), 9.999999))
    return gcps(path, case.removeprefix("GCPs "))


REASONS = {
    "south-up": r"its rows run from south to north \(south-up\); ",
    "9.999999": r"its pixels are 9\.999999 m, not 10",
    "GCPs EPSG:32632": r"3 ground control points \(GCPs\) place it, no grid",
    "GCPs EPSG:4326": r"3 ground control points \(GCPs\) place it, no grid",
}


@pytest.mark.parametrize("case", REASONS)
def test_a_misplaced_file_gets_the_reason_and_a_line_that_mends_it(
    tmp_path: Path, write_tif: Any, case: str
) -> None:
    path = misplaced(tmp_path, case, write_tif)
    with pytest.raises(ConfigError, match=REASONS[case]) as caught:
        plan(path.parent)
    message = str(caught.value)
    assert not re.search("its CRS|no CRS|beside other|rotated|not square", message)
    line = re.search(r"gdalwarp (.*) utm\.tif$", message)
    assert line is not None
    options = line[1].split()
    assert options[:4] == ["-tr", "10", "10", "-tap"]
    assert options[-1] == str(path)
    if shutil.which("gdalwarp") is None:
        pytest.skip("no gdalwarp on this machine to try the line with")
    (tmp_path / "out").mkdir()
    subprocess.run(["gdalwarp", *options, tmp_path / "out" / "utm.tif"], check=True)
    module = plan(tmp_path / "out")
    x, y = slice(LEFT, LEFT + SIDE * 10), slice(TOP - SIDE * 10, TOP)
    np.testing.assert_array_equal(module.zones[32632][x, y]["image"].numpy(), PIXELS)


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({"transform": rasterio.Affine(1, 0, 0, 0, 1, 0), "crs": None}, "nothing says where it"),
        ({"transform": rasterio.Affine(10, 0, LEFT, 0, 20, TOP)}, r"south-up\) and its pixels are"),
        ({"transform": rasterio.Affine(-10, 0, LEFT, 0, -10, TOP)}, "columns run from east"),
        ({"crs": "EPSG:25832"}, r"its CRS is EPSG:25832, no WGS 84 / UTM zone; .* -dstnodata 0 "),
        ({"crs": "EPSG:25832", "nodata": 7}, r"^(?!.*dstnodata)"),
        ({"transform": from_origin(LEFT, TOP, 9.9999995, 9.9999995)}, r"are 9\.9999995 m, not 10"),
        ({"transform": from_origin(LEFT, TOP, 20, 20)}, r"a\.tif has pixels of 20 m"),
    ],
)
def test_each_reason_is_said(tmp_path: Path, write_tif: Any, profile: Any, says: str) -> None:
    write_tif(tmp_path / "a.tif", PIXELS, (LEFT, TOP), **profile)
    with pytest.raises(ConfigError, match=says):
        plan(tmp_path)


def test_sizes_that_differ_in_their_last_bits_are_the_same(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "x" / "a.tif", PIXELS, (LEFT + 1e-7, TOP), 10 + 2e-13)
    write_tif(tmp_path / "y" / "a.tif", PIXELS, (LEFT, TOP), 10)
    plans = [plan(tmp_path / name).load_plan() for name in "xy"]
    assert len(plans[0]) == len(plans[1])
    assert plans[0].lattices == plans[1].lattices


def describe(path: Path, *names: str | None) -> None:
    with rasterio.open(path, "r+") as file:
        file.descriptions = names


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ("B4", "B3", "B2"),
            r"band 1 as 'B4', not BLUE, band 3 as 'B2', not RED.*\[RED, GREEN, BL",
        ),
        ((None, "red", None), r"band 2 as 'red', not GREEN.*right, correct the order of"),
        (("VV", "B03", "B04"), "band 1 as 'VV', not BLUE"),
        (("B2", "B03", "S2:Red"), None),
        (("blue", "Green ", "b04"), None),
        (("lyr.1", "reflectance", None), None),
    ],
)
def test_descriptions_that_contradict_the_bands_are_refused(
    tmp_path: Path, write_tif: Any, names: tuple[str | None, ...], says: str | None
) -> None:
    """Blue read as red is a vector of other ground, without a word."""
    path = write_tif(tmp_path / "a.tif", PIXELS, (LEFT, TOP))
    describe(path, *names)
    if says is None:
        plan(tmp_path)
        return
    with pytest.raises(ConfigError, match=says) as caught:
        plan(tmp_path)
    code = re.search(r"python -c '(.*)'$", str(caught.value))
    assert code is not None
    subprocess.run([sys.executable, "-c", code[1]], check=True)
    plan(tmp_path)


@pytest.mark.parametrize("last", [True, False])
def test_transparency_is_no_band(tmp_path: Path, write_tif: Any, last: bool) -> None:
    """An alpha band under the name of a band is a constant that the model takes for ground."""
    clear = np.full((1, SIDE, SIDE), 65_535, np.uint16)
    clear[:, :4, :4] = 0
    options = {"photometric": "RGB", "alpha": "YES"}
    pixels = np.concatenate([PIXELS, clear])
    path = write_tif(tmp_path / "in" / "a.tif", pixels, (LEFT, TOP), **options)
    bands = ["BLUE", "GREEN", "RED", "NIR_BROAD"] if last else ["BLUE", "GREEN", "RED"]
    with pytest.raises(ConfigError, match=r"a\.tif says that its band 4 is alpha") as caught:
        plan(path.parent, bands=bands)
    mask = re.search(r"(gdal_translate .* masked\.tif)\.", str(caught.value))
    code = re.search(r"python -c '(.*)'$", str(caught.value))
    assert mask is not None
    assert code is not None
    if shutil.which("gdal_translate") is not None:
        (tmp_path / "out").mkdir()
        subprocess.run(mask[1].split(), cwd=tmp_path / "out", check=True)
        module = plan(tmp_path / "out", bands=bands[:3])
        sample = module.zones[32632][LEFT : LEFT + SIDE * 10, TOP - SIDE * 10 : TOP]
        seen = sample["observations"][0].numpy()
        np.testing.assert_array_equal(seen == 0, clear[0] == 0)
        np.testing.assert_array_equal(sample["image"].numpy()[:, seen > 0], PIXELS[:, seen > 0])
    subprocess.run([sys.executable, "-c", code[1]], check=True)
    plan(path.parent, bands=["BLUE", "GREEN", "RED", "NIR_BROAD"])


@pytest.mark.parametrize("name", ["VV", "vh"])
def test_a_polarisation_is_that_of_any_mode(tmp_path: Path, write_tif: Any, name: str) -> None:
    path = write_tif(tmp_path / "a.tif", PIXELS[:1] / np.float32(-500), (LEFT, TOP))
    describe(path, name)
    for band in ("VV", "EW_VV", "VH", "IW_VH"):
        if band.endswith(name.upper()):
            plan(tmp_path, bands=[band])
        else:
            with pytest.raises(ConfigError, match=f"band 1 as '{name}', not"):
                plan(tmp_path, bands=[band])


def scaled(path: Path, scales: list[float], offsets: list[float]) -> FolderDataset:
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = scales, offsets
    files = read_headers(find_files(str(path)), 10)
    window = TemporalSpec.range("2022-06-01", "2022-09-01")
    return FolderDataset(files, select_bands(BANDS), window=window)


def test_a_scale_holds_for_the_bands_that_state_it(tmp_path: Path, write_tif: Any) -> None:
    """Taken for all, the others were 10,000 times too large, and clamped to white."""
    path = write_tif(tmp_path / "a.tif", PIXELS, (LEFT, TOP))
    x, y = slice(LEFT, LEFT + SIDE * 10), slice(TOP - SIDE * 10, TOP)
    for scales, offsets in (([1e-4, 1, 1], [0, 0, 0]), ([1e-4, 1, 1e-4], [-0.1, 0, 0])):
        image = scaled(path, scales, offsets)[x, y]["image"].numpy()
        expected = PIXELS.astype(np.float64)
        expected[0] += offsets[0] * 10_000
        np.testing.assert_allclose(image, expected, atol=1e-3)
    with pytest.raises(ConfigError, match=r"offset of -1000 for S2:Green and no scale"):
        scaled(path, [1e-4, 1, 1], [0, -1000, 0])
    path = write_tif(tmp_path / "a.tif", PIXELS.astype(np.float32), (LEFT, TOP))
    with pytest.raises(ConfigError, match=r"a\.tif has S2:Green as float32, without a scale"):
        scaled(path, [1e-4, 1, 1], [0, 0, 0])
