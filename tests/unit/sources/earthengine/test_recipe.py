from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.emulator import EmulatorServer
from thor_geo.errors import ConfigError, EarthEngineError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import recipe
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.fetch import fetch_block, fetch_scenes
from thor_geo.sources.earthengine.recipe import block_key, parse_sentinel2, sentinel2_composite
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.scenes import OBSERVATIONS, Scene, sentinel2_order
from thor_geo.specs import SensorSpec, TemporalSpec

BLOCK = Block(epsg=32632, size=64, resolution=10, left=640, top=6400)
SENSOR = SensorSpec(bands=("B4", "B3"), cloudy_pct=100)
JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")


@pytest.fixture
def client(server: EmulatorServer) -> EarthEngineClient:
    client = EarthEngineClient(
        EarthEngineSession(SessionSpec(credentials="anonymous", url=server.url))
    )
    client.connect()
    return client


def pixels(client: EarthEngineClient, sensor: SensorSpec, block: Block = BLOCK) -> Any:
    scenes = fetch_scenes(client, sensor, JUNE, block)
    image = sentinel2_composite(sensor, JUNE, block, scenes)
    return fetch_block(client, block, image, (*sensor.bands, OBSERVATIONS))


def test_scenes_are_listed_by_index_with_what_the_catalogue_knows(
    client: EarthEngineClient,
) -> None:
    scenes = fetch_scenes(client, SENSOR, JUNE, BLOCK)
    assert [scene.index for scene in scenes] == ["a", "b", "c"]
    assert scenes[2] == Scene(
        index="c",
        time_start="2022-06-01T12:00:00.000Z",
        mgrs_tile="32VNM",
        processing_baseline="04.00",
        cloudy_pct=5.0,
    )
    # A missing property is None; it neither drops the scene nor shifts its neighbours.
    assert (scenes[0].mgrs_tile, scenes[0].processing_baseline) == (None, None)
    assert scenes[0].cloudy_pct == 30.0


def test_window_clouds_and_place_really_filter(client: EarthEngineClient) -> None:
    def indices(sensor: SensorSpec, window: TemporalSpec, block: Block) -> list[str]:
        return [scene.index for scene in fetch_scenes(client, sensor, window, block)]

    # The limit belongs to what passes; the end of the window does not.
    assert indices(replace(SENSOR, cloudy_pct=30), JUNE, BLOCK) == ["a", "c"]
    assert indices(SENSOR, TemporalSpec.range("2022-06-01", "2022-06-03"), BLOCK) == ["a", "c"]
    assert indices(SENSOR, JUNE, replace(BLOCK, left=64000)) == []


def test_medians_are_rounded_half_up_and_observations_counted(client: EarthEngineClient) -> None:
    got = pixels(client, replace(SENSOR, cloudy_pct=30))
    assert got.dtype == np.uint16
    # (100 + 103) / 2 = 101.5 -> 102, (7 + 8) / 2 = 7.5 -> 8.
    assert [np.unique(plane).tolist() for plane in got] == [[102], [8], [2]]


def test_means_are_rounded_half_up_too(client: EarthEngineClient) -> None:
    got = pixels(client, replace(SENSOR, composite="mean"))
    # 1103 / 3 = 367.67, 105 / 3 = 35.
    assert [np.unique(plane).tolist() for plane in got] == [[368], [35], [3]]


def test_the_scl_mask_takes_cloudy_pixels_out(client: EarthEngineClient) -> None:
    got = pixels(client, replace(SENSOR, mask="scl"))
    # Scene a is cloud (SCL 9) everywhere: the median of 100 and 900, of 7 and 90.
    assert [np.unique(plane).tolist() for plane in got] == [[500], [49], [2]]


@pytest.mark.parametrize("fill", [0, 65535])
def test_ground_that_no_scene_covers_gets_the_fill_value(
    client: EarthEngineClient, fill: int
) -> None:
    half = replace(BLOCK, left=BLOCK.left + 32)
    got = pixels(client, replace(SENSOR, fill_value=fill), half)
    assert np.unique(got[:2, :, 32:]).tolist() == [fill]
    assert np.unique(got[2, :, 32:]).tolist() == [0]
    assert np.unique(got[2, :, :32]).tolist() == [3]


def test_later_scenes_do_not_change_a_pinned_composite(client: EarthEngineClient) -> None:
    scenes = fetch_scenes(client, SENSOR, JUNE, BLOCK)[2:]
    image = sentinel2_composite(SENSOR, JUNE, BLOCK, scenes)
    got = fetch_block(client, BLOCK, image, (*SENSOR.bands, OBSERVATIONS))
    assert [np.unique(plane).tolist() for plane in got] == [[100], [7], [1]]


def test_a_composite_of_no_scenes_is_refused(client: EarthEngineClient) -> None:
    with pytest.raises(ConfigError, match="scenes"):
        sentinel2_composite(SENSOR, JUNE, BLOCK, ())


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"lists": []},
        {"list": [["a", 1]]},
        {"list": [[None, 1, None, None, None]]},
        {"list": [["a", "noon", None, None, None]]},
        {"list": [["a", 1, None, None, None], ["a", 2, None, None, None]]},
    ],
)
def test_an_odd_list_of_scenes_is_refused_not_guessed_at(answer: Any) -> None:
    with pytest.raises(EarthEngineError):
        parse_sentinel2(answer)


SCENE = Scene(
    index="s1",
    time_start="2022-06-01T10:00:00.000Z",
    mgrs_tile=None,
    processing_baseline=None,
    cloudy_pct=1.0,
)


def key(
    sensor: SensorSpec = SENSOR,
    window: TemporalSpec = JUNE,
    block: Block = BLOCK,
    scenes: tuple[Scene, ...] = (SCENE,),
    catalogue: str = "earthengine",
) -> str:
    return block_key(sentinel2_composite(sensor, window, block, scenes), sensor, block, catalogue)


@pytest.mark.usefixtures("client")
def test_the_key_follows_everything_that_changes_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        key(),
        key(replace(SENSOR, bands=("B3", "B4"))),
        key(replace(SENSOR, bands=("B4",))),
        key(replace(SENSOR, collection="COPERNICUS/S2_HARMONIZED")),
        key(replace(SENSOR, composite="mean")),
        key(replace(SENSOR, composite="mosaic")),
        key(replace(SENSOR, composite="percentile", percentile=10)),
        key(replace(SENSOR, composite="percentile", percentile=20)),
        key(replace(SENSOR, mask="scl")),
        key(replace(SENSOR, mask="scl", scl_classes=(9,))),
        key(replace(SENSOR, mask="cloud_score_plus")),
        key(replace(SENSOR, mask="cloud_score_plus", cloud_score_band="cs")),
        key(replace(SENSOR, mask="cloud_score_plus", cloud_score_threshold=0.5)),
        key(replace(SENSOR, fill_value=1)),
        key(block=replace(BLOCK, left=704)),
        key(block=replace(BLOCK, size=128)),
        key(block=replace(BLOCK, resolution=20, left=320, top=3200)),
        key(block=replace(BLOCK, epsg=32633)),
        key(block=replace(BLOCK, anchor=(5.0, 0.0))),
        key(scenes=(SCENE, replace(SCENE, index="s2"))),
        key(catalogue="emulator-1"),
    ]
    monkeypatch.setattr(recipe, "RECIPE_VERSION", recipe.RECIPE_VERSION + 1)
    keys.append(key())
    assert len(set(keys)) == len(keys)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("mask", ["none", "scl"])
@pytest.mark.parametrize("reduction", ["median", "mean"])
def test_the_graph_of_the_first_release_has_not_changed(mask: Any, reduction: Any) -> None:
    """If this fails, every cached block of such a run is fetched again under another key."""
    import ee

    def clear(image: Any) -> Any:
        scl = image.select(["SCL"])
        cloudy = scl.eq(3).Or(scl.eq(8)).Or(scl.eq(9)).Or(scl.eq(10))
        return image.updateMask(cloudy.Not())

    def seen(image: Any) -> Any:
        masks = image.mask()
        both = masks.select(["B4"]).And(masks.select(["B3"]))
        return both.updateMask(both)

    area = ee.Geometry.Rectangle(
        list(BLOCK.bounds), proj=ee.Projection("EPSG:32632"), geodesic=False
    )
    scenes = (
        ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
        .filterBounds(area)
        .filterDate(1_654_041_600_000, 1_656_633_600_000)
        .filter(ee.Filter.inList("system:index", ["s0", "s1"]))
    )
    scenes = (scenes.map(clear) if mask == "scl" else scenes).select(["B4", "B3"])
    image = scenes.median() if reduction == "median" else scenes.mean()
    pixels = image.add(0.5).floor().clamp(0, 65535).unmask(0, False).toUint16()
    count = scenes.map(seen).count().unmask(0, False).toUint16().rename([OBSERVATIONS])
    sensor = replace(SENSOR, mask=mask, composite=reduction)
    both = (SCENE, replace(SCENE, index="s0"))
    assert (
        sentinel2_composite(sensor, JUNE, BLOCK, both).serialize()
        == pixels.addBands(count).serialize()
    )


def test_a_mosaic_stacks_scenes_from_cloudy_to_clear() -> None:
    """If this fails, clouds lie on top, or equal scenes come in any order."""
    clouds = {"a": 5.0, "b": None, "c": 0.0, "d": 5.0, "e": 90.0}
    scenes = [replace(SCENE, index=name, cloudy_pct=pct) for name, pct in clouds.items()]
    mosaic = replace(SENSOR, composite="mosaic")
    for given in (scenes, scenes[::-1]):
        assert sentinel2_order(mosaic, given) == ["b", "e", "d", "a", "c"]
        assert sentinel2_order(SENSOR, given) == ["a", "b", "c", "d", "e"]


def test_the_key_ignores_who_asks_and_through_which_door(server: EmulatorServer) -> None:
    keys = []
    for project in ("one-project", "another-project"):
        spec = SessionSpec(credentials="anonymous", url=server.url, project=project)
        EarthEngineClient(EarthEngineSession(spec)).connect()
        keys.append(key())
    assert keys[0] == keys[1]


@pytest.mark.usefixtures("client")
def test_the_order_in_which_scenes_were_listed_does_not_matter() -> None:
    other = replace(SCENE, index="s0")
    assert key(scenes=(SCENE, other)) == key(scenes=(other, SCENE))


def test_the_key_is_the_same_in_every_process(server: EmulatorServer) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[4])!r})
from thor_geo.sources.earthengine import *
from thor_geo.sources.earthengine.recipe import Scene, sentinel2_composite
from thor_geo.ground.lattice import Block
from thor_geo.specs import SensorSpec, TemporalSpec
spec = SessionSpec(credentials="anonymous", url={server.url!r})
EarthEngineClient(EarthEngineSession(spec)).connect()
sensor = SensorSpec(bands=("B4", "B3"), mask="scl")
window = TemporalSpec.range("2022-06-01", "2022-07-01")
block = {BLOCK.__class__.__name__}(epsg=32632, size=64, resolution=10, left=640, top=6400)
scenes = [Scene(index=i, time_start=None, mgrs_tile=None, processing_baseline=None,
                cloudy_pct=None) for i in {{"x", "y", "z"}}]
print(block_key(sentinel2_composite(sensor, window, block, scenes), sensor, block, "earthengine"))
"""
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(keys) == 1
    assert len(keys.pop().strip()) == 64
