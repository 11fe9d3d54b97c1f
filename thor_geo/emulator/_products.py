"""What a generated overpass is published as: Level-2A, Level-1C, and Cloud Score+.

All three show the same ground under the same clouds, and their scenes have the same ids, as on
Earth Engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from thor_geo.emulator._landscape import Field, Weather
from thor_geo.emulator._spectra import (
    RESOLUTION,
    Surface,
    classify,
    reflectance,
    top_of_atmosphere,
)

Product = Literal["sr", "toa", "cloud_score_plus"]

#: The collections on Earth Engine that the products stand for.
COLLECTIONS: dict[Product, str] = {
    "sr": "COPERNICUS/S2_SR_HARMONIZED",
    "toa": "COPERNICUS/S2_HARMONIZED",
    "cloud_score_plus": "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
}

#: The upper end of what Level-2A's reflectances reach over bright clouds.
MAX_DN = 16000

#: Stored where there is no score: 0 is one.
NO_SCORE = -1.0

#: Pixels of the landscape at a resolution in metres: (n, n) to (height, width).
ZoneSampler = Callable[[npt.NDArray[Any], int], npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class LandscapeMoment:
    """The landscape at one moment.

    Args:
        surface: The ground.
        weather: Its clouds.
        seen: Which of it lies in the swath (n, n).
        seed: Seed of the sensor's noise.
    """

    surface: Surface
    weather: Weather
    seen: npt.NDArray[np.bool_]
    seed: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One band of every zone's scene.

    Args:
        band: Earth Engine's name.
        file: What its file is called besides the scene's id; bands of one file follow each other.
        resolution: Pixel size in metres.
        nodata: Stored outside the swath.
        pixels: One array (height, width) for each zone.
    """

    band: str
    file: str
    resolution: int
    nodata: float
    pixels: list[npt.NDArray[Any]]


def layers(
    product: Product, overpass: LandscapeMoment, zones: list[ZoneSampler]
) -> Iterator[Layer]:
    """Yield what a product has of an overpass, band by band.

    Args:
        product: Which product.
        overpass: The overpass.
        zones: How each zone samples the landscape.
    """
    if product == "cloud_score_plus":
        yield from _scores(overpass, zones)
        return
    yield from _reflectances(product, overpass, zones)
    if product == "sr":
        classes = scene_classes(overpass)
        pixels = [sample(classes, 20) for sample in zones]
        yield Layer(band="SCL", file="SCL", resolution=20, nodata=0, pixels=pixels)


def scene_classes(overpass: LandscapeMoment) -> npt.NDArray[np.uint8]:
    """Return the scene classification (n, n), 0 outside the swath."""
    classes = classify(overpass.surface, overpass.weather)
    return np.where(overpass.seen, classes, 0).astype(np.uint8)


def _reflectances(
    product: Product, overpass: LandscapeMoment, zones: list[ZoneSampler]
) -> Iterator[Layer]:
    seed, number = overpass.seed
    rng = np.random.default_rng([seed, 3 if product == "sr" else 4, number])
    for band, resolution in RESOLUTION.items():
        values = reflectance(overpass.surface, overpass.weather, band)
        if product == "toa":
            values = top_of_atmosphere(values, band)
        pixels = []
        for sample in zones:
            dn = sample(values, resolution)
            dn += (2 + np.float32(0.002) * dn) * rng.standard_normal(dn.shape, dtype=np.float32)
            seen = sample(overpass.seen, resolution)
            dn = np.where(seen, np.clip(np.rint(dn), 1, MAX_DN), 0)
            pixels.append(dn.astype(np.uint16))
        yield Layer(
            band=band, file=f"{resolution}m", resolution=resolution, nodata=0, pixels=pixels
        )


def _scores(overpass: LandscapeMoment, zones: list[ZoneSampler]) -> Iterator[Layer]:
    """Scores of 1 in clear air to 0 under thick clouds; shadows cost less than clouds.

    Made up: of Cloud Score+ they have meaning, range and names. `cs_cdf` falls off faster than
    `cs`, as where most overpasses are clear, and a hazy one ranks low among them.
    """
    weather = overpass.weather
    clear: Field = 1 - np.maximum(weather.cloud, np.float32(0.8) * weather.shadow)
    for band, values in (("cs", clear), ("cs_cdf", clear**2)):
        scores = np.where(overpass.seen, values, np.float32(NO_SCORE))
        pixels = [sample(scores, 10) for sample in zones]
        yield Layer(band=band, file="10m", resolution=10, nodata=NO_SCORE, pixels=pixels)
