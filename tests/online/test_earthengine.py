"""Against Earth Engine itself: what the emulator can only claim. Run with `-m online`.

Needs a login (`earthengine authenticate`, or GOOGLE_APPLICATION_CREDENTIALS) and the id of a
registered project in THOR_GEO_TEST_PROJECT. Costs some hundred small requests.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.composites import BlockStore, DirectSource, Prefetcher, PrefetchSpec
from thor_geo.errors import EarthEngineError, ProjectError
from thor_geo.ground.lattice import Block
from thor_geo.sources.asking import TooLargeError
from thor_geo.sources.earthengine import (
    EarthEngineClient,
    EarthEngineSession,
    FetchStats,
    Sentinel1Scene,
    SessionSpec,
    fetch_scenes,
)
from thor_geo.sources.earthengine._split import MAX_BYTES, BlockWindow, request_bytes
from thor_geo.sources.earthengine.recipe import sentinel2_composite
from thor_geo.sources.scenes import OBSERVATIONS, pixel_grid
from thor_geo.specs import CloudMask, SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import Sentinel1Spec

PROJECT = os.environ.get("THOR_GEO_TEST_PROJECT")

pytestmark = [
    pytest.mark.online,
    pytest.mark.skipif(not PROJECT, reason="THOR_GEO_TEST_PROJECT is not set"),
]

# Ås, Norway: farmland, forest and a lake, in the overlap of several orbits.
BLOCK = Block(epsg=32632, size=128, resolution=10, left=600_960 // 10, top=6_614_400 // 10)
JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")
SENSOR = SensorSpec(bands=("B4", "B11"))


@pytest.fixture(scope="module")
def spec() -> SessionSpec:
    return SessionSpec(project=PROJECT)


@pytest.fixture(scope="module")
def client(spec: SessionSpec) -> EarthEngineClient:
    client = EarthEngineClient(EarthEngineSession(spec), concurrency=4)
    client.connect()
    return client


def test_scenes_carry_the_properties_we_pin(client: EarthEngineClient) -> None:
    scenes = fetch_scenes(client, SENSOR, JUNE, BLOCK)
    assert scenes
    for scene in scenes:
        assert scene.time_start is not None
        assert scene.time_start.startswith("2022-06-")
        assert scene.mgrs_tile is not None
        assert scene.processing_baseline is not None
        assert scene.cloudy_pct is not None
        assert scene.cloudy_pct <= 30


@pytest.mark.parametrize("mask", ["none", "scl"])
def test_composites_are_whole_reflectances_with_counts(
    spec: SessionSpec, tmp_path: Path, mask: CloudMask
) -> None:
    sensor = replace(SENSOR, mask=mask, cloudy_pct=60)
    source = DirectSource(BlockStore(tmp_path, sensor=sensor, window=JUNE), spec)
    stored = source.get(BLOCK)
    pixels, observations = stored.read()
    assert observations.max() <= len(stored.scenes)
    assert observations.max() > 0
    seen = pixels[:, observations > 0]
    assert 0 < np.median(seen) < 5000


def single_scenes(spec: SessionSpec, root: Path, sensor: SensorSpec) -> list[Any]:
    """Fetch every scene of June on its own: pixels (bands, 128, 128), unseen ones as NaN."""
    client = EarthEngineClient(EarthEngineSession(spec), concurrency=4)
    layers = []
    for scene in fetch_scenes(client, sensor, JUNE, BLOCK):
        alone = replace(sensor, scenes=(scene.index,), composite="median", percentile=None)
        source = DirectSource(BlockStore(root, sensor=alone, window=JUNE), spec)
        pixels, observations = source.get(BLOCK).read()
        layers.append((scene, np.where(observations > 0, pixels.astype(float), np.nan)))
    return layers


@pytest.mark.parametrize("percentile", [10, 25, 50, 90])
def test_percentiles_are_linear_between_ranks(
    spec: SessionSpec, tmp_path: Path, percentile: float
) -> None:
    # Not documented. If this fails, the service interpolates in another way: the definition in
    # `recipe.composite` and the emulator's reducer are to follow it.
    sensor = replace(SENSOR, cloudy_pct=60, composite="percentile", percentile=percentile)
    layers = np.stack([pixels for _, pixels in single_scenes(spec, tmp_path, sensor)])
    pixels, observations = (
        DirectSource(BlockStore(tmp_path, sensor=sensor, window=JUNE), spec).get(BLOCK).read()
    )
    seen = observations > 0
    expected = np.nanpercentile(layers[:, :, seen], percentile, axis=0)
    assert abs(pixels[:, seen] - np.floor(expected + 0.5)).max() <= 1


def test_a_mosaic_is_the_least_cloudy_scene_where_it_has_data(
    spec: SessionSpec, tmp_path: Path
) -> None:
    sensor = replace(SENSOR, cloudy_pct=60, composite="mosaic", mask="scl")
    layers = single_scenes(spec, tmp_path, sensor)
    expected = np.full((2, 128, 128), np.nan)
    for _, pixels in sorted(layers, key=lambda one: (one[0].cloudy_pct, one[0].index))[::-1]:
        expected = np.where(np.isfinite(pixels), pixels, expected)
    pixels, _ = (
        DirectSource(BlockStore(tmp_path, sensor=sensor, window=JUNE), spec).get(BLOCK).read()
    )
    np.testing.assert_array_equal(pixels, np.nan_to_num(expected))


@pytest.mark.parametrize("collection", ["COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED"])
def test_cloud_score_plus_masks_both_levels(
    spec: SessionSpec, tmp_path: Path, collection: str
) -> None:
    sensor = replace(SENSOR, collection=collection, cloudy_pct=60)
    masked = replace(sensor, mask="cloud_score_plus")
    plain, clear = (
        DirectSource(BlockStore(tmp_path, sensor=one, window=JUNE), spec).get(BLOCK).read()[1]
        for one in (sensor, masked)
    )
    assert (clear <= plain).all()
    assert 0 < clear.sum() < plain.sum()


def test_named_scenes_that_do_not_exist_are_told(spec: SessionSpec, tmp_path: Path) -> None:
    # Also whether a search by `system:index` alone, over the whole collection, is answered at all.
    sensor = replace(SENSOR, scenes=("20220605T000000_20220605T000000_T00XXX",))
    with pytest.raises(EarthEngineError, match="T00XXX is not in"):
        DirectSource(BlockStore(tmp_path, sensor=sensor, window=JUNE), spec).get(BLOCK)


def test_masked_pixels_get_the_fill_value_we_ask_for(spec: SessionSpec, tmp_path: Path) -> None:
    # One cloudy scene, cloud masked: some pixels have no observation.
    sensor = replace(SENSOR, mask="scl", cloudy_pct=100, fill_value=65535)
    window = TemporalSpec.range("2022-06-01", "2022-06-08")
    stored = DirectSource(BlockStore(tmp_path, sensor=sensor, window=window), spec).get(BLOCK)
    pixels, observations = stored.read()
    if not (observations == 0).any():
        pytest.skip("no pixel was cloudy in every scene of that week")
    assert (pixels[:, observations == 0] == 65535).any()


def test_sentinel_1_is_decibels_of_the_pass_we_ask_for(spec: SessionSpec, tmp_path: Path) -> None:
    sensor = Sentinel1Spec(orbit="ascending")
    stored = DirectSource(BlockStore(tmp_path, sensor=sensor, window=JUNE), spec).get(BLOCK)
    assert stored.scenes
    for scene in stored.scenes:
        assert isinstance(scene, Sentinel1Scene)
        assert scene.orbit_pass == "ASCENDING"
        assert scene.relative_orbit is not None
    pixels, observations = stored.read()
    vv, vh = (np.median(plane[observations > 0]) for plane in pixels)
    assert -3000 < vh < vv < 0


def test_a_month_without_a_satellite_is_an_empty_block(spec: SessionSpec, tmp_path: Path) -> None:
    window = TemporalSpec.range("2010-06-01", "2010-07-01")
    stored = DirectSource(BlockStore(tmp_path, sensor=SENSOR, window=window), spec).get(BLOCK)
    assert (stored.path, stored.scenes) == (None, ())


def test_the_size_limit_is_where_we_think_it_is(client: EarthEngineClient) -> None:
    import ee

    side = 1024
    while request_bytes(side, side, 11, 2) <= MAX_BYTES:
        side += 64
    scenes = fetch_scenes(client, SENSOR, JUNE, BLOCK)
    image = sentinel2_composite(SENSOR, JUNE, BLOCK, scenes[:1])
    # Eleven bands of uint16, one step beyond the limit.
    image = ee.Image.cat([image.select([0])] * 11)
    grid = pixel_grid(BLOCK)
    window = BlockWindow(row=0, col=0, height=side, width=side)
    grid["dimensions"] = {"width": window.width, "height": window.height}
    body = {"expression": image, "fileFormat": "NPY", "grid": grid}
    with pytest.raises(TooLargeError, match=str(MAX_BYTES)):
        client.call(lambda: ee.data.computePixels(body), "too much", FetchStats())


def test_what_does_not_exist_is_named(spec: SessionSpec, tmp_path: Path) -> None:
    sensor = replace(SENSOR, collection="COPERNICUS/NO_SUCH_COLLECTION")
    with pytest.raises(EarthEngineError, match=r"data\.sensor\.collection"):
        DirectSource(BlockStore(tmp_path, sensor=sensor, window=JUNE), spec).get(BLOCK)


def test_a_project_that_is_not_ours_is_named() -> None:
    spec = SessionSpec(project="thor-geo-no-such-project-0")
    with pytest.raises(ProjectError, match="thor-geo-no-such-project-0"):
        EarthEngineClient(EarthEngineSession(spec)).connect()


def test_the_prefetch_process_and_the_key_agree_with_the_direct_way(
    spec: SessionSpec, tmp_path: Path
) -> None:
    prefetch = PrefetchSpec(
        root=tmp_path / "a", session=spec, sensor=SENSOR, window=JUNE, concurrency=2
    )
    with Prefetcher(prefetch, [BLOCK]) as prefetcher:
        there = prefetcher.source().get(BLOCK)
        here = DirectSource(BlockStore(tmp_path / "b", sensor=SENSOR, window=JUNE), spec).get(BLOCK)
        assert there.path is not None
        assert here.path is not None
        assert there.path.name == here.path.name
        np.testing.assert_array_equal(there.read()[0], here.read()[0])
    assert OBSERVATIONS not in there.bands
