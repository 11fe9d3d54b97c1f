"""The recipe of whichever sensor: `recipe` for Sentinel-2, `recipe_s1` for Sentinel-1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import recipe, recipe_s1
from thor_geo.sources.scenes import AnyScene, Scene, sentinel2_order
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec


def scene_query(sensor: AnySensor, window: TemporalSpec, block: Block) -> Any:
    """Return the graph that lists the scenes of a block; `parse_scenes` takes its value."""
    if isinstance(sensor, Sentinel1Spec):
        return recipe_s1.sentinel1_query(sensor, window, block)
    return recipe.sentinel2_query(sensor, window, block)


def parse_scenes(sensor: AnySensor, answer: Any) -> tuple[AnyScene, ...]:
    """Return the scenes of an answer to `scene_query`, sorted by index.

    Raises:
        EarthEngineError: If the answer has another form, or names a scene twice.
    """
    if isinstance(sensor, Sentinel1Spec):
        return recipe_s1.parse_sentinel1(sensor, answer)
    return recipe.parse_sentinel2(answer)


def composite(
    sensor: AnySensor, window: TemporalSpec, block: Block, scenes: Sequence[AnyScene]
) -> Any:
    """Return the image of a block: the sensor's bands, then `OBSERVATIONS`, in one data type.

    Raises:
        ConfigError: If *scenes* is empty.
    """
    if isinstance(sensor, Sentinel1Spec):
        return recipe_s1.sentinel1_composite(
            sensor, window, block, [scene.index for scene in scenes]
        )
    # The scenes of a block are of its sensor.
    return recipe.sentinel2_composite(sensor, window, block, cast("Sequence[Scene]", scenes))


def scene_order(sensor: AnySensor, scenes: Sequence[AnyScene]) -> list[str]:
    """Return ids of scenes as a composite wants them, whatever the order they are given in."""
    if isinstance(sensor, Sentinel1Spec):
        return sorted(scene.index for scene in scenes)
    return sentinel2_order(sensor, [scene for scene in scenes if isinstance(scene, Scene)])
