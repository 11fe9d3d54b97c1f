"""A sensor's collection and bands, and how its scenes become one composite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thor_geo.bands import S2_DEFAULT_BANDS, Band, BandSelection, bands_from_ee, select_bands
from thor_geo.errors import ConfigError
from thor_geo.specs.choices import check_choice

Composite = Literal["median", "mean"]
Mask = Literal["none", "scl"]

#: SCL classes that the mask `scl` removes: 3 cloud shadow, 8 and 9 cloud (medium, high
#: probability), 10 thin cirrus (Sentinel-2 Level-2A algorithm, scene classification).
SCL_MASKED: tuple[int, ...] = (3, 8, 9, 10)


@dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """A collection, its bands, and how its scenes become one composite.

    Attributes:
        collection: Earth Engine image collection.
        bands: Earth Engine band names; their order is the order of the sample's planes.
        scale_m: Pixel size in metres.
        cloudy_pct: Scenes with a CLOUDY_PIXEL_PERCENTAGE above this are left out, 0..100.
        composite: Per-pixel reduction over the scenes that pass.
        mask: Pixel cloud mask: ``none``, or ``scl`` (cloud shadow, cloud and cirrus classes).
        fill_value: Stored value of a pixel without any clear observation.

    Raises:
        ConfigError: If a value is out of range, or a choice unknown.
        BandError: If a band is unknown or repeated.
    """

    collection: str = "COPERNICUS/S2_SR_HARMONIZED"
    bands: tuple[str, ...] = S2_DEFAULT_BANDS
    scale_m: int = 10
    cloudy_pct: float = 30.0
    composite: Composite = "median"
    mask: Mask = "none"
    fill_value: int = 0

    def __post_init__(self) -> None:
        """Validate, and turn a list of bands into a tuple."""
        object.__setattr__(self, "bands", tuple(self.bands))
        if not self.collection or "/" not in self.collection:
            raise ConfigError(
                "collection",
                self.collection,
                "not an Earth Engine collection id",
                "Use e.g. COPERNICUS/S2_SR_HARMONIZED.",
            )
        bands_from_ee(self.bands)
        if not (isinstance(self.scale_m, int) and self.scale_m > 0):
            raise ConfigError(
                "scale_m", self.scale_m, "not a positive whole number of metres", "Use 10 for THOR."
            )
        if not 0 <= self.cloudy_pct <= 100:
            raise ConfigError(
                "cloudy_pct", self.cloudy_pct, "not a percentage", "Give a number from 0 to 100."
            )
        check_choice("composite", self.composite, Composite)
        check_choice("mask", self.mask, Mask)
        if not 0 <= self.fill_value <= 65535:
            raise ConfigError(
                "fill_value", self.fill_value, "does not fit uint16", "Give 0 to 65535; 0 is usual."
            )

    @property
    def thor_bands(self) -> tuple[Band, ...]:
        """The rows of the band table, in the order of `bands`."""
        return bands_from_ee(self.bands)

    @property
    def selection(self) -> BandSelection:
        """The bands as THOR's encoder wants them, in the order of `bands`."""
        return select_bands(band.channel for band in self.thor_bands)
