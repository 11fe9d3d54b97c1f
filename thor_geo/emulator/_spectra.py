"""What Sentinel-2 sees of a landscape: reflectances, clouds, scene classification.

The spectra are plausible summer values of surface reflectance x 10000, set by hand after published
spectral libraries' shapes (red edge of vegetation, water's decline, snow's drop in the SWIR); they
are not measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.emulator._landscape import CIRRUS, Cover, Field, Landscape, Weather

#: Bands of Level-2A, with the resolution in metres at which each is kept.
RESOLUTION: dict[str, int] = {
    "B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20,
    "B9": 60, "B11": 20, "B12": 20,
}  # fmt: skip
BANDS = tuple(RESOLUTION)

#: Reflectance x 10000 by land cover, bands in the order of BANDS.
SPECTRA: dict[Cover, tuple[int, ...]] = {
    Cover.WATER: (330, 310, 300, 190, 160, 130, 120, 110, 95, 85, 55, 40),
    Cover.CONIFER: (180, 200, 330, 220, 560, 1500, 1850, 2000, 2150, 2200, 950, 430),
    Cover.BROADLEAF: (200, 220, 470, 250, 800, 2600, 3250, 3400, 3600, 3600, 1600, 700),
    Cover.MEADOW: (330, 400, 760, 560, 1200, 2700, 3200, 3350, 3550, 3600, 2200, 1200),
    Cover.CEREAL: (300, 350, 680, 400, 1050, 3100, 3950, 4150, 4350, 4400, 1950, 950),
    Cover.ROOTS: (280, 330, 720, 350, 1000, 3500, 4500, 4700, 4900, 4900, 1900, 850),
    Cover.SOIL: (650, 800, 1120, 1450, 1700, 1850, 2000, 2150, 2300, 2350, 2950, 2550),
    Cover.BUILT: (950, 1100, 1280, 1420, 1550, 1680, 1780, 1900, 1950, 2000, 2150, 1900),
    Cover.SNOW: (8600, 8800, 8700, 8500, 8400, 8200, 8000, 7800, 7500, 7200, 900, 700),
}
#: Ripe cereal: straw.
RIPE = (560, 720, 1120, 1480, 1850, 2350, 2600, 2800, 2950, 3000, 3300, 2350)
CLOUD = (6200, 6300, 6200, 6300, 6400, 6500, 6600, 6700, 6800, 6000, 4600, 3600)
#: Share of the light that still reaches a full cloud shadow: more sky light in the blue.
SHADOW_LIGHT = (0.55, 0.5, 0.45, 0.4, 0.38, 0.36, 0.35, 0.34, 0.34, 0.34, 0.3, 0.3)

#: The air's own reflectance x 10000, and the share of the ground's that passes through it: both
#: after the shape of Rayleigh scattering, and of water vapour's absorption in B9.
PATH = (1150, 850, 520, 300, 240, 190, 150, 120, 100, 60, 20, 10)
TRANSMITTANCE = (
    0.72, 0.76, 0.82, 0.87, 0.88, 0.89, 0.91, 0.92, 0.93, 0.45, 0.94, 0.93
)  # fmt: skip

_TABLE = np.array([SPECTRA[cover] for cover in Cover], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A landscape on one day of the year.

    Args:
        cover: Land cover with the day's snow (n, n).
        ripe: Share of straw (n, n), 0 to 1; crops only.
        bare: Share of bare soil (n, n), 0 to 1; crops only.
        brightness: Factor on the reflectance (n, n).
    """

    cover: npt.NDArray[np.uint8]
    ripe: Field
    bare: Field
    brightness: Field


def make_surface(landscape: Landscape, day: int) -> Surface:
    """Return the landscape on a day of the year: crops ripen, fields are harvested, snow melts.

    Args:
        landscape: The ground.
        day: Day of the year.
    """
    cover = landscape.cover.copy()
    # From the highest 2 % in spring to the highest 0.4 % at the end of August.
    share = 0.004 + 0.016 * float(np.clip((245 - day) / 100, 0, 1))
    cover[landscape.elevation > np.quantile(landscape.elevation, 1 - share)] = Cover.SNOW
    cereal = cover == Cover.CEREAL
    bare = np.where(cereal, np.clip((day - landscape.harvest) / 6, 0, 0.8), 0)
    ripe = np.where(cereal, np.clip((day - landscape.harvest + 40) / 30, 0, 1), 0) * (1 - bare)
    # Roots close their canopy late.
    bare = np.where(cover == Cover.ROOTS, np.clip((185 - day) / 50, 0, 0.7), bare)
    return Surface(
        cover=cover,
        ripe=ripe.astype(np.float32),
        bare=bare.astype(np.float32),
        brightness=landscape.brightness,
    )


def reflectance(surface: Surface, weather: Weather, band: str) -> Field:
    """Return what one band sees, reflectance x 10000, before the sensor's noise.

    Args:
        surface: The ground on this day.
        weather: Its clouds.
        band: Earth Engine's name of the band.
    """
    k = BANDS.index(band)
    column = _TABLE[:, k]
    ground = column[surface.cover]
    green = np.where(surface.ripe > 0, column[Cover.CEREAL], ground)
    ground += surface.ripe * (np.float32(RIPE[k]) - green)
    ground += surface.bare * (column[Cover.SOIL] - green)
    ground *= surface.brightness
    ground *= 1 - weather.shadow * np.float32(1 - SHADOW_LIGHT[k])
    above = np.float32(CLOUD[k]) * weather.white
    result: Field = ground + weather.cloud * (above - ground)
    return result


def top_of_atmosphere(values: Field, band: str) -> Field:
    """Return what one band sees above the air, for what it would see without: Level-1C.

    Args:
        values: What `reflectance` gives.
        band: Earth Engine's name of the band.
    """
    k = BANDS.index(band)
    above: Field = np.float32(PATH[k]) + np.float32(TRANSMITTANCE[k]) * values
    return above


def classify(surface: Surface, weather: Weather) -> npt.NDArray[np.uint8]:
    """Return the scene classification (SCL) of Level-2A, without its class 0.

    Args:
        surface: The ground on this day.
        weather: Its clouds.

    Returns:
        3 cloud shadow, 4 vegetation, 5 not vegetated, 6 water, 8 cloud of medium probability, 9 of
        high probability, 10 thin cirrus, 11 snow.
    """
    by_cover = np.full(len(Cover), 4, dtype=np.uint8)
    by_cover[[Cover.SOIL, Cover.BUILT]] = 5
    by_cover[Cover.WATER], by_cover[Cover.SNOW] = 6, 11
    scl = by_cover[surface.cover]
    scl[surface.bare + surface.ripe > 0.6] = 5
    scl[weather.shadow > 0.25] = 3
    for opacity, label in ((CIRRUS, 10), (0.4, 8), (0.75, 9)):
        scl[weather.cloud >= opacity] = label
    return scl


def sun_zenith(latitude: float, day: int) -> float:
    """Return the sun's angle from the zenith at Sentinel-2's overpass, degrees.

    Args:
        latitude: Degrees.
        day: Day of the year.
    """
    declination = math.radians(23.44) * math.sin(2 * math.pi * (day - 81) / 365.25)
    hour_angle = math.radians(-18)  # the overpass is near 10:48, mean local solar time
    lat = math.radians(latitude)
    height = math.sin(lat) * math.sin(declination)
    height += math.cos(lat) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.acos(height))
