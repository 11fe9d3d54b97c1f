"""Scenes that are named one by one: whether all of them can be used, before any is."""

from __future__ import annotations

from thor_geo.errors import BlockError, EarthEngineError, UnreachableError
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.recipe import named_query, parse_sentinel2
from thor_geo.sources.policy import FetchStats
from thor_geo.sources.scenes import wrong_scenes
from thor_geo.specs import SensorSpec, TemporalSpec


def check_named_scenes(
    client: EarthEngineClient,
    sensor: SensorSpec,
    window: TemporalSpec,
    stats: FetchStats | None = None,
) -> None:
    """Check in one request that every scene a sensor names exists and passes its filters.

    A block that such a scene does not cover is empty, as any block without scenes. A scene that
    does not exist, or is filtered out, would be missing everywhere: that is an error.

    Args:
        client: Access to Earth Engine.
        sensor: The scenes, their collection, and the cloud limit; without names nothing is asked.
        window: Time window.
        stats: Counts what it cost.

    Raises:
        UnreachableError: If the service failed too often.
        EarthEngineError: If a scene cannot be used; names all such scenes, and why.
    """
    import ee

    if sensor.scenes is None:
        return
    client.connect()
    query = named_query(sensor)
    try:
        answer = client.call(
            lambda: ee.data.computeValue(query),
            "the scenes of `data.sentinel2.scenes`",
            stats or FetchStats(),
        )
    except BlockError as error:
        raise UnreachableError(str(error)) from error
    listed = {scene.index: scene for scene in parse_sentinel2(answer)}
    wrong = list(wrong_scenes(sensor, window, listed, sensor.collection))
    if wrong:
        raise EarthEngineError(
            f"`data.sentinel2.scenes` names scenes that cannot be used: {'; '.join(wrong)}. "
            "Correct the ids, or set data.start, data.end and data.sentinel2.cloudy_pct so that "
            "these scenes pass."
        )
