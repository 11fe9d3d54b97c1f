"""If these fail, benchmarks/reading.py compares different work, or judges it wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reading import faults, rows
from benchmarks.support.ground import BANDS, Ground
from benchmarks.support.readers import GEO, OURS, RASTERIO, Readers, check
from benchmarks.support.timing import Timing


def readers(folder: Path, packing: Any) -> Readers:
    """Four tiles in one block, with values above the clamp."""
    random = np.random.default_rng(0)
    planes = random.integers(0, 12_000, (len(BANDS) + 1, 576, 576), dtype=np.uint16)
    ground = Ground(folder=folder, across=1, down=1, shard_tiles=2, compression=packing)
    return Readers(ground, planes)


@pytest.mark.parametrize("packing", ["none", "zstd"])
def test_all_read_the_same_pixels(tmp_path: Path, packing: Any) -> None:
    assert check(readers(tmp_path, packing)) == 4 * 8


def test_other_pixels_are_noticed(tmp_path: Path) -> None:
    made = readers(tmp_path, "none")
    made.planes[3, 500, 500] += 1
    with pytest.raises(RuntimeError, match="has other pixels"):
        check(made)


def test_rates_are_tiles_over_seconds_and_measured_against_the_faster() -> None:
    timings = {
        OURS: Timing(seconds=(1.0, 2.0, 4.0)),
        GEO + "a": Timing(seconds=(30.0,)),
        GEO + "b": Timing(seconds=(20.0,)),
        RASTERIO + "the blocks' files": Timing(seconds=(1.5,)),
    }
    rates = rows("none", timings, 64)
    assert rates[0] == {
        "blocks": "none",
        "what": OURS,
        "tiles/s": 32,
        "slowest": 16,
        "fastest": 64,
        "x RasterDataset": 10,
        "x rasterio": 0.75,
    }
    assert faults(rates) == [f"{OURS}: 0.75 x rasterio, less than 0.8."]
