"""What is particular to Sentinel-2: its cloud masks, and how its scenes are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from thor_geo.errors import ConfigError

CloudScoreBand = Literal["cs", "cs_cdf"]

#: SCL classes that the mask `scl` removes: 3 cloud shadow, 8 and 9 cloud (medium, high
#: probability), 10 thin cirrus (Sentinel-2 Level-2A algorithm, scene classification).
SCL_MASKED: tuple[int, ...] = (3, 8, 9, 10)

#: The classes with data: 1 saturated or defective, 2 dark or topographic shadow, 4 vegetation,
#: 5 not vegetated, 6 water, 7 unclassified, 11 snow, and those above (same source).
SCL_CLASSES = range(1, 12)

#: Cloud Score+ of both processing levels, linked to their scenes by `system:index`.
CLOUD_SCORE_PLUS = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"

#: Band and least clear score that the Earth Engine data catalogue's example for Cloud Score+
#: begins with; it says that 0.50 to 0.65 generally work well.
CLOUD_SCORE_BAND: CloudScoreBand = "cs_cdf"
CLOUD_SCORE_THRESHOLD = 0.6

# Level-1C: top of atmosphere, before there is a scene classification.
_WITHOUT_SCL = ("COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2")


def refuse_scl(collection: str) -> None:
    """Refuse the mask `scl` for a collection that is known to have no band SCL.

    Args:
        collection: Earth Engine image collection.

    Raises:
        ConfigError: If it is one of Level-1C.
    """
    if collection in _WITHOUT_SCL:
        raise ConfigError(
            "mask",
            "scl",
            f"{collection} is Level-1C (top of atmosphere), which has no band SCL",
            "Set mask: cloud_score_plus or none, or collection: COPERNICUS/S2_SR_HARMONIZED.",
        )


def checked_classes(classes: Sequence[int]) -> tuple[int, ...]:
    """Return SCL classes, ascending, each once.

    Args:
        classes: The classes.

    Raises:
        ConfigError: If there are none, or one is not a class.
    """
    wrong = [each for each in classes if each not in SCL_CLASSES or isinstance(each, bool)]
    if wrong or not classes:
        raise ConfigError(
            "scl_classes",
            list(classes),
            f"{wrong[0]!r} is not a class" if wrong else "no class is named",
            f"Name classes from 1 to 11, e.g. {list(SCL_MASKED)}: 1 defective, 2 dark, 3 cloud "
            "shadow, 4 vegetation, 5 bare, 6 water, 7 unclassified, 8 and 9 cloud, 10 cirrus, "
            "11 snow.",
        )
    return tuple(sorted({int(each) for each in classes}))


def checked_scenes(scenes: Sequence[str]) -> tuple[str, ...]:
    """Return ids of scenes, sorted, each once.

    Args:
        scenes: Their ``system:index``.

    Raises:
        ConfigError: If there are none, or one is not such an id.
    """
    if isinstance(scenes, str) or not scenes:
        raise ConfigError(
            "scenes",
            scenes,
            "not a list of ids",
            "List them, e.g. [20220605T104031_20220605T104031_T32VNM]; leave it out for all scenes "
            "that pass.",
        )
    for scene in scenes:
        if not isinstance(scene, str) or not scene or "/" in scene:
            raise ConfigError(
                "scenes",
                scene,
                "not the id of a scene within its collection",
                "Give its `system:index`: the part of the asset's id after the last slash.",
            )
    return tuple(sorted(set(scenes)))
