from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio.warp
import torch
from pyproj import CRS
from torchgeo.datasets import RGBBandsMissingError

from tests.support.fake_blocks import (
    BOTTOM,
    LATTICE,
    LEFT,
    SENSOR,
    WINDOW,
    FakeSource,
    dataset,
)
from thor_geo.datasets import CompositeDataset, PlanDataset, collate
from thor_geo.errors import AreaError, BlockError, ConfigError, InputError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.plan import Plan
from thor_geo.specs import SensorSpec


def place(x: float, y: float) -> int:
    """Return the first band's value of the pixel that holds a place."""
    return int((37 * (x // 10) + 101 * -(-y // 10)) % 11_000)


def test_a_full_query_is_cut_from_several_blocks_without_a_seam() -> None:
    sample = dataset()[LEFT : LEFT + 960, BOTTOM : BOTTOM + 640]
    image = sample["image"]
    assert image.shape == (3, 64, 96)
    assert image.dtype == torch.int16
    assert sample["observations"].shape == (1, 64, 96)
    assert sample["observations"].dtype == torch.uint8
    for row, col in ((0, 0), (0, 95), (63, 0), (63, 95), (31, 40)):
        x, y = LEFT + col * 10 + 5, BOTTOM + 640 - row * 10 - 5
        assert image[0, row, col] == min(place(x, y), 10_000)
    scenes = dataset().scenes((slice(LEFT, LEFT + 960), slice(BOTTOM, BOTTOM + 640)))
    assert "common" in scenes
    assert len(scenes) == len(set(scenes)) > 2


def test_reflectance_is_clamped_to_the_valid_range() -> None:
    assert int(dataset()[LEFT : LEFT + 960, BOTTOM : BOTTOM + 640]["image"].max()) == 10_000


def test_strict_inspection_refuses_what_would_be_clamped() -> None:
    data = dataset()
    data.clamp = False
    with pytest.raises(InputError, match=r"outside 0\.\.10000 \(largest: 1\d{4}\)"):
        data[LEFT : LEFT + 960, BOTTOM : BOTTOM + 640]


def test_partial_slices_take_the_rest_from_the_bounds() -> None:
    data = dataset()
    assert data[LEFT : LEFT + 320]["image"].shape == (3, 64, 32)
    assert data[:, BOTTOM : BOTTOM + 320]["image"].shape == (3, 32, 96)
    assert torch.equal(data[:, :, :]["image"], data[LEFT : LEFT + 960]["image"])


def test_steps_set_the_resolution() -> None:
    image = dataset()[LEFT : LEFT + 960 : 20, BOTTOM : BOTTOM + 640 : 20]["image"]
    assert image.shape == (3, 32, 48)


def test_a_query_off_the_grid_takes_the_nearest_pixels() -> None:
    data = dataset()
    on = data[LEFT : LEFT + 320, BOTTOM : BOTTOM + 320]["image"]
    off = data[LEFT + 3 : LEFT + 323, BOTTOM + 3 : BOTTOM + 323]["image"]
    assert torch.equal(on, off)
    shifted = data[LEFT + 7 : LEFT + 327, BOTTOM : BOTTOM + 320]["image"]
    assert torch.equal(shifted[:, :, :-1], on[:, :, 1:])


@pytest.mark.parametrize(
    "query",
    [
        (slice(0, 10), slice(0, 10)),
        (slice(LEFT, LEFT + 320), slice(0, 10)),
        (
            slice(LEFT, LEFT + 320),
            slice(BOTTOM, BOTTOM + 320),
            slice(np.datetime64("2020-01-01"), np.datetime64("2020-02-01")),
        ),
    ],
)
def test_out_of_area_or_window_raises_index_error(query: Any) -> None:
    source = FakeSource()
    with pytest.raises(IndexError, match="not found in index"):
        dataset(source)[query]
    assert source.asked == []


def test_another_crs_warps() -> None:
    data = dataset()
    data.crs = CRS.from_epsg(32633)
    left, bottom, right, top = data.index.total_bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    sample = data[x - 50 : x + 50, y - 50 : y + 50]
    assert sample["image"].shape == (3, 10, 10)
    assert bool((sample["observations"] == 3).all())
    native_x, native_y = rasterio.warp.transform("EPSG:32633", "EPSG:32632", [x + 5], [y + 5])
    assert int(sample["image"][0, 4, 5]) == min(place(native_x[0], native_y[0]), 10_000)


def test_plot_shows_true_colour_and_observations() -> None:
    data = dataset()
    figure = data.plot(data[LEFT : LEFT + 320, BOTTOM : BOTTOM + 320], suptitle="Here")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["Image", "Clear observations"]
    grey = dataset(sensor=SensorSpec(bands=("B4", "B3", "B5")))
    with pytest.raises(RGBBandsMissingError):
        grey.plot(grey[LEFT : LEFT + 320, BOTTOM : BOTTOM + 320])


def test_resolution_must_be_the_lattices() -> None:
    with pytest.raises(ConfigError, match="scale_m"):
        dataset(sensor=SensorSpec(scale_m=20))


def test_an_area_of_one_zone_makes_a_dataset_and_one_of_two_says_what_to_use() -> None:
    in_zone = AreaSpec(bbox=(LEFT, BOTTOM, LEFT + 960, BOTTOM + 640), crs="EPSG:32632").load()
    made = CompositeDataset.from_area(
        FakeSource(), in_zone, sensor=SENSOR, window=WINDOW, block_size=64
    )
    assert torch.equal(made[LEFT : LEFT + 320]["image"], dataset()[LEFT : LEFT + 320]["image"])
    two = AreaSpec(bbox=(11.9, 59.9, 12.1, 60.0)).load()
    with pytest.raises(AreaError, match=r"utm32n, utm33n.*CompositeDataModule"):
        CompositeDataset.from_area(FakeSource(), two, sensor=SENSOR, window=WINDOW)


def plan() -> Plan:
    return Plan.from_area(
        AreaSpec(bbox=(LEFT, BOTTOM, LEFT + 960, BOTTOM + 640), crs="EPSG:32632").load(), LATTICE
    )


def test_plan_dataset_adds_where_the_tile_is() -> None:
    tiles = plan()
    sample = PlanDataset(tiles, {32632: dataset()}, channels=3)[4]
    assert int(sample["tile"]) == 4
    assert int(sample["epsg"]) == 32632
    assert sample["transform"].tolist()[:6] == list(tiles.tile(4).transform)
    assert sample["error"] is None
    left, bottom, right, top = tiles.tile(4).bounds
    assert torch.equal(sample["image"], dataset()[left:right, bottom:top]["image"])
    # the transform names the sample's upper-left corner
    assert sample["transform"].tolist() == [10, 0, left, 0, -10, top, 0, 0, 1]


def test_a_failed_block_keeps_the_batchs_shape_and_says_why() -> None:
    broken = PlanDataset(plan(), {32632: dataset(FakeSource(broken=True))}, channels=3)
    good = PlanDataset(plan(), {32632: dataset()}, channels=3)
    batch = collate([good[0], broken[1]])
    assert batch["image"].shape == (2, 3, 32, 32)
    assert not batch["image"][1].any()
    assert batch["error"][0] is None
    assert "the service said no" in batch["error"][1]


def test_what_must_stop_the_run_reaches_the_main_process_as_it_was() -> None:
    broken = PlanDataset(plan(), {32632: dataset(FakeSource(broken=True))}, channels=3, strict=True)
    good = PlanDataset(plan(), {32632: dataset()}, channels=3)
    (error,) = collate([good[0], broken[1]])["fatal"]
    assert isinstance(error, BlockError)
    assert "said no" in str(error)
    picky = dataset()
    picky.clamp = False
    (error,) = collate([PlanDataset(plan(), {32632: picky}, channels=3)[0]])["fatal"]
    assert isinstance(error, InputError)
