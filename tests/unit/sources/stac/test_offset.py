"""If these fail, scenes before and after January 2022 differ by 0.1 of reflectance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thor_geo.errors import SceneError, StacError
from thor_geo.sources.stac.bands import locate
from thor_geo.sources.stac.offset import dn_offset

SHIFTED = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
PLAIN = {"raster:bands": [{"scale": 0.0001, "offset": 0}]}


def offset(properties: dict[str, Any], asset: dict[str, Any]) -> int:
    content = {"id": "s", "properties": properties, "assets": {"B04": {"href": "f", **asset}}}
    return dn_offset(content, locate(content, "B4", {}))


@pytest.mark.parametrize(
    ("properties", "asset", "expected"),
    [
        # Earth Search: the flag counts, whatever raster:bands repeats.
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, SHIFTED, 0),
        (
            {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.09"},
            SHIFTED,
            -1000,
        ),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.14"}, SHIFTED, 0),
        # The Planetary Computer: the baseline alone.
        ({"s2:processing_baseline": "04.00"}, {}, -1000),
        ({"s2:processing_baseline": "03.01"}, {}, 0),
        ({"s2:processing_baseline": "N0511"}, SHIFTED, -1000),
        # An older acquisition that was processed again is as shifted as a new one.
        ({"datetime": "2018-06-01T00:00:00Z", "s2:processing_baseline": "05.00"}, {}, -1000),
        ({"processing:version": "05.11"}, {"raster:scale": 0.0001, "raster:offset": -0.1}, -1000),
        ({"s2:processing_baseline": "05.00"}, PLAIN, 0),
        ({}, SHIFTED, -1000),
        ({}, PLAIN, 0),
        ({}, {"bands": [{"name": "B04", "raster:scale": 1e-4, "raster:offset": -0.1}]}, -1000),
        ({}, {"raster:bands": [{"offset": 0}]}, 0),
    ],
)
def test_what_is_added_follows_flag_baseline_and_stated_offset(
    properties: dict[str, Any], asset: dict[str, Any], expected: int
) -> None:
    assert offset(properties, asset) == expected


def test_an_item_that_does_not_say_is_refused() -> None:
    with pytest.raises(StacError, match=r"neither its processing baseline.*`data\.stac\.offset`"):
        offset({"datetime": "2022-06-01T00:00:00Z"}, {})


@pytest.mark.parametrize(
    ("text", "before"),
    [
        *[(text, True) for text in ("N0209", "0209", "N0301", "209", "02.09", "2.9", "N03.01")],
        *[(text, True) for text in (2.14, 209, "00.01", " 03.01", "n0214", "03")],
        *[(text, False) for text in ("N0400", "0400", "400", "04.00", "5.09", 5.1, "05", "N0511")],
    ],
)
def test_a_baseline_is_understood_however_it_is_written(text: object, before: bool) -> None:
    assert offset({"s2:processing_baseline": text}, {}) == (0 if before else -1000)


@pytest.mark.parametrize("text", ["99.99", "N9999", "9999", "1.2.3", "latest", "040", "40", "", {}])
def test_a_baseline_that_is_not_understood_is_refused_unless_the_offset_is_stated(
    text: object,
) -> None:
    with pytest.raises(SceneError, match=r"not one of ESA's.*`data\.stac\.offset`"):
        offset({"s2:processing_baseline": text}, {})
    assert offset({"s2:processing_baseline": text}, SHIFTED) == -1000
    assert offset({"s2:processing_baseline": text}, PLAIN) == 0


@pytest.mark.parametrize("properties", [{}, {"s2:processing_baseline": "02.09"}])
@pytest.mark.parametrize(
    "stated",
    [
        {"scale": 1, "offset": -0.1},
        {"offset": -0.1},
        {"offset": "x"},
        {"scale": 1e-4, "offset": -0.7},
        {"scale": 1e-4, "offset": 0.1},
        {"scale": 1e-4, "offset": -1000},
        {"scale": 1e-4, "offset": float("nan")},
        {"scale": 1e-3},
        {"scale": 2.75e-05, "offset": -0.2},
        {"scale": 0, "offset": 0},
    ],
)
def test_an_offset_or_scale_that_cannot_be_is_refused(
    stated: dict[str, Any], properties: dict[str, Any]
) -> None:
    with pytest.raises(SceneError, match=r"not reflectance x 10000 with offset 0 or -0\.1"):
        offset(properties, {"raster:bands": [stated]})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offset_and_scale_may_have_been_written_as_float32(dtype: type[np.floating[Any]]) -> None:
    stated = {"scale": float(dtype(1e-4)), "offset": float(dtype(-0.1))}
    assert offset({}, {"raster:bands": [stated]}) == -1000
