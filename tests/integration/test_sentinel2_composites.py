"""Every mask with every composite, against NumPy on the scenes' own files.

Nothing here reads pixels through the emulator's code: files are opened with rasterio, repeated onto
10 m, masked and reduced by hand.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch

from thor_geo.composites import BlockStore, DirectSource
from thor_geo.emulator import COLLECTIONS, Acquisition, EmulatorServer, generate_archive
from thor_geo.errors import EarthEngineError
from thor_geo.ground.lattice import Block
from thor_geo.models import build_thor, pool_tokens
from thor_geo.sources.earthengine import SessionSpec
from thor_geo.specs import SCL_MASKED, SensorSpec, TemporalSpec
from thor_geo.transforms import THORNormalize

Array = npt.NDArray[Any]

SIDE, MARGIN, FILL = 240, 12, 65535
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
ALL_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
SENSOR = SensorSpec(bands=("B11", "B4", "B1", "B8A"), cloudy_pct=100, fill_value=FILL)
SR, TOA, SCORES = COLLECTIONS["sr"], COLLECTIONS["toa"], COLLECTIONS["cloud_score_plus"]

# In the east only the cloudy overpasses; in the west two without a cloud, equally clear.
ACQUISITIONS = (
    Acquisition(date="2022-06-05", cloud_cover=0.5),
    Acquisition(date="2022-06-20", cloud_cover=0.0, coverage=0.5),
    Acquisition(date="2022-07-05", cloud_cover=0.0, coverage=0.4),
    Acquisition(date="2022-07-20", cloud_cover=0.7),
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of Level-2A scenes with the other collections below it."""
    folder = tmp_path_factory.mktemp("sentinel2") / "scenes"
    for product in ("sr", "toa", "cloud_score_plus"):
        generate_archive(
            folder if product == "sr" else folder / COLLECTIONS[product],
            # Far from a zone's edge, as an anchor belongs to one zone.
            center=(10.5, 60.0),
            size_m=10 * SIDE,
            zones=(32632,),
            acquisitions=ACQUISITIONS,
            product=product,
        )
    return folder


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[EmulatorServer]:
    with EmulatorServer({SR: archive, TOA: archive / TOA, SCORES: archive / SCORES}) as server:
        yield server


def index(folder: Path) -> list[dict[str, Any]]:
    scenes: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["scenes"]
    return scenes


def corner(archive: Path) -> tuple[float, float]:
    with rasterio.open(next(archive.glob("*_10m.tif"))) as file:
        left, top = float(file.transform.c), float(file.transform.f)
    return left, top


def plane(folder: Path, scene: dict[str, Any], band: str) -> Array:
    """Read a band, every pixel repeated onto 10 m."""
    (entry,) = [entry for entry in scene["bands"] if entry["name"] == band]
    with rasterio.open(folder / entry["file"]) as file:
        pixels: Array = file.read(entry["index"])
    times = SIDE // len(pixels)
    repeated: Array = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return repeated


def clear(archive: Path, sensor: SensorSpec, scene: dict[str, Any]) -> Array:
    """Return which pixels the mask keeps (SIDE, SIDE)."""
    if sensor.mask == "scl":
        scl = plane(archive, scene, "SCL")
        removed = SCL_MASKED if sensor.scl_classes is None else sensor.scl_classes
        outside: Array = (scl != 0) & ~np.isin(scl, list(removed))
        return outside
    if sensor.mask == "cloud_score_plus":
        (linked,) = [one for one in index(archive / SCORES) if one["id"] == scene["id"]]
        score = plane(archive / SCORES, linked, sensor.cloud_score_band or "cs_cdf")
        kept: Array = score.astype(float) >= (sensor.cloud_score_threshold or 0.6)
        return kept
    return np.ones((SIDE, SIDE), bool)


def stack(archive: Path, sensor: SensorSpec) -> tuple[list[dict[str, Any]], Array]:
    """Return the scenes and their pixels (scenes, bands, SIDE, SIDE), masked ones as NaN."""
    folder = archive if sensor.collection == SR else archive / sensor.collection
    scenes = index(folder)
    pixels = np.stack(
        [np.stack([plane(folder, scene, band) for band in sensor.bands]) for scene in scenes]
    ).astype(float)
    pixels[pixels == 0] = np.nan
    for k, scene in enumerate(scenes):
        pixels[k][:, ~clear(archive, sensor, scene)] = np.nan
    return scenes, pixels


def quantile(pixels: Array, percentile: float) -> Array:
    """Return the percentile over the first axis, linear between ranks, NaN where there is none."""
    ordered = np.sort(pixels, axis=0)
    count: Array = np.isfinite(pixels).sum(axis=0)
    rank = percentile / 100 * np.maximum(count - 1, 0)
    low, high = np.floor(rank).astype(int), np.ceil(rank).astype(int)
    below, above = (np.take_along_axis(ordered, k[None], 0)[0] for k in (low, high))
    between: Array = below + (rank - low) * (above - below)
    return between


def composed(archive: Path, sensor: SensorSpec) -> tuple[Array, Array]:
    """Return pixels (bands, SIDE, SIDE) and counts of complete observations, by plain NumPy."""
    scenes, pixels = stack(archive, sensor)
    complete = np.asarray(np.isfinite(pixels).all(axis=1))
    if sensor.composite == "mosaic":
        values = np.full(pixels.shape[1:], np.nan)
        best = sorted(
            range(len(scenes)),
            key=lambda k: (scenes[k]["properties"]["CLOUDY_PIXEL_PERCENTAGE"], scenes[k]["id"]),
        )
        for k in reversed(best):
            values[:, complete[k]] = pixels[k][:, complete[k]]
    elif sensor.composite == "mean":
        seen = np.isfinite(pixels)
        total = np.where(seen, pixels, 0).sum(axis=0)
        values = np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), np.nan)
    else:
        values = quantile(pixels, 50 if sensor.percentile is None else sensor.percentile)
    rounded = np.floor(values + 0.5)
    return np.where(np.isfinite(rounded), rounded, sensor.fill_value), complete.sum(axis=0)


def block(archive: Path) -> Block:
    """Return a block over all scenes, and `MARGIN` pixels more on each side."""
    side = SIDE + 2 * MARGIN
    anchor = corner(archive)
    return Block(epsg=32632, size=side, resolution=10, left=-MARGIN, top=MARGIN, anchor=anchor)


def fetched(
    server: EmulatorServer, archive: Path, sensor: SensorSpec, cache: Path
) -> tuple[Array, Array]:
    store = BlockStore(cache, sensor=sensor, window=WINDOW)
    source = DirectSource(store, SessionSpec(credentials="anonymous", url=server.url))
    return source.get(block(archive)).read()


COMPOSITES: list[dict[str, Any]] = [
    {"composite": "median"},
    {"composite": "mean"},
    {"composite": "mosaic"},
    {"composite": "percentile", "percentile": 25},
]
MASKS: list[dict[str, Any]] = [
    {"mask": "none"},
    {"mask": "scl"},
    {"mask": "cloud_score_plus"},
    {"mask": "none", "collection": TOA},
    {"mask": "cloud_score_plus", "collection": TOA},
]
OTHERS: list[dict[str, Any]] = [
    {"mask": "scl", "scl_classes": [6, 7, 8, 9]},
    {"mask": "cloud_score_plus", "cloud_score_band": "cs", "cloud_score_threshold": 0.3},
    {"composite": "percentile", "percentile": 0},
    {"composite": "percentile", "percentile": 100},
    {"composite": "median", "bands": ALL_BANDS},
]
CASES = [{**mask, **composite} for mask, composite in itertools.product(MASKS, COMPOSITES)]


@pytest.mark.parametrize(
    "settings", CASES + OTHERS, ids=lambda settings: "-".join(map(str, settings.values()))
)
def test_a_composite_is_what_numpy_makes_of_the_files(
    server: EmulatorServer, archive: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """If this fails, embeddings are made of other pixels than the settings say."""
    sensor = replace(SENSOR, **settings)
    pixels, observations = fetched(server, archive, sensor, tmp_path)
    values, counts = composed(archive, sensor)
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    np.testing.assert_array_equal(pixels[:, *inner], values)
    np.testing.assert_array_equal(observations[inner], counts)
    # Whatever the recipe, ground that no scene shows clearly is fill, and counts nothing.
    _, seen = stack(archive, sensor)
    hidden = np.ones(observations.shape, bool)
    hidden[inner] = ~np.isfinite(seen).any(axis=(0, 1))
    assert hidden[inner].any() or sensor.mask == "none"
    assert (pixels[:, hidden] == FILL).all()
    assert not observations[hidden].any()
    if sensor.composite == "mosaic":
        assert (pixels[:, observations == 0] == FILL).all()


def test_masks_composites_and_levels_differ_at_all(
    server: EmulatorServer, archive: Path, tmp_path: Path
) -> None:
    """If this fails, a setting is ignored, and the comparison above compares nothing."""
    found = [
        fetched(server, archive, replace(SENSOR, **settings), tmp_path)[0]
        for settings in CASES + OTHERS[:4]
    ]
    for first, second in itertools.combinations(found, 2):
        assert not np.array_equal(first, second)


def test_of_equally_cloudy_scenes_the_first_by_id_lies_on_top(
    server: EmulatorServer, archive: Path, tmp_path: Path
) -> None:
    """If this fails, a mosaic depends on how the service happens to sort."""
    sensor = replace(SENSOR, composite="mosaic")
    first, second = [
        k
        for k, scene in enumerate(index(archive))
        if scene["properties"]["CLOUDY_PIXEL_PERCENTAGE"] == 0
    ]
    pixels, _ = fetched(server, archive, sensor, tmp_path)
    _, layers = stack(archive, sensor)
    both = np.isfinite(layers[[first, second]]).all(axis=(0, 1))
    assert both.mean() > 0.2
    inner = pixels[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    np.testing.assert_array_equal(inner[:, both], layers[first][:, both])
    assert (layers[first] != layers[second])[:, both].mean() > 0.9


def test_a_single_scene_by_id_is_that_scene(
    server: EmulatorServer, archive: Path, tmp_path: Path
) -> None:
    """If this fails, named scenes mix with others, or uncovered ground is an error."""
    name = index(archive)[1]["id"]
    sensor = replace(SENSOR, scenes=[name])
    store = BlockStore(tmp_path, sensor=sensor, window=WINDOW)
    source = DirectSource(store, SessionSpec(credentials="anonymous", url=server.url))
    stored = source.get(block(archive))
    assert [scene.index for scene in stored.scenes] == [name]
    pixels, _ = stored.read()
    _, layers = stack(archive, SENSOR)
    expected = np.where(np.isfinite(layers[1]), layers[1], FILL)
    np.testing.assert_array_equal(pixels[:, MARGIN:-MARGIN, MARGIN:-MARGIN], expected)
    # Ground beside it has no scene, which is an answer.
    beside = source.get(replace(block(archive), left=10_000))
    assert (beside.path, beside.scenes) == (None, ())


def test_named_scenes_that_cannot_be_used_are_told_all_at_once(
    server: EmulatorServer, archive: Path, tmp_path: Path
) -> None:
    """If this fails, a misspelt id gives an empty composite."""
    cloudy, early = index(archive)[3]["id"], index(archive)[0]["id"]
    sensor = replace(SENSOR, scenes=["20220101T000000_no_such", cloudy, early], cloudy_pct=60)
    window = TemporalSpec.range("2022-06-10", "2022-09-01")
    store = BlockStore(tmp_path, sensor=sensor, window=window)
    source = DirectSource(store, SessionSpec(credentials="anonymous", url=server.url))
    for _ in range(2):  # asking again is no way around it
        with pytest.raises(EarthEngineError) as caught:
            source.get(block(archive))
        text = str(caught.value)
        assert "20220101T000000_no_such is not in COPERNICUS/S2_SR_HARMONIZED" in text
        assert f"{cloudy} has a cloud percentage of" in text
        assert f"{early} is of 2022-06-05" in text


def arguments(archive: Path, folder: Path, *more: str) -> list[str]:
    left, top = corner(archive)
    box = f"[{left}, {top - 1920}, {left + 1920}, {top}]"
    return [
        "predict",
        "-c",
        "configs/quickstart.yaml",
        f"--data.emulator.archive={archive}",
        f"--data.cache_dir={folder / 'cache'}",
        f"--data.area={{bbox: {box}, crs: 'EPSG:32632'}}",
        f"--data.anchor=[{left}, {top}]",
        "--data.sentinel2.cloudy_pct=100",
        "--data.tile_size=96",
        "--data.block_size=192",
        "--model.threads=1",
        "--output.grid=false",
        f"--output.dir={folder / 'run'}",
        *more,
    ]


def test_a_run_with_all_twelve_bands_embeds_the_composite_of_the_files(
    thor_geo: Any, archive: Path, tmp_path: Path
) -> None:
    """If this fails, a run's vectors are of another composite, or the 60 m bands are misplaced."""
    done = thor_geo(
        *arguments(
            archive,
            tmp_path,
            f"--data.sentinel2.bands=[{','.join(ALL_BANDS)}]",
            "--data.sentinel2.mask=cloud_score_plus",
            "--data.sentinel2.composite=percentile",
            "--data.sentinel2.percentile=25",
        )
    )
    assert done.returncode == 0, done.stderr
    sensor = SensorSpec(
        bands=ALL_BANDS,
        cloudy_pct=100,
        mask="cloud_score_plus",
        composite="percentile",
        percentile=25,
    )
    pixels, counts = composed(archive, sensor)
    model = build_thor(
        "thor_v1_tiny", bands=[b.channel for b in sensor.thor_bands], image_size=96, patch_size=16
    )
    left, top = corner(archive)
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert len(tiles) == 4
    assert set(tiles.status) == {"ok"}
    for _, tile in tiles.iterrows():
        _, _, x, _, _, y = tile["transform"]
        rows, cols = (slice(k, k + 96) for k in (round((top - y) / 10), round((x - left) / 10)))
        # Level-2A reflectances are clamped to 0..10000 on the way to the model.
        image = torch.from_numpy(pixels[None, :, rows, cols].clip(0, 10000).astype(np.int16))
        with torch.inference_mode():
            tokens = model.embed(THORNormalize(sensor.selection)(image)).tokens
        expected = pool_tokens(tokens)[0].numpy()
        np.testing.assert_allclose(
            tile.embedding, expected, rtol=0, atol=1e-5 * abs(expected).max()
        )
        assert tile.valid_fraction == pytest.approx((counts[rows, cols] > 0).mean(), abs=1e-6)
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["data"][
        "sentinel2"
    ]
    assert (settings["percentile"], settings["mask"]) == (25, "cloud_score_plus")
    assert (settings["cloud_score_band"], settings["cloud_score_threshold"]) == ("cs_cdf", 0.6)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--data.sentinel2.bands=[B4,B1]", "--data.tile_size=144"], "for bands at 60 m"),
        (
            ["--data.sentinel2.collection=COPERNICUS/S2_HARMONIZED", "--data.sentinel2.mask=scl"],
            "cloud_score_plus",
        ),
        (["--data.sentinel2.percentile=10"], "composite: percentile"),
        (["--data.sentinel2.scenes=[no_such_scene]"], "no_such_scene is not in COPERNICUS/S2_SR"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_fetched(
    thor_geo: Any, archive: Path, tmp_path: Path, more: list[str], says: str
) -> None:
    """If this fails, a user waits for downloads to learn of a typing mistake."""
    done = thor_geo(*arguments(archive, tmp_path, *more))
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache" / "blocks").exists()
    assert not (tmp_path / "run" / "pooled").exists()
