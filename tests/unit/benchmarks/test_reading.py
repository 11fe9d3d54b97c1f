"""If these fail, benchmarks/reading.py compares different work, or judges it wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reading import faults, rows
from benchmarks.support.pixels import BANDS, BLOCK, cached
from benchmarks.support.readers import GEO, OURS, RASTERIO, Readers, check
from benchmarks.support.timing import Timing


def planes(seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return random.integers(0, 12_000, (len(BANDS) + 1, BLOCK, BLOCK), dtype=np.uint16)


@pytest.mark.parametrize("packing", ["none", "zstd"])
def test_all_read_the_same_pixels(tmp_path: Path, packing: Any) -> None:
    readers = Readers(cached(tmp_path / "cache", planes(), compression=packing))
    assert check(readers) == 4 * 7


def test_other_pixels_are_noticed(tmp_path: Path) -> None:
    readers = Readers(cached(tmp_path / "cache", planes(), compression="none"))
    readers.cache.planes[3, 500, 500] += 1
    with pytest.raises(RuntimeError, match="has other pixels"):
        check(readers)


def test_rates_are_tiles_over_seconds_and_measured_against_the_faster() -> None:
    timings = {
        OURS: Timing(seconds=(1.0, 2.0, 4.0)),
        GEO + "a": Timing(seconds=(30.0,)),
        GEO + "b": Timing(seconds=(20.0,)),
        RASTERIO + "the blocks' files": Timing(seconds=(1.5,)),
    }
    found = rows("none", timings, 64)
    assert found[0] == {
        "blocks": "none",
        "what": OURS,
        "tiles/s": 32,
        "slowest": 16,
        "fastest": 64,
        "x RasterDataset": 10,
        "x rasterio": 0.75,
    }
    assert faults(found) == [f"{OURS}: 0.75 x rasterio, less than 0.8."]
