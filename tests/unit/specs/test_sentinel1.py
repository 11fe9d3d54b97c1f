"""If one of these fails, a request that Sentinel-1 cannot answer is only found out in the run."""

from __future__ import annotations

from typing import Any

import pytest

from thor_geo.errors import ConfigError
from thor_geo.specs import SensorSpec
from thor_geo.specs.sentinel1 import Sentinel1Spec, channels_of, storage_of


def test_the_defaults_are_iw_in_decibel_of_both_passes() -> None:
    spec = Sentinel1Spec()
    assert (spec.collection, spec.mode, spec.orbit) == ("COPERNICUS/S1_GRD", "IW", "both")
    assert spec.bands == ("VV", "VH")
    assert [band.channel for band in spec.thor_bands] == ["S1:IW-VV", "S1:IW-VH"]
    assert spec.selection.statistics == ((-12.9850, -20.6958), (5.0062, 5.8688))
    storage = storage_of(spec)
    assert (storage.disk, storage.sample, storage.scale) == ("int16", "int16", 0.01)
    # No decibel is stored as it: values end at -327.67.
    assert spec.fill_value == storage.nodata == -32768


def test_extra_wide_swath_has_channels_and_statistics_of_its_own() -> None:
    spec = Sentinel1Spec(mode="EW", polarisations=["HH", "HV"])  # type: ignore[arg-type]
    assert spec.polarisations == ("HH", "HV")
    assert [band.channel for band in spec.thor_bands] == ["S1:EW-HH", "S1:EW-HV"]
    assert spec.selection.statistics[0] == (-12.7691, -22.6922)


def test_pixels_of_60_m_are_embedded_and_normalised_as_such() -> None:
    coarse = Sentinel1Spec(scale_m=60)
    assert coarse.selection.gsds == (60, 60)
    assert coarse.selection.statistics == ((-13.0095, -20.6672), (5.2439, 5.9634))
    assert Sentinel1Spec(scale_m=20).selection.gsds == (10, 10)


def test_the_planes_of_both_sensors_are_named_in_their_order() -> None:
    names = channels_of([SensorSpec(bands=("B4", "B8A")), Sentinel1Spec(polarisations=("VH",))])
    assert names == ["S2:Red", "S2:RE4", "S1:IW-VH"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"collection": "S1"}, r"sentinel1\.collection='S1'.*COPERNICUS/S1_GRD"),
        ({"collection": "COPERNICUS/S1_GRD_FLOAT"}, "linear.*in decibel"),
        ({"polarisations": ()}, "no polarisation is named"),
        ({"polarisations": ("VV", "VV")}, "named twice"),
        ({"polarisations": ("VV", "HH")}, "no scene has them together"),
        ({"polarisations": ("RED",)}, "RED.*VV, VH, HH, HV"),
        ({"mode": "SM"}, "SM.*IW, EW"),
        ({"orbit": "up"}, "up.*both, ascending, descending"),
        ({"orbit_fallback": True}, "no other pass to fall back to.*ascending or descending"),
        ({"composite": "mosaic"}, "mosaic.*median, mean"),
        ({"scale_m": 0}, r"sentinel1\.scale_m=0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_remedy(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Sentinel1Spec(**fields)
