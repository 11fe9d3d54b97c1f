from __future__ import annotations

import pytest
import torch

from thor_geo.errors import ConfigError, InputError
from thor_geo.models import pool_tokens
from thor_geo.tasks import BackboneEmbeddingTask, THOREmbeddingTask
from thor_geo.tasks.backbone import read_features


def test_square_tokens_become_a_row_major_map() -> None:
    tokens = torch.arange(2 * 9 * 4).reshape(2, 9, 4).float()
    features = read_features(tokens)
    assert features.grid is not None
    assert features.grid.shape == (2, 4, 3, 3)
    assert torch.equal(features.grid[0, :, 1, 2], tokens[0, 5])


def test_a_class_token_in_front_is_taken_off_and_reported() -> None:
    tokens = torch.randn(1, 17, 8)
    features = read_features(tokens)
    assert features.cls_removed
    assert torch.equal(features.tokens, tokens[:, 1:])
    assert torch.equal(pool_tokens(features.tokens, "mean"), tokens[:, 1:].mean(dim=1))


def test_maps_are_taken_as_they_are_and_pool_like_their_tokens() -> None:
    maps = torch.randn(2, 8, 5, 7)
    features = read_features([torch.zeros(1), maps])
    assert features.grid is maps
    assert torch.allclose(pool_tokens(features.tokens, "max"), maps.amax(dim=(2, 3)))


def test_tokens_without_a_square_pool_but_have_no_map() -> None:
    features = read_features(torch.randn(1, 405, 8))
    assert pool_tokens(features.tokens, "mean").shape == (1, 8)
    with pytest.raises(InputError, match=r"405 tokens.*output\.grid to false"):
        features.require_grid("output.grid")


@pytest.mark.parametrize("bad", [torch.zeros(3, 4), {"x": 1}, "tokens"])
def test_other_outputs_are_refused_with_their_shape(bad: object) -> None:
    with pytest.raises(InputError, match="backbone"):
        read_features(bad)


def test_poolings_that_only_thor_has_are_refused_of_another_backbone() -> None:
    with pytest.raises(ConfigError, match=r"`pooling='group_mean'`.*mean, max"):
        BackboneEmbeddingTask(torch.nn.Identity(), pooling="group_mean")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["layers", "norm", "implementation"])
def test_what_only_thor_can_do_is_not_a_setting_of_another_backbone(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        BackboneEmbeddingTask(torch.nn.Identity(), **{name: None})  # type: ignore[arg-type]


def test_thor_takes_no_other_backbone() -> None:
    with pytest.raises(TypeError, match="backbone"):
        THOREmbeddingTask(backbone=torch.nn.Identity())  # type: ignore[call-arg]
