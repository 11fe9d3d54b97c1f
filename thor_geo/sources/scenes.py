"""What the scenes of all sensors and sources have in common."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeAlias, cast

from thor_geo.ground.lattice import Block
from thor_geo.specs import SensorSpec, TemporalSpec
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, fell_back


@dataclass(frozen=True, kw_only=True)
class AnyAcquisition:
    """One acquisition behind a composite.

    Attributes:
        index: Id of the scene, unique within its collection.
        time_start: Acquisition time, UTC, ISO 8601; None where the catalogue has none.
    """

    index: str
    time_start: str | None

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the scene that `to_dict` described.

        Args:
            fields: The attributes by name.

        Raises:
            ValueError: If an attribute is missing or unknown, or the index is not text.
        """
        if set(fields) != set(cls.__dataclass_fields__):
            raise ValueError(f"a {cls.__name__} with the fields {sorted(fields)}")
        if not isinstance(fields["index"], str):
            raise ValueError(f"a {cls.__name__} with the index {fields['index']!r}")
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes by name, ready for JSON."""
        return asdict(self)


#: Band of the composite that counts the observations behind each pixel.
OBSERVATIONS = "observations"


@dataclass(frozen=True, kw_only=True)
class Scene(AnyAcquisition):
    """One acquisition of Sentinel-2 behind a composite.

    Attributes:
        mgrs_tile: MGRS tile, or None.
        processing_baseline: Processing baseline, or None.
        cloudy_pct: Cloud percentage of the whole scene, or None.
    """

    mgrs_tile: str | None
    processing_baseline: str | None
    cloudy_pct: float | None


def sentinel2_order(sensor: SensorSpec, scenes: Sequence[Scene]) -> list[str]:
    """Return ids of scenes as a composite wants them, whatever the order they are given in.

    Args:
        sensor: The composite.
        scenes: The scenes.

    Returns:
        By id; of a mosaic, from the lowest to the topmost: from the cloudiest scene to the least
        cloudy one, of equally cloudy ones the first by id on top. A scene whose cloud percentage
        is not known counts as the cloudiest.
    """
    clouds = {scene.index: scene.cloudy_pct for scene in scenes}
    if sensor.composite != "mosaic":
        return sorted(clouds)

    def cloudiness(index: str) -> float:
        known = clouds[index]
        return math.inf if known is None else known

    # Sorting is stable: equally cloudy scenes stay in descending order of their ids.
    descending = sorted(clouds, reverse=True)
    return sorted(descending, key=cloudiness, reverse=True)


def pixel_grid(block: Block) -> dict[str, Any]:
    """Return a block's pixel grid as plain data, for requests and for keys.

    Args:
        block: The block.

    Returns:
        ``dimensions`` in pixels, ``affineTransform`` in metres, and ``crsCode``.
    """
    a, b, c, d, e, f = block.transform
    return {
        "dimensions": {"width": block.size, "height": block.size},
        "affineTransform": {
            "scaleX": a,
            "shearX": b,
            "translateX": c,
            "shearY": d,
            "scaleY": e,
            "translateY": f,
        },
        "crsCode": f"EPSG:{block.epsg}",
    }


@dataclass(frozen=True, kw_only=True)
class Sentinel1Scene(AnyAcquisition):
    """One acquisition of Sentinel-1 behind a composite.

    Attributes:
        orbit_pass: ``ASCENDING`` or ``DESCENDING``, or None.
        relative_orbit: Number of the orbit in its cycle of 175, or None: scenes of the same one
            look at the ground from the same side and angle.
    """

    orbit_pass: str | None
    relative_orbit: int | None


#: One acquisition behind a composite, of either sensor.
AnyScene: TypeAlias = Scene | Sentinel1Scene


@dataclass(frozen=True, kw_only=True)
class ListedScenes:
    """The scenes of a block, as a source lists them.

    Attributes:
        scenes: Those that can be used, sorted by index.
        left_out: Why each of the others that pass the filters cannot be used, by index.
    """

    scenes: tuple[AnyScene, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def scene_from_dict(sensor: AnySensor, fields: dict[str, Any]) -> AnyScene:
    """Return the scene that its `to_dict` described.

    Raises:
        ValueError: If an attribute is missing, unknown or of the wrong type.
    """
    kind = Sentinel1Scene if isinstance(sensor, Sentinel1Spec) else Scene
    return kind.from_dict(fields)


def provenance(sensor: AnySensor, scenes: Sequence[AnyScene]) -> dict[str, Any]:
    """Return what a block's records hold about its scenes besides their list.

    For Sentinel-1 that is ``orbit_fallback``: whether the scenes are from the other orbit pass.
    """
    if not isinstance(sensor, Sentinel1Spec):
        return {}
    return {"orbit_fallback": fell_back(sensor, cast("Sequence[Sentinel1Scene]", scenes))}


def wrong_scenes(
    sensor: SensorSpec, window: TemporalSpec, listed: Mapping[str, Scene], where: str
) -> Iterator[str]:
    """Yield what is wrong with each scene that cannot be used.

    Args:
        sensor: The scenes that it names, and the cloud limit.
        window: Time window.
        listed: The scenes that exist, by id.
        where: Where they were looked for.
    """
    for index in sensor.scenes or ():
        scene = listed.get(index)
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
                f"data.sentinel2.cloudy_pct={sensor.cloudy_pct:g}"
            )
