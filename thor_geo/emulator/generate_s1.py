"""Generates an archive of Sentinel-1 scenes: the land of `generate`, seen by radar.

Ascending and descending passes on different days, IW, VV and VH, in decibel, 10 m. The same
parameters give the same bytes, with the same versions of NumPy and GDAL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._radar import PASSES, Overpass, write_overpasses
from thor_geo.emulator.generate import check_place, holds, publish

#: Raised whenever the same parameters give other pixels.
GENERATOR = 1

#: A summer of repeats of 12 days, of which every other one was taken; one at the swath's edge.
DEFAULT_OVERPASSES = (
    Overpass(date="2022-06-03", orbit="ASCENDING"),
    Overpass(date="2022-06-08", orbit="DESCENDING"),
    Overpass(date="2022-06-27", orbit="ASCENDING"),
    Overpass(date="2022-07-02", orbit="DESCENDING", coverage=0.7),
    Overpass(date="2022-07-21", orbit="ASCENDING"),
    Overpass(date="2022-07-26", orbit="DESCENDING"),
)


def generate_sentinel1_archive(
    folder: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
    zones: Sequence[int] = (32632, 32633),
    overpasses: Sequence[Overpass] = DEFAULT_OVERPASSES,
) -> Path:
    """Write an archive into a new folder, over the ground of `generate_archive`'s same arguments.

    Args:
        folder: Where to write; must not exist, or be an empty folder.
        seed: Seed of land, weather and speckle.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres; a multiple of 120.
        zones: EPSG codes of UTM zones.
        overpasses: Overpasses; each gives one scene per zone.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder is not empty, or a parameter is out of range.
    """
    parameters = _parameters(seed, center, size_m, zones, overpasses)
    return publish(Path(folder), parameters, write_overpasses)


def ensure_sentinel1_archive(
    folder: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
    zones: Sequence[int] = (32632, 32633),
    overpasses: Sequence[Overpass] = DEFAULT_OVERPASSES,
) -> Path:
    """Write an archive unless the folder holds the very same one.

    Args:
        folder: As in `generate_sentinel1_archive`, like all other arguments.
        seed: Seed of land, weather and speckle.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres.
        zones: EPSG codes of UTM zones.
        overpasses: Overpasses.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder holds something else, or a parameter is out of range.
    """
    parameters = _parameters(seed, center, size_m, zones, overpasses)
    if holds(Path(folder), parameters):
        return Path(folder)
    return publish(Path(folder), parameters, write_overpasses)


def _parameters(
    seed: int,
    center: tuple[float, float],
    size_m: int,
    zones: Sequence[int],
    overpasses: Sequence[Overpass],
) -> dict[str, Any]:
    """The parameters as JSON, checked."""
    if not zones or not overpasses:
        raise ArchiveError("`zones` and `overpasses` must not be empty.")
    check_place(seed, size_m, zones)
    for item in overpasses:
        try:
            dt.date.fromisoformat(item.date)
        except ValueError:
            raise ArchiveError(f"{item}: date must be an ISO date such as 2022-06-05.") from None
        if item.orbit not in PASSES or not 0 < item.coverage <= 1:
            raise ArchiveError(
                f"{item}: orbit must be {' or '.join(PASSES)}, coverage lie in (0, 1]."
            )
    return {
        "sensor": "Sentinel-1",
        "generator": GENERATOR,
        "seed": seed,
        "center": list(center),
        "size_m": size_m,
        "zones": list(zones),
        "overpasses": [asdict(item) for item in overpasses],
    }
