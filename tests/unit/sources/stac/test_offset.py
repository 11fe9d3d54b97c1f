"""If these fail, scenes before and after January 2022 differ by 0.1 of reflectance."""

from __future__ import annotations

from typing import Any

import pytest

from thor_geo.errors import StacError
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
    "stated", [{"scale": 1, "offset": -0.1}, {"offset": -0.1}, {"offset": "x"}]
)
def test_another_scale_is_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(StacError, match="not reflectance x 10000"):
        offset({}, {"raster:bands": [stated]})
