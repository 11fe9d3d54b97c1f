"""If these fail, a datamodule takes other sensors, or other pixels, than its settings say."""

from __future__ import annotations

from typing import Any

import pytest

from thor_geo.datamodules import CompositeDataModule
from thor_geo.errors import ConfigError
from thor_geo.specs import SensorSpec
from thor_geo.specs.sentinel1 import Sentinel1Spec
from thor_geo.specs.sources import StacSpec


def made(**settings: Any) -> CompositeDataModule:
    defaults: dict[str, Any] = {
        "area": {"bbox": (11.98, 59.985, 12.02, 60.005)},
        "start": "2022-06-01",
        "end": "2022-09-01",
        "emulator": {},
    }
    return CompositeDataModule(**{**defaults, **settings})


def test_nobody_types_the_pixel_size_twice() -> None:
    sensors = made(sentinel1=Sentinel1Spec(), resolution=20).sensors
    assert sensors.sentinel2 == SensorSpec(scale_m=20)
    assert sensors.sentinel1 == Sentinel1Spec(scale_m=20)


def test_sentinel_2_is_the_default_and_null_leaves_it_out() -> None:
    assert list(made().sensors.by_kind) == ["S2"]
    assert list(made(sentinel1={}).sensors.by_kind) == ["S2", "S1"]
    assert list(made(sentinel2=None, sentinel1={}).sensors.by_kind) == ["S1"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"emulator": None}, "no source of composites.*earthengine, data.emulator and data.stac"),
        ({"earthengine": {}}, "set together with data.emulator"),
        (
            {"stac": StacSpec(url="x"), "earthengine": {}},
            "set together with data.emulator and data.stac",
        ),
        ({"emulator": {"folder": "x"}}, "no such field: folder.*archive"),
        ({"emulator": "x"}, "not a EmulatorSpec.*archive"),
        ({"area": None}, "area=None"),
        ({"sentinel2": None}, "sentinel2=None.*no sensor is left"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(**settings)
