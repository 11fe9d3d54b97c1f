"""The pieces of the encoder against units.npz: where a parity failure comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import thor_golden as golden
from thor_geo.models import make_layout
from thor_geo.models.alibi import alibi_bias, alibi_slopes, patch_centres
from thor_geo.models.codes import footprint_code, group_code
from thor_geo.models.resample import resample_images, resample_kernels, resize_pinv
from thor_geo.specs.bands import select_bands

UNITS = golden.units()


def assert_close(ours: Tensor, theirs: golden.Array, tolerance: float = 1e-5) -> None:
    a, b = ours.double().numpy(), theirs.astype(np.float64)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("p", [4, 6, 8, 12, 24, 32])
def test_kernel_resampling(p: int) -> None:
    pinv = resize_pinv(p)
    assert pinv.shape == (p, 16)
    full = torch.kron(pinv, pinv)
    assert_close(full[[0, p * p // 2]], UNITS[f"pinv_16_to_{p}__row0_rowmid"])
    weight = golden.weight_of("ind_patch_embed.patch_embed.S2:Red.weight", (192, 1, 16, 16))
    resampled = resample_kernels(torch.from_numpy(weight), p)
    assert_close(resampled[[0, 100]], UNITS[f"kernel_tiny_S2Red_16_to_{p}__d0_d100"])


def test_kernels_of_the_stored_size_are_not_touched() -> None:
    kernels = torch.randn(3, 1, 16, 16)
    assert resample_kernels(kernels, 16) is kernels


@pytest.mark.parametrize("heads", [3, 6, 12, 16])
def test_slopes(heads: int) -> None:
    assert_close(alibi_slopes(heads), UNITS[f"slopes_{heads}"], 1e-7)


@pytest.mark.parametrize(
    ("name", "heads", "cls_token"),
    [
        ("alibi_h3_g10n6p16_g20n3p16", 3, False),
        ("alibi_h12_g10n6p16_g20n3p16", 12, False),
        ("alibi_cls_h3_g10n6p16_g20n3p16", 3, True),
    ],
)
def test_alibi(name: str, heads: int, cls_token: bool) -> None:
    layout = make_layout(select_bands(["RED", "SWIR_1"]), ground_cover=960)
    bias = alibi_bias(layout, alibi_slopes(heads), cls_token=cls_token)
    assert_close(bias, UNITS[name], 1e-6)


def test_alibi_is_exactly_zero_on_the_diagonal_with_60_m_bands() -> None:
    # torch.cdist gives up to 2e-3 here, by cancellation.
    layout = make_layout(
        select_bands(["RED", "SWIR_1", "WATER_VAPOR"]), ground_cover=2880, patch_size=8
    )
    bias = alibi_bias(layout, alibi_slopes(12))
    assert bool((bias.diagonal(dim1=1, dim2=2) == 0).all())


def test_groups_are_registered_by_their_corner() -> None:
    layout = make_layout(select_bands(["RED", "SWIR_1"]), ground_cover=640)
    centres = patch_centres(layout)
    assert centres[0].tolist() == [80.0, 80.0]
    assert centres[1].tolist() == [80.0, 240.0]  # x runs fastest
    assert centres[16].tolist() == [160.0, 160.0]  # first token of the 20 m group


@pytest.mark.parametrize("dim", [32, 64, 128, 256])
def test_group_codes_to_the_last_bit(dim: int) -> None:
    codes = torch.stack([group_code(k, dim) for k in range(10)])
    assert np.array_equal(codes.numpy(), UNITS[f"group_code_{dim}"])


@pytest.mark.parametrize("dim", [160, 320, 640, 768])
def test_footprint_codes(dim: int) -> None:
    codes = torch.stack([footprint_code(t, dim) for t in (1, 2, 4, 8, 12, 24, 1.5, 2.5)])
    assert_close(codes, UNITS[f"footprint_code_{dim}__t_1_2_4_8_12_24_1p5_2p5"], 1e-6)


@pytest.mark.parametrize("side", [12, 4, 48, 30])
def test_image_resampling(side: int) -> None:
    image = torch.from_numpy(UNITS["resize_in"])
    assert_close(resample_images(image, side), UNITS[f"resize_to_{side}"], 1e-6)


def test_images_of_the_right_size_are_not_touched() -> None:
    image = torch.randn(1, 2, 24, 24)
    assert resample_images(image, 24) is image


def test_a_rounded_bias_keeps_its_aligned_rows() -> None:
    # CUDA's memory-efficient attention copies a bias whose rows are not.
    layout = make_layout(select_bands(["RED", "SWIR_1"]), ground_cover=960)
    bias = alibi_bias(layout, alibi_slopes(12), dtype=torch.bfloat16)
    assert torch.equal(bias, alibi_bias(layout, alibi_slopes(12)).bfloat16())
    assert bias.stride(1) % 16 == 0
    assert layout.n_tokens % 16 != 0
