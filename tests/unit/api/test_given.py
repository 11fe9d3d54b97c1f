"""If these fail, pixels that the caller has are embedded as what they are not."""

from __future__ import annotations

import logging
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
from rasterio.transform import from_origin

from thor_geo import SensorSpec, Sentinel1Spec, get_embedding, get_embeddings_batch
from thor_geo.api._wording import _in_python
from thor_geo.errors import BandError, ConfigError, InputError
from thor_geo.specs.bands import S2_DEFAULT_BANDS
from thor_geo.specs.environment import VARIABLES

PIXELS = np.random.default_rng(0).integers(1, 10_000, (10, 32, 32), dtype=np.uint16)
NAMES = list(S2_DEFAULT_BANDS)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable.name, raising=False)


def embed(pixels: Any = None, **options: Any) -> Any:
    given = {} if pixels is None else {"input_chw": pixels}
    return get_embedding("thor_v1_tiny", pretrained=False, **given, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_reflectance_is_not_taken_for_its_ten_thousandfold(dtype: str) -> None:
    reflectance = (PIXELS / 10_000).astype("float64").clip(0, 1)
    if dtype == "uint16":  # what is left of it in integers
        reflectance = reflectance.round()
    with pytest.raises(InputError, match=r"`input_chw`.*reflectance x 10,000.*input_scale=1"):
        embed(reflectance.astype(dtype))
    with pytest.raises(InputError, match=r"input_chw\[1\].*reflectance x 10,000"):
        get_embeddings_batch(
            "thor_v1_tiny", input_chw=[PIXELS, reflectance.astype(dtype)], pretrained=False
        )


def test_values_in_another_unit_are_converted() -> None:
    wanted = embed(PIXELS)
    found = embed(PIXELS / 10_000, input_scale=1)
    np.testing.assert_allclose(found.data, wanted.data, atol=1e-5)
    assert (wanted.meta["input_scale"], found.meta["input_scale"]) == (None, 1.0)
    percent = embed(PIXELS / 100, input_scale=0.01)
    np.testing.assert_allclose(percent.data, wanted.data, atol=1e-5)
    with pytest.raises(InputError, match="reflectance x 10,000"):  # says what they are not
        embed(PIXELS / 10_000, input_scale=0.0001)
    with pytest.raises(ConfigError, match="`input_scale=0`: not a positive number"):
        embed(PIXELS, input_scale=0)
    with pytest.raises(ConfigError, match=r"`input_scale=1.0`.*there are none"):
        embed(input_scale=1)


def test_decibels_are_not_taken_for_hundredths_of_them() -> None:
    radar = np.random.default_rng(1).normal(-1400, 300, (2, 32, 32)).astype(np.float32)
    options: dict[str, Any] = {"sensor": Sentinel1Spec()}
    with pytest.raises(InputError, match=r"Sentinel-1.*not hundredths of a decibel"):
        embed(radar / 100, **options)
    found = embed(radar / 100, input_scale=1, **options)
    np.testing.assert_allclose(found.data, embed(radar, **options).data, atol=1e-5)


def test_dark_and_empty_pixels_are_not_suspected(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        empty = embed(np.zeros_like(PIXELS))
    assert empty.meta["valid_fraction"] == 0
    assert "No pixel of the input has data" in caplog.text
    assert embed(np.full_like(PIXELS, 2)).meta["valid_fraction"] == 1
    nothing = embed(np.full(PIXELS.shape, np.nan, np.float32))
    assert nothing.meta["valid_fraction"] == 0


def test_the_share_of_valid_pixels_counts_padding_and_fill() -> None:
    partly = PIXELS.copy()
    partly[:, :8] = 0
    assert embed(partly).meta["valid_fraction"] == 0.75
    partly[3, 0, 0] = 1  # a pixel has data if any band has
    assert embed(partly).meta["valid_fraction"] == 0.75 + 1 / 1024
    small = embed(PIXELS[:, :16])
    assert small.meta["valid_fraction"] == 0.5
    tiles = embed(PIXELS[:, :20, :20], input_prep="tile", image_size=32)
    assert tiles.meta["valid_fraction"] == pytest.approx(20 * 20 / 32**2)
    assert tiles.meta["padded"] == {"top": 0, "bottom": 12, "left": 0, "right": 12}
    partly[3, 0, 0] = 0
    filled = partly.astype(np.float32)
    filled[:, :8] = np.nan
    mean = embed(filled, nodata_fill="mean")
    np.testing.assert_allclose(embed(partly, nodata_fill="mean").data, mean.data, atol=1e-5)


def test_metadata_holds_the_size_of_what_was_given() -> None:
    meta = embed(np.tile(PIXELS, (1, 2, 1))[:, :50]).meta
    assert meta["input_size"] == [50, 32]
    assert meta["image_size"] == 64
    assert meta["cropped"] == {"top": 0, "bottom": 0, "left": 0, "right": 0}
    assert meta["padded"] == {"top": 0, "bottom": 14, "left": 0, "right": 32}
    assert meta["tiles"] is None
    meta = embed(PIXELS, input_prep="native").meta
    assert meta["origins"]["image_size"] == "input"


def test_an_image_size_without_effect_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING):
        meta = embed(PIXELS, image_size=96).meta
    assert "image_size=96 has no effect here: inputs of 32 px" in caplog.text
    assert (meta["image_size"], meta["origins"]["image_size"]) == (32, "input")
    caplog.clear()
    monkeypatch.setenv("RS_EMBED_THOR_IMG", "64")
    with caplog.at_level(logging.WARNING):
        embed(PIXELS)
    assert "RS_EMBED_THOR_IMG=64 has no effect here" in caplog.text
    caplog.clear()
    meta = embed(PIXELS, input_prep="resize").meta
    assert (meta["image_size"], meta["origins"]["image_size"]) == (64, "environment")
    assert "no effect" not in caplog.text
    monkeypatch.delenv("RS_EMBED_THOR_IMG")
    with pytest.raises(ConfigError, match=r"image_size=96.*input_prep=native keeps"):
        embed(PIXELS, input_prep="native", image_size=96)


def test_named_planes_are_taken_in_any_order_and_from_among_others() -> None:
    wanted = embed(PIXELS).data
    order = np.random.default_rng(2).permutation(10)
    more = np.concatenate([PIXELS[order], np.full((2, 32, 32), 7, np.uint16)])
    names = [NAMES[k] for k in order] + ["SCL", "B9"]
    found = embed(more, bands=names, sensor=SensorSpec())
    np.testing.assert_array_equal(found.data, wanted)
    assert len(found.meta["bands"]) == 10
    named = xarray.DataArray(
        np.moveaxis(more, 0, -1), dims=("y", "x", "band"), coords={"band": names}
    )
    np.testing.assert_array_equal(embed(named).data, wanted)
    zeros = ["b02", "BLUE"][:1] + NAMES[1:]
    np.testing.assert_array_equal(embed(PIXELS, bands=zeros, sensor=SensorSpec()).data, wanted)
    with pytest.raises(BandError, match=r"S2:Blue missing.*SensorSpec\(bands=\.\.\.\)"):
        embed(PIXELS, bands=["X", *NAMES[1:]], sensor=SensorSpec())
    with pytest.raises(BandError, match="S2:Green is named twice"):
        embed(np.concatenate([PIXELS, PIXELS[1:2]]), bands=[*NAMES, "B3"], sensor=SensorSpec())
    with pytest.raises(InputError, match="10 planes, but 2 are named"):
        embed(PIXELS, bands=["B2", "B3"], sensor=SensorSpec())
    # Without a sensor the model takes what is named.
    two = embed(PIXELS[:2], bands=["B2", "GREEN"])
    assert two.meta["bands"] == ["S2:Blue", "S2:Green"]


def test_what_is_stored_already_is_not_scaled_once_more(tmp_path: Path) -> None:
    """It would be embedded as a surface that reflects all light."""
    with pytest.raises(InputError, match=r"above reflectance \d{3,}: .*without it they are"):
        embed(PIXELS, input_scale=1)
    found = embed(PIXELS, input_scale=0.0001)
    np.testing.assert_allclose(found.data, embed(PIXELS).data, atol=1e-5)
    radar = np.random.default_rng(1).integers(-2500, -500, (2, 32, 32)).astype(np.float32)
    with pytest.raises(InputError, match=r"beyond -\d+ decibels: .*scaled once more"):
        embed(radar, bands=["VV", "VH"], input_scale=1)
    embed(radar, bands=["VV", "VH"], input_scale=0.01)
    path = _write(tmp_path / "a.tif", PIXELS)
    with pytest.raises(InputError, match=r"raster='a\.tif'.*above reflectance"):
        embed(raster=path, input_scale=1)


def _write(path: Path, pixels: np.ndarray, names: list[str] | None = None, **profile: Any) -> Path:
    profile = {
        "crs": "EPSG:32632",
        "transform": from_origin(500_003, 6_600_007, 10, 10),
        "dtype": pixels.dtype.name,
        **profile,
    }
    with rasterio.open(
        path, "w", "GTiff", count=len(pixels), height=32, width=32, **profile
    ) as file:
        file.write(pixels)
        for band, name in enumerate(names or [], start=1):
            file.set_band_description(band, name)
    return path


def test_a_raster_file_says_where_it_is_and_what_its_bands_are(tmp_path: Path) -> None:
    wanted = embed(PIXELS)
    order = np.random.default_rng(3).permutation(10)
    more = np.concatenate([np.full((1, 32, 32), 4, np.uint16), PIXELS[order]])
    names = ["SCL", *(NAMES[k] for k in order)]
    path = _write(tmp_path / "named.tif", more, names)
    found = embed(raster=path, output="grid")
    assert (found.meta["crs"], found.meta["raster"]) == ("EPSG:32632", str(path))
    # Its own pixel grid, which is not that of runs.
    assert found.meta["bounds"] == [500_003, 6_599_687, 500_323, 6_600_007]
    assert float(found.data.x[0]) == 500_003 + 80
    pooled = get_embeddings_batch("thor_v1_tiny", rasters=[path, path], pretrained=False)
    for each in pooled:
        np.testing.assert_allclose(each.data, pooled[0].data, atol=1e-5)
    np.testing.assert_allclose(pooled[0].data, wanted.data, atol=1e-5)
    plain = _write(tmp_path / "plain.tif", PIXELS, nodata=0)
    np.testing.assert_array_equal(embed(raster=plain).data, wanted.data)
    assert embed(raster=str(plain), bands=NAMES).meta["bands"] == wanted.meta["bands"]
    with pytest.raises(BandError, match=r"10 names, but named.tif has 11 bands"):
        embed(raster=path, bands=NAMES)
    wrong = _write(tmp_path / "wrong.tif", PIXELS, NAMES)
    with pytest.raises(BandError, match="calls the band 'B2' that is named 'S2:Green'"):
        embed(raster=wrong, bands=["B3", "B2", *NAMES[2:]])


def test_of_a_raster_the_sensors_bands_are_taken_by_the_names_given(tmp_path: Path) -> None:
    """In whatever order: two bands that are exchanged give a vector, too."""
    sensor = SensorSpec(bands=("B2", "B4"))
    wanted = embed(PIXELS[:2], sensor=sensor).data
    turned = _write(tmp_path / "turned.tif", PIXELS[1::-1])
    found = embed(raster=turned, sensor=sensor, bands=["RED", "BLUE"])
    np.testing.assert_allclose(found.data, wanted, atol=1e-5)
    more = _write(tmp_path / "more.tif", PIXELS[[5, 1, 0]])
    found = embed(raster=more, sensor=sensor, bands=["SCL", "RED", "BLUE"])
    np.testing.assert_allclose(found.data, wanted, atol=1e-5)
    with pytest.raises(BandError, match=r"2 names, but more\.tif has 3 bands"):
        embed(raster=more, sensor=sensor, bands=["RED", "BLUE"])
    with pytest.raises(BandError, match=r"`bands=None`: more\.tif has 3 bands.*bands=\["):
        embed(raster=more, sensor=sensor)
    named = _write(tmp_path / "named.tif", PIXELS[:2], ["B2", "B4"])
    with pytest.raises(BandError, match="calls the band 'B2' that is named 'RED'"):
        embed(raster=named, sensor=sensor, bands=["RED", "BLUE"])


def test_transparency_is_no_band(tmp_path: Path) -> None:
    clear = np.full((1, 32, 32), 65_535, np.uint16)
    options = {"photometric": "RGB", "alpha": "YES"}
    path = _write(tmp_path / "a.tif", np.concatenate([PIXELS[:3], clear]), **options)
    with pytest.raises(ConfigError, match=r"its band 4 is alpha.*gdal_translate .* -mask 4 "):
        embed(raster=path, bands=["B2", "B3", "B4", "B8"])
    # Where it is known not to be one, it says which pixels there are.
    found = embed(raster=path, bands=["B2", "B3", "B4", "alpha"], sensor=SensorSpec(bands=("B4",)))
    assert found.meta["bands"] == ["S2:Red"]


@pytest.mark.parametrize("side", [10.5, 0.4])
def test_the_line_that_warps_a_raster_to_whole_metres_can_be_run(
    tmp_path: Path, side: float
) -> None:
    placed = from_origin(500_000, 6_600_000, side, side)
    path = _write(tmp_path / "a.tif", PIXELS, NAMES, transform=placed)
    with pytest.raises(ConfigError, match="must be whole metres") as caught:
        embed(raster=path)
    if shutil.which("gdalwarp") is None:
        pytest.skip("no gdalwarp on this machine to try the line with")
    words = shlex.split(str(caught.value).partition("in its place: ")[2])
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    assert embed(raster=tmp_path / "utm.tif").meta["resolution"] == 10


def test_what_a_raster_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    floats = (PIXELS / 10_000).astype(np.float32)
    path = _write(tmp_path / "floats.tif", floats)
    with pytest.raises(ConfigError, match=r"`input_scale=None`.*Set input_scale: 1"):
        embed(raster=path)
    found = embed(raster=path, input_scale=1)
    np.testing.assert_allclose(found.data, embed(PIXELS).data, atol=1e-5)
    with pytest.raises(InputError, match=r"raster='floats.tif'.*input_scale=1"):
        embed(raster=path, input_scale=0.0001)
    for changes, words in (
        ({"spatial": object()}, "`spatial=.*raster says it itself"),
        ({"input_chw": PIXELS}, "`input_chw=.*raster says it itself"),
        ({"resolution": 10}, "`resolution=10`.*raster says it itself"),
        ({"project": "p"}, "given as raster, where it has no effect"),
    ):
        with pytest.raises(ConfigError, match=words):
            embed(raster=path, **changes)
    with pytest.raises(ConfigError, match=r"`raster='none.tif'`: no such file"):
        embed(raster="none.tif")
    geographic = _write(
        tmp_path / "lonlat.tif", PIXELS, crs="EPSG:4326", transform=from_origin(9, 59, 1e-4, 1e-4)
    )
    with pytest.raises(ConfigError, match=r"`raster=.*lonlat.tif'`.*gdalwarp"):
        embed(raster=geographic)
    with pytest.raises(ConfigError, match=r"`rasters='.*one file, not a list"):
        get_embeddings_batch("thor_v1_tiny", rasters=str(path), pretrained=False)


def test_errors_name_what_the_caller_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="`model='thor_v2'`"):
        get_embedding("thor_v2", input_chw=PIXELS, pretrained=False)
    with pytest.raises(ConfigError, match="`image_size=100`"):
        embed(PIXELS, image_size=100)
    monkeypatch.setenv("RS_EMBED_THOR_MODEL_KEY", "thor_v3")
    with pytest.raises(ConfigError, match="`RS_EMBED_THOR_MODEL_KEY='thor_v3'`"):
        get_embedding(input_chw=PIXELS, pretrained=False)
    monkeypatch.setenv("RS_EMBED_THOR_PATCH_SIZE", "7")
    with pytest.raises(ConfigError, match=r"`RS_EMBED_THOR_PATCH_SIZE=7`.*=280 or 294"):
        embed(PIXELS)
    with pytest.raises(
        ConfigError, match=r"`patch_size=11`: 288 px .*=286 or 308; or patch_size=4"
    ):
        embed(PIXELS, patch_size=11)
    monkeypatch.setenv("RS_EMBED_THOR_IMG", "288")
    with pytest.raises(ConfigError, match=r"`RS_EMBED_THOR_IMG=288`.*=280 or 294"):
        embed(PIXELS)


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("`data.earthengine.service_account_file`", "`EarthEngineSpec(service_account_file=...)`"),
        ("refused `data.earthengine.project='p'`.", "refused `EarthEngineSpec(project='p')`."),
        ("`data.earthengine.project=None` when", "`EarthEngineSpec(project=None)` when"),
        ("Check `data.sentinel2.bands`", "Check `SensorSpec(bands=...)`"),
        ("set data.stac.url to", "set StacSpec(url=...) to"),
        ("data.cache_dir='/x'", "cache_dir='/x'"),
        ("https://data.source.coop/stac.json", "https://data.source.coop/stac.json"),
        ("Lower `data.concurrency`", "Lower `fetch_workers`"),
    ],
)
def test_keys_of_a_config_become_arguments(text: str, python: str) -> None:
    assert _in_python(text) == python
