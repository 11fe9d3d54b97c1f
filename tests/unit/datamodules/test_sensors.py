"""If these fail, a setting of a sensor that is not there goes unnoticed."""

from __future__ import annotations

import logging

import pytest

from thor_geo.datamodules import CompositeDataModule
from thor_geo.ground.area import AreaSpec
from thor_geo.specs.sentinel1 import Sentinel1Spec


def _made(**settings: object) -> CompositeDataModule:
    return CompositeDataModule(
        area=AreaSpec(bbox=(11.98, 59.985, 12.02, 60.005)),
        start="2022-06-01",
        end="2022-09-01",
        **settings,  # type: ignore[arg-type]
    )


def test_a_recipe_of_sentinel2_without_its_bands_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        data = _made(bands=[], sentinel1=Sentinel1Spec(), mask="scl", cloudy_pct=60)
    assert data.sensors.sentinel2 is None
    assert "data.cloudy_pct=60, data.mask='scl'" in caplog.text
    assert "data.bands is empty" in caplog.text


def test_defaults_and_the_tiles_pixel_size_are_no_recipe(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        _made(bands=[], sentinel1=Sentinel1Spec(scale_m=20), resolution=20, cloudy_pct=30)
        _made(mask="scl", cloudy_pct=60)
    assert caplog.text == ""
