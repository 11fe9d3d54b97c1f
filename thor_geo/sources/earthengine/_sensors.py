"""The recipe of whichever sensor: `recipe` for Sentinel-2, `recipe_s1` for Sentinel-1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import recipe, recipe_s1
from thor_geo.sources.earthengine.recipe import Scene
from thor_geo.sources.earthengine.recipe_s1 import Sentinel1Scene
from thor_geo.specs import TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, fell_back

#: One acquisition behind a composite, of either sensor.
AnyScene: TypeAlias = Scene | Sentinel1Scene


def scene_query(sensor: AnySensor, window: TemporalSpec, block: Block) -> Any:
    """Return the graph that lists the scenes of a block; `parse_scenes` takes its value."""
    if isinstance(sensor, Sentinel1Spec):
        return recipe_s1.scene_query(sensor, window, block)
    return recipe.scene_query(sensor, window, block)


def parse_scenes(sensor: AnySensor, answer: Any) -> tuple[AnyScene, ...]:
    """Return the scenes of an answer to `scene_query`, sorted by index.

    Raises:
        EarthEngineError: If the answer has another form, or names a scene twice.
    """
    if isinstance(sensor, Sentinel1Spec):
        return recipe_s1.parse_scenes(sensor, answer)
    return recipe.parse_scenes(answer)


def composite(
    sensor: AnySensor, window: TemporalSpec, block: Block, scenes: Sequence[AnyScene]
) -> Any:
    """Return the image of a block: the sensor's bands, then `OBSERVATIONS`, in one data type.

    Raises:
        ConfigError: If *scenes* is empty.
    """
    if isinstance(sensor, Sentinel1Spec):
        return recipe_s1.composite(sensor, window, block, [scene.index for scene in scenes])
    # The scenes of a block are of its sensor.
    return recipe.composite(sensor, window, block, cast("Sequence[Scene]", scenes))


def scene_order(sensor: AnySensor, scenes: Sequence[AnyScene]) -> list[str]:
    """Return ids of scenes as a composite wants them, whatever the order they are given in."""
    if isinstance(sensor, Sentinel1Spec):
        return sorted(scene.index for scene in scenes)
    return recipe.scene_order(sensor, [scene for scene in scenes if isinstance(scene, Scene)])


def scene_from_dict(sensor: AnySensor, fields: dict[str, Any]) -> AnyScene:
    """Return the scene that its `to_dict` described.

    Raises:
        ValueError: If an attribute is missing, superfluous or of the wrong type.
    """
    kind = Sentinel1Scene if isinstance(sensor, Sentinel1Spec) else Scene
    return kind.from_dict(fields)


def provenance(sensor: AnySensor, scenes: Sequence[AnyScene]) -> dict[str, Any]:
    """Return what the records of a block say of its scenes beside their list.

    Of Sentinel-1 ``orbit_fallback``: whether they are of the other orbit pass than was asked for.
    """
    if not isinstance(sensor, Sentinel1Spec):
        return {}
    return {"orbit_fallback": fell_back(sensor, cast("Sequence[Sentinel1Scene]", scenes))}
