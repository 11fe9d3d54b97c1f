"""The cell under a place, the patches of its polygon: else labels meet another spot's vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from thor_geo.errors import InputError
from thor_geo.models import Readout, make_layout, merge_groups, pool_tokens
from thor_geo.models.at_place import centre_cells, patch_shares
from thor_geo.specs import Pooling
from thor_geo.specs.bands import select_bands
from thor_geo.tasks import BackboneEmbeddingTask, THOREmbeddingTask

# 10, 20 and 60 m: 12 x 12, 6 x 6 and 2 x 2 patches of 96 x 96 pixels, one after the other.
LAYOUT = make_layout(select_bands(["RED", "SWIR_1", "WATER_VAPOR"]), ground_cover=960, patch_size=8)
SIDES = (12, 6, 2)


def polygons() -> torch.Tensor:
    """Return two polygons: a disc off the middle, and a single pixel."""
    rows, cols = np.mgrid[:96, :96]
    disc = (rows - 30) ** 2 + (cols - 60) ** 2 < 20**2
    pixel = (rows == 95) & (cols == 0)
    return torch.from_numpy(np.stack([disc, pixel]).astype(np.uint8))


def shares(within: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    step = within.shape[1] // side
    tiles = within.reshape(len(within), side, step, side, step).astype(np.float64)
    return np.asarray(tiles.mean(axis=(2, 4)).reshape(len(within), -1))


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 184, 5, generator=torch.Generator().manual_seed(seed))


def mean(values: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rows = [np.average(x, axis=0, weights=w) for x, w in zip(values, weights, strict=True)]
    return np.stack(rows)


def expected(x: torch.Tensor, pooling: Pooling, merge: Any) -> np.ndarray[Any, Any]:
    within, values = polygons().numpy(), x.double().numpy()
    by_group = [shares(within, side) for side in SIDES]
    weights = np.concatenate(by_group, axis=1)
    if pooling == "mean":
        return mean(values, weights)
    if pooling == "max":
        return np.asarray(np.where((weights > 0)[..., None], values, -np.inf).max(axis=1))
    if pooling == "grid_mean":
        grid = merge_groups(x, LAYOUT, merge).flatten(2).mT.double().numpy()
        return mean(grid, by_group[0])
    parts = np.split(values, [144, 180], axis=1)
    return np.concatenate([mean(p, w) for p, w in zip(parts, by_group, strict=True)], axis=1)


@pytest.mark.parametrize("pooling", ["mean", "max", "grid_mean", "group_mean"])
@pytest.mark.parametrize("merge", ["mean", "concat"])
def test_vectors_are_pooled_over_the_patches_that_the_polygon_covers(
    pooling: Pooling, merge: Any
) -> None:
    readout = Readout(layout=LAYOUT, layers=(7, 2), pooling=pooling, merge=merge)
    layers = [tokens(0), tokens(1)]
    got = readout.pooled(layers, polygons())
    assert got.dtype == torch.float32
    assert got.shape[1:] == readout.pooled_shape(5)
    want = np.concatenate([expected(x, pooling, merge) for x in layers], axis=1)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)
    # Not merely those of the whole tile.
    assert not np.allclose(readout.pooled(layers).numpy(), want, atol=1e-2)


@pytest.mark.parametrize("pooling", ["mean", "max", "grid_mean", "group_mean"])
def test_a_polygon_over_the_whole_tile_pools_like_the_tile(pooling: Pooling) -> None:
    readout = Readout(layout=LAYOUT, layers=(1,), pooling=pooling)
    got = readout.pooled([tokens()], torch.ones(2, 96, 96, dtype=torch.uint8))
    torch.testing.assert_close(got, readout.pooled([tokens()]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_without_a_covered_patch_there_is_no_vector(mode: Pooling) -> None:
    weights = torch.zeros(2, 184)
    weights[0, 3] = 1
    vectors = pool_tokens(tokens(), mode, weights=weights)
    assert torch.equal(vectors[0], tokens()[0, 3])
    assert vectors[1].isnan().all()


def test_a_pixel_that_patches_divide_counts_with_its_part_in_each() -> None:
    within = torch.zeros(1, 3, 3, dtype=torch.bool)
    within[0, 1, 1] = True  # the middle one of nine pixels, among 2 x 2 patches
    assert patch_shares(within, [(2, 2)]).tolist() == [[pytest.approx(1 / 9)] * 4]
    within[0, 0, 2] = True
    got = patch_shares(within, [(2, 2), (1, 3)])
    want = [1 / 9, 5 / 9, 1 / 9, 1 / 9, 0, 1 / 3, 1 / 3]
    np.testing.assert_allclose(got.numpy(), [want], atol=1e-7)


def test_the_centre_is_the_cell_that_holds_the_place() -> None:
    grid = torch.arange(2 * 3 * 18 * 18).reshape(2, 3, 18, 18).float()
    # Cells of 16 pixels: a place on an edge belongs to the cell below and to the right of it.
    at = torch.tensor([[143.999, 144.0], [0.0, 287.5]], dtype=torch.float64)
    assert torch.equal(
        centre_cells(grid, at, 288), torch.stack([grid[0, :, 8, 9], grid[1, :, 0, 17]])
    )
    with pytest.raises(InputError, match=r"outside.*288"):
        centre_cells(grid, at + 150, 288)


def batch(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "image": torch.randn(2, 2, 96, 96, generator=generator),
        "observations": torch.ones(2, 1, 96, 96, dtype=torch.uint8),
        "tile": torch.arange(2),
        **more,
    }


def thor(**kwargs: Any) -> THOREmbeddingTask:
    task = THOREmbeddingTask(
        "thor_v1_tiny",
        pretrained=False,
        bands=["RED", "SWIR_1"],
        image_size=96,
        patch_size=8,
        **kwargs,
    )
    task.configure_model()
    return task


def patches(**kwargs: Any) -> BackboneEmbeddingTask:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(2, 4, 16, 16)
    return BackboneEmbeddingTask(conv, bands=["RED", "NIR"], image_size=96, **kwargs)


AT = torch.tensor([[48.0, 47.0], [50.5, 49.0]], dtype=torch.float64)


@pytest.mark.parametrize("make", [thor, patches])
@pytest.mark.parametrize("grid", [True, False])
def test_tasks_return_the_cell_of_their_own_map(make: Any, grid: bool) -> None:
    task, both = make(grid=grid, centre=True), make()
    with torch.inference_mode():
        got, plain = task.predict_step(batch(place_at=AT)), both.predict_step(batch())
    cell = 96 // plain["grid"].shape[-1]
    want = torch.stack(
        [plain["grid"][k, :, int(AT[k, 0] // cell), int(AT[k, 1] // cell)] for k in range(2)]
    )
    assert torch.equal(got["centre"], want)
    assert torch.equal(got["pooled"], plain["pooled"])
    shapes = {key: tuple(got[key].shape[1:]) for key in task.output_shapes()}
    assert task.output_shapes() == shapes
    assert (
        set(shapes)
        == {"pooled", "centre", *(["grid"] if grid else [])}
        == set(got)
        - {
            "tile",
            "valid_fraction",
            "observations_mean",
        }
    )


@pytest.mark.parametrize("make", [thor, patches])
def test_a_task_pools_over_the_polygons_of_its_batch(make: Any) -> None:
    task = make(pooling="max", centre=True)
    within = polygons()
    with torch.inference_mode():
        got = task.predict_step(batch(place_at=AT, within=within))
        whole = task.predict_step(batch(place_at=AT))
    assert not torch.equal(got["pooled"], whole["pooled"])
    assert torch.equal(got["centre"], whole["centre"])
    if make is patches:
        inside = patch_shares(within, [(6, 6)]) > 0
        values = whole["grid"].flatten(2).mT
        assert torch.equal(got["pooled"][0], values[0][inside[0]].amax(dim=0))
        assert torch.equal(got["pooled"][1], values[1, 30])


def test_tokens_without_places_are_told_from_those_with() -> None:
    with pytest.raises(InputError, match=r"output\.centre.*data\.places"):
        patches(centre=True).predict_step(batch())

    class Tokens(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2)[:, :, :7].mT

    task = BackboneEmbeddingTask(Tokens(), bands=["RED", "NIR"], image_size=96, grid=False)
    with pytest.raises(InputError, match=r"data\.places\.within.*7 tokens"):
        task.predict_step(batch(within=polygons()))
    task = BackboneEmbeddingTask(
        Tokens(), bands=["RED", "NIR"], image_size=96, grid=False, centre=True
    )
    with pytest.raises(InputError, match=r"output\.centre.*7 tokens"):
        task.output_shapes()
