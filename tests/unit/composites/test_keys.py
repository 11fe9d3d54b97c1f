from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from thor_geo.composites import keys
from thor_geo.composites.keys import query_key, settings_key
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import RECIPE_VERSION
from thor_geo.specs import SensorSpec, TemporalSpec

SENSOR = SensorSpec()
YEAR = TemporalSpec.year(2022)
BLOCK = Block(epsg=32632, size=576, resolution=10, left=576, top=5760)


def key(
    sensor: SensorSpec = SENSOR,
    window: TemporalSpec = YEAR,
    block: Block = BLOCK,
    catalogue: str = "earthengine",
) -> str:
    return query_key(settings_key(sensor, window, catalogue), block)


def test_the_query_key_follows_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        key(),
        key(replace(SENSOR, collection="COPERNICUS/S2_HARMONIZED")),
        key(replace(SENSOR, bands=("B4",))),
        key(replace(SENSOR, cloudy_pct=31)),
        key(replace(SENSOR, composite="mean")),
        key(replace(SENSOR, mask="scl")),
        key(replace(SENSOR, mask="scl", scl_classes=(3,))),
        key(replace(SENSOR, mask="cloud_score_plus")),
        key(replace(SENSOR, mask="cloud_score_plus", cloud_score_band="cs")),
        key(replace(SENSOR, mask="cloud_score_plus", cloud_score_threshold=0.5)),
        key(replace(SENSOR, composite="mosaic")),
        key(replace(SENSOR, composite="percentile", percentile=10)),
        key(replace(SENSOR, composite="percentile", percentile=20)),
        key(replace(SENSOR, scenes=("a",))),
        key(replace(SENSOR, fill_value=1)),
        key(window=TemporalSpec.year(2021)),
        key(block=replace(BLOCK, left=0)),
        key(block=replace(BLOCK, top=0)),
        key(block=replace(BLOCK, size=288)),
        key(block=replace(BLOCK, resolution=20)),
        key(block=replace(BLOCK, epsg=32732)),
        key(block=replace(BLOCK, anchor=(0.0, 0.0))),
        key(catalogue="emulator-0"),
    ]
    monkeypatch.setattr(keys, "RECIPE_VERSION", RECIPE_VERSION + 1)
    found.append(key())
    assert len(set(found)) == len(found)


def test_settings_of_the_first_release_keep_its_keys() -> None:
    """If this fails, everything that users have fetched is fetched again."""
    assert key() == "ddc37f85e070e5891780400da5dba8a67bf1892a97316107549b04c170a95f7b"
    assert (
        key(replace(SENSOR, mask="scl", composite="mean", cloudy_pct=60))
        == "b52fdd1fd5fc4fdb9b4d55b221b5f156f2d8fc50b2d9b72213aa52d0c4e8df6b"
    )


def test_equal_settings_have_one_key_however_they_are_written() -> None:
    assert key(replace(SENSOR, cloudy_pct=30)) == key(replace(SENSOR, cloudy_pct=30.0))
    assert key(window=TemporalSpec.range("2022-01-01", "2023-01-01")) == key()
    assert key(window=TemporalSpec.range("2022-01-01T02:00+02:00", "2023-01-01")) == key()


def test_the_query_key_is_the_same_in_every_process_and_release() -> None:
    # The cache of an earlier release stays usable: changing this means RECIPE_VERSION + 1.
    root = str(Path(__file__).parents[3])
    code = (
        f"import sys; sys.path.insert(0, {root!r})\n"
        "from thor_geo.composites.keys import query_key, settings_key\n"
        "from thor_geo.specs import SensorSpec, TemporalSpec\n"
        "from thor_geo.ground.lattice import Block\n"
        "block = Block(epsg=32632, size=576, resolution=10, left=576, top=5760)\n"
        "window = TemporalSpec.year(2022)\n"
        "print(query_key(settings_key(SensorSpec(), window, 'earthengine'), block), end='')\n"
        "assert 'ee' not in sys.modules\n"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == key()
