"""From stored integers to the reference's input, bit by bit: transform and encoder fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support import thor_golden as golden
from thor_geo.specs.bands import STORAGE, select_bands
from thor_geo.transforms import THORNormalize


@pytest.mark.parametrize(
    "name", ["s2_10b_gc960_p4", "s2_12b_gc2880_p16", "s1_vvvh_gc2880_p16", "s2_20m_gc1920_p16"]
)
def test_normalised_pixels_are_the_golden_input(name: str) -> None:
    case = next(case for case in golden.CASES if case["name"] == name)
    planes = golden.raw_planes(case)
    for band, _, divisor in planes:
        assert STORAGE[band.sensor].scale * divisor == pytest.approx(1)
    raw = torch.from_numpy(np.stack([raw for _, raw, _ in planes], axis=1).astype(np.int16))
    assert torch.equal(THORNormalize(select_bands(case["bands"]))(raw), golden.case_input(case))
