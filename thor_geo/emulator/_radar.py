"""What Sentinel-1 sees of a landscape: backscatter in decibel, relief, wet soil, speckle.

The backscatter is plausible C-band sigma0 of summer at some 38 degrees of incidence, set by hand
after published ranges (calm water dark, forest bright in VH, towns brightest, wet snow dark); it is
no measurement.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from thor_geo.emulator._landscape import Cover, Field, Landscape, make_landscape
from thor_geo.emulator._scenes import Zone, landscape_side, make_zone, write_raster
from thor_geo.emulator._spectra import Surface, make_surface
from thor_geo.support.progress import is_first_process, track

#: Polarisations of the scenes.
BANDS = ("VV", "VH")

#: Backscatter in dB by land cover: VV, VH.
BACKSCATTER: dict[Cover, tuple[float, float]] = {
    Cover.WATER: (-20.5, -28.5),
    Cover.CONIFER: (-9.5, -15.0),
    Cover.BROADLEAF: (-9.0, -14.5),
    Cover.MEADOW: (-12.5, -19.0),
    Cover.CEREAL: (-14.0, -20.0),
    Cover.ROOTS: (-9.5, -16.0),
    Cover.SOIL: (-12.0, -21.5),
    Cover.BUILT: (-4.5, -12.5),
    Cover.SNOW: (-18.0, -25.0),
}
#: Ripe cereal: dry straw lets the soil through.
RIPE = (-11.0, -19.0)

#: Looks that a pixel of GRD high resolution averages (Sentinel-1 Product Definition, IW GRDH: 5
#: looks, an equivalent number of 4.4).
LOOKS = 4.4

# Waves and rain: by how much a day's water and bare or grown soil may be off, dB.
_WIND, _RAIN = 2.0, 1.0
# dB that a slope of one standard deviation towards or from the radar gains or loses.
_RELIEF = 1.2
# Values are kept in steps of 1/128 dB, which pack well.
_STEPS = 128

#: Time of day of a pass over 12 E, and the number of its orbit in the cycle.
PASSES: dict[str, tuple[dt.time, int]] = {
    "ASCENDING": (dt.time(16, 55, 1), 44),
    "DESCENDING": (dt.time(5, 26, 40), 66),
}

_TABLE = np.array([BACKSCATTER[cover] for cover in Cover], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Overpass:
    """One overpass of Sentinel-1.

    Args:
        date: ISO date.
        orbit: Orbit pass.
        coverage: Share of the ground inside the swath; the rest has no data.
    """

    date: str
    orbit: Literal["ASCENDING", "DESCENDING"]
    coverage: float = 1.0


def backscatter(surface: Surface, landscape: Landscape, orbit: str, band: str) -> Field:
    """Return what a calm, dry day shows, dB, without speckle.

    Args:
        surface: The ground on this day.
        landscape: Its relief.
        orbit: Orbit pass: the radar looks to the east on ascending passes, to the west on
            descending ones, and slopes that face it are brighter.
        band: Polarisation.
    """
    k = BANDS.index(band)
    column = _TABLE[:, k]
    ground: Field = column[surface.cover]
    ground = ground + surface.ripe * (np.float32(RIPE[k]) - ground)
    ground = ground + surface.bare * (column[Cover.SOIL] - ground)
    rising_east = np.gradient(landscape.elevation, axis=1)
    facing = rising_east if orbit == "ASCENDING" else -rising_east
    relief = np.clip(facing / np.float32(max(facing.std(), 1e-6)), -3, 3)
    land = surface.cover != Cover.WATER
    texture = np.float32(4) * (surface.brightness - 1)
    seen: Field = (ground + land * (np.float32(_RELIEF) * relief + texture)).astype(np.float32)
    return seen


def write_overpasses(folder: Path, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Write every scene's raster.

    Args:
        folder: Where to.
        parameters: Those of the archive, as in its index.

    Returns:
        The index's entries, by zone within overpass.
    """
    n = landscape_side(parameters["size_m"])
    landscape = make_landscape(n, parameters["seed"])
    center = tuple(parameters["center"])
    zones = [make_zone(epsg, center, parameters["size_m"], n) for epsg in parameters["zones"]]
    write = partial(_write_overpass, folder, parameters, landscape, zones)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        numbers = range(len(parameters["overpasses"]))
        written = track(
            pool.map(write, numbers),
            "overpasses",
            total=len(numbers),
            label="generating radar scenes",
            shown=is_first_process(),
        )
        return [entry for entries in written for entry in entries]


def _write_overpass(
    folder: Path,
    parameters: dict[str, Any],
    landscape: Landscape,
    zones: Sequence[Zone],
    number: int,
) -> list[dict[str, Any]]:
    """Write the scenes of one overpass: the same ground, speckle included, in every zone."""
    item = Overpass(**parameters["overpasses"][number])
    time, relative_orbit = PASSES[item.orbit]
    moment = dt.datetime.combine(dt.date.fromisoformat(item.date), time, dt.UTC)
    surface = make_surface(landscape, moment.timetuple().tm_yday)
    rng = np.random.default_rng([parameters["seed"], 4, number])
    wind, rain = rng.normal(0, _WIND), rng.normal(0, _RAIN)
    weather = np.where(surface.cover == Cover.WATER, wind, rain).astype(np.float32)
    seen = _swath(landscape.size, item)
    planes = []
    for band in BANDS:
        speckle = rng.standard_gamma(LOOKS, size=weather.shape, dtype=np.float32)
        speckle /= np.float32(LOOKS)
        db = backscatter(surface, landscape, item.orbit, band) + weather
        db += np.float32(10) * np.log10(np.maximum(speckle, np.float32(1e-4)))
        planes.append(np.where(seen, np.rint(db * _STEPS) / _STEPS, np.nan).astype(np.float32))
    entries = []
    for zone in zones:
        stamp = moment.strftime("%Y%m%dT%H%M%S")
        unique = hashlib.sha256(f"{stamp} {zone.epsg}".encode()).hexdigest()[:4].upper()
        name = f"S1A_IW_GRDH_1SDV_{stamp}_{stamp}_{unique}"
        cut = [(b, p.ravel()[zone.lookup[10]]) for b, p in zip(BANDS, planes, strict=True)]
        entries.append(
            {
                "id": name,
                "properties": {
                    "system:time_start": int(moment.timestamp() * 1000),
                    "instrumentMode": "IW",
                    "transmitterReceiverPolarisation": list(BANDS),
                    "orbitProperties_pass": item.orbit,
                    "relativeOrbitNumber_start": relative_orbit,
                    "resolution_meters": 10,
                    "platform_number": "A",
                },
                "bands": write_raster(folder, f"{name}.tif", zone, 10, cut, nodata=np.nan),
            }
        )
    return entries


def _swath(n: int, item: Overpass) -> npt.NDArray[np.bool_]:
    """Which pixels lie in the swath: from the west on ascending passes, else from the east."""
    y, x = np.mgrid[:n, :n]
    across = x + 0.2 * y if item.orbit == "ASCENDING" else 0.2 * y - x
    inside: npt.NDArray[np.bool_] = across <= np.quantile(across, item.coverage)
    return inside
