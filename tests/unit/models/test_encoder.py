"""The encoder's constants, gradients, precision and input checks."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from thor_geo.errors import ConfigError, InputError
from thor_geo.models import THOREncoder, build_thor, token_layout, variant

BANDS = ["RED", "GREEN", "SWIR_1"]

# Not one number: LayerNorm takes a constant away.
RAMP = torch.linspace(-1, 1, 192)


def make(seed: int = 0, **kwargs: Any) -> THOREncoder:
    layout = token_layout(bands=BANDS, image_size=64, patch_size=8)
    return THOREncoder(variant("thor_v1_tiny"), layout, seed=seed, **kwargs).eval()


def image(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def tokens(encoder: THOREncoder) -> Tensor:
    return encoder(image())


def fresh(encoder: THOREncoder) -> Tensor:
    """Encode with a new encoder that has the same weights and never had constants."""
    other = make(seed=99)
    with torch.no_grad():
        for ours, theirs in zip(
            other.state_dict().values(), encoder.state_dict().values(), strict=True
        ):
            ours.copy_(theirs)
    other.forget_constants()
    return tokens(other)


def replace_state(encoder: THOREncoder) -> None:
    encoder.load_state_dict(make(seed=1).state_dict())


def assign_state(encoder: THOREncoder) -> None:
    encoder.load_state_dict(make(seed=1).state_dict(), assign=True)


def load_inner_state(encoder: THOREncoder) -> None:
    encoder.ind_patch_embed.load_state_dict(make(seed=1).ind_patch_embed.state_dict())


def load_through_parent(encoder: THOREncoder) -> None:
    parent = torch.nn.ModuleDict({"encoder": encoder})
    parent.load_state_dict(torch.nn.ModuleDict({"encoder": make(seed=1)}).state_dict())


def write_kernel(encoder: THOREncoder) -> None:
    with torch.no_grad():
        encoder.get_parameter("ind_patch_embed.patch_embed.S2:SWIR1.weight").mul_(2)


def write_bias(encoder: THOREncoder) -> None:
    with torch.no_grad():
        encoder.get_parameter("ind_patch_embed.patch_embed.S2:Red.bias").add_(RAMP)


def write_group_code(encoder: THOREncoder) -> None:
    with torch.no_grad():
        encoder.get_parameter("band_embed.group1").mul_(-1)


def write_slopes(encoder: THOREncoder) -> None:
    encoder.encoder_slopes.mul_(4)


def draw_again(encoder: THOREncoder) -> None:
    encoder.reset_parameters(7)


@pytest.mark.parametrize(
    "change",
    [
        replace_state,
        assign_state,
        load_inner_state,
        load_through_parent,
        write_kernel,
        write_bias,
        write_group_code,
        write_slopes,
        draw_again,
    ],
    ids=lambda change: change.__name__,
)
def test_constants_follow_the_weights(change: Callable[[THOREncoder], None]) -> None:
    # Stale constants would give embeddings of a checkpoint that is not loaded any more.
    encoder = make()
    before = tokens(encoder)
    change(encoder)
    after = tokens(encoder)
    assert not torch.allclose(before, after, atol=1e-3)
    assert torch.equal(after, fresh(encoder))


def test_constants_are_computed_once_while_frozen() -> None:
    encoder = make()
    with torch.no_grad():
        first = encoder.constants()
        encoder(image())
        second = encoder.constants()
    encoder.requires_grad_(False)
    encoder.train()
    encoder(image())
    third = encoder.constants()
    for other in (second, third):
        assert other.bias is first.bias
        for ours, theirs in zip(other.kernels, first.kernels, strict=True):
            assert ours.weight is theirs.weight
            assert ours.bias is theirs.bias


def test_bias_is_one_matrix_per_head_whatever_the_batch() -> None:
    bias = make().constants().bias
    n = make().layout.n_tokens
    assert bias.shape == (1, 3, n, n)
    assert bias.untyped_storage().nbytes() < 1.3 * 3 * n * n * 4


def test_constants_made_in_inference_mode_do_not_break_training() -> None:
    encoder = make()
    with torch.inference_mode():
        encoder(image())
    encoder.requires_grad_(False)
    encoder.norm.requires_grad_(True)
    encoder.blocks[-1].requires_grad_(True)
    x = image().requires_grad_()
    encoder(x).square().sum().backward()
    assert x.grad is not None
    assert encoder.norm.weight.grad is not None


def test_gradients_reach_the_patch_embedding_when_it_is_trained() -> None:
    encoder = make()
    tokens(encoder)  # constants exist, and must not be used
    encoder.train()
    encoder(image()).square().sum().backward()
    for name in ("weight", "bias"):
        for channel in ("S2:Red", "S2:Green", "S2:SWIR1"):
            parameter = encoder.get_parameter(f"ind_patch_embed.patch_embed.{channel}.{name}")
            assert parameter.grad is not None
            assert float(parameter.grad.abs().max()) > 0
    unused = encoder.get_parameter("ind_patch_embed.patch_embed.S2:Blue.weight")
    assert unused.grad is None
    assert encoder.get_parameter("band_embed.group0").grad is None


def test_gradient_of_a_resampled_kernel_is_right() -> None:
    encoder = make()
    weight = encoder.get_parameter("ind_patch_embed.patch_embed.S2:Red.weight")
    x = image(1)

    def loss() -> Tensor:
        return encoder.embed_tokens(x, encoder.constants()).double().square().mean()

    loss().backward()
    assert weight.grad is not None
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    slope = float((weight.grad * direction).sum())
    step, values = 1e-2, []
    with torch.no_grad():
        for sign in (1, -1):
            weight.add_(direction, alpha=sign * step)
            values.append(float(loss()))
            weight.sub_(direction, alpha=sign * step)
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3)


def test_evaluation_after_a_training_step_sees_the_new_weights() -> None:
    encoder = make()
    before = tokens(encoder)
    optimizer = torch.optim.SGD(encoder.ind_patch_embed.parameters(), lr=1.0)
    encoder.train()
    encoder(image()).square().mean().backward()
    optimizer.step()
    encoder.eval()
    after = tokens(encoder)
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh(encoder))


def test_evaluation_sees_weights_written_to_data_during_training() -> None:
    encoder = make()
    tokens(encoder)
    encoder.train()
    encoder.get_parameter("ind_patch_embed.patch_embed.S2:Red.weight").data.mul_(3)
    encoder.eval()
    assert torch.equal(tokens(encoder), fresh(encoder))


def test_geometry_stays_float32_in_a_half_precision_model() -> None:
    encoder = make()
    exact = encoder.constants().bias
    half = make().to(torch.bfloat16)
    assert half.encoder_slopes.dtype == torch.float32
    assert torch.equal(half.encoder_slopes, encoder.encoder_slopes)
    bias = half.constants().bias
    assert bias.dtype == torch.bfloat16
    # Rounded once, at the end: every value is the nearest bfloat16.
    assert torch.equal(bias, exact.to(torch.bfloat16))
    out = tokens(half)
    assert out.dtype == torch.bfloat16
    reference = tokens(encoder)
    assert float((out - reference).norm() / reference.norm()) < 0.03


def test_autocast_keeps_the_residual_stream_in_float32() -> None:
    encoder = make()
    reference = tokens(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert encoder.constants().bias.dtype == torch.bfloat16
        last = encoder.forward_features(image(), [-1])[0]
        out = encoder(image())
    assert last.dtype == torch.float32
    assert float((out - reference).norm() / reference.norm()) < 0.03
    # And back: no bfloat16 constant survives.
    assert torch.equal(tokens(encoder), reference)


def test_moving_there_and_back_changes_nothing() -> None:
    encoder = make()
    before = tokens(encoder)
    assert torch.equal(tokens(encoder.double().float()), before)


def test_copies_and_pickles_leave_constants_behind_and_agree() -> None:
    encoder = make()
    lean = len(pickle.dumps(encoder))
    before = tokens(encoder)
    assert len(pickle.dumps(encoder)) == lean
    clone = copy.deepcopy(encoder)
    assert torch.equal(tokens(clone), before)
    with torch.no_grad():
        clone.get_parameter("ind_patch_embed.patch_embed.S2:Red.bias").add_(RAMP)
    assert torch.equal(tokens(encoder), before)
    assert not torch.equal(tokens(clone), before)
    again = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(tokens(again), before)


def test_early_features_run_only_the_blocks_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make()
    with torch.no_grad():
        everything = encoder.forward_features(image())
        assert len(everything) == 12
        calls: list[int] = []
        for number, block in enumerate(encoder.blocks):
            block.register_forward_hook(lambda *_, number=number: calls.append(number))
        third, first = encoder.forward_features(image(), [2, -12])
        assert calls == [0, 1, 2]
    assert torch.equal(third, everything[2])
    assert torch.equal(first, everything[0])


def test_normed_features_are_the_forward_pass() -> None:
    encoder = make()
    with torch.no_grad():
        (normed,) = encoder.forward_features(image(), [-1], norm=True)
        (plain,) = encoder.forward_features(image(), [11])
        assert torch.equal(normed, encoder(image()))
        assert torch.equal(normed, encoder.norm(plain))


@pytest.mark.parametrize("indices", [[12], [-13], [0, 99], [1.0], [True], [], 3])
def test_block_indices_out_of_range_are_refused(indices: Any) -> None:
    with pytest.raises(ConfigError, match="out_indices"):
        make().forward_features(image(), indices)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 2, 64, 64), "2 channels.*built for 3.*S2:Red, S2:Green, S2:SWIR1"),
        (torch.zeros(1, 4, 64, 64), "4 channels.*built for 3"),
        (torch.zeros(1, 3, 64, 65), "64 x 65.*640 m.*64 x 64"),
        (torch.zeros(1, 3, 32, 32), "32 x 32.*640 m.*64 x 64"),
        (torch.zeros(3, 64, 64), "3 dimensions"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.int16), "int16"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()(x)


def test_squashing_must_be_asked_for() -> None:
    encoder = make(allow_resize=True)
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, 50, 70)).shape == (1, 80, 192)


def test_random_weights_depend_on_the_seed_alone(caplog: pytest.LogCaptureFixture) -> None:
    def build(seed: int) -> Tensor:
        backbone = build_thor(
            "thor_v1_tiny", bands=BANDS, image_size=64, patch_size=8, pretrained=False, seed=seed
        )
        return tokens(backbone.encoder)

    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING):
        first = build(0)
    assert "RANDOM weights (seed 0)" in caplog.text
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = build(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.allclose(first, build(1), atol=1e-2)


def test_random_weights_tell_images_apart() -> None:
    # Random weights run the quickstart: its map would be one colour if only the codes came through.
    encoder = make()
    with torch.no_grad():
        last = encoder.forward_features(image(4), [-1])[0].mean(dim=1)
    assert float(last.std(dim=0).mean()) > 0.01


def test_batch_members_do_not_see_each_other() -> None:
    encoder = make()
    x = image(3)
    with torch.no_grad():
        together, alone = encoder(x)[1], encoder(x[1:2])[0]
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_a_batch_worked_off_in_parts_is_the_batch(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make()
    x = image(batch)
    with torch.no_grad():
        whole = encoder.forward_features(x, [0, -1, 3])
        hidden = encoder.layout.n_tokens * 4 * encoder.variant.embed_dim * 4
        monkeypatch.setattr("thor_geo.models.encoder._CPU_PART_BYTES", 2 * hidden)
        calls: list[int] = []
        encoder.blocks[0].register_forward_hook(lambda _, args, out: calls.append(len(out)))
        parts = encoder.forward_features(x, [0, -1, 3])
    assert calls == [2] * (batch // 2) + [1] * (batch % 2)
    for ours, theirs in zip(parts, whole, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_batch_with_gradients_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make()
    monkeypatch.setattr("thor_geo.models.encoder._CPU_PART_BYTES", 1)
    calls: list[int] = []
    encoder.blocks[0].register_forward_hook(lambda _, args, out: calls.append(len(out)))
    encoder(image(3))
    with torch.no_grad():
        encoder(image(3))
        assert encoder(image(3)[:0]).shape == (0, encoder.layout.n_tokens, 192)
    assert calls == [3, 1, 1, 1, 0]
