"""If one of these fails, what works on TorchGeo's own rasters does not work on these datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
import torchgeo.samplers
from torch.utils.data import DataLoader, default_collate
from torchgeo.datasets import (
    GeoDataset,
    IntersectionDataset,
    RasterDataset,
    concat_samples,
    merge_samples,
    random_bbox_splitting,
    random_grid_cell_assignment,
    roi_split,
    stack_samples,
    time_series_split,
)
from torchgeo.samplers import GridGeoSampler, PreChippedGeoSampler, RandomGeoSampler

from tests.support.fake_blocks import BOTTOM, FOOTPRINT, LEFT, dataset
from thor_geo.datasets import CompositeDataset, FolderDataset, SensorStack
from thor_geo.datasets.geotiff import find_files, read_headers
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import select_bands

WINDOW = TemporalSpec.range("2022-06-01", "2022-09-01")
WEST = (slice(LEFT, LEFT + 320), slice(BOTTOM, BOTTOM + 320))
EAST = (slice(LEFT + 480, LEFT + 800), slice(BOTTOM + 320, BOTTOM + 640))

Make = Callable[[], Any]


class Labels(RasterDataset):
    is_image = False


@pytest.fixture
def labels(tmp_path: Path, write_tif: Any) -> Make:
    """Return a function that opens class 7 everywhere in the area."""
    classes = np.full((1, 64, 96), 7, np.uint8)
    path = write_tif(tmp_path / "labels.tif", classes, (LEFT, BOTTOM + 640))
    return lambda: Labels(str(path))


@pytest.fixture
def folder(tmp_path: Path, write_tif: Any) -> Make:
    """Return a function that opens GeoTIFFs of the area, in two files."""
    pixels = np.random.default_rng(0).integers(1, 10_000, (3, 64, 96), dtype=np.uint16)
    for number in (0, 1):
        part = pixels[:, :, 48 * number : 48 * (number + 1)]
        write_tif(tmp_path / "own" / f"{number}.tif", part, (LEFT + 480 * number, BOTTOM + 640))

    def make() -> FolderDataset:
        files = read_headers(find_files(str(tmp_path / "own")))
        return FolderDataset(files, select_bands(["RED", "GREEN", "BLUE"]), window=WINDOW)

    return make


@pytest.fixture(params=["composite", "stack", "folder"])
def make(request: pytest.FixtureRequest, folder: Make) -> Make:
    """Return a function that makes a dataset of each kind over the same ground."""
    kinds: dict[str, Make] = {
        "composite": dataset,
        "stack": lambda: SensorStack([dataset(), dataset()]),
        "folder": folder,
    }
    return kinds[request.param]


def test_a_sample_is_tensors_that_can_be_joined(make: Make) -> None:
    data = make()
    sample = data[WEST]
    assert all(isinstance(value, torch.Tensor) for value in sample.values())
    assert all(value.ndim > 0 for value in sample.values()), "`&` cannot join scalars"
    # As TorchGeo's own rasters have them, but not rounded to float32.
    assert sample["transform"].dtype == torch.float64
    transform = rasterio.Affine(*sample["transform"][:6].tolist())
    assert transform == rasterio.Affine(10, 0, LEFT, 0, -10, BOTTOM + 320)
    if "bounds" in sample:
        assert sample["bounds"].dtype == torch.float64
        *_, t = data.bounds
        assert sample["bounds"].tolist() == [
            *(LEFT, LEFT + 320, 10, BOTTOM, BOTTOM + 320, 10),
            *(t.start.timestamp(), t.stop.timestamp(), 1),
        ]
    assert len(data.scenes(WEST)) > 0
    with pytest.raises(IndexError, match="not found"):
        data.scenes((slice(0, 10), slice(0, 10)))


def test_what_torchgeos_rasters_carry_ours_carry_too(make: Make, labels: Make) -> None:
    """Its `|` compares what has the same name, so that must be of the same shape."""
    theirs = {k: v for k, v in labels()[WEST].items() if isinstance(v, torch.Tensor)}
    ours = make()[WEST]
    for key in theirs.keys() - {"mask"}:
        assert ours[key].shape == theirs[key].shape, key


def test_samples_are_collated_by_whom_the_user_likes(make: Make) -> None:
    samples = [make()[WEST], make()[EAST]]
    planes = samples[0]["image"].shape[0]
    for batch in (stack_samples(samples), default_collate(samples)):
        assert batch["image"].shape == (2, planes, 32, 32)
        assert batch["transform"].shape == (2, 9)
    assert concat_samples(samples)["image"].shape == (2 * planes, 32, 32)
    assert merge_samples(samples)["image"].shape == (planes, 32, 32)


def test_intersection_with_labels_in_either_order(make: Make, labels: Make) -> None:
    alone = make()[WEST]["image"]
    for both in (
        make() & labels(),
        labels() & make(),
        IntersectionDataset(make(), labels(), spatial_only=True),
    ):
        sample = both[WEST]
        assert torch.equal(sample["image"], alone)
        assert sample["mask"].shape == (32, 32)
        assert (sample["mask"] == 7).all()
        batch = next(iter(DataLoader(both, sampler=[WEST, EAST], collate_fn=stack_samples)))
        assert batch["image"].shape == (1, *alone.shape)


def test_intersection_and_union_with_each_other(make: Make) -> None:
    alone = make()[WEST]
    both = (make() & make())[WEST]
    assert torch.equal(both["image"], torch.cat([alone["image"], alone["image"]]))
    assert both["observations"].shape[0] == 2 * alone["observations"].shape[0]
    either = (make() | make())[WEST]
    torch.testing.assert_close(either["image"], alone["image"], equal_nan=True, rtol=0, atol=0)


def test_union_with_torchgeos_rasters_in_either_order(make: Make, labels: Make) -> None:
    for either in (make() | labels(), labels() | make()):
        sample = either[WEST]
        assert torch.equal(sample["image"], make()[WEST]["image"])
        assert (sample["mask"] == 7).all()


def shapes(data: GeoDataset, sampler: Any) -> list[tuple[int, ...]]:
    loader = DataLoader(data, sampler=sampler, collate_fn=stack_samples)
    return [tuple(batch["image"].shape[2:]) for batch in loader]


@pytest.mark.filterwarnings("ignore:Use torchgeo.samplers:DeprecationWarning")
def test_the_samplers_of_every_version(make: Make) -> None:
    data = make()
    assert shapes(data, GridGeoSampler(data, size=32)) == [(32, 32)] * 6 or len(data) > 1
    assert shapes(data, RandomGeoSampler(data, size=32, length=5)) == [(32, 32)] * 5
    assert len(shapes(data, PreChippedGeoSampler(data))) == len(data)


new = pytest.mark.skipif(
    not hasattr(torchgeo.samplers, "GriddedPatchSampler"), reason="torchgeo before 0.10"
)


@new
def test_the_samplers_of_torchgeo_0_10(make: Make) -> None:
    from torchgeo.samplers import (
        GriddedPatchSampler,
        RandomPatchSampler,
        RandomTimestampSampler,
        SequentialTimestampSampler,
    )

    data = make()
    assert shapes(data, GriddedPatchSampler(data, size=32)) == [(32, 32)] * 6
    random = RandomPatchSampler(data, size=32, length=5, generator=0)
    assert shapes(data, random) == [(32, 32)] * 5
    assert shapes(data, random @ RandomTimestampSampler(data)) == [(32, 32)] * 5
    grid = GriddedPatchSampler(data, size=32)
    assert shapes(data, grid @ SequentialTimestampSampler(data)) == [(32, 32)] * 6
    # 40 px do not divide 96 x 64: the grid begins outside the area.
    beyond = GriddedPatchSampler(data, size=40)
    assert min(x.start for x, _ in beyond) < LEFT
    assert shapes(data, beyond) == [(40, 40)] * len(beyond)


@new
def test_what_the_page_says_of_random_patches_is_so() -> None:
    """64 px lie within 96 x 64 px, but the sampler wants room to turn them."""
    from torchgeo.samplers import RandomPatchSampler

    data = dataset()
    assert list(RandomPatchSampler(data, size=64, length=5, generator=0)) == []
    assert len(list(RandomPatchSampler(data, size=45, length=5, generator=0))) == 5


def parts(splits: list[GeoDataset]) -> Iterator[GeoDataset]:
    """Yield the parts of a split, each read at its own sampler's places."""
    for part in splits:
        assert part.crs.to_epsg() == 32632
        assert part.index.crs.to_epsg() == 32632
        queries = list(GridGeoSampler(part, size=16))
        assert queries
        for query in queries:
            assert part[query]["image"].shape[1:] == (16, 16)
        yield part


@pytest.mark.filterwarnings("ignore:Use torchgeo.samplers:DeprecationWarning")
def test_splits_in_space_can_be_read(make: Make, labels: Make) -> None:
    generator = torch.Generator().manual_seed(0)
    west = shapely.box(LEFT, BOTTOM, LEFT + 320, BOTTOM + 640)
    for splits in (
        random_grid_cell_assignment(make(), [0.5, 0.5], grid_size=2, generator=generator),
        random_bbox_splitting(make(), [0.5, 0.5], generator=generator),
        roi_split(make(), [west, FOOTPRINT - west]),
    ):
        *_, last = parts(splits)
        x0, y0, x1, y1 = last.index.geometry.iloc[0].bounds
        # A part can be joined with labels, for which it needs its CRS.
        sample = IntersectionDataset(last, labels(), spatial_only=True)[x0:x1, y0:y1]
        assert sample["mask"].shape == sample["image"].shape[1:]


@pytest.mark.parametrize(
    "shares",
    [
        [0.5, 0.5],
        [0.6, 0.2, 0.2],
        [0.7, 0.15, 0.15],
        [pd.Timedelta(days=30), pd.Timedelta(days=62) - pd.Timedelta(microseconds=1)],
        [
            pd.Interval(pd.Timestamp("2022-06-01"), pd.Timestamp("2022-07-01")),
            pd.Interval(
                pd.Timestamp("2022-07-01"),
                pd.Timestamp("2022-09-01") - pd.Timedelta(microseconds=1),
            ),
        ],
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Use torchgeo.samplers:DeprecationWarning")
def test_splits_in_time_can_be_read(make: Make, shares: list[Any]) -> None:
    datasets = list(parts(time_series_split(make(), shares)))
    assert len(datasets) == len(shares)
    starts = [part.bounds[2].start for part in datasets]
    assert starts == sorted(set(starts))


def test_two_windows_as_one_dataset_are_told_apart(folder: Make) -> None:
    """A query in one window reads nothing of the next, which begins where it ends."""
    later = CompositeDataset(
        dataset().source,
        FOOTPRINT,
        lattice=dataset().lattice,
        sensor=dataset().sensor,
        window=TemporalSpec.range("2022-09-01", "2022-12-01"),
        block_size=64,
    )
    either = dataset() | later
    for part in (dataset(), later):
        assert torch.equal(either[part.bounds]["image"], part[part.bounds]["image"])
    assert dataset().bounds[2].stop < later.bounds[2].start
