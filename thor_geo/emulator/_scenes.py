"""Writes the scenes of a generated archive as GeoTIFFs."""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

from thor_geo.emulator._landscape import PIXEL, Landscape, make_landscape, make_weather
from thor_geo.emulator._mgrs import mgrs_tile
from thor_geo.emulator._products import LandscapeMoment, Layer, Product, layers, scene_classes
from thor_geo.emulator._spectra import make_surface, sun_zenith
from thor_geo.support.progress import is_first_process, track

#: Scenes start and end on multiples of this, so that all resolutions share their corners.
LATTICE = 60


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


@dataclass(frozen=True, kw_only=True)
class Zone:
    """One UTM zone's square, and which pixel of the landscape each of its pixels shows."""

    epsg: int
    left: int
    top: int
    lookup: dict[int, npt.NDArray[np.int32]]  # by resolution

    def sample(self, landscape: npt.NDArray[Any], resolution: int) -> npt.NDArray[Any]:
        """Return what each pixel of a resolution shows of a field over the landscape (n, n)."""
        shown: npt.NDArray[Any] = landscape.ravel()[self.lookup[resolution]]
        return shown


def make_zone(epsg: int, center: tuple[float, float], size_m: int, n: int) -> Zone:
    """Return the square of a zone around a place, on a landscape of *n* pixels a side."""
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
    return Zone(epsg=epsg, left=left, top=top, lookup=lookup)


def landscape_side(size_m: int) -> int:
    """Return the side in pixels of the landscape behind squares of so many metres."""
    # Room for the zones' turn against north (3 degrees at most) and for the snap to the lattice.
    return math.ceil((size_m * 1.07 + 4 * LATTICE) / PIXEL / 60) * 60


def write_scenes(folder: Path, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Write every scene's rasters.

    Args:
        folder: Where to.
        parameters: Those of the archive, as in its index.

    Returns:
        The index's entries, by zone within date.
    """
    center, size_m = tuple(parameters["center"]), parameters["size_m"]
    n = landscape_side(size_m)
    landscape = make_landscape(n, parameters["seed"])
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        zones = list(pool.map(lambda epsg: make_zone(epsg, center, size_m, n), parameters["zones"]))
        write = partial(_write_acquisition, folder, parameters, landscape, zones)
        acquisitions = [Acquisition(**item) for item in parameters["acquisitions"]]
        numbers = range(len(acquisitions))
        written = track(
            pool.map(write, numbers),
            "overpasses",
            total=len(numbers),
            label="generating scenes",
            shown=is_first_process(),
        )
        return [entry for entries in written for entry in entries]


def _write_acquisition(
    folder: Path,
    parameters: dict[str, Any],
    landscape: Landscape,
    zones: Sequence[Zone],
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
    swath = x + 0.2 * y
    overpass = LandscapeMoment(
        surface=surface,
        weather=weather,
        seen=swath <= np.quantile(swath, item.coverage),
        seed=(seed, number),
    )
    product: Product = parameters.get("product", "sr")
    product_layers = list(layers(product, overpass, [zone.sample for zone in zones]))
    scl = scene_classes(overpass)
    stamp = moment.strftime("%Y%m%dT%H%M%S")
    entries: list[dict[str, Any]] = []
    for k, zone in enumerate(zones):
        middle = parameters["size_m"] / 2
        tile = mgrs_tile(zone.epsg, zone.left + middle, zone.top - middle)
        name = f"{stamp}_{stamp}_T{tile}"
        bands = _write_files(folder, name, zone, product_layers, k)
        properties: dict[str, Any] = {
            "system:time_start": int(moment.replace(tzinfo=dt.UTC).timestamp() * 1000),
            "MGRS_TILE": tile,
        }
        if product != "cloud_score_plus":
            properties |= {
                # Offsets of 04.00 are already taken out, as in the harmonised collections.
                "PROCESSING_BASELINE": "04.00",
                "SPACECRAFT_NAME": "Sentinel-2A",
                "MEAN_SOLAR_ZENITH_ANGLE": round(zenith, 4),
                **_percentages(zone.sample(scl, 20)),
            }
        entries.append({"id": name, "properties": properties, "bands": bands})
    return entries


def _write_files(
    folder: Path, name: str, zone: Zone, product_layers: Sequence[Layer], k: int
) -> list[dict[str, Any]]:
    """Write zone number *k* of all layers; return the bands' entries in the layers' order."""
    bands: dict[str, dict[str, Any]] = {}
    for file in dict.fromkeys(layer.file for layer in product_layers):
        of_file = [layer for layer in product_layers if layer.file == file]
        resolution, nodata = of_file[0].resolution, of_file[0].nodata
        pixels = [(layer.band, layer.pixels[k]) for layer in of_file]
        path = f"{name}_{file}.tif"
        for entry in write_raster(folder, path, zone, resolution, pixels, nodata):
            bands[entry["name"]] = entry
    return [bands[layer.band] for layer in product_layers]


def _percentages(scl: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Shares of the scene's classes in its pixels with data, counted."""
    valid = max(int((scl != 0).sum()), 1)

    def share(*classes: int) -> float:
        """Return the percentage of these classes."""
        return round(100 * float(np.isin(scl, classes).sum()) / valid, 4)

    return {
        "CLOUDY_PIXEL_PERCENTAGE": share(8, 9, 10),
        "CLOUD_SHADOW_PERCENTAGE": share(3),
        "SNOW_ICE_PERCENTAGE": share(11),
        "VEGETATION_PERCENTAGE": share(4),
        "WATER_PERCENTAGE": share(6),
        "NODATA_PIXEL_PERCENTAGE": round(100 * float((scl == 0).mean()), 4),
    }


def write_raster(
    folder: Path,
    file: str,
    zone: Zone,
    resolution: int,
    bands: Sequence[tuple[str, npt.NDArray[Any]]],
    nodata: float = 0,
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
        nodata=nodata,
        tiled=True,
        blockxsize=tile,
        blockysize=tile,
        interleave="band",
        compress="deflate",
        # TIFF's predictors: 2 for integers, 3 for floating point.
        predictor=3 if bands[0][1].dtype.kind == "f" else 2,
        zlevel=4,
    ) as target:
        for number, (name, values) in enumerate(bands, 1):
            target.write(values, number)
            target.set_band_description(number, name)
    return [
        {"name": name, "file": file, "index": number} for number, (name, _) in enumerate(bands, 1)
    ]
