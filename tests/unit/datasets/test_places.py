"""If these fail, a chip is read in another row's window, or a polygon's pixels are others."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from pyproj import Transformer
from torchgeo.datasets import GeoDataset

from tests.support.fake_blocks import SENSOR, FakeSource
from tests.support.places import SUMMER, Span, place_plan
from thor_geo.datasets import CompositeDataset, PlaceDataset, SensorStack, collate, places
from thor_geo.datasets.places import covered_pixels
from thor_geo.ground.lattice import Rect
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.specs import TemporalSpec

CHIP = 32


class Zones:
    """Makes datasets of made-up blocks, and remembers for which zones and windows."""

    def __init__(self, plan: PlacePlan, broken: bool = False, sensors: int = 1) -> None:
        self.lattices = {lattice.epsg: lattice for lattice in plan.lattices}
        self.source = FakeSource(broken)
        self.sensors = sensors
        self.made: list[tuple[int, TemporalSpec]] = []

    def __call__(self, epsg: int, window: TemporalSpec) -> GeoDataset:
        self.made.append((epsg, window))
        datasets = [
            CompositeDataset(
                self.source,
                shapely.box(0, 0, 1, 1),  # nobody asks a dataset of places where it lies
                lattice=self.lattices[epsg],
                sensor=SENSOR,
                window=window,
                block_size=64,
            )
            for _ in range(self.sensors)
        ]
        return datasets[0] if self.sensors == 1 else SensorStack(datasets)


def plan_of(where: Sequence[tuple[float, float]], windows: Any = SUMMER) -> PlacePlan:
    return place_plan(where, windows, tile_size=CHIP, block_size=64)


def days(count: int) -> list[Span]:
    return [(f"2022-{1 + k // 28:02d}-{1 + k % 28:02d}", "2023-01-01") for k in range(count)]


def test_a_dataset_is_made_for_a_zone_and_window_when_a_chip_needs_it() -> None:
    plan = plan_of([(10 + k % 2, 50 + k // 2) for k in range(40)], days(20) * 2)
    zones = Zones(plan)
    dataset = PlaceDataset(plan, zones, channels=3)
    assert len(dataset) == 40
    assert not zones.made
    collate(dataset.__getitems__(range(40)))
    wanted = [(plan.tile(k).epsg, plan.window_of(k)) for k in range(40)]
    assert zones.made == list(dict.fromkeys(wanted)), "each once, in the plan's order"
    copy = pickle.loads(pickle.dumps(PlaceDataset(plan, {}, channels=3)))
    assert len(copy) == 40


def test_few_datasets_are_kept_however_many_windows_there_are() -> None:
    plan = plan_of([(10, 50)] * 200, days(200))
    zones = Zones(plan)
    dataset = PlaceDataset(plan, zones, channels=3)
    dataset.__getitems__([*range(200), 199, 198, 0])
    assert len(dataset._open) <= places._OPEN
    assert len(zones.made) == 201


@pytest.mark.parametrize("sensors", [1, 2])
def test_chips_alone_and_from_blocks_hold_the_same_pixels(sensors: int) -> None:
    plan = plan_of([(10, 50), (10.001, 50.001), (3, 40)])
    shared = replace(plan, alone=np.zeros(3, np.bool_))
    assert plan.alone.all()
    batches, asked = [], []
    for each in (plan, shared):
        zones = Zones(each, sensors=sensors)
        dataset = PlaceDataset(each, zones, channels=3 * sensors, sensors=sensors)
        batches.append(collate(dataset.__getitems__([0, 1, 2])))
        asked.append({name.split("_")[2] for name in zones.source.asked})
    assert asked == [{"b32"}, {"b64"}]
    for name in ("image", "observations", "place_at", "bounds", "transform", "tile"):
        assert torch.equal(batches[0][name], batches[1][name]), name
    assert batches[0]["image"].shape == (3, 3 * sensors, CHIP, CHIP)


def test_a_sample_says_where_its_place_lies() -> None:
    plan = plan_of([(10, 50), (-70.1, -30), (179.9999, 10), (-179.9999, 10)])
    dataset = PlaceDataset(plan, Zones(plan), channels=3)
    for index in range(4):
        sample = dataset[index]
        row, col = sample["place_at"].tolist()
        assert abs(row - CHIP / 2) <= 1, "chips lie on pixels of 20 m"
        assert abs(col - CHIP / 2) <= 1
        left, _, _, top = sample["bounds"].tolist()
        to_degrees = Transformer.from_crs(int(sample["epsg"]), 4326, always_xy=True)
        found = to_degrees.transform(left + 10 * col, top - 10 * row)
        assert found == pytest.approx((plan.lon[index], plan.lat[index]), abs=1e-9)
        assert "within" not in sample


def test_a_failed_chip_keeps_its_place_in_the_batch() -> None:
    plan = plan_of([(10, 50), (3, 40)])
    polygons = np.array([shapely.Point(10, 50).buffer(1e-3), shapely.Point(3, 40).buffer(1e-3)])
    dataset = PlaceDataset(plan, Zones(plan, broken=True), channels=3, polygons=polygons)
    batch = collate(dataset.__getitems__([0, 1]))
    assert all("the service said no" in error for error in batch["error"])
    assert batch["place_at"].shape == (2, 2)
    assert batch["within"].shape == (2, CHIP, CHIP)
    assert batch["within"].sum() > 0
    strict = PlaceDataset(plan, Zones(plan, broken=True), channels=3, strict=True)
    assert "fatal" in collate(strict.__getitems__([0, 1]))


def test_a_chip_in_a_zone_without_files_is_a_failed_chip() -> None:
    plan = plan_of([(10, 50), (3, 40)])
    zones = {32632: Zones(plan)(32632, plan.windows[0])}
    errors = collate(PlaceDataset(plan, zones, channels=3).__getitems__([0, 1]))["error"]
    assert [error is None for error in errors] == [False, True]
    assert "no file lies in zone utm31n" in errors[0]


def polygon_in_zone(chip: Rect, *corners: tuple[float, float]) -> Any:
    """Return a polygon in degrees, cut at the antimeridian as files have it.

    Corners are columns and rows of a chip's pixels.
    """
    left, _, _, top = chip.bounds
    to_degrees = Transformer.from_crs(chip.epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(
        *np.array([(left + 10 * c, top - 10 * r) for c, r in corners]).T
    )
    lon = lon[0] + (lon - lon[0] + 180) % 360 - 180
    parts = [shapely.Polygon(np.stack([lon + turn, lat], axis=1)) for turn in (-360, 0, 360)]
    return shapely.intersection(shapely.union_all(parts), shapely.box(-180, -90, 180, 90))


CENTRES = [(10.0, 50.0), (-70.1, -30.0), (179.99999, 10.0), (-179.99999, -65.0), (11.99, 83.9)]


@pytest.mark.parametrize("centre", CENTRES)
def test_a_polygon_covers_the_pixels_whose_centres_lie_in_it(centre: tuple[float, float]) -> None:
    chip = plan_of([centre]).tile(0)
    field = polygon_in_zone(chip, (5, 7), (20, 7), (20, 28), (5, 28))
    covered = covered_pixels(field, chip, centre)
    expected = np.zeros((CHIP, CHIP), np.uint8)
    expected[7:28, 5:20] = 1
    np.testing.assert_array_equal(covered, expected)


@pytest.mark.parametrize("centre", CENTRES)
def test_a_polygon_smaller_than_a_pixel_covers_the_pixel_it_lies_in(
    centre: tuple[float, float],
) -> None:
    chip = plan_of([centre]).tile(0)
    plot = polygon_in_zone(chip, (16.1, 15.1), (16.3, 15.1), (16.3, 15.3))
    assert np.argwhere(covered_pixels(plot, chip, centre)).tolist() == [[15, 16]]


def test_a_country_covers_all_of_a_chip_in_its_middle_and_keeps_its_holes() -> None:
    centre = (10.0, 50.0)
    chip = plan_of([centre]).tile(0)
    hole = polygon_in_zone(chip, (0, 0), (4, 0), (4, 4), (0, 4))
    country = shapely.box(-100, -60, 120, 80) - hole
    covered = covered_pixels(country, chip, centre)
    assert covered[:4, :4].sum() == 0
    assert covered.sum() == CHIP**2 - 16


def test_an_island_on_both_sides_of_the_antimeridian_is_one() -> None:
    centre = (179.9999, 10.0)
    chip = plan_of([centre]).tile(0)
    island = shapely.MultiPolygon(
        [shapely.box(179.9, 9.9, 180, 10.1), shapely.box(-180, 9.9, -179.9, 10.1)]
    )
    assert covered_pixels(island, chip, centre).all()
