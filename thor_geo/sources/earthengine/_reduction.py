"""Parts of a composite's graph: cloud masks, and what many scenes become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from thor_geo.specs import CLOUD_SCORE_PLUS, SensorSpec

# Property by which a mosaic's scenes are sorted: unlike cloud percentages no two are equal, so the
# order does not depend on how the service sorts equal ones.
_RANK = "thor_geo_rank"


def without_clouds(sensor: SensorSpec, scenes: Any) -> Any:
    """Return a collection with its cloudy pixels masked.

    A scene that Cloud Score+ has no image of is masked as a whole: nothing says where it is clear.

    Args:
        sensor: The mask and its settings.
        scenes: An `ee.ImageCollection`, with all bands.
    """
    import ee

    if sensor.mask == "scl":
        return scenes.map(_outside(sensor.removed_classes))
    if sensor.mask == "cloud_score_plus":
        band, threshold = sensor.clear_score
        linked = scenes.linkCollection(ee.ImageCollection(CLOUD_SCORE_PLUS), [band])
        return linked.map(lambda image: image.updateMask(image.select([band]).gte(threshold)))
    return scenes


def _outside(classes: Sequence[int]) -> Callable[[Any], Any]:
    def outside(image: Any) -> Any:
        scl = image.select(["SCL"])
        cloudy = scl.eq(classes[0])
        for value in classes[1:]:
            cloudy = cloudy.Or(scl.eq(value))
        return image.updateMask(cloudy.Not())

    return outside


def reduce_collection(
    sensor: SensorSpec, scenes: Any, order: Sequence[str], complete: Callable[[Any], Any]
) -> Any:
    """Return one image of many, bands as in the scenes; masked where no scene is clear.

    Args:
        sensor: The composite, its settings, and the bands.
        scenes: An `ee.ImageCollection` of those bands, clouds masked.
        order: Ids of the scenes; of a mosaic, from the lowest to the topmost.
        complete: From an image to ones where all of its bands have data, masked elsewhere.
    """
    import ee

    if sensor.composite == "median":
        return scenes.median()
    if sensor.composite == "mean":
        return scenes.mean()
    if sensor.composite == "percentile":
        reducer = ee.Reducer.percentile([sensor.percentile])
        return scenes.reduce(reducer).rename(list(sensor.bands))
    ids = ee.List(list(order))

    def ranked(image: Any) -> Any:
        # Where only some bands have data the scene is left out: no pixel is of two scenes.
        whole = image.updateMask(complete(image))
        return whole.set(_RANK, ids.indexOf(image.get("system:index")))

    return scenes.map(ranked).sort(_RANK).mosaic()
