"""If one of these fails, a head learns from other embeddings or labels than a user has."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import zarr
from pyproj import CRS
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler, PreChippedGeoSampler, RandomGeoSampler

from tests.support.synthetic_run import CELLS, DIMENSION, plan_of, write_run
from tests.support.windowed_run import WINDOWS, write_windows
from thor_geo.datasets import EmbeddingDataset
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

CELL = 2880 / CELLS


class Classes(RasterDataset):
    is_image = False


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """Return a plan in one zone and its finished run; tile 1 failed. Do not change it."""
    plan, path = plan_of(), tmp_path_factory.mktemp("one") / "run"
    write_run(path, plan, failed={1: "no such block"})
    return plan, path


def stored(path: Path, zone: str = "utm32n") -> tuple[np.ndarray, list[float]]:
    """Return a zone's map as float32, read with zarr alone, and its left, bottom, right, top."""
    group: Any = zarr.open_group(str(path / "grid.zarr"), path=zone, mode="r")
    values = group["embeddings"][:].astype(np.float32)
    if "scale" in group:
        values = values * group["scale"][:][..., None, :, :]
    return values, group["embeddings"].attrs["spatial:bbox"]


def class_raster(path: Path, plan: Plan, write_tif: Any) -> np.ndarray:
    """Write a class for each cell of the plan's ground, 10 m pixels, and return it by cell."""
    boxes = np.array([plan.tile(k).bounds for k in range(len(plan))])
    left, top = boxes[:, 0].min(), boxes[:, 3].max()
    rows = round((top - boxes[:, 1].min()) / CELL)
    cols = round((boxes[:, 2].max() - left) / CELL)
    classes = np.random.default_rng(0).integers(1, 5, (rows, cols), dtype=np.uint8)
    write_tif(path, np.kron(classes, np.ones((48, 48), np.uint8))[None], (left, top))
    return classes


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_sample_is_what_the_store_holds_whatever_its_type(tmp_path: Path, dtype: str) -> None:
    write_run(tmp_path / "run", plan_of(), failed={1: "no such block"}, dtype=dtype)
    values, (left, _, _, top) = stored(tmp_path / "run")
    dataset = EmbeddingDataset(tmp_path / "run")
    # Across the border between shards, which are 12 cells wide.
    rows, cols = slice(4, 17), slice(9, 15)
    sample = dataset[
        left + cols.start * CELL : left + cols.stop * CELL,
        top - rows.stop * CELL : top - rows.start * CELL,
    ]
    truth = values[:, rows, cols]
    there = np.isfinite(truth).all(axis=0)
    assert 0 < there.sum() < there.size
    assert sample["image"].dtype == torch.float32
    np.testing.assert_array_equal(sample["image"].numpy(), np.where(there, truth, 0))
    np.testing.assert_array_equal(sample["embedded"][0].numpy(), there)
    corner = rasterio.Affine(*sample["transform"][:6].tolist())
    assert corner == rasterio.Affine(
        CELL, 0, left + cols.start * CELL, 0, -CELL, top - rows.start * CELL
    )


def test_the_whole_of_a_zone_is_its_tiles_and_nothing_else(one: tuple[Plan, Path]) -> None:
    plan, path = one
    dataset = EmbeddingDataset(str(path))
    assert (dataset.crs, dataset.res, dataset.dimension) == (
        CRS.from_epsg(32632),
        (CELL, CELL),
        DIMENSION,
    )
    (ground,) = dataset.index.geometry
    assert ground.area == len(plan) * 2880**2
    whole = dataset[dataset.bounds[0], dataset.bounds[1]]
    assert int(whole["embedded"].sum()) == (len(plan) - 1) * CELLS**2


def test_a_query_in_another_crs_takes_the_nearest_cell(
    one: tuple[Plan, Path],
) -> None:
    _, path = one
    values, (left, _, _, top) = stored(path)
    dataset = EmbeddingDataset(path)
    dataset.crs, dataset.res = CRS.from_epsg(3035), 200.0
    x, y, _ = dataset.bounds
    west, north = round(x.start) + 4000, round(y.stop) - 4000
    sample = dataset[west : west + 6000, north - 5000 : north]
    truth = np.full((DIMENSION, 25, 30), np.nan, np.float32)
    reproject(
        values,
        truth,
        src_transform=from_origin(left, top, CELL, CELL),
        src_crs="EPSG:32632",
        dst_transform=from_origin(west, north, 200, 200),
        dst_crs="EPSG:3035",
        src_nodata=np.nan,
        tolerance=0,
    )
    np.testing.assert_array_equal(sample["image"].numpy(), np.nan_to_num(truth))


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_labels_of_any_crs_meet_their_cells_by_all_three_samplers(
    one: tuple[Plan, Path], tmp_path: Path, write_tif: Any, crs: str
) -> None:
    plan, path = one
    class_raster(tmp_path / "utm.tif", plan, write_tif)
    with rasterio.open(tmp_path / "utm.tif") as file:
        classes, left, top = file.read(1)[24::48, 24::48], file.bounds.left, file.bounds.top
        with WarpedVRT(file, crs=crs) as warped:
            pixels, profile = warped.read(), warped.profile
    with rasterio.open(tmp_path / "labels.tif", "w", **{**profile, "driver": "GTiff"}) as file:
        file.write(pixels)
    pairs = EmbeddingDataset(path) & Classes(str(tmp_path / "labels.tif"))
    samplers = [
        RandomGeoSampler(pairs, size=5, length=6),
        GridGeoSampler(pairs, size=7),
        PreChippedGeoSampler(pairs),
    ]
    for sampler in samplers:
        loader = DataLoader(pairs, sampler=sampler, collate_fn=stack_samples)
        for batch in loader:
            image, mask = batch["image"][0], batch["mask"][0]
            assert image.shape == (DIMENSION, *mask.shape)
            # The first two numbers of an embedding are where it lies, km.
            there = batch["embedded"][0, 0].numpy()
            cols = np.floor((image[0].numpy() * 1000 - left) / CELL)[there].astype(int)
            rows = np.floor((top - image[1].numpy() * 1000) / CELL)[there].astype(int)
            right = mask.numpy()[there] == classes[rows, cols]
            # A cell off the edge of warped pixels may take its neighbour's.
            assert right.mean() > (0.999 if crs == "EPSG:32632" else 0.9)


def test_a_row_for_each_tile_gives_chips_of_tiles(one: tuple[Plan, Path]) -> None:
    plan, path = one
    dataset = EmbeddingDataset(path, by_tile=True)
    chips = [dataset[query] for query in PreChippedGeoSampler(dataset)]
    assert len(chips) == len(plan)
    assert {tuple(chip["image"].shape) for chip in chips} == {(DIMENSION, CELLS, CELLS)}
    assert sum(bool(chip["embedded"].all()) for chip in chips) == len(plan) - 1


def test_every_time_window_is_a_row_of_the_index_and_samples_are_of_one(tmp_path: Path) -> None:
    """The second and the third window overlap: a sampler's time names one of them all the same."""
    write_windows(tmp_path / "run", plan_of())
    values, _ = stored(tmp_path / "run")
    dataset = EmbeddingDataset(tmp_path / "run")
    assert len(dataset) == len(WINDOWS)
    queries = list(GridGeoSampler(dataset, size=30))
    assert len(queries) == len(WINDOWS)
    for window, query in enumerate(queries):
        np.testing.assert_array_equal(dataset[query]["image"], values[window, :, 6:, :30])
    x, y, _ = dataset.bounds
    july = slice(pd.Timestamp("2022-07-05"), pd.Timestamp("2022-09-20"))
    np.testing.assert_array_equal(dataset[x, y, july]["image"], values[2, :, 6:, :30])
    chosen = EmbeddingDataset(tmp_path / "run", window=1)
    assert len(chosen) == 1
    np.testing.assert_array_equal(chosen[x, y]["image"], values[1, :, 6:, :30])
    with pytest.raises(IndexError, match="not found in index"):
        chosen[x, y, slice(pd.Timestamp("2023-07-05"), pd.Timestamp("2023-09-20"))]
    with pytest.raises(ConfigError, match="3 time windows"):
        EmbeddingDataset(tmp_path / "run", window=3)


def test_workers_read_the_same_forked_or_started_anew(one: tuple[Plan, Path]) -> None:
    _, path = one
    dataset = EmbeddingDataset(path)
    queries = list(GridGeoSampler(dataset, size=10))
    here = [dataset[query]["image"] for query in queries]
    loader = DataLoader(
        dataset, sampler=queries, batch_size=None, num_workers=2, multiprocessing_context="fork"
    )
    for ours, sample in zip(here, loader, strict=True):
        assert torch.equal(ours, sample["image"])
    # What a spawned worker gets.
    moved = pickle.loads(pickle.dumps(dataset))
    for ours, query in zip(here, queries, strict=True):
        assert torch.equal(ours, moved[query]["image"])


def test_two_zones_are_two_datasets(written: RunDirectory) -> None:
    with pytest.raises(ConfigError, match=r"lies in utm32n, utm33n.*zone='utm32n'"):
        EmbeddingDataset(written.path)
    west, east = (
        EmbeddingDataset(written.path, zone="utm32n"),
        EmbeddingDataset(SimpleNamespace(path=written.path, window=None), zone=32633),
    )
    assert (west.crs.to_epsg(), east.crs.to_epsg()) == (32632, 32633)
    values, _ = stored(written.path, "utm33n")
    found = east[east.bounds[0], east.bounds[1]]
    assert int(found["embedded"].sum()) == np.isfinite(values).all(axis=0).sum()
    with pytest.raises(ConfigError, match=r"`zone='utm31n'`.*utm32n, utm33n"):
        EmbeddingDataset(written.path, zone="utm31n")


def test_an_unfinished_run_gives_what_is_there_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of()
    write_run(tmp_path / "run", plan, only=2)
    dataset = EmbeddingDataset(tmp_path / "run")
    done = plan.shards[1].stop
    assert dataset.index.geometry.iloc[0].area == done * 2880**2
    assert f"{len(plan.shards) - 2} shards of utm32n left out" in caplog.text
    write_run(tmp_path / "none", plan, only=0)
    with pytest.raises(RunDirectoryError, match="no finished shard in utm32n"):
        EmbeddingDataset(tmp_path / "none")


def test_a_run_without_maps_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of(), grid=False)
    with pytest.raises(ConfigError, match=r"no maps.*--output\.grid=true"):
        EmbeddingDataset(tmp_path / "run")


def test_labels_elsewhere_are_refused(
    one: tuple[Plan, Path], tmp_path: Path, write_tif: Any
) -> None:
    write_tif(tmp_path / "far.tif", np.ones((1, 9, 9), np.uint8), (300_000, 5_000_000))
    with pytest.raises(RuntimeError, match="no spatial intersection"):
        EmbeddingDataset(one[1]) & Classes(str(tmp_path / "far.tif"))


def test_a_patch_needs_only_the_files_under_it_and_damage_is_named(tmp_path: Path) -> None:
    """A map of a country must not be read for a patch, nor damage pass for ground without data."""
    write_run(tmp_path / "run", plan_of())
    dataset = EmbeddingDataset(tmp_path / "run")
    x, y, _ = dataset.bounds
    corner = (slice(x.start, x.start + 3 * CELL), slice(y.stop - 3 * CELL, y.stop))
    whole = dataset[corner]["image"]
    files = sorted((tmp_path / "run" / "grid.zarr" / "utm32n" / "embeddings" / "c").rglob("*"))
    for file in files:
        if file.is_file() and file.parts[-3:] != ("0", "0", "0"):
            file.write_bytes(file.read_bytes()[:-20])
    again = EmbeddingDataset(tmp_path / "run")
    assert torch.equal(again[corner]["image"], whole)
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        again[x, y]


def test_a_plot_has_the_colours_of_the_run_and_the_labels_beside_them(
    one: tuple[Plan, Path], tmp_path: Path, write_tif: Any
) -> None:
    """Neighbouring samples that are alike must look alike."""
    plan, path = one
    class_raster(tmp_path / "labels.tif", plan, write_tif)
    dataset = EmbeddingDataset(path)
    pairs = dataset & Classes(str(tmp_path / "labels.tif"))
    left, right = (pairs[query] for query in list(GridGeoSampler(pairs, size=10))[:2])
    figures = [dataset.plot(sample, suptitle="West") for sample in (left, right)]
    assert [axes.get_title() for axes in figures[0].axes] == ["Embeddings", "Mask"]
    drawn = figures[0].axes[0].get_images()[0].get_array()
    opened = read_run(path)
    colours = load_or_fit_colours(opened.run, opened.plan)[DIMENSION]
    there = left["embedded"][0].numpy()
    expected = colours(np.moveaxis(left["image"].numpy(), 0, -1))
    np.testing.assert_array_equal(drawn[there], expected[there])
