"""If one of these fails, a chip holds other pixels than the area around it, or costs more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.places import Span, place_plan
from thor_geo.datamodules.feed import Feed, FeedSpec
from thor_geo.datamodules.sensors import Sensors
from thor_geo.datamodules.source import EMULATOR_URL, CompositeSource
from thor_geo.datasets import PlaceDataset, PlanDataset, WindowDataset
from thor_geo.emulator import EmulatorServer, write_catalogue
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.blocks import needed_blocks
from thor_geo.ground.lattice import Lattice, Rect
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.specs import SensorSpec, TemporalSpec, Windows
from thor_geo.specs.sentinel1 import Sentinel1Spec
from thor_geo.specs.sources import AnySource, EmulatorSpec, StacSpec

S2, S1 = "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S1_GRD"
CHIP, BLOCK = 96, 192
STRAYS = 9
WINDOWS: tuple[Span, ...] = (
    ("2022-06-01", "2022-07-10"),
    ("2022-06-01", "2022-09-01"),
    ("2022-07-01", "2022-08-01"),
)
# A band of 10 m and one of 20 m: what fetching costs is measured with all of them.
BANDS = ("B4", "B8A")
SENTINEL2 = SensorSpec(cloudy_pct=100, bands=BANDS)


def points() -> list[tuple[float, float]]:
    """Strays over the scenes of two zones and beyond, and a field of chips that share blocks."""
    rng = np.random.default_rng(0)
    strays = rng.uniform((11.93, 59.97), (12.07, 60.03), (STRAYS, 2))
    field = rng.uniform((11.975, 59.995), (11.98, 59.998), (18, 2))
    return [tuple(point) for point in (*strays, *field, *strays[:1])]


def rows(count: int) -> list[Span]:
    """The window of each row; the field has one, in which its chips share blocks."""
    return [WINDOWS[1 if STRAYS <= k < STRAYS + 18 else k % 3] for k in range(count)]


class Reading:
    """Feeds over one source and one cache folder each, closed at the end."""

    def __init__(self, source: AnySource, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._feeds: list[Feed] = []

    def feed(self, name: str, sensors: Sensors, windows: Windows) -> Feed:
        composites = CompositeSource(
            source=self._source, sensors=sensors, cache_dir=self._folder / name
        )
        feed = Feed(FeedSpec(source=composites, windows=windows, block_size=BLOCK))
        self._feeds.append(feed)
        feed.start(concurrency=8, ahead=4)
        return feed

    def places(self, plan: PlacePlan, sensors: Sensors, name: str = "places") -> PlaceDataset:
        span = Windows(spans=(TemporalSpec.range("2022-06-01", "2022-09-01"),))
        feed = self.feed(name, sensors, span)
        blocks = needed_blocks(plan, range(len(plan.shards)), BLOCK)
        return feed.place_dataset(plan, blocks, clamp=True, strict=True)

    def area(self, sensors: Sensors) -> dict[Span, PlanDataset]:
        """Return the tiles of an area run in each window."""
        spans = sorted(WINDOWS)
        area = AreaSpec(bbox=(11.9, 59.96, 12.1, 60.04)).load()
        plan = Plan.from_area(area, Lattice(epsg=32601, tile_size=CHIP))
        datasets = {}
        for number, span in enumerate(spans):
            feed = self.feed(f"area{number}", sensors, Windows.from_dates(*span))
            dataset = feed.dataset(plan, area.zones(), [], clamp=True, strict=True)
            assert not isinstance(dataset, WindowDataset)
            datasets[span] = dataset
        return datasets

    def close(self) -> None:
        for feed in self._feeds:
            feed.close()


@pytest.fixture(scope="module")
def server(both: Path) -> Iterator[EmulatorServer]:
    with (
        EmulatorServer({S2: both, S1: both / "S1_GRD"}) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(EMULATOR_URL, server.url)
        yield server


@pytest.fixture(scope="module")
def catalogue(small_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue") / "scenes"
    shutil.copytree(small_archive, folder)
    write_catalogue(folder)
    return folder


@pytest.fixture
def reading(server: EmulatorServer, both: Path, tmp_path: Path) -> Iterator[Reading]:
    server.statistics.reset()
    reading = Reading(EmulatorSpec(archive=both), tmp_path)
    yield reading
    reading.close()


@pytest.fixture
def from_files(catalogue: Path, tmp_path: Path) -> Iterator[Reading]:
    reading = Reading(StacSpec(url=str(catalogue)), tmp_path)
    yield reading
    reading.close()


def plan_of(where: Sequence[tuple[float, float]], windows: Sequence[Span] | None = None) -> Any:
    return place_plan(
        where, windows or rows(len(where)), tile_size=CHIP, block_size=BLOCK, shard_places=8
    )


def compare(reading: Reading, sensors: Sensors) -> list[int]:
    """Compare every chip with an area run's pixels; return the numbers of observations."""
    where = points()
    plan = plan_of(where)
    assert plan.alone.any()
    assert not plan.alone.all()
    chips, areas = reading.places(plan, sensors), reading.area(sensors)
    seen: set[int] = set()
    for index in range(len(plan)):
        chip, span = plan.tile(index), rows(len(where))[plan.place[index]]
        sample = chips[index]
        assert sample["tile_id"] == chip.id
        # Not a chip: read from the blocks of the lattice, as a tile of the area is.
        rect = Rect(
            epsg=chip.epsg,
            resolution=10,
            left=chip.left,
            top=chip.top,
            width=CHIP,
            height=CHIP,
        )
        zone: Any = areas[span].zones[chip.epsg]
        expected, scenes = zone.tile(rect)
        assert torch.equal(sample["image"], expected["image"])
        assert torch.equal(sample["observations"], expected["observations"])
        # A block's scenes need not all reach the chip.
        assert set(sample["scenes"]) <= set(scenes)
        seen |= set(np.unique(sample["observations"]).tolist())
    return sorted(seen)


RECIPES = {
    "median": SENTINEL2,
    "scl": SensorSpec(cloudy_pct=100, mask="scl", bands=BANDS),
    "mosaic of few scenes": SensorSpec(composite="mosaic", mask="scl", cloudy_pct=25, bands=BANDS),
    "percentile": SensorSpec(composite="percentile", percentile=30, cloudy_pct=100, bands=BANDS),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_chip_is_pixel_for_pixel_the_area_runs_composite(
    reading: Reading, recipe: SensorSpec
) -> None:
    assert len(compare(reading, Sensors.on_grid(10, recipe, None))) >= 3


@pytest.mark.parametrize(
    "radar", [Sentinel1Spec(), Sentinel1Spec(orbit="ascending", composite="mean")]
)
def test_a_chip_of_radar_is_the_area_runs_composite(reading: Reading, radar: Sentinel1Spec) -> None:
    assert len(compare(reading, Sensors.on_grid(10, None, radar))) >= 2


def test_a_chip_of_both_sensors_is_the_area_runs_composite(reading: Reading) -> None:
    assert len(compare(reading, Sensors.on_grid(10, SENTINEL2, Sentinel1Spec()))) >= 3


@pytest.mark.parametrize("name", ["scl", "median"])
def test_a_chip_from_a_catalogue_is_the_area_runs_composite(from_files: Reading, name: str) -> None:
    assert len(compare(from_files, Sensors.on_grid(10, RECIPES[name], None))) >= 3


def requests(server: EmulatorServer) -> tuple[int, int]:
    """Return how many requests for pixels were made, and the pixels that were asked for."""
    asked = [entry.pixels for entry in server.statistics.log if entry.pixels]
    return len(asked), sum(asked)


def read_all(dataset: PlaceDataset) -> None:
    for index in range(len(dataset)):
        assert dataset[index]["error"] is None


def test_scattered_places_cost_their_own_pixels_in_one_request_each(
    reading: Reading, server: EmulatorServer
) -> None:
    where = points()[:STRAYS]
    plan = plan_of(where)
    assert plan.alone.all()
    read_all(reading.places(plan, Sensors.on_grid(10, SensorSpec(cloudy_pct=100), None)))
    count, pixels = requests(server)
    assert count <= len(where), "chips beyond the scenes need none"
    assert count >= 4
    assert pixels <= 1.1 * len(where) * CHIP**2
    assert pixels == count * CHIP**2


def test_places_denser_than_four_to_a_block_cost_no_more_than_the_blocks(
    reading: Reading, server: EmulatorServer
) -> None:
    where = points()[STRAYS : STRAYS + 18]
    plan = plan_of(where, [WINDOWS[1]] * len(where))
    assert not plan.alone.any()
    read_all(reading.places(plan, Sensors.on_grid(10, SensorSpec(cloudy_pct=100), None)))
    count, pixels = requests(server)
    assert count <= 4
    assert pixels == count * BLOCK**2 < len(where) * CHIP**2


def test_the_same_place_in_one_window_is_fetched_once_and_in_two_windows_twice(
    reading: Reading, server: EmulatorServer
) -> None:
    where = [(11.99, 60.0)] * 5
    plan = plan_of(where, [WINDOWS[0], WINDOWS[0], WINDOWS[1], WINDOWS[1], WINDOWS[0]])
    read_all(reading.places(plan, Sensors.on_grid(10, SensorSpec(cloudy_pct=100), None)))
    assert requests(server) == (2, 2 * CHIP**2)


def test_what_is_in_the_cache_is_not_fetched_again(
    reading: Reading, server: EmulatorServer
) -> None:
    plan = plan_of(points())
    sensors = Sensors.on_grid(10, SensorSpec(cloudy_pct=100), None)
    read_all(reading.places(plan, sensors))
    server.statistics.reset()
    read_all(reading.places(plan, sensors))
    assert requests(server) == (0, 0)


def test_a_scene_is_left_out_of_the_places_in_whose_window_it_is(
    catalogue: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(catalogue, folder)
    # One file of each scene of 5 August is cut off.
    for path in folder.glob("*20220805*_10m.tif"):
        path.write_bytes(path.read_bytes()[:1000])
    reading = Reading(StacSpec(url=str(folder)), tmp_path)
    try:
        plan = plan_of([(11.99, 60.0)] * 3, WINDOWS)
        sensors = Sensors.on_grid(10, SENTINEL2, None)
        dataset = reading.places(plan, sensors)
        read_all(dataset)
        (feed,) = reading._feeds
        left_out = {plan.window_of(k): feed.left_out(plan, [k]) for k in range(3)}
        for span in WINDOWS:
            # The middle window alone goes on until August.
            found = left_out[TemporalSpec.range(*span)]
            assert bool(found) == (span == WINDOWS[1])
            assert all("20220805" in scene for scene in found)
        assert feed.left_out(plan, range(3)) == left_out[TemporalSpec.range(*WINDOWS[1])]
        strict = reading.feed("places", sensors, Windows.from_dates("2022-06-01", "2022-09-01"))
        blocks = needed_blocks(plan, range(len(plan.shards)), BLOCK)
        samples = strict.place_dataset(plan, blocks, clamp=True, strict=True, every_scene=True)
        failed = ["fatal" in samples[k] for k in range(3)]
        assert failed == [plan.window_of(k) == TemporalSpec.range(*WINDOWS[1]) for k in range(3)]
    finally:
        reading.close()
