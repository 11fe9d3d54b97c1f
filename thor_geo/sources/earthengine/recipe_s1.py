"""The recipe of Sentinel-1; `recipe` is Sentinel-2's, and says how the two steps go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thor_geo.errors import ConfigError
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine.recipe import _collection, _iso, _listed, _seen_in_all, parse_rows
from thor_geo.sources.scenes import OBSERVATIONS, Sentinel1Scene
from thor_geo.specs import TemporalSpec
from thor_geo.specs.bands import STORAGE
from thor_geo.specs.sentinel1 import Sentinel1Spec

# What is asked of each scene, in this order. The last three may be missing on a scene.
_PROPERTIES = (
    "system:index",
    "system:time_start",
    "orbitProperties_pass",
    "relativeOrbitNumber_start",
)
_OPTIONAL = 3

#: Stored units (hundredths) of a decibel.
_PER_DB = round(1 / STORAGE["S1"].scale)

#: Largest stored value; its negative is the smallest, below which only "no data" lies.
_LARGEST = 32767


def sentinel1_query(sensor: Sentinel1Spec, window: TemporalSpec, block: Block) -> Any:
    """Return the graph that lists the scenes of a block.

    With `orbit_fallback` both passes are listed, in one request, and `parse_sentinel1` chooses.

    Args:
        sensor: Collection, mode, polarisations and orbit pass.
        window: Time window.
        block: The area.

    Returns:
        An ee object; its value is what `parse_sentinel1` takes.
    """
    import ee

    scenes = _collection(sensor, window, block).filter(ee.Filter.eq("instrumentMode", sensor.mode))
    for name in sensor.polarisations:
        scenes = scenes.filter(ee.Filter.listContains("transmitterReceiverPolarisation", name))
    if sensor.orbit != "both" and not sensor.orbit_fallback:
        scenes = scenes.filter(ee.Filter.eq("orbitProperties_pass", sensor.orbit.upper()))
    return _listed(scenes, _PROPERTIES, _OPTIONAL)


def parse_sentinel1(sensor: Sentinel1Spec, answer: Any) -> tuple[Sentinel1Scene, ...]:
    """Return the scenes of an answer to `sentinel1_query` to be used, sorted by index.

    Args:
        sensor: Says which orbit pass is wanted, and whether the other one may stand in for it.
        answer: The decoded value.

    Raises:
        EarthEngineError: If the answer has another form, or names a scene twice.
    """
    scenes = parse_rows(answer, _scene)
    if not sensor.orbit_fallback:
        return scenes
    wanted = sensor.orbit.upper()
    return tuple(scene for scene in scenes if scene.orbit_pass == wanted) or scenes


def _scene(row: Sequence[Any]) -> Sentinel1Scene:
    if len(row) != len(_PROPERTIES) or not isinstance(row[0], str):
        raise ValueError(f"row {row!r}")
    index, time, orbit_pass, relative_orbit = row
    return Sentinel1Scene(
        index=index,
        time_start=None if time is None else _iso(float(time)),
        orbit_pass=None if orbit_pass is None else str(orbit_pass),
        relative_orbit=None if relative_orbit is None else int(relative_orbit),
    )


def sentinel1_composite(
    sensor: Sentinel1Spec, window: TemporalSpec, block: Block, indices: Sequence[str]
) -> Any:
    """Return the image: the polarisations in hundredths of a dB, then `OBSERVATIONS`, all int16.

    Each polarisation is reduced in decibel over the observations that are unmasked in it, times
    100, rounded half up (towards plus infinity), and is -32768 where there is none. `OBSERVATIONS`
    counts the scenes in which every polarisation is unmasked.

    Args:
        sensor: Polarisations and reduction.
        window: Time window; repeated here so that the service need not search the whole catalogue.
        block: The area; repeated for the same reason.
        indices: ``system:index`` of the pinned scenes, not empty.

    Returns:
        An `ee.Image`.

    Raises:
        ConfigError: If *indices* is empty.
    """
    import ee

    if not indices:
        raise ConfigError(
            "scenes",
            indices,
            "a composite needs at least one scene",
            "Record the block as empty instead.",
        )
    bands = list(sensor.bands)
    pinned = (
        _collection(sensor, window, block)
        .filter(ee.Filter.inList("system:index", sorted(indices)))
        .select(bands)
    )
    reduced = pinned.median() if sensor.composite == "median" else pinned.mean()
    pixels = (
        reduced.multiply(_PER_DB)
        # Half up: -1234.5 becomes -1234. The cast alone would cut towards zero.
        .add(0.5)
        .floor()
        .clamp(-_LARGEST, _LARGEST)
        # After the clamp, which would make a value of it. False: also beyond the footprints.
        .unmask(sensor.fill_value, False)
        .toInt16()
    )
    observations = pinned.map(_seen_in_all(bands)).count().unmask(0, False).toInt16()
    return pixels.addBands(observations.rename([OBSERVATIONS]))
