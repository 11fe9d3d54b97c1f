"""The sensors of a run: Sentinel-2, Sentinel-1, or both on one tile grid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, TypeVar

from thor_geo.datasets.colour import RGB_BANDS, picture_bands, picture_title
from thor_geo.errors import ConfigError
from thor_geo.specs import SensorSpec
from thor_geo.specs.bands import BandSelection, Sensor, select_bands
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, channels_of

_Spec = TypeVar("_Spec")

# First day with images, by collection or else by mission. Source: "Dataset Availability" in the
# Earth Engine Data Catalog; Sentinel-2A's first image (ESA, 29 June 2015).
_FIRST_DAYS = {
    "COPERNICUS/S2_SR_HARMONIZED": dt.date(2017, 3, 28),
    "COPERNICUS/S2_SR": dt.date(2017, 3, 28),
    "S2": dt.date(2015, 6, 27),
    "S1": dt.date(2014, 10, 3),
}


def as_spec(
    kind: type[_Spec], value: _Spec | Mapping[str, Any] | None, argument: str
) -> _Spec | None:
    """Return a dataclass of settings, made from a dict of its fields where it is one.

    Args:
        kind: The dataclass.
        value: An instance, a dict of fields, or None.
        argument: Name of the argument, for messages.

    Raises:
        ConfigError: If a field is unknown, missing or invalid.
    """
    if value is None or isinstance(value, kind):
        return value
    fields: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if not isinstance(value, Mapping):
        raise ConfigError(
            argument,
            value,
            f"not a {kind.__name__}",
            f"Give one, or a dict of: {', '.join(fields)}.",
        )
    if unknown := sorted(set(value) - set(fields)):
        raise ConfigError(
            argument,
            dict(value),
            f"no such field: {', '.join(unknown)}",
            f"Choose from: {', '.join(fields)}.",
        )
    return kind(**value)


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """One sensor or two; the planes of Sentinel-2 come first.

    Attributes:
        resolution: Pixel size of the tiles in metres.
        sentinel2: Its bands and recipe, or None.
        sentinel1: Its polarisations and recipe, or None.

    Raises:
        ConfigError: If there is none, or a sensor's pixels have another size than the tiles'.
    """

    resolution: int
    sentinel2: SensorSpec | None
    sentinel1: Sentinel1Spec | None

    def __post_init__(self) -> None:
        """Validate."""
        if not self.by_kind:
            raise ConfigError(
                "sentinel2",
                None,
                "sentinel1 is null too, so no sensor is left",
                "Set one of them; {} takes its defaults.",
            )
        for name in ("sentinel2", "sentinel1"):
            sensor: AnySensor | None = getattr(self, name)
            if sensor is not None and sensor.resolution != self.resolution:
                raise ConfigError(
                    f"{name}.scale_m",
                    sensor.resolution,
                    f"the tiles have pixels of {self.resolution} m",
                    f"Leave {name}.scale_m out, or set resolution.",
                )

    @classmethod
    def on_grid(
        cls, resolution: int, sentinel2: SensorSpec | None, sentinel1: Sentinel1Spec | None
    ) -> Self:
        """Return sensors whose pixel size, where they have none, is that of the tiles.

        Args:
            resolution: Pixel size of the tiles in metres.
            sentinel2: Bands and recipe of Sentinel-2, or None.
            sentinel1: Polarisations and recipe of Sentinel-1, or None.
        """
        if sentinel2 is not None and sentinel2.scale_m is None:
            sentinel2 = replace(sentinel2, scale_m=resolution)
        if sentinel1 is not None and sentinel1.scale_m is None:
            sentinel1 = replace(sentinel1, scale_m=resolution)
        return cls(resolution=resolution, sentinel2=sentinel2, sentinel1=sentinel1)

    @property
    def by_kind(self) -> dict[Sensor, AnySensor]:
        """The sensors in the order of the planes."""
        sensors: dict[Sensor, AnySensor | None] = {"S2": self.sentinel2, "S1": self.sentinel1}
        return {kind: sensor for kind, sensor in sensors.items() if sensor is not None}

    @property
    def earliest(self) -> dt.date:
        """First day on which every sensor's collection has images."""
        return max(
            _FIRST_DAYS.get(sensor.collection, _FIRST_DAYS[kind])
            for kind, sensor in self.by_kind.items()
        )

    @property
    def selection(self) -> BandSelection:
        """All planes as THOR's encoder wants them."""
        return select_bands(channels_of(self.by_kind.values()))

    def settings(self, catalogues: Mapping[Sensor, str]) -> dict[str, Any]:
        """Return all settings of the sensors that change the numbers.

        Args:
            catalogues: The catalogue that each sensor's scenes come from.
        """
        settings: dict[str, Any] = {
            "bands": [name for sensor in self.by_kind.values() for name in sensor.bands],
        }
        if self.sentinel2 is not None:
            settings["sentinel2"] = {
                "collection": self.sentinel2.collection,
                "bands": list(self.sentinel2.bands),
                "scale_m": self.sentinel2.resolution,
                "cloudy_pct": self.sentinel2.cloudy_pct,
                "composite": self.sentinel2.composite,
                "mask": self.sentinel2.mask,
                **self.sentinel2.options(),
                "fill_value": self.sentinel2.fill_value,
                "catalogue": catalogues["S2"],
            }
        if self.sentinel1 is not None:
            settings["sentinel1"] = {
                **asdict(self.sentinel1),
                "polarisations": list(self.sentinel1.polarisations),
                "fill_value": self.sentinel1.fill_value,
                "catalogue": catalogues["S1"],
            }
        return settings

    def info(self) -> dict[str, Any]:
        """Return what the outputs say about the sensors besides the settings.

        ``collections``, and ``picture``, which says what the quicklook's colours are where they are
        not true colours of Sentinel-2 alone.
        """
        info: dict[str, Any] = {
            "collections": [sensor.collection for sensor in self.by_kind.values()],
        }
        if self.sentinel1 is None:
            return info
        names = None if self.pictured is None else picture_bands(self.by_kind[self.pictured].bands)
        if names is not None and names != RGB_BANDS:
            info["picture"] = picture_title(names)
        return info

    @property
    def pictured(self) -> Sensor | None:
        """The sensor that pictures show: the first whose bands make one."""
        sensors = self.by_kind.items()
        return next((kind for kind, sensor in sensors if picture_bands(sensor.bands)), None)
