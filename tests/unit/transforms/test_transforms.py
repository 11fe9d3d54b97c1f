"""Normalisation: the numbers that THOR was trained on, from the integers that are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from thor_geo.errors import ConfigError, InputError
from thor_geo.specs.bands import select_bands
from thor_geo.transforms import (
    THORNormalize,
    check_input,
    inspect_input,
    observation_planes,
)
from thor_geo.transforms.statistics import ChannelStatistics, Statistics

# Red and SWIR 1: mean, standard deviation (THOR 1.0 statistics).
RED, SWIR = (0.213948, 0.259180), (0.221550, 0.171606)
BANDS = ["RED", "SWIR_1"]


def pixels(*values: float, dtype: torch.dtype = torch.int16) -> Tensor:
    """Return both bands with the same values, as (2, 1, n)."""
    return torch.tensor([values, values], dtype=torch.float64).to(dtype)[:, None, :]


def test_statistics_are_applied_in_reflectance() -> None:
    z = THORNormalize(BANDS)(pixels(0, 2139, 10000))
    assert z.dtype == torch.float32
    for row, (mean, std) in zip(z[:, 0], (RED, SWIR), strict=True):
        want = [(dn / 10000 - mean) / std for dn in (0, 2139, 10000)]
        assert row.tolist() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize(
    "dtype", [torch.int16, torch.uint16, torch.int32, torch.float32, torch.float64]
)
def test_all_stored_dtypes_give_the_same_bits(dtype: torch.dtype) -> None:
    transform = THORNormalize(BANDS)
    values = [0, 1, 1234, 9999, 10000]
    assert torch.equal(transform(pixels(*values, dtype=dtype)), transform(pixels(*values)))


def test_clamped_before_standardising() -> None:
    transform = THORNormalize(BANDS)
    assert torch.equal(transform(pixels(-5, 20000)), transform(pixels(0, 10000)))
    above = pixels(65535, dtype=torch.uint16)
    assert torch.equal(transform(above), transform(pixels(10000)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("mode", ["thor_stats", "unit_scale", "none"])
def test_values_that_are_not_finite_become_zero(bad: float, mode: Any) -> None:
    transform = THORNormalize(BANDS, mode)
    got = transform(pixels(bad, 500, dtype=torch.float32))
    assert torch.equal(got, transform(pixels(0, 500)))


def test_unit_scale_and_none() -> None:
    x = pixels(-3, 2500, 12000)
    assert THORNormalize(BANDS, "unit_scale")(x)[0, 0].tolist() == [0.0, 0.25, 1.0]
    assert THORNormalize(BANDS, "none")(x)[0, 0].tolist() == [0.0, 2500.0, 10000.0]


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("mode", ["thor_stats", "none"])
def test_the_input_is_left_alone(dtype: torch.dtype, mode: Any) -> None:
    x = pixels(-5, 300, 20000, dtype=dtype)
    before = x.clone()
    out = THORNormalize(BANDS, mode)(x)
    out.zero_()
    assert torch.equal(x, before)


def test_batches_equal_single_images() -> None:
    transform = THORNormalize(BANDS)
    batch = torch.randint(0, 10001, (3, 2, 4, 5), dtype=torch.int16)
    assert torch.equal(transform(batch)[1], transform(batch[1]))


def test_planes_follow_the_order_of_the_bands() -> None:
    x = torch.randint(0, 10001, (2, 4, 5), dtype=torch.int16)
    swapped = THORNormalize(BANDS[::-1])(x.flip(0))
    assert torch.equal(THORNormalize(BANDS)(x), swapped.flip(0))


def test_sentinel_1_is_in_hundredths_of_a_decibel_and_not_clamped() -> None:
    transform = THORNormalize(select_bands(["VV"]))
    x = torch.tensor([[[-1298, -6000, 500]]], dtype=torch.int16)
    want = [(db + 12.9850) / 5.0062 for db in (-12.98, -60.0, 5.0)]
    assert transform(x).flatten().tolist() == pytest.approx(want, abs=1e-5)
    # NaN must not turn into 0 dB, which is brighter than any city.
    gap = torch.tensor([[[float("nan")]]])
    assert float(transform(gap)) == pytest.approx(0.0, abs=1e-5)


def test_sentinel_1_at_60_m_has_its_own_statistics() -> None:
    x = torch.full((1, 1, 1), -1300, dtype=torch.int16)
    assert float(THORNormalize(["VV_60"])(x)) == pytest.approx((-13 + 13.0095) / 5.2439, abs=1e-5)


def test_sentinel_3_is_physical_already() -> None:
    x = torch.tensor([0.5, 290.0]).reshape(2, 1, 1)
    z = THORNormalize(["OA01_REFLECTANCE", "S7_BT_IN"])(x).flatten()
    want = [(0.5 - 0.418360) / 0.271155, (290 - 286.190167) / 21.070093]
    assert z.tolist() == pytest.approx(want, abs=1e-5)


def test_statistics_stay_float32_inside_a_half_precision_model() -> None:
    transform = THORNormalize(BANDS)
    x = pixels(1234, 4321)
    before = transform(x)
    assert torch.equal(torch.nn.Sequential(transform).to(torch.bfloat16)(x), before)


def test_tables_made_in_inference_mode_serve_gradients() -> None:
    transform = THORNormalize(BANDS)
    with torch.inference_mode():
        transform(pixels(1))
    x = pixels(2500, dtype=torch.float32).requires_grad_()
    transform(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == pytest.approx([1e-4 / std for _, std in (RED, SWIR)])


def test_unknown_modes_are_refused() -> None:
    mode: Any = "imagenet"
    with pytest.raises(ConfigError, match=r"normalize='imagenet'.*thor_stats, unit_scale, none"):
        THORNormalize(BANDS, mode)
    with pytest.raises(ConfigError, match=r"S1:IW-VV has no fixed range"):
        THORNormalize(["RED", "VV"], "unit_scale")


def test_pretraining_clamped_z_scores_to_five() -> None:
    # Only SWIR 2 of Sentinel-2 can get there: its mean and deviation are 0.175772 and 0.156223.
    values = [0, 5000, 9500, 9600, 10000]
    z = [(v / 10000 - 0.175772) / 0.156223 for v in values]
    x = torch.tensor(values, dtype=torch.int16)[None, None]
    assert max(z) > 5
    assert THORNormalize(["SWIR_2"])(x).flatten().tolist() == pytest.approx(z, abs=1e-5)
    clamped = THORNormalize(["SWIR_2"], clamp_z=True)
    assert clamped(x).flatten().tolist() == pytest.approx(np.clip(z, -5, 5).tolist(), abs=1e-5)
    assert torch.equal(clamped(x), clamped(x.float())), "whichever path integers take"
    dark = torch.tensor([[[-6000]]], dtype=torch.int16)  # -60 dB
    assert float(THORNormalize(["VV"], clamp_z=True)(dark)) == -5


@pytest.mark.parametrize("mode", ["unit_scale", "none"])
def test_only_z_scores_are_clamped(mode: Any) -> None:
    with pytest.raises(ConfigError, match=rf"clamp_z=True.*{mode}.*thor_stats or dataset"):
        THORNormalize(BANDS, mode, clamp_z=True)


def test_dataset_and_statistics_go_together() -> None:
    with pytest.raises(ConfigError, match=r"normalize='dataset'.*needs measured"):
        THORNormalize(BANDS, "dataset")
    row = ChannelStatistics(mean=0.1, std=0.1, pixels=1)
    measured = Statistics(channels={"S2:Red": row, "S2:SWIR1": row})
    with pytest.raises(ConfigError, match=r"normalize='thor_stats'.*does not take measured"):
        THORNormalize(BANDS, statistics=measured)
    bad: Any = "zero"
    with pytest.raises(ConfigError, match=r"nodata_fill='zero'.*value, mean"):
        THORNormalize(BANDS, nodata_fill=bad)


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("clamp_z", [False, True])
def test_no_data_becomes_the_mean_of_the_tiles_observed_pixels(
    dtype: torch.dtype, clamp_z: bool
) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 10001, (3, 2, 9, 11))
    observations = rng.integers(0, 3, (3, 1, 9, 11)).astype(np.uint8)
    observations[2] = 0  # a tile without any
    got = THORNormalize(["RED", "SWIR_2"], nodata_fill="mean", clamp_z=clamp_z)(
        torch.from_numpy(stored).to(dtype), torch.from_numpy(observations)
    ).numpy()
    stats = np.array([[0.213948, 0.259180], [0.175772, 0.156223]])
    z = (stored / 10000 - stats[:, 0, None, None]) / stats[:, 1, None, None]
    z = np.clip(z, -5, 5) if clamp_z else z
    seen = np.broadcast_to(observations > 0, z.shape)
    for tile in range(2):
        for plane in range(2):
            plane_seen = seen[tile, plane]
            z[tile, plane][~plane_seen] = z[tile, plane][plane_seen].mean()
    z[2] = 0
    np.testing.assert_allclose(got, z, atol=2e-5)
    # Batched or by itself, a tile is the same.
    alone = THORNormalize(["RED", "SWIR_2"], nodata_fill="mean", clamp_z=clamp_z)(
        torch.from_numpy(stored[0]).to(dtype), torch.from_numpy(observations[0])
    )
    assert np.array_equal(alone.numpy(), got[0])


def test_values_that_are_not_finite_are_nodata_if_that_is_filled_by_the_mean() -> None:
    x = torch.tensor([[[1000.0, float("nan"), 3000.0, float("inf")]]])
    seen = torch.ones(1, 1, 4, dtype=torch.uint8)
    z = THORNormalize(["RED"], nodata_fill="mean")(x, seen).flatten().tolist()
    want = [(dn / 10000 - RED[0]) / RED[1] for dn in (1000, 2000, 3000, 2000)]
    assert z == pytest.approx(want, abs=1e-5)


def test_every_sensor_has_its_own_observations() -> None:
    selection = select_bands(["RED", "VV", "BLUE", "VH"])
    assert observation_planes(selection) == (0, 1, 0, 1)
    stored = torch.tensor([[[2000, 0]], [[-1000, 0]], [[3000, 0]], [[-2000, 0]]]).to(torch.int16)
    # The second pixel: no Sentinel-2 scene, but one of Sentinel-1.
    seen = torch.tensor([[[1, 0]], [[1, 1]]], dtype=torch.uint8)
    transform = THORNormalize(selection, nodata_fill="mean")
    filled, plain = transform(stored, seen), THORNormalize(selection)(stored)
    assert torch.equal(filled[[1, 3]], plain[[1, 3]])
    assert torch.equal(filled[[0, 2], 0, 1], plain[[0, 2], 0, 0])
    # Data may be missing in one polarisation only.
    stored[3, 0, 1] = -32768
    gap = transform(stored, seen)
    assert torch.equal(gap[3, 0, 1], gap[3, 0, 0])
    assert torch.equal(gap[1], plain[1])
    for bad in (None, seen[:1], seen[None]):
        with pytest.raises(InputError, match=r"observations.*\(2, 1, 2\).*nodata_fill"):
            transform(stored, bad)


def test_observations_change_nothing_unless_asked_for() -> None:
    x = pixels(0, 500, 10000)
    blind = torch.zeros(1, 1, 3, dtype=torch.uint8)
    assert torch.equal(THORNormalize(BANDS)(x, blind), THORNormalize(BANDS)(x))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.int16), "3 channels, expected 2"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int16), "1 channels, expected 2"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "dtype uint8, expected one of int16"),
        (torch.zeros(2, 4, 4, dtype=torch.float16), "dtype float16"),
        (torch.zeros(2, 4, 4, dtype=torch.bool), "dtype bool"),
        (torch.zeros(4, 4, dtype=torch.int16), r"shape \(4, 4\)"),
    ],
)
def test_wrong_pixels_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_input(x, 2)
    with pytest.raises(InputError, match=message):
        THORNormalize(BANDS)(x)


def test_inspection_of_good_pixels() -> None:
    report = inspect_input(torch.tensor([[[0, 5, 9]], [[0, 7, 8]]], dtype=torch.int16), BANDS)
    assert (report.expected_channels, report.actual_channels) == (2, 2)
    assert (report.shape, report.dtype) == ((2, 1, 3), "int16")
    assert (report.minimum, report.maximum) == ((0, 0), (9, 8))
    assert report.fill_share == pytest.approx(1 / 3)
    assert report.problems == ()
    report.raise_if_bad()


def test_inspection_counts_and_strict_inspection_refuses() -> None:
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([[[nan, -1.0, 20000.0, 5.0]], [[inf, 7.0, 7.0, 10001.0]]])
    report = inspect_input(x, BANDS)
    assert (report.nan_count, report.inf_count) == (1, 1)
    assert (report.below_count, report.above_count) == (1, 2)
    assert (report.minimum, report.maximum) == ((-1, 7), (20000, 10001))
    assert report.constant_bands == ()
    with pytest.raises(InputError, match=r"1 values are NaN; 1 .*infinite; 1 .*below.*; 2 .*above"):
        report.raise_if_bad()


def test_inspection_finds_constant_and_empty_bands() -> None:
    x = torch.stack([torch.full((2, 2), 7.0), torch.full((2, 2), float("nan"))])
    report = inspect_input(x, BANDS)
    assert report.constant_bands == ("S2:Red",)
    assert torch.tensor(report.minimum).isnan().tolist() == [False, True]
    with pytest.raises(InputError, match=r"constant: S2:Red"):
        report.raise_if_bad()


def test_inspection_reports_wrong_channels_and_dtype() -> None:
    report = inspect_input(torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8), BANDS)
    assert (report.expected_channels, report.actual_channels) == (2, 3)
    with pytest.raises(InputError, match=r"3 channels instead of 2 .*S2:Red.*dtype uint8"):
        report.raise_if_bad()


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 3, 3), (2, 0, 3)])
def test_inspection_wants_one_tile(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected"):
        inspect_input(torch.zeros(shape), BANDS)


def test_planes_of_any_length_are_those_of_single_pixels() -> None:
    # Integers are normalised in parts of a plane, floats are not.
    values = torch.arange(2 * 190 * 181, dtype=torch.int16).reshape(2, 190, 181) % 11_000
    transform = THORNormalize(BANDS)
    assert torch.equal(transform(values), transform(values.float()))
    assert torch.equal(transform(values[None].repeat(3, 1, 1, 1))[2], transform(values))


def test_sentinel_1_without_data_is_the_mean_and_0_db_is_a_value() -> None:
    x = torch.tensor([[-32768, 0], [-1298, -32767]], dtype=torch.int16).reshape(1, 2, 2)
    want = [0.0, 12.9850 / 5.0062, 0.005 / 5.0062, (-327.67 + 12.9850) / 5.0062]
    transform = THORNormalize(["VV"])
    for pixels in (x, x.to(torch.int32), x.float(), x.double()):
        assert transform(pixels).flatten().tolist() == pytest.approx(want, abs=1e-4)
    # Sentinel-2 has no such value: it is clamped like any other.
    assert THORNormalize(["RED"], "none")(x).flatten().tolist() == [0, 0, 0, 0]


def test_both_sensors_are_normalised_plane_by_plane() -> None:
    x = torch.stack([torch.full((3, 3), 2139), torch.full((3, 3), -2070)]).to(torch.int16)
    z = THORNormalize(["RED", "VH"])(x)
    assert z[0, 0, 0] == pytest.approx((0.2139 - 0.213948) / 0.259180, abs=1e-5)
    assert z[1, 0, 0] == pytest.approx((-20.70 + 20.6958) / 5.8688, abs=1e-5)


def test_log1p_p99_is_rs_embeds_scaling_of_each_tile() -> None:
    rng = np.random.default_rng(0)
    db = rng.normal(-14, 6, (3, 2, 40, 50)).round(2)
    stored = np.rint(db * 100).astype(np.int16)
    stored[0, :, :5] = -32768
    stored[2] = -32768
    x = torch.from_numpy(stored)
    got = THORNormalize(["VV", "VH"], "log1p_p99")(x).numpy()
    for tile, values in zip(stored, got, strict=True):
        # Linear power, 0 where there is no data; one percentile of both polarisations.
        power = np.where(tile == -32768, 0.0, 10 ** (tile.astype(np.float64) / 1000))
        logged = np.log1p(power)
        top = np.percentile(logged, 99) or 1.0
        np.testing.assert_allclose(values, np.clip(logged / top, 0, 1), rtol=0, atol=2e-6)
    assert (got[2] == 0).all()
    # Beside it Sentinel-2 is normalised as usual; without Sentinel-1 there is nothing to scale.
    mixed = torch.cat([torch.full((3, 1, 40, 50), 2139, dtype=torch.int16), x], dim=1)
    both = THORNormalize(["RED", "VV", "VH"], "log1p_p99")(mixed)
    np.testing.assert_array_equal(both[:, 1:].numpy(), got)
    assert torch.equal(both[:, :1], THORNormalize(["RED"])(mixed[:, :1]))
    with pytest.raises(ConfigError, match=r"log1p_p99.*Sentinel-1"):
        THORNormalize(["RED"], "log1p_p99")
