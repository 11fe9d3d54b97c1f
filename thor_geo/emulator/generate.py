"""Generates an archive of Sentinel-2 scenes: made-up land, real GeoTIFFs.

Each acquisition is seen in every UTM zone asked for, as tiles of neighbouring zones see the same
overpass. Bands are kept at their own resolution (10, 20 and 60 m), on a lattice of 60 m; the
emulator's nearest neighbour doubles them onto 10 m as the service does. The same parameters give
the same bytes, with the same versions of NumPy and GDAL.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

from thor_geo.emulator._archive import FORMAT, VERSION
from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._landscape import PIXEL, Landscape, make_landscape, make_weather
from thor_geo.emulator._mgrs import mgrs_tile
from thor_geo.emulator._spectra import (
    RESOLUTION,
    classify,
    make_surface,
    reflectance,
    sun_zenith,
)

#: Raised whenever the same parameters give other pixels.
GENERATOR = 1
#: Scenes start and end on multiples of this, so that all resolutions share their corners.
LATTICE = 60
#: The upper end of what Level-2A's reflectances reach over bright clouds.
MAX_DN = 16000


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """One overpass.

    Args:
        date: ISO date.
        cloud_cover: Share of the ground under clouds, 0 to 1.
        coverage: Share of the ground inside the swath; the rest has no data.
    """

    date: str
    cloud_cover: float
    coverage: float = 1.0


#: A summer: from clear to hardly usable, one at the edge of the swath.
DEFAULT_ACQUISITIONS = (
    Acquisition(date="2022-06-05", cloud_cover=0.12),
    Acquisition(date="2022-06-20", cloud_cover=0.25, coverage=0.8),
    Acquisition(date="2022-07-05", cloud_cover=0.60),
    Acquisition(date="2022-07-20", cloud_cover=0.05),
    Acquisition(date="2022-08-06", cloud_cover=0.40),
    Acquisition(date="2022-08-24", cloud_cover=0.18),
)


def generate_archive(
    folder: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
    zones: Sequence[int] = (32632, 32633),
    acquisitions: Sequence[Acquisition] = DEFAULT_ACQUISITIONS,
) -> Path:
    """Write an archive into a new folder.

    The folder appears under its name only when it is complete.

    Args:
        folder: Where to write; must not exist, or be an empty folder.
        seed: Seed of land and weather.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres; a multiple of 120.
        zones: EPSG codes of UTM zones.
        acquisitions: Overpasses; each gives one scene per zone.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder is not empty, or a parameter is out of range.
    """
    target = Path(folder)
    parameters = _parameters(seed, center, size_m, zones, acquisitions)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ArchiveError(
            f"`folder={target}` is not empty: nothing is overwritten. Choose another folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        scenes = _write_scenes(part, parameters)
        index = {"format": FORMAT, "version": VERSION, "parameters": parameters, "scenes": scenes}
        (part / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        part.chmod(0o755)
        part.replace(target)  # over an empty folder this works too, over a full one it fails
    except OSError:
        # Another process may have been faster with the same archive.
        if _existing_parameters(target) != parameters:
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def ensure_archive(
    folder: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
    zones: Sequence[int] = (32632, 32633),
    acquisitions: Sequence[Acquisition] = DEFAULT_ACQUISITIONS,
) -> Path:
    """Write an archive unless the folder holds the very same one.

    Args:
        folder: As in :func:`generate_archive`, like all other arguments.
        seed: Seed of land and weather.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres.
        zones: EPSG codes of UTM zones.
        acquisitions: Overpasses.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder holds something else, or a parameter is out of range.
    """
    wanted = _parameters(seed, center, size_m, zones, acquisitions)
    found = _existing_parameters(Path(folder))
    if found == wanted:
        return Path(folder)
    if found is not None:
        differing = sorted(key for key in wanted if found.get(key) != wanted[key])
        raise ArchiveError(
            f"`folder={folder}` holds an archive with other parameters ({', '.join(differing)}). "
            "Delete it or choose another folder."
        )
    return generate_archive(
        folder, seed=seed, center=center, size_m=size_m, zones=zones, acquisitions=acquisitions
    )


def _parameters(
    seed: int,
    center: tuple[float, float],
    size_m: int,
    zones: Sequence[int],
    acquisitions: Sequence[Acquisition],
) -> dict[str, Any]:
    """The parameters as JSON, checked."""
    if size_m < 2 * LATTICE or size_m % (2 * LATTICE):
        raise ArchiveError(f"`size_m={size_m}` must be a positive multiple of {2 * LATTICE}.")
    if not zones or not acquisitions:
        raise ArchiveError("`zones` and `acquisitions` must not be empty.")
    if seed < 0:
        raise ArchiveError(f"`seed={seed}` must not be negative.")
    bad = [zone for zone in zones if not (32601 <= zone <= 32660 or 32701 <= zone <= 32760)]
    if bad:
        raise ArchiveError(f"`zones={list(zones)}`: {bad[0]} is not the EPSG code of a UTM zone.")
    for item in acquisitions:
        if not 0 <= item.cloud_cover < 1 or not 0 < item.coverage <= 1:
            raise ArchiveError(f"{item}: cloud_cover must lie in [0, 1), coverage in (0, 1].")
    return {
        "generator": GENERATOR,
        "seed": seed,
        "center": list(center),
        "size_m": size_m,
        "zones": list(zones),
        "acquisitions": [asdict(item) for item in acquisitions],
    }


def _existing_parameters(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{folder}/index.json: not readable ({error}). Delete it.") from error
    parameters: dict[str, Any] = content.get("parameters", {})
    return parameters


@dataclass(frozen=True, kw_only=True)
class _Zone:
    """One UTM zone's square, and which pixel of the landscape each of its pixels shows."""

    epsg: int
    left: int
    top: int
    lookup: dict[int, npt.NDArray[np.int32]]  # by resolution


def _make_zone(epsg: int, center: tuple[float, float], size_m: int, n: int) -> _Zone:
    lon, lat = center
    local = f"+proj=aeqd +lon_0={lon!r} +lat_0={lat!r} +datum=WGS84"
    x, y = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True).transform(lon, lat)
    left = round((x - size_m / 2) / LATTICE) * LATTICE
    top = round((y + size_m / 2) / LATTICE) * LATTICE
    transformer = Transformer.from_crs(f"EPSG:{epsg}", local, always_xy=True)
    lookup = {}
    for resolution in (10, 20, 60):
        steps = (np.arange(size_m // resolution) + 0.5) * resolution
        u, v = transformer.transform(*np.meshgrid(left + steps, top - steps))
        column = np.clip(np.floor(u / PIXEL + n / 2), 0, n - 1).astype(np.int32)
        row = np.clip(np.floor(n / 2 - v / PIXEL), 0, n - 1).astype(np.int32)
        lookup[resolution] = row * np.int32(n) + column
    return _Zone(epsg=epsg, left=left, top=top, lookup=lookup)


def _write_scenes(folder: Path, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Write every scene's rasters and return the index's entries, by zone within date."""
    center, size_m = tuple(parameters["center"]), parameters["size_m"]
    # Room for the zones' turn against north (3 degrees at most) and for the snap to the lattice.
    n = math.ceil((size_m * 1.07 + 4 * LATTICE) / PIXEL / 60) * 60
    landscape = make_landscape(n, parameters["seed"])
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        zones = list(
            pool.map(lambda epsg: _make_zone(epsg, center, size_m, n), parameters["zones"])
        )
        write = partial(_write_acquisition, folder, parameters, landscape, zones)
        acquisitions = [Acquisition(**item) for item in parameters["acquisitions"]]
        return [entry for entries in pool.map(write, range(len(acquisitions))) for entry in entries]


def _write_acquisition(
    folder: Path,
    parameters: dict[str, Any],
    landscape: Landscape,
    zones: Sequence[_Zone],
    number: int,
) -> list[dict[str, Any]]:
    """Write the scenes of one overpass."""
    item = Acquisition(**parameters["acquisitions"][number])
    moment = dt.datetime.fromisoformat(item.date).replace(hour=10, minute=40, second=31)
    day, seed, n = moment.timetuple().tm_yday, parameters["seed"], landscape.size
    surface = make_surface(landscape, day)
    zenith = sun_zenith(parameters["center"][1], day)
    weather = make_weather(n, item.cloud_cover, [seed, 2, number], zenith)
    # The swath's edge runs a little west of south.
    y, x = np.mgrid[:n, :n]
    swath = (x + 0.2 * y).ravel()
    seen = swath <= np.quantile(swath, item.coverage)
    scl = np.where(seen, classify(surface, weather).ravel(), 0).astype(np.uint8)
    stamp = moment.strftime("%Y%m%dT%H%M%S")
    rasters: dict[tuple[int, int], list[tuple[str, npt.NDArray[Any]]]] = {}
    rng = np.random.default_rng([seed, 3, number])
    for band, resolution in RESOLUTION.items():
        values = reflectance(surface, weather, band).ravel()
        for zone in zones:
            lookup = zone.lookup[resolution]
            dn = values[lookup]
            dn += (2 + np.float32(0.002) * dn) * rng.standard_normal(dn.shape, dtype=np.float32)
            dn = np.where(seen[lookup], np.clip(np.rint(dn), 1, MAX_DN), 0)
            rasters.setdefault((zone.epsg, resolution), []).append((band, dn.astype(np.uint16)))
    entries: list[dict[str, Any]] = []
    for zone in zones:
        middle = parameters["size_m"] / 2
        tile = mgrs_tile(zone.epsg, zone.left + middle, zone.top - middle)
        name = f"{stamp}_{stamp}_T{tile}"
        bands: list[dict[str, Any]] = []
        for resolution in (10, 20, 60):
            bands += _write(folder, f"{name}_{resolution}m.tif", zone, resolution,
                            rasters[zone.epsg, resolution])  # fmt: skip
        classes = scl[zone.lookup[20]]
        bands += _write(folder, f"{name}_SCL.tif", zone, 20, [("SCL", classes)])
        order = [*RESOLUTION, "SCL"]
        bands.sort(key=lambda band: order.index(band["name"]))
        entries.append(
            {
                "id": name,
                "properties": {
                    "system:time_start": int(moment.replace(tzinfo=dt.UTC).timestamp() * 1000),
                    "MGRS_TILE": tile,
                    # Offsets of 04.00 are already taken out, as in the harmonised collection.
                    "PROCESSING_BASELINE": "04.00",
                    "SPACECRAFT_NAME": "Sentinel-2A",
                    "MEAN_SOLAR_ZENITH_ANGLE": round(zenith, 4),
                    **_percentages(classes),
                },
                "bands": bands,
            }
        )
    return entries


def _percentages(scl: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Shares of the scene's classes in its pixels with data, counted."""
    valid = max(int((scl != 0).sum()), 1)

    def share(*classes: int) -> float:
        return round(100 * float(np.isin(scl, classes).sum()) / valid, 4)

    return {
        "CLOUDY_PIXEL_PERCENTAGE": share(8, 9, 10),
        "CLOUD_SHADOW_PERCENTAGE": share(3),
        "SNOW_ICE_PERCENTAGE": share(11),
        "VEGETATION_PERCENTAGE": share(4),
        "WATER_PERCENTAGE": share(6),
        "NODATA_PIXEL_PERCENTAGE": round(100 * float((scl == 0).mean()), 4),
    }


def _write(
    folder: Path,
    file: str,
    zone: _Zone,
    resolution: int,
    bands: Sequence[tuple[str, npt.NDArray[Any]]],
) -> list[dict[str, Any]]:
    """Write one GeoTIFF and return its bands' entries in the index."""
    height, width = bands[0][1].shape
    tile = 256 if min(height, width) >= 256 else 16
    with rasterio.open(
        folder / file,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=len(bands),
        dtype=bands[0][1].dtype,
        crs=f"EPSG:{zone.epsg}",
        transform=from_origin(zone.left, zone.top, resolution, resolution),
        nodata=0,
        tiled=True,
        blockxsize=tile,
        blockysize=tile,
        interleave="band",
        compress="deflate",
        predictor=2,
        zlevel=4,
    ) as target:
        for number, (name, values) in enumerate(bands, 1):
            target.write(values, number)
            target.set_band_description(number, name)
    return [
        {"name": name, "file": file, "index": number} for number, (name, _) in enumerate(bands, 1)
    ]
