"""The sensors of a run: Sentinel-2, Sentinel-1, or both on one tile grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from thor_geo.datasets.colour import RGB_BANDS, picture_bands, picture_title
from thor_geo.errors import ConfigError
from thor_geo.specs import SensorSpec
from thor_geo.specs.bands import BandSelection, Sensor, select_bands
from thor_geo.specs.sentinel1 import AnySensor, Sentinel1Spec, channels_of

_log = logging.getLogger(__name__)


def as_sentinel1(value: Sentinel1Spec | Mapping[str, Any] | None) -> Sentinel1Spec | None:
    """Return a spec of Sentinel-1, from a dict of its fields too; None for none.

    Raises:
        ConfigError: If a field is unknown or invalid.
    """
    if value is None or isinstance(value, Sentinel1Spec):
        return value
    unknown = sorted(set(value) - set(Sentinel1Spec.__dataclass_fields__))
    if unknown:
        raise ConfigError(
            "sentinel1",
            dict(value),
            f"no such field: {', '.join(unknown)}",
            f"Choose from: {', '.join(Sentinel1Spec.__dataclass_fields__)}.",
        )
    return Sentinel1Spec(**value)


def sentinel2_of(bands: Sequence[str], **recipe: Any) -> SensorSpec | None:
    """Return a spec of Sentinel-2; None for no bands, with a warning of a recipe that is set.

    Args:
        bands: Its bands.
        recipe: The other fields of `SensorSpec`.

    Raises:
        ConfigError: If a field is invalid, or belongs to another composite or mask.
    """
    if bands:
        return SensorSpec(bands=tuple(bands), **recipe)
    defaults = {field.name: field.default for field in fields(SensorSpec)}
    unused = [
        f"data.{name}={value!r}"
        for name, value in recipe.items()
        # The pixel size is that of the tiles, too.
        if name != "scale_m" and value != defaults[name]
    ]
    if unused and getattr(rank_zero_only, "rank", 0) == 0:
        _log.warning(
            "data.bands is empty, so there is no Sentinel-2, and these have no effect: %s. Leave "
            "them out, or name bands.",
            ", ".join(unused),
        )
    return None


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """One sensor or two; the planes of Sentinel-2 come first.

    Attributes:
        resolution: Pixel size of the tiles in metres.
        sentinel2: Its bands and recipe, or None.
        sentinel1: Its polarisations and recipe, or None.

    Raises:
        ConfigError: If there is none, or Sentinel-1's pixels have another size than the tiles'.
    """

    resolution: int
    sentinel2: SensorSpec | None
    sentinel1: Sentinel1Spec | None

    def __post_init__(self) -> None:
        """Validate."""
        if not self.by_kind:
            raise ConfigError(
                "bands",
                [],
                "no sensor is left",
                "Name Sentinel-2 bands, or set `sentinel1` (`sentinel1: {}` takes its defaults).",
            )
        if self.sentinel1 is not None and self.sentinel1.scale_m != self.resolution:
            raise ConfigError(
                "sentinel1.scale_m",
                self.sentinel1.scale_m,
                f"the tiles have pixels of {self.resolution} m",
                f"Set sentinel1.scale_m to {self.resolution}.",
            )

    @property
    def by_kind(self) -> dict[Sensor, AnySensor]:
        """The sensors in the order of the planes."""
        given: dict[Sensor, AnySensor | None] = {"S2": self.sentinel2, "S1": self.sentinel1}
        return {kind: sensor for kind, sensor in given.items() if sensor is not None}

    @property
    def selection(self) -> BandSelection:
        """All planes as THOR's encoder wants them."""
        return select_bands(channels_of(self.by_kind.values()))

    def settings(self, catalogues: Mapping[Sensor, str]) -> dict[str, Any]:
        """Return everything of the sensors that changes the numbers.

        Args:
            catalogues: Where each sensor's scenes are from.
        """
        settings: dict[str, Any] = {
            "bands": [name for sensor in self.by_kind.values() for name in sensor.bands],
        }
        if self.sentinel2 is not None:
            settings |= {
                "collection": self.sentinel2.collection,
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
        """Return what the outputs say of the sensors besides the settings.

        Nothing of Sentinel-2 alone. Else ``collections``, and ``picture``, which says what the
        quicklook's colours are where they are no true colours.
        """
        if self.sentinel1 is None:
            return {}
        info: dict[str, Any] = {
            "collections": [sensor.collection for sensor in self.by_kind.values()],
        }
        names = None if self.pictured is None else picture_bands(self.by_kind[self.pictured].bands)
        if names is not None and names != RGB_BANDS:
            info["picture"] = picture_title(names)
        return info

    @property
    def pictured(self) -> Sensor | None:
        """The sensor that pictures show: the first whose bands make one."""
        sensors = self.by_kind.items()
        return next((kind for kind, sensor in sensors if picture_bands(sensor.bands)), None)
