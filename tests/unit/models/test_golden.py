"""Parity with the reference: if one of these fails, embeddings are not THOR's any more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import thor_golden as golden
from thor_geo.models import (
    VARIANTS,
    THOREncoder,
    make_layout,
    merge_groups,
    pool_tokens,
    weights_sha256,
)
from thor_geo.specs.bands import select_bands

#: Tolerances of the specification, section 14.
TOLERANCE = 1e-5

# Cases that share weights follow each other, so that weights are made four times, not 25.
ORDERED = sorted(golden.CASES, key=lambda case: (case["variant"], "cls_token" in case))


@pytest.fixture(scope="module")
def worst() -> Iterator[dict[str, float]]:
    """Collect the worst error of every case, and print the overall worst (pytest -s)."""
    errors: dict[str, float] = {}
    yield errors
    if errors:
        name = max(errors, key=errors.__getitem__)
        print(f"\ngolden parity: worst error {errors[name]:.2e} ({name}), {len(errors)} cases")


def relative_error(ours: Tensor, theirs: golden.Array, scale: float | None = None) -> float:
    """Return the larger of maximum and L2 error; with *scale* the maximum error over that."""
    a, b = ours.double().numpy(), theirs.astype(np.float64)
    assert a.shape == b.shape
    if scale is not None:
        return float(np.abs(a - b).max() / scale)
    return float(
        max(np.abs(a - b).max() / np.abs(b).max(), np.linalg.norm(a - b) / np.linalg.norm(b))
    )


def sequence_errors(
    stage: str,
    tokens: Tensor,
    index: Tensor,
    want: dict[str, golden.Array],
    std: float,
    prefix: int = 0,
) -> dict[str, float]:
    """Compare the subset (without CLS) and the summaries (with CLS) of a sequence (B, N, D)."""
    return {
        f"{stage}__sub": relative_error(tokens[:, prefix + index], want[f"{stage}__sub"]),
        f"{stage}__tok_l2": relative_error(tokens.norm(dim=2), want[f"{stage}__tok_l2"]),
        f"{stage}__tok_mean": relative_error(tokens.mean(dim=2), want[f"{stage}__tok_mean"], std),
        f"{stage}__dim_mean": relative_error(tokens.mean(dim=1), want[f"{stage}__dim_mean"], std),
        f"{stage}__dim_max": relative_error(tokens.amax(dim=1), want[f"{stage}__dim_max"]),
    }


@pytest.mark.parametrize("case", ORDERED, ids=lambda case: str(case["name"]))
def test_case(case: golden.Case, worst: dict[str, float]) -> None:
    """Every stage of every case equals the reference to float32 rounding."""
    want, std = golden.expected(case), {k: v["std"] for k, v in case["stats"].items()}
    encoder = golden.case_encoder(case)
    layout = encoder.layout
    assert layout.n_tokens == case["tokens"]
    assert layout.channel_params == case["channel_params"]
    assert {
        f"group{group.group}": [band.channel for band in group.bands] for group in layout.groups
    } == case["groups"]
    x = golden.case_input(case)
    with torch.inference_mode():
        embedded = encoder.embed_tokens(x, encoder.constants())
        block0, last = encoder.forward_features(x, [0, -1])
        normed = encoder(x)
    prefix = encoder.n_prefix
    patches, normed_patches = last[:, prefix:], normed[:, prefix:]
    late = torch.from_numpy(want["token_index"]).long()
    early = torch.from_numpy(want["early_token_index"]).long()
    errors = {
        **sequence_errors("embed", embedded, early, want, std["embed"], prefix),
        **sequence_errors("block0", block0, early, want, std["block0"], prefix),
        **sequence_errors("tokens_unnormed", patches, late, want, std["tokens_unnormed"]),
        **sequence_errors("tokens_normed", normed, late, want, std["tokens_normed"], prefix),
    }
    if prefix:
        errors["cls"] = relative_error(normed[:, 0], want["cls_normed"])
    for mode in ("mean", "sum", "concat"):
        grid = merge_groups(patches, layout, mode)
        stage = f"grid_{mode}"
        assert list(grid.shape) == case["stats"][stage]["shape"]
        stride = int(want[f"{stage}__chan_stride"])
        errors[stage] = relative_error(grid[:, ::stride], want[f"{stage}__sub"])
        errors[f"{stage}_spatial"] = relative_error(
            grid.mean(dim=(2, 3)), want[f"{stage}__spatial_mean"], std[stage]
        )
    for name, tokens in (("unnormed", patches), ("normed", normed_patches)):
        errors[f"mean_{name}"] = relative_error(
            pool_tokens(tokens, "mean"), want[f"pooled_mean_{name}"], std[f"tokens_{name}"]
        )
        errors[f"max_{name}"] = relative_error(
            pool_tokens(tokens, "max"), want[f"pooled_max_{name}"]
        )
    worst[case["name"]] = max(errors.values())
    bad = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    assert not bad


@pytest.mark.parametrize("model_key", VARIANTS)
def test_state_dict(model_key: str) -> None:
    """Keys, shapes and dtypes are the official ones, or no official checkpoint would load.

    The fingerprint of the test weights also pins group codes and slopes to the last bit.
    """
    row = VARIANTS[model_key]
    encoder = THOREncoder(row, make_layout(select_bands(["RED"]), ground_cover=960), seed=None)
    got = sorted(
        [key, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in encoder.state_dict().items()
    )
    assert got == sorted(golden.KEYS["state_dict"][model_key])
    assert [name for name, _ in encoder.named_buffers()] == golden.KEYS["buffers"]
    fixed = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert sorted(fixed) == sorted(golden.KEYS["non_trainable_parameters"])
    golden.fill(encoder)
    assert weights_sha256(encoder) == golden.SHA256[model_key]
