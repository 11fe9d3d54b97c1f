"""If this fails, the encoder's benchmark counts wrongly, or compares with something else."""

from __future__ import annotations

import pytest
import torch

from benchmarks.support.flops import encoder_flops
from benchmarks.support.literal import LiteralEncoder, relative_error
from thor_geo.models import THOREncoder, token_layout, variant
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

CHANNELS = [band.channel for band in bands_from_ee(S2_DEFAULT_BANDS)]


@pytest.mark.parametrize(
    ("patch", "tokens", "embedding", "linear", "attention"),
    [(16, 405, 0.7, 68.8, 6.0), (8, 1620, 0.7, 275.2, 96.7)],
)
def test_operations_are_those_of_the_specification(
    patch: int, tokens: int, embedding: float, linear: float, attention: float
) -> None:
    layout = token_layout(bands=CHANNELS, image_size=288, patch_size=patch)
    flops = encoder_flops(variant("thor_v1_base"), layout)
    assert layout.n_tokens == tokens
    assert flops.embedding / 1e9 == pytest.approx(embedding, abs=0.05)
    assert flops.linear / 1e9 == pytest.approx(linear, abs=0.05)
    assert flops.attention / 1e9 == pytest.approx(attention, abs=0.05)
    assert flops.total / 1e9 == pytest.approx({16: 75.5, 8: 372.6}[patch], abs=0.05)


@pytest.mark.parametrize(("bands", "patch"), [(CHANNELS, 8), (["SWIR_1", "RED", "VV"], 16)])
def test_the_literal_encoder_is_ours(bands: list[str], patch: int) -> None:
    layout = token_layout(bands=bands, image_size=96, patch_size=patch)
    encoder = THOREncoder(variant("thor_v1_tiny"), layout, seed=3).eval()
    literal = LiteralEncoder(encoder.variant, layout, encoder.state_dict())
    x = torch.randn(3, len(bands), 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert relative_error(encoder(x), literal(x)) < 1e-5
        early = encoder.norm(encoder.forward_features(x, [1])[0])
        assert relative_error(early, literal(x, depth=2)) < 1e-5
