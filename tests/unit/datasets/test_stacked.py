"""If one of these fails, a run of two sensors sees other pixels than two runs of one each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from torch.utils.data import DataLoader

from thor_geo.composites import BlockStore, DirectSource, Pinned
from thor_geo.datasets import CompositeDataset, PlanDataset, SensorStack, collate
from thor_geo.datasets.colour import picture_bands, picture_title, radar_colour
from thor_geo.datasets.picture import composite_picture
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Block, Lattice, Rect, blocks_meeting
from thor_geo.ground.plan import Plan
from thor_geo.sources.earthengine import FetchStats, Scene, SessionSpec
from thor_geo.sources.scenes import Sentinel1Scene
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec

OPTICAL, RADAR = SensorSpec(bands=("B4", "B3", "B2")), Sentinel1Spec()
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
SIDE, BLOCK = 32, 48
LEFT, TOP = 60_000, 664_032
BOX = (LEFT * 10 + 1, (TOP - 96) * 10 + 1, (LEFT + 96) * 10 - 1, TOP * 10 - 1)
LATTICE = Lattice(epsg=32632, tile_size=SIDE)
BLOCKS = [
    Block(
        epsg=32632,
        resolution=10,
        size=BLOCK,
        left=LEFT + BLOCK * (k % 2),
        top=TOP - BLOCK * (k // 2),
    )
    for k in range(4)
]

Make = Callable[[AnySensor], CompositeDataset]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BlockStore]:
    """Two by two blocks of both sensors; the last of radar has no scene."""
    root = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    stores = {}
    for sensor in (OPTICAL, RADAR):
        store = BlockStore(root, sensor=sensor, window=WINDOW)
        store.prepare()
        stores[sensor.collection] = store
        for k, block in enumerate(BLOCKS):
            if sensor is RADAR:
                scene: Any = Sentinel1Scene(
                    index=f"r{k}", time_start=None, orbit_pass=None, relative_orbit=None
                )
                pixels = rng.integers(-3500, 500, (3, BLOCK, BLOCK)).astype(np.int16)
                if k == 3:
                    store.pin(block, Pinned(scenes=(), block_key=None))
                    continue
            else:
                scene = Scene(
                    index=f"o{k}",
                    time_start=None,
                    mgrs_tile=None,
                    processing_baseline=None,
                    cloudy_pct=None,
                )
                pixels = rng.integers(0, 12_000, (4, BLOCK, BLOCK)).astype(np.uint16)
            pixels[-1] = rng.integers(0, 9, (BLOCK, BLOCK))
            pinned = Pinned(scenes=(scene,), block_key=f"{100 * len(stores) + k:064x}")
            store.put(block, store.pin(block, pinned), pixels, FetchStats())
    return stores


@pytest.fixture
def make(stores: dict[str, BlockStore]) -> Make:
    def make(sensor: AnySensor) -> CompositeDataset:
        return CompositeDataset(
            DirectSource(stores[sensor.collection], SessionSpec(project="none")),
            shapely.box(*BOX),
            lattice=LATTICE,
            sensor=sensor,
            window=WINDOW,
            block_size=BLOCK,
        )

    return make


def test_the_stack_is_both_sensors_pixels_and_scenes(make: Make) -> None:
    optical, radar = make(OPTICAL), make(RADAR)
    stack = SensorStack([optical, radar])
    query = (slice(LEFT * 10, LEFT * 10 + 960), slice(TOP * 10 - 960, TOP * 10))
    sample, optical_part, radar_part = stack[query], optical[query], radar[query]
    assert sample["image"].dtype == torch.int16
    assert torch.equal(sample["image"], torch.cat([optical_part["image"], radar_part["image"]]))
    assert sample["observations"].shape == (2, 96, 96)
    assert torch.equal(
        sample["observations"],
        torch.cat([optical_part["observations"], radar_part["observations"]]),
    )
    assert stack.scenes(query) == ("o0", "o1", "o2", "o3", "r0", "r1", "r2")
    assert stack.bands == ("B4", "B3", "B2", "VV", "VH")
    # The block of radar without a scene: no data, which 0 dB is not.
    assert (radar_part["image"][:, 48:, 48:] == -32768).all()
    assert stack.plot(sample).axes[0].get_title() == "Image"


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_filled_in_place_and_equal_the_single_sensors(make: Make, workers: int) -> None:
    plan = Plan.from_area(AreaSpec(bbox=BOX, crs="EPSG:32632").load(), LATTICE)
    stack = SensorStack([make(OPTICAL), make(RADAR)])
    both = PlanDataset(plan, {32632: stack}, channels=5, sensors=2)
    singles = [
        PlanDataset(plan, {32632: make(sensor)}, channels=n)
        for sensor, n in ((OPTICAL, 3), (RADAR, 2))
    ]
    loader = DataLoader(
        both,
        batch_sampler=[[4, 0, 8]],
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context="fork" if workers else None,
    )
    (batch,) = loader
    parts = [collate(dataset.__getitems__([4, 0, 8])) for dataset in singles]
    for key in ("image", "observations"):
        assert torch.equal(batch[key], torch.cat([part[key] for part in parts], dim=1)), key
    samples = both.__getitems__([0, 1])
    assert collate(samples)["image"].data_ptr() == samples[0]["image"].data_ptr()


def test_another_resolution_is_all_sensors(make: Make) -> None:
    stack = SensorStack([make(OPTICAL), make(RADAR)])
    stack.res = 20.0
    # Away from the edge: to warp, one pixel more is read.
    query = (slice(LEFT * 10 + 160, LEFT * 10 + 800), slice(TOP * 10 - 800, TOP * 10 - 160))
    image = stack[query]["image"]
    assert image.shape == (5, 32, 32)
    # Nearest pixels, never a mixture with "no data".
    assert set(image[3, 16:, 16:].flatten().tolist()) == {-32768}
    assert (image[3, :16] > -4000).all()


def test_other_pixel_grids_are_refused(make: Make) -> None:
    radar_part = make(RADAR)
    radar_part.lattice = Lattice(epsg=32633, tile_size=SIDE)
    with pytest.raises(ConfigError, match="different pixel grids"):
        SensorStack([make(OPTICAL), radar_part])


def test_a_picture_of_radar_is_vv_vh_and_their_difference(
    stores: dict[str, BlockStore], make: Make
) -> None:
    pixels = np.array([[[-2500, 0, -1250]], [[-3200, -700, -1950]]], np.int16)
    seen = np.array([[1, 1, 0]], np.uint8)
    # Red -25..0 dB, green -32..-7 dB, blue 0..15 dB: 7 dB of difference are 119.
    assert radar_colour(pixels, ("VV", "VH"), seen).tolist() == [
        [[0, 0, 119], [255, 255, 119], [224, 224, 224]]
    ]
    assert radar_colour(pixels[:1], ("VV",)).tolist() == [[[0] * 3, [255] * 3, [127] * 3]]
    assert picture_bands(("VH", "VV")) == ("VV", "VH")
    assert picture_title(("HH", "HV")) == "HH, HV, HH - HV"

    rect = Rect(epsg=32632, resolution=10, left=LEFT, top=TOP, width=96, height=96)
    store = stores[RADAR.collection]
    picture = composite_picture(
        store.get, RADAR, rect, (96, 96), blocks=list(blocks_meeting(rect, BLOCK))
    )
    sample = make(RADAR)[LEFT * 10 : LEFT * 10 + 960, TOP * 10 - 960 : TOP * 10]
    image, counts = sample["image"].numpy(), sample["observations"][0].numpy()
    np.testing.assert_array_equal(picture, radar_colour(image, ("VV", "VH"), counts))
    assert make(RADAR).plot(sample).axes[0].get_title() == "VV, VH, VV - VH"
