"""What is read off the tokens: if one of these fails, vectors are mixed up or of another thing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import thor_golden as golden
from thor_geo.errors import ConfigError, InputError
from thor_geo.models import Readout, make_layout, merge_groups, pool_tokens, pooled_dim
from thor_geo.specs.bands import select_bands
from thor_geo.tasks import THOREmbeddingTask

LAYOUT = make_layout(select_bands(["RED", "SWIR_1", "WATER_VAPOR"]), ground_cover=960, patch_size=8)
# 10, 20 and 60 m: 12 x 12, 6 x 6 and 2 x 2 patches, one after the other.
CUTS = (0, 144, 180, 184)


def tokens(seed: int = 0, width: int = 5) -> Tensor:
    return torch.randn(2, 184, width, generator=torch.Generator().manual_seed(seed))


def group_means(x: Tensor) -> np.ndarray[Any, Any]:
    """Return the means by group, (B, 3, D), in double precision."""
    values = x.double().numpy()
    parts = [values[:, a:b].mean(axis=1) for a, b in pairwise(CUTS)]
    return np.stack(parts, axis=1)


def test_group_mean_is_each_groups_mean_groups_ascending() -> None:
    got = pool_tokens(tokens(), "group_mean", layout=LAYOUT)
    assert got.shape == (2, 15)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), group_means(tokens()).reshape(2, 15), atol=1e-6)


def test_grid_mean_gives_every_group_the_same_weight() -> None:
    # Enlarged bilinearly by a whole even factor, a map keeps its mean.
    got = pool_tokens(tokens(), "grid_mean", layout=LAYOUT)
    np.testing.assert_allclose(got.numpy(), group_means(tokens()).mean(axis=1), atol=1e-6)
    assert not torch.allclose(got, pool_tokens(tokens(), "mean"), atol=1e-2)
    summed = pool_tokens(tokens(), "grid_mean", layout=LAYOUT, merge="sum")
    np.testing.assert_allclose(summed.numpy(), group_means(tokens()).sum(axis=1), atol=1e-5)
    apart = pool_tokens(tokens(), "grid_mean", layout=LAYOUT, merge="concat")
    np.testing.assert_allclose(apart.numpy(), group_means(tokens()).reshape(2, 15), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "grid_mean", "group_mean"])
@pytest.mark.parametrize("merge", ["mean", "sum", "concat"])
def test_several_layers_stand_side_by_side_in_their_order(pooling: Any, merge: Any) -> None:
    readout = Readout(layout=LAYOUT, layers=(7, 2), pooling=pooling, merge=merge)
    layers = [tokens(0), tokens(1)]
    vector, grid = readout.pooled(layers), readout.grid(layers)
    width = pooled_dim(5, LAYOUT, pooling, merge)
    for k, one in enumerate(layers):
        expected = pool_tokens(one, pooling, layout=LAYOUT, merge=merge)
        assert torch.equal(vector[:, k * width : (k + 1) * width], expected)
    assert torch.equal(grid, torch.cat([merge_groups(x, LAYOUT, merge) for x in layers], dim=1))
    assert vector.shape[1:] == readout.pooled_shape(5)
    assert grid.shape[1:] == readout.grid_shape(5)
    assert len(readout.pooled_parts) * 5 == vector.shape[1]
    assert len(readout.grid_parts) * 5 == grid.shape[1]


def test_parts_are_named_as_they_stand() -> None:
    readout = Readout(layout=LAYOUT, layers=(7, 2), pooling="group_mean")
    names = [f"layer{layer}.group{group}" for layer in (7, 2) for group in (0, 1, 2)]
    assert readout.pooled_parts == names
    assert readout.grid_parts == ["layer7", "layer2"]
    # Values of a known part: the 20 m group of the second layer.
    layers = [torch.zeros(1, 184, 1), torch.zeros(1, 184, 1)]
    layers[1][:, 144:180] = 3.0
    assert readout.pooled(layers).tolist() == [[0, 0, 0, 0, 3, 0]]


@pytest.mark.parametrize("pooling", ["grid_mean", "group_mean"])
def test_groups_need_a_layout_that_fits(pooling: Any) -> None:
    with pytest.raises(ConfigError, match=f"{pooling}.*layout"):
        pool_tokens(tokens(), pooling)
    with pytest.raises(InputError, match="184"):
        pool_tokens(tokens()[:, 1:], pooling, layout=LAYOUT)


def random_task(case: golden.Case, **kwargs: Any) -> THOREmbeddingTask:
    """Return a task with random weights, for a case's bands and size."""
    task = THOREmbeddingTask(
        case["variant"],
        pretrained=False,
        bands=case["bands"],
        image_size=case["side"],
        resolution=case["ground_cover"] // case["side"],
        patch_size=case["patch_size"],
        **kwargs,
    )
    task.configure_model()
    return task


def golden_task(case: golden.Case, **kwargs: Any) -> THOREmbeddingTask:
    """Return a task with the test weights, for a case's bands and size."""
    task = random_task(case, **kwargs)
    assert task.thor is not None
    golden.fill(task.thor.encoder)
    return task


NAMES = ["s2_10b_gc2880_p16", "s2_12b_gc960_p4", "s1_vhvv_gc1440_p8", "s2_20m_gc1920_p16"]
CASES = [case for case in golden.CASES if case["name"] in NAMES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_the_defaults_give_the_very_numbers_they_always_gave(case: golden.Case) -> None:
    task, x = golden_task(case), golden.case_input(case)
    assert task.thor is not None
    with torch.inference_mode():
        got = task.embed(x)
        last = golden.case_encoder(case).forward_features(x, [-1])[0]
        # As `THOREmbeddingTask.embed` was, before there was anything to choose.
        assert torch.equal(got["pooled"], last.mean(dim=1, dtype=torch.float32))
        assert torch.equal(got["grid"], merge_groups(last, task.layout, "mean").float())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_every_choice_is_what_the_reference_gives(case: golden.Case) -> None:
    want, x = golden.expected(case), golden.case_input(case)
    std = {name: stage["std"] for name, stage in case["stats"].items()}
    # Means may be near zero: their errors are measured in standard deviations of the tokens.
    for kwargs, key, scale in (
        ({}, "pooled_mean_unnormed", std["tokens_unnormed"]),
        ({"pooling": "max"}, "pooled_max_unnormed", None),
        ({"norm": True}, "pooled_mean_normed", std["tokens_normed"]),
        ({"norm": True, "pooling": "max"}, "pooled_max_normed", None),
        ({"pooling": "grid_mean"}, "grid_mean__spatial_mean", std["grid_mean"]),
        (
            {"pooling": "grid_mean", "group_merge": "concat"},
            "grid_concat__spatial_mean",
            std["grid_concat"],
        ),
        ({"layers": [0]}, "block0__dim_mean", std["block0"]),
    ):
        task = golden_task(case, grid=False, **kwargs)
        with torch.inference_mode():
            got = task.embed(x)["pooled"]
        assert tuple(got.shape[1:]) == task.output_shapes()["pooled"]
        error = np.abs(got.double().numpy() - want[key]).max()
        error /= np.abs(want[key]).max() if scale is None else scale
        assert error <= 1e-5, (kwargs, error)


def test_a_run_records_what_was_read() -> None:
    (case,) = [case for case in CASES if case["name"] == "s2_10b_gc2880_p16"]
    task = random_task(case, layers=[5, -1], norm=True, pooling="group_mean")
    assert task.output_shapes() == {"pooled": (4 * 192,), "grid": (2 * 192, 18, 18)}
    settings, info = task.settings(), task.info()
    for record in (settings, info):
        assert record["layers"] == [5, 11], "-1 and 11 are one block, and one run"
        assert record["norm"] is True
        assert record["pooling"] == "group_mean"
        assert record["implementation"] == "thorgeo"
    assert info["pooled_parts"][:2] == ["layer5.group0", "layer5.group1"]
    assert info["grid_parts"] == ["layer5", "layer11"]


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"layers": [12]}, r"`layers=12`.*12 blocks.*-12 to 11"),
        ({"layers": [-1, 11]}, r"`layers=\[-1, 11\]`.*twice"),
        ({"layers": []}, r"`layers=\[\]`.*\[-1\]"),
        ({"pooling": "median"}, r"pooling='median'.*mean, max, grid_mean, group_mean"),
        ({"implementation": "theirs"}, r"implementation='theirs'.*thorgeo, official"),
    ],
)
def test_bad_choices_fail_in_the_constructor(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        THOREmbeddingTask("thor_v1_tiny", pretrained=False, **kwargs)
