"""What a user asks of Sentinel-1: the sibling of `specs.SensorSpec`.

Source: Earth Engine's catalogue entry of COPERNICUS/S1_GRD (sigma0 in decibel, calibrated, noise
removed, terrain corrected; a scene has VV, HH, VV and VH, or HH and HV).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from thor_geo.errors import BandError, ConfigError
from thor_geo.specs import SensorSpec, check_choice
from thor_geo.specs.bands import S1_COARSE_GSD, STORAGE, Band, BandSelection, Storage, select_bands
from thor_geo.specs.choices import USUAL_RESOLUTION, check_pixel_size

Polarisation = Literal["VV", "VH", "HH", "HV"]
InstrumentMode = Literal["IW", "EW"]
Sentinel1Composite = Literal["median", "mean"]
OrbitPass = Literal["both", "ascending", "descending"]

# Polarisations that one scene can have together.
_TOGETHER = (frozenset({"VV", "VH"}), frozenset({"HH", "HV"}))


@dataclass(frozen=True, kw_only=True)
class Sentinel1Spec:
    """Sentinel-1: scenes in decibel, and how they become one composite.

    A scene passes if it was taken in `mode`, has every one of `polarisations`, and, unless `orbit`
    is ``both``, in that orbit pass. Composites are kept as int16 hundredths of a dB, rounded half
    up (-12.345 dB becomes -1234); -32768 says that there is no data, as does an observation count
    of 0 (0 dB is a value like any other).

    Attributes:
        collection: Earth Engine image collection of Sentinel-1, in decibel.
        polarisations: VV and VH, or HH and HV, or one of them, in the order of the planes.
        mode: Instrument mode: IW (interferometric wide swath, over land) or EW (extra wide swath,
            40 m, over sea ice).
        orbit: Orbit pass that a scene must have: both, ascending or descending.
        orbit_fallback: Whether blocks without a scene of that pass take scenes of the other one.
            Their records in the cache say so.
        composite: How the scenes that pass become one image: median or mean of the decibel values.
        scale_m: Pixel size in metres. None for that of the run, or 10. THOR embeds pixels of
            60 m and more at their own size, smaller ones at 10 m.

    Raises:
        ConfigError: If a value is out of range, or a choice unknown.
        BandError: If polarisations are unknown, repeated, or in no scene together.
    """

    collection: str = "COPERNICUS/S1_GRD"
    polarisations: tuple[Polarisation, ...] = ("VV", "VH")
    mode: InstrumentMode = "IW"
    orbit: OrbitPass = "both"
    orbit_fallback: bool = False
    composite: Sentinel1Composite = "median"
    scale_m: int | None = None

    def __post_init__(self) -> None:
        """Validate, and turn a list of polarisations into a tuple."""
        object.__setattr__(self, "polarisations", tuple(self.polarisations))
        if not self.collection or "/" not in self.collection:
            raise ConfigError(
                "sentinel1.collection",
                self.collection,
                "not an Earth Engine collection id",
                "Use COPERNICUS/S1_GRD.",
            )
        if self.collection.endswith("_FLOAT"):
            raise ConfigError(
                "sentinel1.collection",
                self.collection,
                "its values are linear, THOR's statistics are in decibel",
                "Use COPERNICUS/S1_GRD, the same scenes in decibel.",
            )
        _check_polarisations(self.polarisations)
        check_choice("sentinel1.mode", self.mode, InstrumentMode)
        check_choice("sentinel1.orbit", self.orbit, OrbitPass)
        check_choice("sentinel1.composite", self.composite, Sentinel1Composite)
        if self.orbit_fallback and self.orbit == "both":
            raise ConfigError(
                "sentinel1.orbit_fallback",
                True,
                "orbit=both leaves no other pass to fall back to",
                "Set sentinel1.orbit to ascending or descending, or leave orbit_fallback out.",
            )
        check_pixel_size("sentinel1.scale_m", self.scale_m)

    @property
    def resolution(self) -> int:
        """Pixel size in metres: `scale_m`, or the usual one."""
        return USUAL_RESOLUTION if self.scale_m is None else self.scale_m

    @property
    def bands(self) -> tuple[str, ...]:
        """The polarisations: Earth Engine's band names, in the order of the planes."""
        return self.polarisations

    @property
    def fill_value(self) -> int:
        """Stored value of a pixel without any observation; no valid dB."""
        nodata = STORAGE["S1"].nodata
        assert nodata is not None
        return nodata

    @property
    def thor_bands(self) -> tuple[Band, ...]:
        """The rows of the band table, in the order of `polarisations`."""
        return self.selection.bands

    @property
    def selection(self) -> BandSelection:
        """The polarisations as THOR's encoder wants them, in their order."""
        return select_bands(channels_of([self]))


def _check_polarisations(names: Sequence[str]) -> None:
    if not names:
        raise BandError(
            "sentinel1.polarisations", names, "no polarisation is named", "Name VV and VH."
        )
    for k, name in enumerate(names):
        check_choice("sentinel1.polarisations", name, Polarisation)
        if name in names[:k]:
            raise BandError(
                "sentinel1.polarisations", name, "it is named twice", "Name each one once."
            )
    if not any(set(names) <= pair for pair in _TOGETHER):
        raise BandError(
            "sentinel1.polarisations",
            names,
            "no scene has them together",
            "Use VV and VH, or HH and HV (mostly over sea ice), or one of them.",
        )


#: Collection, bands and recipe of one sensor's composites.
AnySensor: TypeAlias = SensorSpec | Sentinel1Spec


def storage_of(sensor: AnySensor) -> Storage:
    """Return how a sensor's composites are kept on disk and in samples."""
    return STORAGE["S1" if isinstance(sensor, Sentinel1Spec) else "S2"]


def channels_of(sensors: Iterable[AnySensor]) -> list[str]:
    """Return the names under which the encoder takes the planes of some sensors, in order.

    THOR's channels; of Sentinel-1 at 60 m and coarser TerraTorch's names with the pixel size, such
    as ``IW_VV_60``, which `bands.select_bands` reads as the channel at that ground sampling
    distance.
    """
    names: list[str] = []
    for sensor in sensors:
        if not isinstance(sensor, Sentinel1Spec):
            names += [band.channel for band in sensor.thor_bands]
        elif sensor.resolution < S1_COARSE_GSD:
            names += [f"S1:{sensor.mode}-{name}" for name in sensor.polarisations]
        else:
            names += [f"{sensor.mode}_{name}_{sensor.resolution}" for name in sensor.polarisations]
    return names


class _Scene(Protocol):
    @property
    def orbit_pass(self) -> str | None: ...


def fell_back(sensor: Sentinel1Spec, scenes: Iterable[_Scene]) -> bool:
    """Return whether scenes are of the other orbit pass than was asked for."""
    wanted = sensor.orbit.upper()
    return sensor.orbit != "both" and any(scene.orbit_pass != wanted for scene in scenes)
