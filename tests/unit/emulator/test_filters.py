"""Filters really filter, and what cannot be evaluated is refused by name."""

from __future__ import annotations

import json
from typing import Any

import ee
import numpy as np
import pytest

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
PIXEL = np.ones((10, 10), dtype=np.uint16)


def _scene(name: str, date: str = "2022-06-01", **fields: Any) -> dict[str, Any]:
    return {"id": name, "date": date, "bands": {"B2": PIXEL}, **fields}


def _names(collection: Any) -> list[str]:
    names: list[str] = collection.aggregate_array("system:index").getInfo()
    return names


def test_dates_are_half_open(serve: Any) -> None:
    serve([_scene("a", "2022-05-31T23:59:59.999"), _scene("b", "2022-06-01"),
           _scene("c", "2022-06-30T23:59:59.999"), _scene("d", "2022-07-01")])  # fmt: skip
    everything = ee.ImageCollection(COLLECTION)
    assert _names(everything.filterDate("2022-06-01", "2022-07-01")) == ["b", "c"]
    millis = everything.filterDate(1654041600000, 1656633600000)
    assert _names(millis) == ["b", "c"]
    dates = everything.filterDate(ee.Date("2022-06-01"), ee.Date("2022-07-01"))
    assert _names(dates) == ["b", "c"]
    assert _names(everything.filterDate("2022-06-01")) == ["b"]


def test_bounds_select_what_overlaps_and_not_what_touches(serve: Any) -> None:
    # Two scenes of 100 m side by side, a third in the next zone on the same ground as none of them.
    serve([_scene("west"), _scene("east", left=600_100.0), _scene("other", epsg=32633)])
    everything = ee.ImageCollection(COLLECTION)

    def within(*box: float, **options: Any) -> list[str]:
        options = {"proj": "EPSG:32632", "geodesic": False, "evenOdd": False, **options}
        return _names(everything.filterBounds(ee.Geometry.Rectangle(list(box), **options)))

    assert within(600_000, 6_599_900, 600_100, 6_600_000) == ["west"]
    assert within(600_050, 6_599_950, 600_150, 6_599_960) == ["east", "west"]
    assert within(600_100, 6_599_950, 600_150, 6_599_960) == ["east"]
    assert within(600_000, 6_600_000, 600_100, 6_600_100) == []
    # In degrees, as a geodesic polygon, planar rectangle and a polygon that leaves a scene out.
    world = ee.Geometry.Polygon([[[5, 55], [20, 55], [20, 65], [5, 65]]])
    assert _names(everything.filterBounds(world)) == ["east", "other", "west"]
    zone_33_only = ee.Geometry.Rectangle([16, 59, 17, 60])
    assert _names(everything.filterBounds(zone_33_only)) == ["other"]
    triangle = ee.Geometry.Polygon(
        [[[600_150, 6_600_050], [600_250, 6_600_050], [600_250, 6_599_800]]], "EPSG:32632", False
    )
    assert _names(everything.filterBounds(triangle)) == ["east"]


def test_a_point_finds_the_scene_it_lies_in(serve: Any) -> None:
    from pyproj import Transformer

    serve([_scene("west"), _scene("east", left=600_100.0)])
    to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    for name, easting in (("west", 600_050), ("east", 600_150)):
        point = ee.Geometry.Point(list(to_degrees.transform(easting, 6_599_950)))
        assert _names(ee.ImageCollection(COLLECTION).filterBounds(point)) == [name]


def test_properties(serve: Any) -> None:
    serve([_scene("a", cloud=30.0, extra={"MGRS_TILE": "32VNM"}), _scene("b", cloud=30.1),
           _scene("c", cloud=0.0), _scene("d")])  # fmt: skip
    everything, cloud = ee.ImageCollection(COLLECTION), "CLOUDY_PIXEL_PERCENTAGE"
    assert _names(everything.filter(ee.Filter.gt(cloud, 30))) == ["b"]
    assert _names(everything.filter(ee.Filter.lt(cloud, 30))) == ["c"]
    assert _names(everything.filter(ee.Filter.eq(cloud, 0))) == ["c"]
    assert _names(everything.filter(ee.Filter.inList("system:index", ["c", "a", "x"]))) == [
        "a",
        "c",
    ]
    both = ee.Filter.And(ee.Filter.lte(cloud, 30), ee.Filter.notNull([cloud]))
    assert _names(everything.filter(both)) == ["a", "c"]
    either = ee.Filter.Or(ee.Filter.eq("MGRS_TILE", "32VNM"), ee.Filter.gt(cloud, 30))
    assert _names(everything.filter(either)) == ["a", "b"]
    # `lte` travels as "not greater than": a scene without the property passes it.
    assert _names(everything.filter(ee.Filter.lte(cloud, 30))) == ["a", "c", "d"]


def test_scene_list_drops_rows_only_for_required_properties(serve: Any) -> None:
    serve([_scene("a", cloud=1.5), _scene("b")])
    everything = ee.ImageCollection(COLLECTION)
    names = ["system:index", "CLOUDY_PIXEL_PERCENTAGE"]
    strict = everything.reduceColumns(ee.Reducer.toList(2), names).getInfo()
    assert strict == {"list": [["a", 1.5]]}
    lenient = everything.reduceColumns(ee.Reducer.toList(2, 1), names).getInfo()
    assert lenient == {"list": [["a", 1.5], ["b", None]]}
    assert everything.aggregate_array("CLOUDY_PIXEL_PERCENTAGE").getInfo() == [1.5]
    with pytest.raises(ee.EEException, match=r"Need 3 input\(s\) for Reducer.toList"):
        everything.reduceColumns(ee.Reducer.toList(3), names).getInfo()


def test_order_and_limit(serve: Any) -> None:
    serve([_scene("a", cloud=2.0), _scene("b", cloud=3.0), _scene("c"), _scene("d", cloud=1.0)])
    everything, cloud = ee.ImageCollection(COLLECTION), "CLOUDY_PIXEL_PERCENTAGE"
    assert _names(everything.sort(cloud)) == ["d", "a", "b", "c"]
    assert _names(everything.limit(2, cloud, False)) == ["b", "a"]
    assert everything.limit(3).size().getInfo() == 3
    assert everything.sort(cloud).first().get("system:index").getInfo() == "d"
    merged = everything.limit(1).merge(everything.limit(1))
    assert _names(merged) == ["1_a", "2_a"]


def test_what_is_unknown_is_refused_by_name(serve: Any, pixels: Any) -> None:
    serve([_scene("a")])
    image = ee.ImageCollection(COLLECTION).first()
    with pytest.raises(ee.EEException, match=r"Function 'Image\.sin' is not supported"):
        pixels(image.sin())
    with pytest.raises(ee.EEException, match=r"Image.unmask: argument 'extra' is not supported"):
        _call("Image.unmask", input={"constantValue": 1}, extra={"constantValue": 1})
    with pytest.raises(ee.EEException, match=r"Reducer.median: argument 'maxRaw' is not supported"):
        ee.ImageCollection(COLLECTION).reduce(ee.Reducer.median(maxRaw=3)).getInfo()
    with pytest.raises(ee.EEException, match=r"Image.select: Band pattern 'B9' did not match any"):
        pixels(image.select("B9"))
    with pytest.raises(ee.EEException, match="ImageCollection asset 'NOWHERE' not found"):
        ee.ImageCollection("NOWHERE").size().getInfo()
    with pytest.raises(ee.EEException, match=r"Image asset .*/zzz' not found"):
        pixels(ee.Image(f"{COLLECTION}/zzz"))
    with pytest.raises(ee.EEException, match=r"Image.select: Parameter 'input' must be an Image"):
        _call("Image.select", input={"constantValue": "x"}, bandSelectors={"constantValue": ["b"]})
    with pytest.raises(ee.EEException, match="Parameter 'id' is required"):
        _call("Image.load")


def _call(name: str, **arguments: Any) -> Any:
    """Send a call as it is, past the client's own checks."""
    node = {"functionInvocationValue": {"functionName": name, "arguments": arguments}}
    projects = ee.data._get_cloud_projects()
    body = {"expression": {"values": {"0": node}, "result": "0"}}
    request = projects.value().compute(project="projects/emulator", body=body)
    return ee.data._execute_cloud_call(request)


def test_every_argument_of_every_function_is_one_of_the_api(serve: Any) -> None:
    from thor_geo.emulator._discovery import algorithms

    known = {
        entry["name"].removeprefix("algorithms/"): {
            argument["argumentName"] for argument in entry.get("arguments", [])
        }
        for entry in json.loads(algorithms())["algorithms"]
    }
    for name, arguments in serve([_scene("a")]).catalog.functions.items():
        assert name in known, name
        assert set(arguments) <= known[name], name


def test_collections_must_be_homogeneous_to_be_reduced(serve: Any, pixels: Any) -> None:
    serve([_scene("a"), {"id": "b", "date": "2022-06-02", "bands": {"B3": PIXEL}}])
    with pytest.raises(ee.EEException, match=r"reduce.median: Expected a homogeneous"):
        pixels(ee.ImageCollection(COLLECTION).median())


def test_metadata_of_an_image_is_told(serve: Any) -> None:
    serve([_scene("a", cloud=4.0)])
    info = ee.ImageCollection(COLLECTION).first().getInfo()
    assert info["id"] == f"{COLLECTION}/a"
    assert info["properties"]["CLOUDY_PIXEL_PERCENTAGE"] == 4.0
    assert info["bands"][0]["crs"] == "EPSG:32632"
    assert info["bands"][0]["crs_transform"] == [10, 0, 600_000, 0, -10, 6_600_000]
    # Arithmetic loses the time, as on the service; copyProperties brings it back.
    plus = ee.ImageCollection(COLLECTION).first().add(1)
    assert plus.get("system:time_start").getInfo() is None
    copied = plus.copyProperties(ee.ImageCollection(COLLECTION).first(), ["system:time_start"])
    assert copied.get("system:time_start").getInfo() == 1654041600000
