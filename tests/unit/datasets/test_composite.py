from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio.warp
import shapely
import torch
from pyproj import CRS
from torch.utils.data import DataLoader
from torchgeo.datasets import GeoDataset, RGBBandsMissingError, stack_samples
from torchgeo.samplers import GridGeoSampler, PreChippedGeoSampler, RandomGeoSampler

from thor_geo.datasets import CompositeDataset, PlanDataset, collate
from thor_geo.errors import AreaError, BlockError, ConfigError, InputError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Block, Lattice
from thor_geo.ground.plan import Plan
from thor_geo.specs import SensorSpec, TemporalSpec

LATTICE = Lattice(epsg=32632, tile_size=32)
WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
SENSOR = SensorSpec(bands=("B4", "B3", "B2"))
LEFT, BOTTOM = 600_000.0, 6_640_000.0
# 96 x 64 px, its lower-left corner on the pixel grid.
FOOTPRINT = shapely.box(LEFT, BOTTOM, LEFT + 960, BOTTOM + 640)


@dataclass(frozen=True)
class Scene:
    index: str


@dataclass(frozen=True)
class FakeBlock:
    block: Block
    scenes: tuple[Scene, ...]

    def read_into(
        self,
        pixels: npt.NDArray[np.uint16],
        observations: npt.NDArray[np.uint8],
        rows: slice,
        cols: slice,
    ) -> None:
        x = self.block.left + np.arange(self.block.size)[cols]
        y = self.block.top - np.arange(self.block.size)[rows]
        band = (37 * x[None, :] + 101 * y[:, None]) % 11_000
        pixels[:] = np.stack([band, band + 1, band + 2])
        observations[:] = 3


class FakeSource:
    """Pixels that name their own place, and scenes that name their block."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.asked: list[str] = []

    def get(self, block: Block) -> Any:
        self.asked.append(block.id)
        if self.broken:
            raise BlockError(f"{block.id}: the service said no")
        return FakeBlock(block, (Scene("common"), Scene(block.id)))


def dataset(source: FakeSource | None = None, sensor: SensorSpec = SENSOR) -> CompositeDataset:
    return CompositeDataset(
        source or FakeSource(),
        FOOTPRINT,
        lattice=LATTICE,
        sensor=sensor,
        window=WINDOW,
        block_size=64,
    )


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
    assert "common" in sample["scenes"]
    assert len(sample["scenes"]) == len(set(sample["scenes"])) > 2


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


class Labels(GeoDataset):
    """A mask over the eastern half of the area."""

    def __init__(self) -> None:
        data = dataset()
        east = shapely.box(LEFT + 480, BOTTOM, LEFT + 960, BOTTOM + 640)
        self.index = data.index.set_geometry([east])
        self._res = (10.0, 10.0)

    def __getitem__(self, query: Any) -> dict[str, Any]:
        x, y, _ = self._disambiguate_slice(query)
        shape = (round((y.stop - y.start) / 10), round((x.stop - x.start) / 10))
        return {"mask": torch.ones(shape, dtype=torch.long), "crs": self.crs, "bounds": query}


def test_intersection_with_labels_and_union_with_another_composite() -> None:
    both = dataset() & Labels()
    sample = both[LEFT + 480 : LEFT + 960, BOTTOM : BOTTOM + 640]
    assert sample["image"].shape == (3, 64, 48)
    assert sample["mask"].shape == (64, 48)
    stacked = dataset() & dataset()
    sample = stacked[LEFT : LEFT + 320, BOTTOM : BOTTOM + 320]
    assert sample["image"].shape == (6, 32, 32)
    assert sample["observations"].shape == (2, 32, 32)
    either = dataset() | dataset()
    assert either[LEFT : LEFT + 320, BOTTOM : BOTTOM + 320]["image"].shape == (3, 32, 32)


def test_torchgeo_samplers_work() -> None:
    data = dataset()
    grid = GridGeoSampler(data, size=32)
    assert len(grid) == 6
    random = RandomGeoSampler(data, size=32, length=5)
    whole = PreChippedGeoSampler(data)
    for sampler, count, shape in (
        (grid, 6, (3, 32, 32)),
        (random, 5, (3, 32, 32)),
        (whole, 1, (3, 64, 96)),
    ):
        loader = DataLoader(data, sampler=sampler, collate_fn=stack_samples)
        shapes = [tuple(batch["image"].shape[1:]) for batch in loader]
        assert shapes == [shape] * count


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
    assert sample["transform"].tolist() == list(tiles.tile(4).transform)
    assert sample["error"] is None
    left, bottom, right, top = tiles.tile(4).bounds
    assert torch.equal(sample["image"], dataset()[left:right, bottom:top]["image"])
    # the transform names the sample's upper-left corner
    assert sample["transform"].tolist() == [10, 0, left, 0, -10, top]


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
