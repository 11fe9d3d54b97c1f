"""If these fail, a catalogue's composite is not the median, mean or count it claims to be."""

from __future__ import annotations

import numpy as np
import pytest

from thor_geo.sources.stac.reduce import STRIP_PIXELS, harmonised, observations, reduce_scenes
from thor_geo.specs import SensorSpec


@pytest.mark.parametrize("scenes", [1, 2, 5, 8])
@pytest.mark.parametrize("composite", ["median", "mean"])
def test_each_pixel_is_reduced_over_its_own_observations_and_rounded_half_up(
    composite: str, scenes: int
) -> None:
    rng = np.random.default_rng(scenes)
    # More pixels than one strip, and few values, so that halves come up often.
    shape = (scenes, 3, STRIP_PIXELS // 2)
    values = rng.integers(0, 9, shape, dtype=np.uint16)
    values[:, 0, :9] = 65535
    seen = rng.random(shape) < 0.7
    with np.errstate(all="ignore"):
        stack = np.where(seen, values, np.nan)
        reduce = np.nanmedian if composite == "median" else np.nanmean
        expected = np.floor(reduce(stack, axis=0) + 0.5)
    expected[~seen.any(axis=0)] = 7
    sensor = SensorSpec(composite=composite, fill_value=7)  # type: ignore[arg-type] # of the table
    got = reduce_scenes(sensor, values, seen)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, expected)
    assert (~seen.any(axis=0)).any()


@pytest.mark.parametrize("rank", [0.0, 12.5, 25.0, 50.0, 90.0, 100.0])
def test_percentiles_are_linear_between_ranks(rank: float) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 9000, (6, 40, 50), dtype=np.uint16)
    seen = rng.random(values.shape) < 0.8
    seen[0] = True
    expected = np.nanpercentile(np.where(seen, values, np.nan), rank, axis=0)
    got = reduce_scenes(SensorSpec(composite="percentile", percentile=rank), values, seen)
    # Halves are rounded up wherever both computations agree that they are halves.
    near = np.abs(expected % 1 - 0.5) < 1e-9
    np.testing.assert_array_equal(got[~near], np.floor(expected + 0.5)[~near])
    assert near.mean() < 0.6


def test_observations_count_scenes() -> None:
    seen = np.array([[[True, True]], [[True, False]]])
    np.testing.assert_array_equal(observations(seen), [[2, 1]])


def test_an_offset_does_not_wrap_around() -> None:
    values = np.array([0, 999, 1000, 1001, 65535], np.uint16)
    np.testing.assert_array_equal(harmonised(values, -1000), [0, 0, 0, 1, 64535])
    np.testing.assert_array_equal(harmonised(values, 1000), [1000, 1999, 2000, 2001, 65535])
