"""A sensor's collection and bands, and how its scenes become one composite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thor_geo.errors import ConfigError
from thor_geo.specs.bands import S2_DEFAULT_BANDS, Band, BandSelection, bands_from_ee, select_bands
from thor_geo.specs.choices import USUAL_RESOLUTION, check_choice, check_pixel_size
from thor_geo.specs.sentinel2 import (
    CLOUD_SCORE_BAND,
    CLOUD_SCORE_PLUS,
    CLOUD_SCORE_THRESHOLD,
    SCL_MASKED,
    CloudScoreBand,
    checked_classes,
    checked_scenes,
    refuse_scl,
)

Composite = Literal["median", "mean", "mosaic", "percentile"]
CloudMask = Literal["none", "scl", "cloud_score_plus"]


@dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """Sentinel-2: its bands, and how its scenes become one composite.

    A setting that belongs to another composite or mask than the chosen one is refused.

    Attributes:
        collection: Earth Engine image collection; not used with a STAC catalogue.
        bands: Earth Engine's names of the bands, in the order of the planes.
        scale_m: Pixel size in metres. None for that of the run, or 10.
        cloudy_pct: Highest cloud cover of a scene in per cent; cloudier ones are left out.
        composite: How the scenes that pass become one image: ``median``, ``mean``, ``percentile``
            or ``mosaic``. The first three reduce each pixel and band; ``mosaic`` takes all bands of
            a pixel from the least cloudy scene that is clear there.
        percentile: Percentile for ``composite: percentile``, 0 to 100.
        mask: How cloudy pixels are masked: ``none``, ``scl`` (by the scene classification of
            Level-2A) or ``cloud_score_plus`` (by Google's Cloud Score+).
        scl_classes: Classes that ``mask: scl`` removes, 1 to 11. None for 3, 8, 9 and 10.
        cloud_score_band: Band of Cloud Score+ for ``mask: cloud_score_plus``. None for ``cs_cdf``.
        cloud_score_threshold: Lowest score, 0 to 1, of a clear pixel for ``mask:
            cloud_score_plus``. None for 0.6.
        scenes: The only scenes to use, by their ``system:index``; each must pass the dates and
            `cloudy_pct`. None for all that pass.
        fill_value: Stored value of pixels without a clear observation.

    Raises:
        ConfigError: If a value is out of range, a choice unknown, or a setting without effect.
        BandError: If a band is unknown or repeated.
    """

    collection: str = "COPERNICUS/S2_SR_HARMONIZED"
    bands: tuple[str, ...] = S2_DEFAULT_BANDS
    scale_m: int | None = None
    cloudy_pct: float = 30.0
    composite: Composite = "median"
    percentile: float | None = None
    mask: CloudMask = "none"
    scl_classes: Sequence[int] | None = None
    cloud_score_band: CloudScoreBand | None = None
    cloud_score_threshold: float | None = None
    scenes: Sequence[str] | None = None
    fill_value: int = 0

    def __post_init__(self) -> None:
        """Validate, and turn lists into tuples."""
        object.__setattr__(self, "bands", tuple(self.bands))
        if not self.collection or "/" not in self.collection:
            raise ConfigError(
                "collection",
                self.collection,
                "not an Earth Engine collection id",
                "Use e.g. COPERNICUS/S2_SR_HARMONIZED.",
            )
        bands_from_ee(self.bands)
        check_pixel_size("scale_m", self.scale_m)
        if not 0 <= self.cloudy_pct <= 100:
            raise ConfigError(
                "cloudy_pct", self.cloudy_pct, "not a percentage", "Give a number from 0 to 100."
            )
        check_choice("composite", self.composite, Composite)
        check_choice("mask", self.mask, CloudMask)
        if not 0 <= self.fill_value <= 65535:
            raise ConfigError(
                "fill_value", self.fill_value, "does not fit uint16", "Give 0 to 65535; 0 is usual."
            )
        self._check_composite()
        self._check_mask()
        if self.scenes is not None:
            object.__setattr__(self, "scenes", checked_scenes(self.scenes))

    def _check_composite(self) -> None:
        if self.composite != "percentile":
            self._refuse("percentile", f"composite={self.composite}", "composite: percentile")
            return
        if self.percentile is None:
            raise ConfigError(
                "percentile", None, "composite=percentile needs one", "Give a number from 0 to 100."
            )
        if not 0 <= self.percentile <= 100:
            raise ConfigError(
                "percentile", self.percentile, "not a percentage", "Give a number from 0 to 100."
            )
        object.__setattr__(self, "percentile", float(self.percentile))

    def _check_mask(self) -> None:
        if self.mask != "scl":
            self._refuse("scl_classes", f"mask={self.mask}", "mask: scl")
        else:
            refuse_scl(self.collection)
            if self.scl_classes is not None:
                object.__setattr__(self, "scl_classes", checked_classes(self.scl_classes))
        if self.mask != "cloud_score_plus":
            for name in ("cloud_score_band", "cloud_score_threshold"):
                self._refuse(name, f"mask={self.mask}", "mask: cloud_score_plus")
            return
        if self.cloud_score_band is not None:
            check_choice("cloud_score_band", self.cloud_score_band, CloudScoreBand)
        threshold = self.cloud_score_threshold
        if threshold is None:
            return
        if not 0 <= threshold <= 1:
            raise ConfigError(
                "cloud_score_threshold",
                threshold,
                "scores lie in 0..1",
                "Give a number from 0 to 1; 0.5 to 0.65 generally work well.",
            )
        object.__setattr__(self, "cloud_score_threshold", float(threshold))

    def _refuse(self, name: str, chosen: str, needed: str) -> None:
        """Refuse a setting that would have no effect, if it is set."""
        value = getattr(self, name)
        if value is not None:
            raise ConfigError(
                name,
                value,
                f"it has no effect with {chosen}",
                f"Leave it out, or set {needed}.",
            )

    @property
    def resolution(self) -> int:
        """Pixel size in metres: `scale_m`, or the usual one."""
        return USUAL_RESOLUTION if self.scale_m is None else self.scale_m

    @property
    def thor_bands(self) -> tuple[Band, ...]:
        """The rows of the band table, in the order of `bands`."""
        return bands_from_ee(self.bands)

    @property
    def selection(self) -> BandSelection:
        """The bands as THOR's encoder wants them, in the order of `bands`."""
        return select_bands(band.channel for band in self.thor_bands)

    @property
    def removed_classes(self) -> tuple[int, ...]:
        """The classes that the mask ``scl`` removes."""
        return SCL_MASKED if self.scl_classes is None else tuple(self.scl_classes)

    @property
    def clear_score(self) -> tuple[CloudScoreBand, float]:
        """Band and least score of a clear pixel, of the mask ``cloud_score_plus``."""
        threshold = self.cloud_score_threshold
        return (
            self.cloud_score_band or CLOUD_SCORE_BAND,
            CLOUD_SCORE_THRESHOLD if threshold is None else threshold,
        )

    @property
    def linked(self) -> tuple[str, ...]:
        """The collections that the composite needs besides its own."""
        return (CLOUD_SCORE_PLUS,) if self.mask == "cloud_score_plus" else ()

    def options(self) -> dict[str, Any]:
        """Return the settings that not every composite has, as far as they apply.

        They enter cache keys and a run's fingerprint. What would say the same as leaving it out
        is left out, so that the keys of composites without such settings never change.
        """
        options: dict[str, Any] = {}
        if self.composite == "percentile":
            options["percentile"] = self.percentile
        if self.mask == "scl" and self.removed_classes != SCL_MASKED:
            options["scl_classes"] = list(self.removed_classes)
        if self.mask == "cloud_score_plus":
            band, threshold = self.clear_score
            options |= {"cloud_score_band": band, "cloud_score_threshold": threshold}
        if self.scenes is not None:
            options["scenes"] = list(self.scenes)
        return options
