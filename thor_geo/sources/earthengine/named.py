"""Scenes that are named one by one: whether all of them can be used, before any is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

from thor_geo.errors import BlockError, EarthEngineError, UnreachableError
from thor_geo.sources.earthengine.client import Client
from thor_geo.sources.earthengine.policy import FetchStats
from thor_geo.sources.earthengine.recipe import Scene, named_query, parse_scenes
from thor_geo.specs import SensorSpec, TemporalSpec


def check_named_scenes(
    client: Client, sensor: SensorSpec, window: TemporalSpec, stats: FetchStats | None = None
) -> None:
    """See that every scene which a sensor names exists and passes its filters, in one request.

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
            "the scenes of `data.scenes`",
            stats or FetchStats(),
        )
    except BlockError as error:
        raise UnreachableError(str(error)) from error
    found = {scene.index: scene for scene in parse_scenes(answer)}
    wrong = list(wrong_scenes(sensor, window, found, sensor.collection))
    if wrong:
        raise EarthEngineError(
            f"`data.scenes` names scenes that cannot be used: {'; '.join(wrong)}. Correct the ids, "
            "or set data.start, data.end and data.cloudy_pct so that these scenes pass."
        )


def wrong_scenes(
    sensor: SensorSpec, window: TemporalSpec, found: Mapping[str, Scene], where: str
) -> Iterator[str]:
    """Yield what is wrong with each scene that cannot be used.

    Args:
        sensor: The scenes that it names, and the cloud limit.
        window: Time window.
        found: Those of them that there are, by id.
        where: Where they were looked for.
    """
    for index in sensor.scenes or ():
        scene = found.get(index)
        if scene is None:
            yield f"{index} is not in {where}"
            continue
        time = scene.time_start
        if time is None or not window.start <= dt.datetime.fromisoformat(time) < window.end:
            yield (
                f"{index} is of {time}, outside {window.start.date()} to {window.end.date()} "
                "(exclusive)"
            )
        elif scene.cloudy_pct is not None and scene.cloudy_pct > sensor.cloudy_pct:
            yield (
                f"{index} has a cloud percentage of {scene.cloudy_pct:g}, above "
                f"data.cloudy_pct={sensor.cloudy_pct:g}"
            )
