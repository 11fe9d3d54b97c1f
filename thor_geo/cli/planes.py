"""What the model takes the planes of the data for: links the two sections of a config."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

from thor_geo.datamodules.sensors import Sensors, as_spec
from thor_geo.specs import SensorSpec
from thor_geo.specs.choices import USUAL_RESOLUTION
from thor_geo.specs.sentinel1 import Sentinel1Spec, channels_of
from thor_geo.tasks.embedding import DEFAULT_CHANNELS


def model_bands(data: Mapping[str, Any]) -> list[str]:
    """Return the names under which the model takes the planes of the data (links both).

    A datamodule whose bands have other names than Earth Engine's resolves them itself, by a static
    method `channels_of`: nothing is guessed from the names.

    Args:
        data: The config's section: ``class_path`` and ``init_args``, of which ``bands``, or
            ``sentinel2`` and ``sentinel1``, are looked at; the model's default where the class has
            none of them.
    """
    settings = data.get("init_args") or {}
    if "sentinel2" in settings or "sentinel1" in settings:
        sensors = Sensors.on_grid(
            settings.get("resolution", USUAL_RESOLUTION),
            as_spec(SensorSpec, _fields(settings.get("sentinel2")), "sentinel2"),
            as_spec(Sentinel1Spec, _fields(settings.get("sentinel1")), "sentinel1"),
        )
        return channels_of(sensors.by_kind.values())
    if "bands" not in settings:
        return list(DEFAULT_CHANNELS)
    resolve = getattr(pkgutil.resolve_name(data["class_path"]), "channels_of", None)
    if resolve is not None:
        return list(resolve(settings["bands"]))
    return channels_of([SensorSpec(bands=tuple(settings["bands"]))])


def _fields(group: Any) -> Any:
    """Return the fields of a dataclass, which the parser wraps as it does classes."""
    return group.get("init_args", group) if isinstance(group, Mapping) else group
