from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from thor_geo.errors import AreaError, BandError, ConfigError
from thor_geo.specs import BBox, OutputSpec, PointBuffer, SensorSpec, TemporalSpec


def test_sensor_defaults_are_the_documented_ones() -> None:
    sensor = SensorSpec()
    assert sensor.collection == "COPERNICUS/S2_SR_HARMONIZED"
    assert sensor.bands == ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    assert (sensor.resolution, sensor.cloudy_pct, sensor.composite) == (10, 30, "median")
    assert (sensor.mask, sensor.fill_value) == ("none", 0)


def test_the_order_in_which_options_are_named_does_not_matter() -> None:
    """If this fails, equal composites are fetched twice."""
    one = SensorSpec(mask="scl", scl_classes=[9, 3, 9], scenes=["b", "a", "b"])
    assert one == SensorSpec(mask="scl", scl_classes=(3, 9), scenes=("a", "b"))
    assert hash(one) == hash(SensorSpec(mask="scl", scl_classes=(3, 9), scenes=("a", "b")))
    assert one.options() == {"scl_classes": [3, 9], "scenes": ["a", "b"]}
    same = SensorSpec(mask="cloud_score_plus", cloud_score_band="cs_cdf", cloud_score_threshold=0.6)
    assert same.options() == SensorSpec(mask="cloud_score_plus").options()
    # What was the only choice once stays unsaid, so that older caches and runs stay good.
    assert SensorSpec(mask="scl", scl_classes=(3, 8, 9, 10)).options() == {}


def test_windows_are_half_open_and_in_utc() -> None:
    window = TemporalSpec.year(2022)
    assert window == TemporalSpec.range("2022-01-01", dt.date(2023, 1, 1))
    assert window.start == dt.datetime(2022, 1, 1, tzinfo=dt.UTC)
    shifted = TemporalSpec.range("2022-01-01T02:00:00+02:00", "2023-01-01")
    assert shifted.start == window.start


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: SensorSpec(bands=("B2", "B77")), BandError, "B77"),
        (lambda: SensorSpec(cloudy_pct=130), ConfigError, "130"),
        (lambda: SensorSpec(composite="mode"), ConfigError, "median"),  # type: ignore[arg-type]
        (lambda: SensorSpec(mask="qa60"), ConfigError, "qa60"),  # type: ignore[arg-type]
        (lambda: SensorSpec(scale_m=0), ConfigError, "scale_m"),
        (lambda: SensorSpec(fill_value=-1), ConfigError, "fill_value"),
        (lambda: SensorSpec(collection="S2"), ConfigError, "collection"),
        (lambda: SensorSpec(composite="percentile"), ConfigError, "Give a number from 0 to 100"),
        (lambda: SensorSpec(composite="percentile", percentile=101), ConfigError, "101"),
        (lambda: SensorSpec(percentile=10), ConfigError, "composite: percentile"),
        (lambda: SensorSpec(scl_classes=(3,)), ConfigError, "mask: scl"),
        (lambda: SensorSpec(mask="scl", scl_classes=(0, 3)), ConfigError, "0 is not a class"),
        (lambda: SensorSpec(mask="scl", scl_classes=()), ConfigError, "no class is named"),
        (
            lambda: SensorSpec(mask="scl", collection="COPERNICUS/S2_HARMONIZED"),
            ConfigError,
            "has no band SCL.*cloud_score_plus",
        ),
        (lambda: SensorSpec(cloud_score_band="cs"), ConfigError, "mask: cloud_score_plus"),
        (
            lambda: SensorSpec(mask="scl", cloud_score_threshold=0.5),
            ConfigError,
            "no effect with mask=scl",
        ),
        (
            lambda: SensorSpec(mask="cloud_score_plus", cloud_score_threshold=60),
            ConfigError,
            "0..1",
        ),
        (lambda: SensorSpec(scenes=()), ConfigError, "not a list of ids"),
        (lambda: SensorSpec(scenes="20220605T1"), ConfigError, "not a list of ids"),
        (
            lambda: SensorSpec(scenes=("COPERNICUS/S2/20220605T1",)),
            ConfigError,
            "after the last slash",
        ),
        (lambda: TemporalSpec.range("2022-09-01", "2022-06-01"), ConfigError, "2022-09-01"),
        (lambda: TemporalSpec.range("2022-06-01", "2022-06-01"), ConfigError, "not after"),
        (lambda: TemporalSpec.range("June", "2022-06-01"), ConfigError, "YYYY-MM-DD"),
        (lambda: PointBuffer(lon=200, lat=0, buffer_m=1), AreaError, "longitude"),
        (lambda: PointBuffer(lon=0, lat=85, buffer_m=1), AreaError, "84 N"),
        (lambda: PointBuffer(lon=0, lat=0, buffer_m=0), AreaError, "buffer_m"),
        (lambda: BBox(west=0, south=-81, east=1, north=0), AreaError, "80 S"),
        (lambda: BBox(west=5, south=0, east=-170, north=1), AreaError, "antimeridian"),
        (lambda: BBox(west=1, south=1, east=1, north=2), AreaError, "empty"),
        (lambda: BBox(west=float("nan"), south=1, east=1, north=2), AreaError, "finite"),
        (lambda: OutputSpec.pooled("median"), ConfigError, "pooling"),  # type: ignore[arg-type]
        (lambda: OutputSpec.grid("max"), ConfigError, "merge"),  # type: ignore[arg-type]
    ],
)
def test_bad_requests_fail_in_the_constructor(
    make: Callable[[], Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make()


def test_errors_survive_a_process_boundary() -> None:
    with pytest.raises(AreaError) as caught:
        BBox(west=1, south=1, east=1, north=2)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.argument == "bbox"
