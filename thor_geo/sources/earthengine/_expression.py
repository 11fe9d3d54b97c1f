"""Graphs built once and filled in per block.

The graphs of two blocks differ in a rectangle, a list of scenes, and the two ends of the window. To
build one through the client takes about ten times as long as to fill these in, and at a hundred
blocks a second that is what a process would spend its time on. Importing this module loads `ee`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import ee

from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine._sensors import composite, scene_order, scene_query
from thor_geo.sources.earthengine.recipe import milliseconds
from thor_geo.sources.scenes import AnyScene, Scene
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor

# Stand-ins that no real block, scene or window has; of a scene, graphs hold nothing but the index.
_SCENE = Scene(
    index="\x00scenes",
    time_start=None,
    mgrs_tile=None,
    processing_baseline=None,
    cloudy_pct=None,
)
_INDICES = [_SCENE.index]
_WINDOW = TemporalSpec(
    start=dt.datetime(1901, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    end=dt.datetime(2107, 8, 9, 10, 11, 12, tzinfo=dt.UTC),
)


def _stand_in(epsg: int) -> Block:
    return Block(epsg=epsg, size=1, resolution=1, left=123_457, top=7_654_321)


class Expression(ee.Encodable):
    """An encoded graph which the client sends as it sends its own objects."""

    def __init__(self, graph: dict[str, Any]) -> None:
        """Initialize a new Expression instance.

        Args:
            graph: The graph as `ee.serializer.encode` gives it.
        """
        self.graph = graph

    def serialize(self) -> str:
        """Return the graph as JSON, as `ee.Image.serialize` does."""
        return json.dumps(self.graph)

    def encode_cloud_value(self, encoder: Callable[[Any], Any]) -> Any:
        """Return the graph's result; what it refers to is handed to the encoder, part by part.

        Args:
            encoder: Encodes an object and returns the name under which it is kept.
        """
        values = self.graph["values"]
        parts = {name: _GraphValue(node) for name, node in values.items()}
        for part in parts.values():
            part.others = parts
        return parts[self.graph["result"]].encode_cloud_value(encoder)


class _GraphValue(ee.Encodable):
    """A named value of a graph."""

    def __init__(self, node: dict[str, Any]) -> None:
        self.node = node
        self.others: dict[str, _GraphValue] = {}

    def encode_cloud_value(self, encoder: Callable[[Any], Any]) -> Any:
        return self._linked(self.node, encoder)

    def _linked(self, node: Any, encoder: Callable[[Any], Any]) -> Any:
        """Return a node with the encoder's names in place of the graph's."""
        if isinstance(node, list):
            return [self._linked(item, encoder) for item in node]
        if not isinstance(node, dict) or "constantValue" in node:
            return node
        if "valueReference" in node:
            return {"valueReference": encoder(self.others[node["valueReference"]])}
        if "functionDefinitionValue" in node:
            definition = node["functionDefinitionValue"]
            body = encoder(self.others[definition["body"]])
            return {"functionDefinitionValue": {**definition, "body": body}}
        return {key: self._linked(value, encoder) for key, value in node.items()}


def prepared_composite(
    sensor: AnySensor, window: TemporalSpec, block: Block, scenes: tuple[AnyScene, ...]
) -> Any:
    """Return what `composite` returns, or its graph, which is the same to the client.

    Args:
        sensor: Bands, reduction, mask and fill value.
        window: Time window.
        block: The area.
        scenes: The pinned scenes, not empty.
    """
    template = _composite_template(sensor, block.epsg)
    if template is None:
        return composite(sensor, window, block, scenes)
    return _filled(template, window, block, scene_order(sensor, scenes))


def prepared_query(sensor: AnySensor, window: TemporalSpec, block: Block) -> Any:
    """Return what `scene_query` returns, or its graph, which is the same to the client.

    Args:
        sensor: Collection and cloud limit.
        window: Time window.
        block: The area.
    """
    template = _query_template(sensor, block.epsg)
    if template is None:
        return scene_query(sensor, window, block)
    return _filled(template, window, block, [])


# Templates are text, which is filled in a third of the time that a walk through the graph takes.
# None if a client encodes the stand-ins in another way: then every graph is built from scratch.


@lru_cache(maxsize=128)
def _composite_template(sensor: AnySensor, epsg: int) -> str | None:
    template = _encoded(composite(sensor, _WINDOW, _stand_in(epsg), [_SCENE]))
    # A mosaic may name the scenes twice: which they are, and their order.
    lists, names = template.count(_constant(_INDICES)), template.count(json.dumps(_SCENE.index))
    return template if _names_place_and_time_once(template, epsg) and lists == names > 0 else None


@lru_cache(maxsize=128)
def _query_template(sensor: AnySensor, epsg: int) -> str | None:
    template = _encoded(scene_query(sensor, _WINDOW, _stand_in(epsg)))
    return template if _names_place_and_time_once(template, epsg) else None


def _names_place_and_time_once(template: str, epsg: int) -> bool:
    constants = (list(_stand_in(epsg).bounds), *milliseconds(_WINDOW))
    return all(template.count(_constant(constant)) == 1 for constant in constants)


def _encoded(image: Any) -> str:
    return json.dumps(ee.serializer.encode(image))


def _constant(value: list[Any] | int) -> str:
    return json.dumps({"constantValue": value})


def _filled(template: str, window: TemporalSpec, block: Block, indices: list[str]) -> Expression:
    before: list[Any] = [list(_stand_in(block.epsg).bounds), *milliseconds(_WINDOW), _INDICES]
    after: list[Any] = [list(block.bounds), *milliseconds(window), indices]
    for stand_in, value in zip(before, after, strict=True):
        template = template.replace(_constant(stand_in), _constant(value))
    return Expression(json.loads(template))
