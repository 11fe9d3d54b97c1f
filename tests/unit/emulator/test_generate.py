"""The generated archive: reproducible, honest in its metadata, the same ground in both zones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from thor_geo.emulator import (
    Acquisition,
    Archive,
    ArchiveError,
    EmulatorServer,
    Product,
    ensure_archive,
    generate_archive,
)

SMALL: dict[str, Any] = {
    "size_m": 2400,
    "acquisitions": (
        Acquisition(date="2022-06-05", cloud_cover=0.3),
        Acquisition(date="2022-08-20", cloud_cover=0.0, coverage=0.7),
    ),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_archive(tmp_path_factory.mktemp("generated") / "a", seed=3, **SMALL)


def _digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def _scenes(folder: Path) -> list[dict[str, Any]]:
    scenes: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["scenes"]
    return scenes


def _read(folder: Path, scene: dict[str, Any], band: str) -> tuple[Any, Any]:
    entry = next(entry for entry in scene["bands"] if entry["name"] == band)
    with rasterio.open(folder / entry["file"]) as source:
        return source.read(entry["index"]), source.transform


def test_same_seed_same_bytes_other_seed_other_bytes(archive: Path, tmp_path: Path) -> None:
    again = generate_archive(tmp_path / "again", seed=3, **SMALL)
    assert _digests(again) == _digests(archive)
    assert Archive.open(again).fingerprint() == Archive.open(archive).fingerprint()
    other = generate_archive(tmp_path / "other", seed=4, **SMALL)
    assert not set(_digests(other).values()) & set(_digests(archive).values())


@pytest.fixture(scope="module")
def products(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The archive of the module, and the same overpasses as Level-1C and as Cloud Score+."""
    folder = tmp_path_factory.mktemp("products")
    others: tuple[Product, ...] = ("toa", "cloud_score_plus")
    made = {name: generate_archive(folder / name, seed=3, product=name, **SMALL) for name in others}
    return {"sr": archive, **{str(name): made[name] for name in others}}


def test_products_are_of_the_same_overpasses(products: dict[str, Path]) -> None:
    """If this fails, Cloud Score+ finds no scene to mask, or another one."""
    ids = [[scene["id"] for scene in _scenes(folder)] for folder in products.values()]
    assert ids[0] == ids[1] == ids[2]
    level_2, level_1 = _scenes(products["sr"])[0], _scenes(products["toa"])[0]
    assert level_1["properties"] == level_2["properties"]
    assert [band["name"] for band in level_1["bands"]] == [
        band["name"] for band in level_2["bands"] if band["name"] != "SCL"
    ]
    blue, blue_above = (
        _read(products[name], scene, "B2")[0].astype(float)
        for name, scene in (("sr", level_2), ("toa", level_1))
    )
    # The same ground, with the air's own light on top of it where it is dark.
    assert np.corrcoef(blue.ravel(), blue_above.ravel())[0, 1] > 0.95
    dark = (blue > 0) & (blue < 600)
    assert (blue_above - blue)[dark].mean() > 300


def test_scores_are_high_in_clear_air_and_low_under_clouds(products: dict[str, Path]) -> None:
    """If this fails, a mask by Cloud Score+ removes the wrong pixels of generated scenes."""
    for level_2, linked in zip(_scenes(products["sr"]), _scenes(products["cloud_score_plus"]),
                               strict=True):  # fmt: skip
        scl = _read(products["sr"], level_2, "SCL")[0].repeat(2, axis=0).repeat(2, axis=1)
        for band in ("cs", "cs_cdf"):
            score = _read(products["cloud_score_plus"], linked, band)[0]
            assert score.dtype == np.float32
            # Outside the swath, which 20 m pixels resolve less finely, there is none.
            assert ((score == -1) == (scl == 0)).mean() > 0.99
            seen = (score != -1) & (scl != 0)
            assert 0 <= score[seen].min() <= score[seen].max() <= 1
            assert score[seen & np.isin(scl, (4, 5, 6))].mean() > 0.9
            assert (scl != 9).all() or score[seen & (scl == 9)].mean() < 0.3


def test_a_product_is_not_taken_for_another(products: dict[str, Path], tmp_path: Path) -> None:
    """If this fails, a run is given another collection's pixels."""
    with pytest.raises(ArchiveError, match=r"other parameters \(product\)"):
        ensure_archive(products["toa"], seed=3, **SMALL)
    with pytest.raises(ArchiveError, match=r"other parameters \(product\)"):
        ensure_archive(products["sr"], seed=3, product="toa", **SMALL)
    with pytest.raises(ArchiveError, match="product=L3"):
        generate_archive(tmp_path / "a", product="L3", **SMALL)  # type: ignore[arg-type]


def test_ensure_reuses_the_same_and_refuses_another(archive: Path) -> None:
    stamps = {file: file.stat().st_mtime_ns for file in archive.iterdir()}
    assert ensure_archive(archive, seed=3, **SMALL) == archive
    assert {file: file.stat().st_mtime_ns for file in archive.iterdir()} == stamps
    with pytest.raises(ArchiveError, match=r"other parameters \(seed\)"):
        ensure_archive(archive, seed=5, **SMALL)
    with pytest.raises(ArchiveError, match="is not empty: nothing is overwritten"):
        generate_archive(archive, seed=3, **SMALL)
    assert [f for f in archive.parent.iterdir() if f != archive] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size_m": 1000}, "multiple of 120"),
        ({"zones": ()}, "must not be empty"),
        ({"zones": (4326,)}, "4326 is not the EPSG code of a UTM zone"),
        ({"acquisitions": (Acquisition(date="2022-06-05", cloud_cover=1.2),)}, "cloud_cover"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_bad_parameters_leave_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArchiveError, match=words):
        generate_archive(tmp_path / "bad", **{**SMALL, **changes})
    assert list(tmp_path.iterdir()) == []


def test_index_and_rasters_fit_together(archive: Path) -> None:
    scenes = _scenes(archive)
    assert [scene["properties"]["MGRS_TILE"] for scene in scenes] == ["32VPM", "33VUG"] * 2
    for scene in scenes:
        names = [band["name"] for band in scene["bands"]]
        assert names == [
            "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12", "SCL"
        ]  # fmt: skip
        corners = set()
        for name, resolution in (("B2", 10), ("B11", 20), ("B1", 60), ("SCL", 20)):
            pixels, transform = _read(archive, scene, name)
            assert pixels.shape == (2400 // resolution,) * 2
            assert transform.a == resolution
            corners.add((transform.c, transform.f))
        ((left, top),) = corners
        assert left % 60 == top % 60 == 0


def test_cloud_percentage_is_counted_from_the_classes(archive: Path) -> None:
    for scene in _scenes(archive):
        scl, _ = _read(archive, scene, "SCL")
        cloudy = np.isin(scl, (8, 9, 10)).sum() / (scl != 0).sum()
        assert scene["properties"]["CLOUDY_PIXEL_PERCENTAGE"] == round(100 * cloudy, 4)
        b2, _ = _read(archive, scene, "B2")
        # No data in the pixels means no class, and the other way round (a 20 m pixel has four).
        assert ((scl == 0) == (b2[::2, ::2] == 0)).mean() > 0.99


def test_clouds_are_bright_and_shadows_dark(archive: Path) -> None:
    cloudy, clear = _scenes(archive)[0], _scenes(archive)[2]
    scl, _ = _read(archive, cloudy, "SCL")
    assert {3, 8, 9, 10} <= set(np.unique(scl))
    assert not np.isin(_read(archive, clear, "SCL")[0], (3, 8, 9, 10)).any()
    nir = _read(archive, cloudy, "B8A")[0].astype(float)
    blue = _read(archive, cloudy, "B2")[0][::2, ::2].astype(float)
    assert np.median(blue[scl == 9]) > 4000
    assert np.median(blue[scl == 4]) < 600
    assert np.median(nir[scl == 3]) < 0.8 * np.median(nir[scl == 4])


def test_spectra_are_those_of_the_classes(archive: Path) -> None:
    scene = _scenes(archive)[0]
    scl, _ = _read(archive, scene, "SCL")
    red = _read(archive, scene, "B4")[0][::2, ::2].astype(float)
    nir = _read(archive, scene, "B8")[0][::2, ::2].astype(float)
    swir = _read(archive, scene, "B11")[0].astype(float)
    ndvi = (nir - red) / (nir + red)
    assert np.median(ndvi[scl == 4]) > 0.6
    assert np.median(ndvi[scl == 5]) < 0.3
    assert np.median(ndvi[scl == 6]) < 0
    assert np.median(red[scl == 11]) > 4 * np.median(swir[scl == 11])


def test_both_zones_show_the_same_ground(archive: Path) -> None:
    west, east = _scenes(archive)[:2]  # one overpass, seen in both zones
    here, at = _read(archive, west, "B8")
    there, origin = _read(archive, east, "B8")
    to_other = Transformer.from_crs("EPSG:32632", "EPSG:32633", always_xy=True)
    rows, columns = np.mgrid[40:200, 40:200]

    def agreement(shift: int) -> tuple[float, float]:
        """Correlation of pixels and of means over 8 x 8 of them, off by some pixels."""
        u, v = to_other.transform(at.c + 10 * columns + 5, at.f - 10 * rows - 5)
        row, column = np.floor((origin.f - v) / 10), np.floor((u - origin.c) / 10) + shift
        a = here[rows, columns].astype(float)
        b = there[row.astype(int), column.astype(int)].astype(float)
        means = [field.reshape(20, 8, 20, 8).mean(axis=(1, 3)).ravel() for field in (a, b)]
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1]), float(np.corrcoef(*means)[0, 1])

    pixel, mean = agreement(0)
    # Pixels differ by the lattices' offset of up to half a pixel, and by the sensor's noise.
    assert pixel > 0.85
    assert mean > 0.99
    for shift in (-3, 3):
        assert agreement(shift)[0] < pixel - 0.05


def test_the_client_sees_a_clear_composite(archive: Path, connect: Any, pixels: Any, grid: Any,
                                           clear: Any) -> None:  # fmt: skip
    with EmulatorServer(archive) as server:
        client = connect(server.url)
        scene = _scenes(archive)[0]
        _, transform = _read(archive, scene, "B2")
        scenes = client.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
        composite = scenes.map(clear).select(["B2", "B11"]).median().unmask(0, False)
        area = grid(240, 240, left=transform.c, top=transform.f)
        got = pixels(composite, area)
        raw = pixels(scenes.select(["B2"]).median(), area)
    assert (got["B2"] > 0).mean() > 0.8
    assert np.percentile(got["B2"][got["B2"] > 0], 90) < np.percentile(raw["B2"], 90)
