"""Real Sentinel-2 scenes through the unmodified client, against medians computed independently.

The archive: 118 acquisitions of WorldCereal's sample at 31UDS, see the README beside them, which
also states the reference means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from thor_geo.composites import BlockStore, DirectSource, Prefetcher, PrefetchSpec, StoredBlock
from thor_geo.emulator import Archive, EmulatorServer
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import SessionSpec
from thor_geo.specs import SCL_MASKED, SensorSpec, TemporalSpec

SCENES = Path(__file__).parents[3] / "shared" / "data" / "scenes" / "wc_be_31UDS"

pytestmark = pytest.mark.skipif(
    not SCENES.is_dir(), reason=f"the real scenes are not here: {SCENES}"
)

WINDOW = TemporalSpec.range("2018-05-01", "2018-09-01")
SENSOR = SensorSpec(cloudy_pct=100)

# Cloud limit, mask, number of scenes, and the README's mean of B02.
CASES = [(100, "none", 38, 931.4), (100, "scl", 38, 657.8), (30, "none", 23, 650.4)]


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(SCENES) as server:
        yield server


@pytest.fixture(scope="module")
def catalogue() -> str:
    return f"emulator-{Archive.open(SCENES).fingerprint()}"


@cache
def corner() -> tuple[float, float]:
    """Return the upper-left corner of the scenes, metres."""
    with rasterio.open(next(SCENES.glob("*[0-9].tif"))) as file:
        assert file.shape == (64, 64)
        return file.transform.c, file.transform.f


def block(left: int = 0, top: int = 0) -> Block:
    """Return a block of 64 px, so many pixels right of and above the scenes' corner."""
    return Block(epsg=32631, size=64, resolution=10, left=left, top=top, anchor=corner())


def observed(cloudy_pct: float, mask: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Read ids and pixels (scenes, 10, 64, 64) of the window, masked pixels as NaN."""
    ids, stack = [], []
    for entry in json.loads((SCENES / "scenes.json").read_text())["scenes"]:
        if not "2018-05-01" <= entry["datetime"] < "2018-09-01" or entry["cloud_pct"] > cloudy_pct:
            continue
        with rasterio.open(SCENES / Path(entry["file"]).name) as file:
            pixels = file.read().astype(float)
        pixels[pixels == 0] = np.nan
        if mask == "scl":
            with rasterio.open(SCENES / Path(entry["mask_file"]).name) as file:
                scl = file.read(1)
            pixels[:, np.isin(scl, SCL_MASKED) | (scl == 0)] = np.nan
        ids.append(entry["id"])
        stack.append(pixels)
    return ids, np.stack(stack)


def expected(stack: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Return the medians, rounded half up, and the counts of complete observations."""
    assert np.isfinite(stack).any(axis=0).all(), "every pixel of this window has an observation"
    median = np.floor(np.nanmedian(stack, axis=0) + 0.5)
    return median.astype(np.uint16), np.isfinite(stack).all(axis=1).sum(axis=0)


@pytest.mark.parametrize(("cloudy_pct", "mask", "count", "mean"), CASES)
def test_the_composite_is_the_median_of_the_scenes_pixel_by_pixel(
    server: EmulatorServer,
    catalogue: str,
    tmp_path: Path,
    cloudy_pct: float,
    mask: Any,
    count: int,
    mean: float,
) -> None:
    sensor = replace(SENSOR, cloudy_pct=cloudy_pct, mask=mask)
    store = BlockStore(tmp_path, sensor=sensor, window=WINDOW, catalogue=catalogue)
    source = DirectSource(store, SessionSpec(credentials="anonymous", url=server.url))
    stored = source.get(block())
    pixels, observations = stored.read()
    ids, stack = observed(cloudy_pct, mask)
    assert [scene.index for scene in stored.scenes] == sorted(ids)
    assert len(ids) == count
    medians, counts = expected(stack)
    np.testing.assert_array_equal(pixels, medians)
    np.testing.assert_array_equal(observations, counts)
    assert pixels[0].mean() == pytest.approx(mean, abs=0.5)


def test_a_block_that_the_scenes_cover_in_part_is_filled_around_them(
    server: EmulatorServer, catalogue: str, tmp_path: Path
) -> None:
    store = BlockStore(tmp_path, sensor=SENSOR, window=WINDOW, catalogue=catalogue)
    source = DirectSource(store, SessionSpec(credentials="anonymous", url=server.url))
    pixels, observations = source.get(block(left=-40, top=24)).read()
    medians, _ = expected(observed(100, "none")[1])
    np.testing.assert_array_equal(pixels[:, 24:, 40:], medians[:, :40, :24])
    outside = np.ones((64, 64), bool)
    outside[24:, 40:] = False
    assert not pixels[:, outside].any()
    assert not observations[outside].any()
    assert observations[~outside].min() > 0


def test_the_prefetch_process_makes_the_same_composite(
    server: EmulatorServer, catalogue: str, tmp_path: Path
) -> None:
    session = SessionSpec(credentials="anonymous", url=server.url)

    def read(stored: StoredBlock) -> bytes:
        assert stored.path is not None
        return stored.path.read_bytes()

    direct = BlockStore(tmp_path / "a", sensor=SENSOR, window=WINDOW, catalogue=catalogue)
    spec = PrefetchSpec(
        root=tmp_path / "b",
        session=session,
        sensor=SENSOR,
        window=WINDOW,
        catalogue=catalogue,
        concurrency=4,
        state_dir=tmp_path / "state",
    )
    with Prefetcher(spec, [block()]) as prefetcher:
        there = prefetcher.source().get(block())
        here = DirectSource(direct, session).get(block())
        assert read(there) == read(here)
        assert there.path is not None
        assert here.path is not None
        assert there.path.name == here.path.name
