from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import ee
import numpy as np
import pytest

from thor_geo.emulator import EmulatorServer
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import EarthEngineSession, Scene, SessionSpec
from thor_geo.sources.earthengine import _expression as expression_module
from thor_geo.sources.earthengine._expression import Expression, prepared_composite, prepared_query
from thor_geo.sources.earthengine._sensors import composite, scene_query
from thor_geo.sources.scenes import pixel_grid
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec

SENSOR = SensorSpec(bands=("B4", "B3"), cloudy_pct=50)
JUNE = TemporalSpec.range("2022-06-01", "2022-07-01")
BLOCK = Block(epsg=32632, size=64, resolution=10, left=640, top=6400)
ODD = Block(epsg=32733, size=96, resolution=20, left=-96, top=192, anchor=(500_000.5, 1e6))
SENSORS = [
    SENSOR,
    replace(SENSOR, mask="scl"),
    replace(SENSOR, composite="mean", fill_value=7),
    replace(SENSOR, composite="mosaic", scenes=("a", "b")),
    replace(SENSOR, composite="percentile", percentile=10),
    replace(SENSOR, mask="scl", scl_classes=(9,)),
    replace(SENSOR, mask="cloud_score_plus", composite="mosaic"),
    SensorSpec(),
    SensorSpec(bands=("B2",)),
]


@pytest.fixture(autouse=True)
def _connected(server: EmulatorServer) -> None:
    EarthEngineSession(SessionSpec(credentials="anonymous", url=server.url)).ensure()


def scenes(*names: str) -> tuple[Scene, ...]:
    return tuple(
        Scene(
            index=name, time_start=None, mgrs_tile=None, processing_baseline=None, cloudy_pct=None
        )
        for name in names
    )


@pytest.mark.parametrize("block", [BLOCK, ODD], ids=["usual", "odd grid"])
@pytest.mark.parametrize("sensor", SENSORS)
def test_a_filled_graph_is_the_one_that_the_client_would_build(
    sensor: SensorSpec, block: Block
) -> None:
    for names in (("a",), ("c", "a", "b"), tuple(f"s{k:03}" for k in range(200))):
        built = ee.serializer.encode(composite(sensor, JUNE, block, scenes(*names)))
        prepared = prepared_composite(sensor, JUNE, block, scenes(*names))
        assert isinstance(prepared, Expression), "every graph was built anew"
        assert prepared.graph == built
        # And is sent as such.
        assert ee.serializer.encode(prepared) == built
    query = prepared_query(sensor, JUNE, block)
    assert query.graph == ee.serializer.encode(query)
    assert query.graph == ee.serializer.encode(scene_query(sensor, JUNE, block))


@pytest.mark.parametrize("sensor", [SENSOR, SensorSpec(), Sentinel1Spec(), SENSORS[-2], SENSORS[3]])
def test_windows_share_a_graph_and_differ_as_the_client_would_have_it(sensor: AnySensor) -> None:
    expression_module._composite_template.cache_clear()
    expression_module._query_template.cache_clear()
    spans = [
        ("2022-06-01", "2022-07-01"),
        ("2022-06-01", "2022-06-02"),
        ("1970-01-01", "1970-01-02"),
        ("1969-12-31", "2050-01-01"),
    ]
    for span in spans:
        window = TemporalSpec.range(*span)
        named = scenes("a", "b")
        built = ee.serializer.encode(composite(sensor, window, BLOCK, named))
        assert prepared_composite(sensor, window, BLOCK, named).graph == built
        query = ee.serializer.encode(scene_query(sensor, window, BLOCK))
        assert prepared_query(sensor, window, BLOCK).graph == query
    # A table of places may have thousands of windows: each must not cost a graph of its own.
    assert expression_module._composite_template.cache_info().misses == 1
    assert expression_module._query_template.cache_info().misses == 1


def test_blocks_do_not_share_what_was_filled_in() -> None:
    graphs = [
        prepared_composite(SENSOR, JUNE, block, scenes(name)).graph
        for block, name in itertools.product((BLOCK, ODD), "ab")
    ]
    assert all(first != second for first, second in itertools.combinations(graphs, 2))


def pixels(image: Any) -> Any:
    request = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": pixel_grid(BLOCK)}
    return ee.data.computePixels(request)


def test_the_service_computes_the_same() -> None:
    listed = ee.data.computeValue(prepared_query(SENSOR, JUNE, BLOCK))
    assert listed == scene_query(SENSOR, JUNE, BLOCK).getInfo()
    prepared = prepared_composite(SENSOR, JUNE, BLOCK, scenes("a", "c"))
    np.testing.assert_array_equal(
        pixels(prepared), pixels(composite(SENSOR, JUNE, BLOCK, scenes("a", "c")))
    )


def test_a_client_that_writes_constants_otherwise_is_asked_for_each_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expression_module, "_composite_template", lambda *_: None)
    monkeypatch.setattr(expression_module, "_query_template", lambda *_: None)
    built = prepared_composite(SENSOR, JUNE, BLOCK, scenes("a"))
    assert isinstance(built, ee.Image)
    assert isinstance(prepared_query(SENSOR, JUNE, BLOCK), ee.ComputedObject)
