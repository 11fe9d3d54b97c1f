"""If these fail, a folder's embeddings are of other pixels, or of other units, than its files'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from thor_geo.datasets import FolderDataset, PlanDataset, collate
from thor_geo.datasets.geotiff import content_sha256, find_files, read_headers
from thor_geo.errors import BlockError, ConfigError, InputError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import select_bands

RGB = select_bands(["RED", "GREEN", "BLUE"])
OPTICAL_AND_RADAR = select_bands(["RED", "VV", "GREEN", "VH"])
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
LEFT, TOP = 600_000, 6_640_000


def dataset(folder: Path, bands: Any = RGB, **kwargs: Any) -> FolderDataset:
    files = read_headers(find_files(str(folder)), 10)
    return FolderDataset(files, bands, window=WINDOW, **kwargs)


def random(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(1, 10_000, shape, dtype=np.uint16)


def test_a_query_is_the_files_pixels_and_nothing_beyond(tmp_path: Path, write_tif: Any) -> None:
    pixels = random((3, 20, 30))
    write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP))
    sample = dataset(tmp_path)[LEFT + 50 : LEFT + 350, TOP - 150 : TOP + 20]
    assert sample["image"].shape == (3, 17, 30)
    assert sample["image"].dtype == torch.float32
    expected = np.full((3, 17, 30), np.nan, np.float32)
    expected[:, 2:, :25] = pixels[:, :15, 5:]
    np.testing.assert_array_equal(sample["image"].numpy(), expected)
    counts = sample["observations"].numpy()
    assert counts.dtype == np.uint8
    np.testing.assert_array_equal(counts, np.isfinite(expected[:1]))
    query = (slice(LEFT + 50, LEFT + 350), slice(TOP - 150, TOP + 20))
    assert dataset(tmp_path).scenes(query) == ("a.tif",)
    assert dataset(tmp_path).crs.to_epsg() == 32632


def test_the_first_file_with_data_counts_pixel_by_pixel(tmp_path: Path, write_tif: Any) -> None:
    first, second = random((3, 8, 8), 1), random((3, 8, 8), 2)
    first[1, 2, 3] = 0  # one band without data leaves no pixel of the sensor
    write_tif(tmp_path / "a.tif", first, (LEFT, TOP), nodata=0)
    write_tif(tmp_path / "b" / "a.tif", second, (LEFT + 40, TOP))
    sample = dataset(tmp_path)[LEFT : LEFT + 120, TOP - 80 : TOP]
    expected = np.concatenate([first, second[:, :, 4:]], axis=2).astype(np.float32)
    expected[:, 2, 3] = np.nan
    np.testing.assert_array_equal(sample["image"].numpy(), expected)
    query = (slice(LEFT, LEFT + 120), slice(TOP - 80, TOP))
    assert dataset(tmp_path).scenes(query) == ("a.tif", "b/a.tif")
    first[1, 2, 5] = 0
    write_tif(tmp_path / "a.tif", first, (LEFT, TOP), nodata=0)
    again = dataset(tmp_path)[LEFT : LEFT + 120, TOP - 80 : TOP]
    np.testing.assert_array_equal(again["image"].numpy()[:, 2, 5], second[:, 2, 1])


def test_sensors_have_their_own_observations_and_units(tmp_path: Path, write_tif: Any) -> None:
    pixels = np.random.default_rng(3).uniform(-20, 0, (4, 6, 6)).astype(np.float32)
    pixels[[0, 2]] = random((2, 6, 6))
    pixels[1, 0, 0] = np.nan
    pixels[2, 5, 5] = -9999
    write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP))
    data = dataset(tmp_path, OPTICAL_AND_RADAR, scale=[1e-4, 1, 1e-4, 1], nodata=-9999)
    sample = data[LEFT : LEFT + 60, TOP - 60 : TOP]
    optical, radar = np.ones((2, 6, 6), np.uint8)
    optical[5, 5] = radar[0, 0] = 0
    np.testing.assert_array_equal(sample["observations"].numpy(), [optical, radar])
    image = sample["image"].numpy()
    # stored units: reflectance x 10,000 unchanged, hundredths of a decibel
    valid = optical == 1
    np.testing.assert_array_equal(image[0][valid], pixels[0][valid])
    valid = radar == 1
    np.testing.assert_array_equal(
        image[3][valid], (pixels[3][valid].astype(np.float64) * 100).astype(np.float32)
    )
    assert np.isnan(image[[0, 2], 5, 5]).all()
    assert np.isnan(image[[1, 3], 0, 0]).all()


@pytest.mark.parametrize(
    ("band", "dtype", "written", "given", "factor"),
    [
        ("RED", "uint16", None, None, 1.0),
        ("RED", "int16", 2e-5, None, 0.2),
        ("RED", "float32", None, [1.0], 1e4),
        ("VV", "float32", None, None, 100.0),
        ("OA08_REFLECTANCE", "float64", None, None, 1.0),
        ("OA08_REFLECTANCE", "uint16", 1e-4, None, 1e-4),
        ("OA08_REFLECTANCE", "uint16", 1e-4, [0.01], 0.01),
    ],
)
def test_units(
    tmp_path: Path,
    write_tif: Any,
    band: str,
    dtype: str,
    written: float | None,
    given: list[float] | None,
    factor: float,
) -> None:
    pixels = np.arange(1, 17).reshape(1, 4, 4).astype(dtype)
    if dtype == "float32":  # no reflectance is 16
        pixels /= 8
    write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP), scale=written)
    data = dataset(tmp_path, select_bands([band]), scale=given)
    image = data[LEFT : LEFT + 40, TOP - 40 : TOP]["image"].numpy()
    np.testing.assert_allclose(image, pixels * factor, rtol=1e-6)


@pytest.mark.parametrize("band", ["RED", "VV"])
def test_what_is_stored_already_is_not_scaled_once_more(
    tmp_path: Path, write_tif: Any, band: str
) -> None:
    write_tif(tmp_path / "a.tif", random((1, 4, 4)) + 500, (LEFT, TOP))
    with pytest.raises(ConfigError, match=r"scale=\[1\].*scaled once more.*Set data\.scale"):
        dataset(tmp_path, select_bands([band]), scale=[1])
    dataset(tmp_path, select_bands([band]), scale=[1e-4 if band == "RED" else 1e-2])


@pytest.mark.parametrize(
    ("band", "dtype"), [("RED", "float32"), ("VV", "int16"), ("OA08_REFLECTANCE", "uint16")]
)
def test_values_that_do_not_say_their_unit_are_refused(
    tmp_path: Path, write_tif: Any, band: str, dtype: str
) -> None:
    write_tif(tmp_path / "a.tif", np.ones((1, 4, 4), dtype), (LEFT, TOP))
    with pytest.raises(ConfigError, match=r"scale=None.*a\.tif.*data\.scale"):
        dataset(tmp_path, select_bands([band]))


def test_offsets_come_after_scales(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", np.full((3, 4, 4), 3000, np.uint16), (LEFT, TOP))
    data = dataset(tmp_path, offset=[-0.1, 0, 0])
    image = data[LEFT : LEFT + 40, TOP - 40 : TOP]["image"]
    assert image[:, 0, 0].tolist() == [2000, 3000, 3000]


def test_a_query_beside_the_grid_is_refused_not_shifted(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", random((3, 8, 8)), (LEFT, TOP))
    data = dataset(tmp_path)
    with pytest.raises(InputError, match="does not lie on the files' grid"):
        data[LEFT + 3 : LEFT + 43, TOP - 40 : TOP]
    with pytest.raises(IndexError):
        data[LEFT + 500 : LEFT + 540, TOP - 40 : TOP]
    with pytest.raises(IndexError):
        data[LEFT : LEFT + 40, TOP - 40 : TOP, WINDOW.end.replace(tzinfo=None) :]


def test_a_picture_shows_north_up_what_is_there(tmp_path: Path, write_tif: Any) -> None:
    pixels = np.full((3, 40, 40), 300, np.uint16)
    pixels[0, :20] = 3000  # red in the north
    write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP))
    picture = dataset(tmp_path).picture((LEFT, TOP - 400, LEFT + 800, TOP), (10, 20))
    assert picture is not None
    assert picture.shape == (10, 20, 3)
    assert (picture[:5, :10, 0] > picture[:5, :10, 2] + 100).all()
    assert (picture[5:, :10, 0] == picture[5:, :10, 2]).all()
    assert (picture[:, 10:] == 224).all()


def plan_dataset(folder: Path) -> PlanDataset:
    box = (LEFT + 1, TOP - 319, LEFT + 639, TOP - 1)
    lattice = Lattice(epsg=32632, tile_size=32)
    plan = Plan.from_area(AreaSpec(bbox=box, crs="EPSG:32632").load(), lattice)
    return PlanDataset(plan, {32632: dataset(folder)}, channels=3, dtype=torch.float32)


def test_a_broken_file_fails_its_tiles_only(tmp_path: Path, write_tif: Any) -> None:
    for name, east in (("a.tif", 0), ("b.tif", 640)):
        pixels = random((3, 64, 64))
        write_tif(tmp_path / name, pixels, (LEFT + east - 320, TOP + 160), tiled=True)
    tiles = plan_dataset(tmp_path)
    whole = collate(tiles.__getitems__(range(len(tiles))))
    assert whole["error"] == [None] * len(tiles)
    path = tmp_path / "b.tif"
    path.write_bytes(path.read_bytes()[:2000])  # the header is there, the pixels are not
    batch = collate(tiles.__getitems__(range(len(tiles))))
    under = ["b.tif" in names for names in whole["scenes"]]
    assert any(under)
    assert not all(under)
    for k, broken in enumerate(under):
        assert (batch["error"][k] is not None) == broken
        if broken:
            assert "b.tif" in batch["error"][k]
            assert "output.dir" in batch["error"][k]
            assert not batch["observations"][k].any()
        else:
            assert torch.equal(batch["image"][k], whole["image"][k])
    assert batch["image"].dtype == torch.float32
    zone = tiles.zones[32632]
    with pytest.raises(BlockError):
        zone[LEFT + 320 : LEFT + 640, TOP - 160 : TOP]


def test_a_changed_pixel_is_another_input(tmp_path: Path, write_tif: Any) -> None:
    pixels = random((3, 16, 16))
    path = write_tif(tmp_path / "x" / "a.tif", pixels, (LEFT, TOP))
    before = content_sha256(read_headers([path], 10))
    renamed = write_tif(tmp_path / "y" / "b.tif", pixels, (LEFT, TOP))
    assert content_sha256(read_headers([renamed], 10)) == before
    pixels[1, 7, 7] += 1
    write_tif(path, pixels, (LEFT, TOP))
    assert content_sha256(read_headers([path], 10)) != before


def test_of_large_files_both_ends_count(tmp_path: Path, write_tif: Any) -> None:
    pixels = np.zeros((3, 1700, 1700), np.uint16)  # 17 MB
    results = set()
    for row in (None, 0, -1):
        if row is not None:
            pixels[:, row, row] = 1
        path = write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP))
        results.add(content_sha256(read_headers([path], 10)))
    assert len(results) == 3


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({"crs": "EPSG:4326", "transform": from_origin(10, 60, 1e-4, 1e-4)}, "-t_srs EPSG:32632"),
        ({"crs": "EPSG:3035", "transform": from_origin(4_300_000, 4e6, 10, 10)}, "-t_srs EPSG:326"),
        ({"crs": None}, "has no CRS"),
        ({"transform": from_origin(LEFT, TOP, 10, 20)}, "10 x 20"),
        (
            {"transform": rasterio.Affine(7, 7, LEFT, 7, -7, TOP)},
            "rotated",
        ),
        ({"dtype": "complex64"}, "complex64"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_does_not_lie_north_up_in_utm_is_refused_with_a_remedy(
    tmp_path: Path, write_tif: Any, profile: dict[str, Any], says: str
) -> None:
    path = write_tif(tmp_path / "a.tif", random((3, 8, 8)), (LEFT, TOP), **profile)
    with pytest.raises(ConfigError, match="paths=") as caught:
        read_headers([path], 10)
    assert says in str(caught.value)


def test_what_is_not_a_raster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no raster")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_headers(find_files(str(tmp_path)), 10)


def test_another_number_of_bands_is_refused(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", random((4, 8, 8)), (LEFT, TOP))
    with pytest.raises(ConfigError, match=r"3 names, but a\.tif has 4 bands"):
        dataset(tmp_path)


def test_folders_globs_and_files_are_found_once_by_name(tmp_path: Path) -> None:
    for name in ("b.tif", "a.TIFF", "sub/c.tif", "notes.txt", "d.vrt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*paths: str) -> list[str]:
        results = find_files([str(tmp_path / path) for path in paths])
        return [path.relative_to(tmp_path).as_posix() for path in results]

    assert names("") == ["a.TIFF", "b.tif", "sub/c.tif"]
    assert names("*.tif", "b.tif") == ["b.tif"]
    assert names("**/*.tif") == ["b.tif", "sub/c.tif"]
    assert names("d.vrt", "sub") == ["d.vrt", "sub/c.tif"]
    for missing in ("none", "*.jp2", "none/*.tif"):
        with pytest.raises(ConfigError, match="paths"):
            names("b.tif", missing)


@pytest.mark.parametrize(("scale", "dtype"), [([1e-4] * 3, "float32"), (None, "float32")])
def test_reflectance_under_the_scale_of_its_ten_thousandfold_is_refused(
    tmp_path: Path, write_tif: Any, scale: list[float] | None, dtype: str
) -> None:
    pixels = (random((3, 300, 300)) / 10_000).astype(dtype)
    pixels[:, :150] = np.nan
    write_tif(tmp_path / "a.tif", pixels, (LEFT, TOP), scale=None if scale else 1e-4)
    with pytest.raises(ConfigError, match=r"`scale=.*a\.tif.*reflectance 0\.\.1.*data\.scale"):
        dataset(tmp_path, scale=scale)
    right = dataset(tmp_path, scale=[1.0] * 3)
    image = right[LEFT : LEFT + 3000, TOP - 3000 : TOP]["image"]
    np.testing.assert_allclose(image[:, 200:].numpy(), pixels[:, 200:] * 10_000, rtol=1e-6)
