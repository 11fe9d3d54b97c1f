"""If these fail, scenes are left out of a composite, or get in from outside window and block."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pyproj import Transformer

from thor_geo.ground.lattice import Block
from thor_geo.sources.stac import CatalogueSpec
from thor_geo.sources.stac.items import parse
from thor_geo.specs import TemporalSpec

TIME = "2022-06-05T10:40:31.024Z"
JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")
BLOCK = Block(epsg=32632, size=64, resolution=10, left=64_000, top=640_000)
LEFT, BOTTOM, RIGHT, TOP = BLOCK.bounds


def content(**properties: Any) -> dict[str, Any]:
    return {
        "id": "s",
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "properties": {
            "datetime": "2022-06-05T10:40:31.024Z",
            "proj:epsg": 32632,
            "proj:bbox": [LEFT - 1000, BOTTOM - 1000, LEFT + 10, TOP],
            **properties,
        },
        "assets": {"B04": {"href": "b04.tif"}, "SCL": {"href": "scl.tif"}},
    }


@pytest.mark.parametrize(
    ("when", "inside"),
    [
        ("2022-06-01T00:00:00Z", True),
        ("2022-05-31T23:59:59.999Z", False),
        ("2022-06-30T23:59:59.999Z", True),
        ("2022-07-01T00:00:00Z", False),
        ("2022-07-01T01:00:00+02:00", True),
    ],
)
def test_the_window_is_half_open_to_the_millisecond(when: str, inside: bool) -> None:
    assert parse(content(datetime=when)).within(JUNE) is inside


def test_a_scene_says_what_is_recorded_of_it() -> None:
    stated = {"eo:cloud_cover": 3, "grid:code": "MGRS-32VPM", "s2:processing_baseline": "04.00"}
    assert parse(content(**stated)).scene.to_dict() == {
        "index": "s",
        "time_start": "2022-06-05T10:40:31.024Z",
        "mgrs_tile": "32VPM",
        "processing_baseline": "04.00",
        "cloudy_pct": 3.0,
    }
    bare = parse(content()).scene
    assert (bare.mgrs_tile, bare.processing_baseline, bare.cloudy_pct) == (None, None, None)


@pytest.mark.parametrize(
    ("bounds", "there"),
    [
        ([LEFT - 1000, BOTTOM, LEFT + 1, TOP], True),
        ([LEFT - 1000, BOTTOM, LEFT, TOP], False),  # touches
        ([LEFT + 200, TOP - 20, LEFT + 300, TOP + 20], True),
        ([RIGHT + 10, BOTTOM, RIGHT + 20, TOP], False),
    ],
)
def test_a_rectangle_must_share_ground_with_the_block(bounds: list[float], there: bool) -> None:
    assert parse(content(**{"proj:bbox": bounds})).reaches(BLOCK) is there


def test_a_rectangle_of_the_next_zone_is_brought_to_the_blocks() -> None:
    x, y = Transformer.from_crs(32632, 32633, always_xy=True).transform(LEFT, TOP)
    for shift, there in ((0, True), (5000, False)):
        box = [x - shift - 100, y - 100, x - shift + 100, y + 100]
        item = parse(content(**{"proj:epsg": None, "proj:code": "EPSG:32633", "proj:bbox": box}))
        assert item.reaches(BLOCK) is there


def test_without_a_rectangle_the_geometry_counts() -> None:
    west, south = Transformer.from_crs(32632, 4326, always_xy=True).transform(LEFT, BOTTOM)
    for shift, there in ((0.0, True), (0.1, False)):
        ring = [[west + a + shift, south + b] for a, b in ((0, 0), (0.01, 0), (0.01, 0.01), (0, 0))]
        one = content(**{"proj:bbox": None})
        one["geometry"] = {"type": "Polygon", "coordinates": [ring]}
        assert parse(one).reaches(BLOCK) is there


def test_the_rectangle_may_be_an_assets() -> None:
    one = content(**{"proj:bbox": None})
    one["assets"]["B04"] |= {
        "proj:shape": [100, 200],
        "proj:transform": [10, 0, RIGHT - 10, 0, -10, TOP + 100],
    }
    assert parse(one).footprint.bounds == (RIGHT - 10, TOP - 900, RIGHT + 1990, TOP + 100)


def test_only_reflectance_has_an_offset() -> None:
    spec = CatalogueSpec(url="catalog.json")
    item = parse(content(**{"s2:processing_baseline": "04.00"}))
    assert item.raster("B4", spec).offset == -1000
    assert item.raster("SCL", spec).offset == 0
    assert item.raster("B4", CatalogueSpec(url="catalog.json", offset=5)).offset == 5


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ({"properties": {"datetime": None}}, "states no time of acquisition"),
        ({"properties": {"datetime": "June"}}, "states no time of acquisition"),
        ({"properties": None}, "states no time of acquisition"),
        ({"geometry": None, "properties": {"datetime": TIME}}, "neither a rectangle"),
        ({"geometry": {}, "properties": {"datetime": TIME}}, "neither a rectangle"),
        (
            {"geometry": {"type": "Polygon", "coordinates": []}, "properties": {"datetime": TIME}},
            "neither a rectangle",
        ),
        ({"assets": None}, "has no list of assets"),
        ({"assets": {"B04": "b04.tif"}}, "has no list of assets"),
        ({"assets": {}}, "has B4 in none of its assets"),
        ({"assets": {"B04": {}}}, "metadata of B4 that cannot be read|no address"),
        ({"assets": {"B04": {"href": None}}}, "no address of a file for B4"),
        ({"assets": {"B04": {"href": "f", "eo:bands": 7}}}, "metadata of B4 that cannot be read"),
    ],
)
def test_an_item_that_is_none_is_a_fault_of_that_item_alone(
    broken: dict[str, Any], fault: str
) -> None:
    one = {**content(**{"s2:processing_baseline": "02.09"}), **broken}
    error = parse(one).fault_in(["B4"], CatalogueSpec(url="catalog.json"))
    assert error is not None
    assert re.search(fault, error.why)
    assert error.scene == "s"


def test_what_is_no_object_at_all_is_an_item_with_a_fault() -> None:
    for nothing in (None, "item", [], 7):
        assert parse(nothing).fault is not None


def test_an_unknown_crs_leaves_the_geometry_to_count() -> None:
    one = content(**{"proj:epsg": 999_999, "proj:bbox": [0, 0, 1, 1]})
    assert parse(one).epsg == 4326


def test_a_picture_of_the_same_names_does_not_hide_a_band() -> None:
    one = content(**{"s2:processing_baseline": "02.09"})
    blue = {"href": "blue.tif", "eo:bands": [{"name": "B02"}]}
    visual = {"href": "tci.tif", "eo:bands": [{"name": "B02"}], "roles": ["visual"]}
    one["assets"] = {"stack": blue, "picture": visual}
    assert parse(one).raster("B2", CatalogueSpec(url="catalog.json")).href == "blue.tif"
