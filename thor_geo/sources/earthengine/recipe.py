"""The recipe: from sensor, window and block to Earth Engine graphs, and to the key of the result.

Two steps. First the scenes of a block are listed and thereby pinned; then the composite is made of
exactly those, so that scenes which reach the catalogue later cannot change a rerun. No scenes is an
answer: the second step is then left out.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from thor_geo.errors import ConfigError, EarthEngineError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine._reduction import reduce_collection, without_clouds
from thor_geo.sources.scenes import OBSERVATIONS, Scene, pixel_grid, sentinel2_order
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, storage_of
from thor_geo.support.jsontext import canonical_sha256

#: Goes into every key: raise it whenever the same settings give other pixels or other scenes.
RECIPE_VERSION = 1


#: Data type of every band of a fetched Sentinel-2 composite.
DTYPE = "uint16"

# What is asked of each scene, in this order. The last four may be missing on a scene.
_PROPERTIES = (
    "system:index",
    "system:time_start",
    "MGRS_TILE",
    "PROCESSING_BASELINE",
    "CLOUDY_PIXEL_PERCENTAGE",
)
_OPTIONAL = 4


def _rectangle(block: Block) -> Any:
    import ee

    # Straight edges in the block's own zone: exactly the pixels that will be asked for.
    return ee.Geometry.Rectangle(
        list(block.bounds), proj=ee.Projection(f"EPSG:{block.epsg}"), geodesic=False
    )


def milliseconds(window: TemporalSpec) -> tuple[int, int]:
    """Return start and end of a window as graphs hold them: milliseconds since 1970.

    Text would be parsed by the client, and its form would enter the key.

    Args:
        window: Time window.
    """
    return int(window.start.timestamp() * 1000), int(window.end.timestamp() * 1000)


def _collection(sensor: AnySensor, window: TemporalSpec, block: Block) -> Any:
    import ee

    start, end = milliseconds(window)
    return (
        ee.ImageCollection(sensor.collection).filterBounds(_rectangle(block)).filterDate(start, end)
    )


def sentinel2_query(sensor: SensorSpec, window: TemporalSpec, block: Block) -> Any:
    """Return the graph that lists the scenes of a block.

    Args:
        sensor: Collection and cloud limit.
        window: Time window.
        block: The area.

    Returns:
        An ee object; its value is what `parse_sentinel2` takes.
    """
    import ee

    scenes = _collection(sensor, window, block).filter(
        ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", sensor.cloudy_pct)
    )
    return _listed(scenes if sensor.scenes is None else _named(sensor, scenes))


def named_query(sensor: SensorSpec) -> Any:
    """Return the graph that lists the scenes which a sensor names, wherever and whenever.

    Args:
        sensor: Collection and scenes.

    Returns:
        An ee object; its value is what `parse_sentinel2` takes.
    """
    import ee

    return _listed(_named(sensor, ee.ImageCollection(sensor.collection)))


def _named(sensor: SensorSpec, scenes: Any) -> Any:
    import ee

    return scenes.filter(ee.Filter.inList("system:index", list(sensor.scenes or ())))


def _listed(scenes: Any, properties: Sequence[str] = _PROPERTIES, optional: int = _OPTIONAL) -> Any:
    import ee

    # Inputs that are not optional drop their scene where they are null.
    reducer = ee.Reducer.toList(len(properties), optional)
    return scenes.reduceColumns(reducer, list(properties))


class _Indexed(Protocol):
    @property
    def index(self) -> str: ...


_AnyScene = TypeVar("_AnyScene", bound=_Indexed)


def parse_sentinel2(answer: Any) -> tuple[Scene, ...]:
    """Return the scenes of an answer to `sentinel2_query`, sorted by index.

    Args:
        answer: The decoded value.

    Raises:
        EarthEngineError: If the answer has another form, or names a scene twice.
    """
    return parse_rows(answer, _scene)


def parse_rows(
    answer: Any, scene_of: Callable[[Sequence[Any]], _AnyScene]
) -> tuple[_AnyScene, ...]:
    """Return the scenes of an answer with a list of rows, sorted by index.

    Args:
        answer: The decoded value.
        scene_of: Makes a scene of a row.

    Raises:
        EarthEngineError: If the answer has another form, or names a scene twice.
    """
    try:
        scenes = [scene_of(row) for row in answer["list"]]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise EarthEngineError(
            f"The list of scenes has an unexpected form ({error!r}): {str(answer)[:200]}. The "
            "service changed, or another server answers at this endpoint."
        ) from error
    scenes.sort(key=lambda scene: scene.index)
    for first, second in itertools.pairwise(scenes):
        if first.index == second.index:
            raise EarthEngineError(
                f"The collection lists scene {first.index!r} twice. `data.sentinel2.collection` "
                "must be one collection, in which `system:index` is unique."
            )
    return tuple(scenes)


def _scene(row: Sequence[Any]) -> Scene:
    if len(row) != len(_PROPERTIES) or not isinstance(row[0], str):
        raise ValueError(f"row {row!r}")
    index, time, tile, baseline, cloudy = row
    return Scene(
        index=index,
        time_start=None if time is None else _iso(float(time)),
        mgrs_tile=None if tile is None else str(tile),
        processing_baseline=None if baseline is None else str(baseline),
        cloudy_pct=None if cloudy is None else float(cloudy),
    )


def _iso(milliseconds: float) -> str:
    when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sentinel2_composite(
    sensor: SensorSpec, window: TemporalSpec, block: Block, scenes: Sequence[Scene]
) -> Any:
    """Return the image: the requested bands, then `OBSERVATIONS`, all uint16.

    Each band is reduced over the observations that are unmasked in it, rounded half up, and is
    *fill_value* where there is none. `OBSERVATIONS` counts the scenes in which **every** requested
    band is unmasked (at the edge of a swath the bands end at different pixels), so that a pixel
    with an observation has one in each band. A mosaic takes all bands of a pixel from the topmost
    of the scenes that `OBSERVATIONS` counts there.

    A percentile p of n values is the p/100 x (n - 1)th of them in ascending order, counted from 0
    and linear in between (NumPy's default; type 7 of Hyndman and Fan, 1996). That is what the
    emulator computes. How Earth Engine interpolates is not documented, and it may take the
    percentile of many values from a histogram (`ee.Reducer.percentile`, maxRaw).

    Args:
        sensor: Bands, reduction, mask and fill value.
        window: Time window; repeated here so that the service need not search the whole catalogue.
        block: The area; repeated for the same reason.
        scenes: The pinned scenes, not empty.

    Returns:
        An `ee.Image`.

    Raises:
        ConfigError: If *scenes* is empty.
    """
    import ee

    if not scenes:
        raise ConfigError(
            "scenes",
            scenes,
            "a composite needs at least one scene",
            "Record the block as empty instead.",
        )
    bands = list(sensor.bands)
    indices = sentinel2_order(sensor, scenes)
    pinned = _collection(sensor, window, block).filter(ee.Filter.inList("system:index", indices))
    pinned = without_clouds(sensor, pinned).select(bands)
    pixels = (
        reduce_collection(sensor, pinned, indices, _seen_in_all(bands))
        # Half up: DN 3.5 becomes 4. The cast alone would cut it off.
        .add(0.5)
        .floor()
        .clamp(0, 65535)
        # After the clamp: the fill value is stored as given. False: also beyond the footprints.
        .unmask(sensor.fill_value, False)
        .toUint16()
    )
    # One data type for all bands makes the answer one array and its size easy to count.
    observations = pinned.map(_seen_in_all(bands)).count().unmask(0, False).toUint16()
    return pixels.addBands(observations.rename([OBSERVATIONS]))


def _seen_in_all(bands: Sequence[str]) -> Callable[[Any], Any]:
    def seen_in_all(image: Any) -> Any:
        masks = image.mask()
        seen = masks.select([bands[0]])
        for band in bands[1:]:
            seen = seen.And(masks.select([band]))
        return seen.updateMask(seen)

    return seen_in_all


def block_key(image: Any, sensor: AnySensor, block: Block, catalogue: str) -> str:
    """Return the sha256 that names a block's pixels, as 64 hexadecimal digits.

    It covers the serialised graph (with the pinned scenes), grid, bands, data type, fill value,
    recipe version and catalogue. It leaves out project, endpoint and credentials: they do not
    change the pixels.

    Args:
        image: The image of the composite.
        sensor: Bands and fill value.
        block: The block.
        catalogue: Where the scenes are from: ``earthengine``, or ``emulator-`` and a fingerprint.
    """
    return canonical_sha256(
        {
            "recipe": RECIPE_VERSION,
            "catalogue": catalogue,
            # Through JSON again, because the client decides the order of keys in its text.
            "graph": json.loads(image.serialize()),
            "grid": pixel_grid(block),
            "bands": [*sensor.bands, OBSERVATIONS],
            "dtype": storage_of(sensor).disk,
            "fill": sensor.fill_value,
        }
    )
