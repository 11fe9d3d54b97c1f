"""A made-up landscape: land cover, fields, clouds, all functions of position.

Everything lives on one square raster in metres around the archive's centre, from which the scenes
of every UTM zone are sampled; so two zones show the same ground where they meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]

#: Pixel size of the landscape in metres.
PIXEL = 10.0


class Cover(IntEnum):
    """Land cover of a pixel; crops change over the season."""

    WATER = 0
    CONIFER = 1
    BROADLEAF = 2
    MEADOW = 3
    CEREAL = 4
    ROOTS = 5
    SOIL = 6
    BUILT = 7
    SNOW = 8


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """The ground, without its weather.

    Args:
        cover: Land cover (n, n); snow is added by date.
        elevation: Standardised height (n, n).
        brightness: Factor on the reflectance (n, n), from relief and texture.
        harvest: Day of the year on which a parcel is harvested (n, n).
    """

    cover: npt.NDArray[np.uint8]
    elevation: Field
    brightness: Field
    harvest: Field

    @property
    def size(self) -> int:
        """Pixels along a side."""
        return len(self.cover)


@dataclass(frozen=True, kw_only=True)
class Weather:
    """The sky on one date.

    Args:
        cloud: Opacity of the cloud above each pixel (n, n), 0 to 1.
        shadow: Darkness of the cloud shadow on it (n, n), 0 to 1.
        white: Brightness of the cloud (n, n), around 1.
    """

    cloud: Field
    shadow: Field
    white: Field


def noise(rng: np.random.Generator, n: int, beta: float, longest: float) -> Field:
    """Return correlated noise with a power-law spectrum, zero mean and unit variance.

    Args:
        rng: Source of randomness.
        n: Pixels along a side; the field continues across opposite edges.
        beta: Exponent of the spectrum: 3.5 is as smooth as hills, 1 as rough as a canopy.
        longest: Wavelength in metres above which the spectrum is flat.
    """
    y, x = np.fft.fftfreq(n, PIXEL)[:, None], np.fft.rfftfreq(n, PIXEL)[None]
    amplitude = (x**2 + y**2 + 1 / longest**2) ** (-beta / 4)
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * amplitude
    field = np.fft.irfft2(spectrum, s=(n, n))
    standard: Field = ((field - field.mean()) / field.std()).astype(np.float32)
    return standard


def _hash(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], salt: int) -> Field:
    """Return numbers in [0, 1) that depend on a cell alone (the finaliser of splitmix64)."""
    mixed = i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= j.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(salt)
    for factor, shift in ((0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 27)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    share: Field = (mixed >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    return share


def _parcels(n: int, warp: Field, seed: int) -> tuple[Field, Field, npt.NDArray[np.bool_]]:
    """Lay out fields: bricks of some 200 m x 330 m, turned and bent.

    Returns:
        Two independent numbers in [0, 1) per parcel, and whether a pixel lies on a margin.
    """
    y, x = np.mgrid[:n, :n].astype(np.float32) * np.float32(PIXEL)
    angle = np.float32(0.35)
    u = x * np.cos(angle) + y * np.sin(angle) + 90 * warp
    v = y * np.cos(angle) - x * np.sin(angle) + 60 * warp
    row = np.floor(v / 330)
    # Rows are shifted against each other and differ in how wide their fields are.
    width = 150 + 130 * _hash(row.astype(np.int64), np.zeros_like(row, dtype=np.int64), seed)
    along = u + 97 * row
    column = np.floor(along / width)
    margin = (along - column * width < 12) | (v - row * 330 < 12)
    i, j = row.astype(np.int64), column.astype(np.int64)
    return _hash(i, j, seed + 1), _hash(i, j, seed + 2), margin


def make_landscape(n: int, seed: int) -> Landscape:
    """Return the landscape of a seed.

    Args:
        n: Pixels along a side.
        seed: Seed; the same seed and size give the same ground.
    """
    rng = np.random.default_rng([seed, 1])
    elevation = noise(rng, n, 3.6, 9000) + np.float32(0.08) * noise(rng, n, 2.2, 1500)
    valley, trees, species, town, rough, warp = (
        noise(rng, n, beta, longest)
        for beta, longest in (
            (4.6, 6000),
            (2.8, 2500),
            (2.6, 2000),
            (3.0, 2500),
            (1.4, 300),
            (3.8, 6000),
        )
    )
    first, second, margin = _parcels(n, warp, seed)
    # Fields in the lowlands: four tenths cereals, some roots, meadows, and land under the plough.
    cover = np.select(
        [margin, first < 0.42, first < 0.58, first < 0.68],
        [Cover.MEADOW, Cover.CEREAL, Cover.ROOTS, Cover.SOIL],
        Cover.MEADOW,
    ).astype(np.uint8)
    forest = trees + np.float32(0.9) * elevation > np.quantile(trees + 0.9 * elevation, 0.52)
    cover[forest] = np.where(species > 0.5, Cover.BROADLEAF, Cover.CONIFER)[forest]
    clearing = forest & (np.abs(species + 1.2) < 0.12)
    cover[clearing] = Cover.MEADOW
    # Towns grow on low ground; streets and gardens break them up.
    site = town - np.float32(0.5) * elevation
    built = site > np.quantile(site, 0.955)
    cover[built & (rough > -0.9)] = Cover.BUILT
    cover[elevation > np.quantile(elevation, 0.955)] = Cover.SOIL  # rock and scree
    river = (np.abs(valley - 0.1) < 0.035) & (elevation < np.quantile(elevation, 0.8))
    cover[river | (elevation < np.quantile(elevation, 0.07))] = Cover.WATER
    # Relief lit from the south-east, as in the morning; texture differs by cover.
    slope = np.gradient(elevation, axis=1) - np.gradient(elevation, axis=0)
    relief = -slope / np.float32(max(slope.std(), 1e-6))
    strength = np.array([0.02, 0.14, 0.1, 0.05, 0.03, 0.05, 0.06, 0.2, 0.03], dtype=np.float32)
    hills = np.array([0.0, 0.07, 0.07, 0.03, 0.02, 0.02, 0.06, 0.02, 0.06], dtype=np.float32)
    between = np.where((cover >= Cover.MEADOW) & (cover <= Cover.SOIL), 0.12 * (second - 0.5), 0)
    brightness = 1 + strength[cover] * rough + hills[cover] * relief + between
    return Landscape(
        cover=cover,
        elevation=elevation,
        brightness=np.clip(brightness, 0.4, 1.8).astype(np.float32),
        harvest=(205 + 35 * second).astype(np.float32),
    )


def make_weather(n: int, cover: float, seed: Any, zenith: float) -> Weather:
    """Return the clouds of one date and the shadows they cast.

    Args:
        n: Pixels along a side.
        cover: Share of the landscape under clouds, cirrus included, 0 to 1.
        seed: Seed of this date.
        zenith: Angle of the sun from the zenith, degrees.
    """
    rng = np.random.default_rng(seed)
    field = noise(rng, n, 3.5, 5000) + np.float32(0.12) * noise(rng, n, 1.6, 600)
    white = 1 + np.float32(0.1) * noise(rng, n, 2.4, 2500)
    if cover <= 0:
        zero = np.zeros((n, n), dtype=np.float32)
        return Weather(cloud=zero, shadow=zero, white=white)
    # A pixel counts as cloudy from an opacity of CIRRUS on.
    edge, softness = np.quantile(field, 1 - cover), np.float32(0.6)
    cloud = np.clip((field - edge) / softness + CIRRUS, 0, 1).astype(np.float32)
    cloud[cloud < 0.05] = 0
    # Clouds at 1.1 km, the sun in the south-south-east: shadows fall to the north-north-west.
    length = 1100 * np.tan(np.deg2rad(zenith)) / PIXEL
    shift = (-round(float(length * 0.94)), -round(float(length * 0.34)))
    shadow = np.roll(cloud, shift, axis=(0, 1)) * (1 - cloud)
    return Weather(cloud=cloud, shadow=shadow.astype(np.float32), white=white)


#: Opacity from which the scene classification calls a pixel cirrus.
CIRRUS = 0.12
