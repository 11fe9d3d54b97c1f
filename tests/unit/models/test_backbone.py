"""What the backbone returns, and how tokens become vectors and maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from thor_geo.errors import ConfigError, InputError
from thor_geo.models import THORBackbone, build_thor, merge_groups, pool_tokens, split_groups

BANDS = ["RED", "SWIR_1", "WATER_VAPOR"]


def build(**kwargs: Any) -> THORBackbone:
    return build_thor("thor_v1_tiny", bands=BANDS, image_size=48, patch_size=4, **kwargs)


def image() -> torch.Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(3))


N = 12 * 12 + 6 * 6 + 2 * 2


@torch.no_grad()
def test_return_types() -> None:
    x = image()
    plain = build(out_indices=[3, -1])(x)
    assert isinstance(plain, list)
    assert [tuple(tokens.shape) for tokens in plain] == [(2, N, 192)] * 2
    maps = build(out_indices=[-1], merge="mean")(x)
    assert isinstance(maps, list)
    assert maps[0].shape == (2, 192, 12, 12)
    both = build(out_indices=[-1], return_channel_params=True)(x)
    assert isinstance(both, tuple)
    assert both[1]["S2:WaterVapor"] == {"GSD": 60, "num_patch": 2, "patch_size": 4}
    assert torch.equal(both[0][0], plain[1])
    everything = build(merge="concat", return_channel_params=True)(x)
    assert isinstance(everything, tuple)
    assert len(everything[0]) == 12
    assert everything[0][0].shape == (2, 576, 12, 12)


def test_attributes() -> None:
    backbone = build(out_indices=[0, -1], merge="concat")
    assert backbone.model_key == "thor_v1_tiny"
    assert backbone.embed_dim == 192
    assert backbone.out_indices == (0, 11)
    assert backbone.out_channels == [576, 576]
    assert build().out_channels == [192] * 12
    assert (backbone.grid_dim("mean"), backbone.grid_dim("concat")) == (192, 576)
    assert not backbone.training


@torch.no_grad()
def test_embed_gives_the_unnormed_last_block() -> None:
    backbone = build()
    output = backbone.embed(image())
    features = backbone(image())
    assert torch.equal(output.tokens, features[-1])
    assert output.cls_token is None


@torch.no_grad()
def test_features_are_of_any_blocks_with_or_without_the_norm() -> None:
    backbone = build()
    everything = backbone(image())
    first, last = backbone.features(image(), [-12, -1])
    assert torch.equal(first, everything[0])
    assert torch.equal(last, everything[-1])
    (normed,) = backbone.features(image(), [-1], norm=True)
    assert torch.equal(normed, backbone.encoder(image()))
    want = F.layer_norm(first.double(), (192,), eps=1e-6)  # the norm's weights are 1 and 0 here
    assert torch.allclose(backbone.features(image(), [0], norm=True)[0].double(), want, atol=1e-4)


@torch.no_grad()
def test_what_else_a_batch_holds_is_not_looked_at() -> None:
    # TerraTorch's tasks hand the whole batch on by name.
    backbone = build(out_indices=[-1])
    whole = backbone(image(), tile=torch.tensor([3, 4]), error=[None, None])
    assert torch.equal(whole[0], backbone(image())[0])


@torch.no_grad()
def test_merge_modes() -> None:
    layout = build().layout
    tokens = torch.randn(2, N, 8)
    fine, middle, coarse = split_groups(tokens, layout)
    assert torch.equal(fine[1, :, 2, 5], tokens[1, 2 * 12 + 5])  # rows from the top
    assert torch.equal(middle[0, :, 1, 3], tokens[0, 144 + 6 + 3])
    parts = [
        fine,
        F.interpolate(middle, size=(12, 12), mode="bilinear", align_corners=False),
        F.interpolate(coarse, size=(12, 12), mode="bilinear", align_corners=False),
    ]
    concat = merge_groups(tokens, layout, "concat")
    assert torch.equal(concat, torch.cat(parts, dim=1))
    stacked = torch.stack(parts)
    assert torch.allclose(merge_groups(tokens, layout, "sum"), stacked.sum(dim=0), atol=1e-6)
    mean = merge_groups(tokens, layout, "mean")
    assert torch.allclose(mean, stacked.mean(dim=0), atol=1e-6)
    assert mean.is_contiguous()
    assert merge_groups(tokens, layout).equal(mean)


def test_pooling_weights_groups_by_their_tokens() -> None:
    tokens = torch.arange(12.0).reshape(1, 6, 2)
    assert pool_tokens(tokens).tolist() == [[5.0, 6.0]]
    assert pool_tokens(tokens, "max").tolist() == [[10.0, 11.0]]
    assert pool_tokens(tokens, cls_token=True).tolist() == [[6.0, 7.0]]
    assert pool_tokens(-tokens, "max", cls_token=True).tolist() == [[-2.0, -3.0]]


def test_pooling_half_precision_tokens_is_not_rounded_to_half_precision() -> None:
    # Neighbours in bfloat16; the mean between them is not one.
    tokens = torch.tensor([1.0, 1.0078125], dtype=torch.bfloat16).reshape(1, 2, 1)
    pooled = pool_tokens(tokens)
    assert pooled.dtype == torch.float32
    assert float(pooled) == 1.00390625
    assert pool_tokens(tokens, "max").dtype == torch.float32


def test_unknown_merge_and_pooling_are_refused() -> None:
    bad: Any = "median"
    layout = build().layout
    for call in (
        lambda: build(merge=bad),
        lambda: merge_groups(torch.zeros(1, N, 8), layout, bad),
        lambda: pool_tokens(torch.zeros(1, 4, 8), bad),
    ):
        with pytest.raises(ConfigError, match=r"median.*mean"):
            call()


@pytest.mark.parametrize("shape", [(1, N + 1, 8), (1, N - 1, 8), (N, 8)])
def test_tokens_of_another_layout_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"tokens.*{N}"):
        merge_groups(torch.zeros(shape), build().layout)


def test_freezing() -> None:
    backbone = build()
    assert any(p.requires_grad for p in backbone.parameters())
    backbone.freeze()
    assert not any(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize("indices", [[12], [-13], [], 0])
def test_bad_indices_fail_at_construction(indices: Any) -> None:
    with pytest.raises(ConfigError, match="out_indices"):
        build(out_indices=indices)
