"""Scenes on disk: a folder of GeoTIFFs plus an index.

`Archive.open` knows three indices:

* ``index.json``, written by `thor_geo.emulator.generate`::

      {"format": "thor-geo-archive", "version": 1, "parameters": {...},
       "scenes": [{"id": "20220605T104031_20220605T104031_T32VPM",
                   "properties": {"system:time_start": 1654425631000, ...},
                   "bands": [{"name": "B2", "file": "..._10m.tif", "index": 1}, ...]}]}

  A band's pixels, CRS and position are its file's; bands may differ in resolution.
* ``scenes.json``, with ``{"scenes": [...]}``, each entry with ``id``, ``datetime``, ``file``,
  ``bands`` and, where there is one, ``mask_file`` with ``mask_kind`` ``SCL``, and ``cloud_pct``;
  of Sentinel-1 ``instrument_mode``, ``orbit_pass`` and ``relative_orbit``.
* ``chip.json``, a list of such entries.

A file is looked for beside the index by its base name. Pixels are masked where they are the file's
nodata value (0 if it states none), and outside the scene.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioIOError

from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._functions import to_millis
from thor_geo.emulator._geometry import WGS84, Footprint, dense_footprint
from thor_geo.emulator._images import Image, ImageBand
from thor_geo.emulator._raster import Grid, Node
from thor_geo.emulator._sampling import scene_node
from thor_geo.support.coverage import Coverage
from thor_geo.support.jsontext import fits, parse_json

FORMAT = "thor-geo-archive"
VERSION = 1
INDEX_NAMES = ("index.json", "scenes.json", "chip.json")

# Properties that an entry may have for a Sentinel-1 scene, by Earth Engine's names.
_RADAR = {
    "instrument_mode": "instrumentMode",
    "orbit_pass": "orbitProperties_pass",
    "relative_orbit": "relativeOrbitNumber_start",
}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a band's pixels are.

    Args:
        path: The raster file.
        number: Number of the band in it, from 1.
        nodata: The value that means "no pixel".
    """

    path: Path
    number: int
    nodata: float


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A collection of scenes that the emulator can serve.

    Args:
        folder: The folder that holds index and rasters.
        index: Path of the index.
        scenes: One image per scene, without an asset id, ordered by time and then by id.
        files: Every raster file of the archive.
        stored: Where each band of the scenes is, by its node.
    """

    folder: Path
    index: Path
    scenes: tuple[Image, ...]
    files: tuple[Path, ...]
    stored: Mapping[Node, Stored]

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """Open the archive in a folder.

        Args:
            path: The folder, or its index.

        Raises:
            ArchiveError: If the folder, an index or a raster is missing, or they disagree.
        """
        folder = Path(path)
        if folder.is_file():
            index = folder
        elif folder.is_dir():
            indices = [folder / name for name in INDEX_NAMES if (folder / name).is_file()]
            if not indices:
                raise ArchiveError(
                    f"`scenes={folder}`: the folder has no index ({', '.join(INDEX_NAMES)}). "
                    f"Write one, or generate scenes: thor-geo emulator --generate {folder}"
                )
            index = indices[0]
        else:
            raise ArchiveError(
                f"`scenes={folder}`: there is no such folder. "
                f"Generate one: thor-geo emulator --generate {folder}"
            )
        reader = _Reader(index)
        scenes = tuple(sorted(reader.scenes(), key=_order))
        names = [scene.properties["system:index"] for scene in scenes]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ArchiveError(f"{index}: scene ids repeat: {repeated}. Give each scene its own.")
        return cls(
            folder=index.parent,
            index=index,
            scenes=scenes,
            files=tuple(sorted(reader.headers)),
            stored=reader.stored,
        )

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.index.read_bytes())
        for file in self.files:
            digest.update(f"{file.name}:{file.stat().st_size}\n".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Return the sha256, in hex, of the index and of the rasters' names and contents."""
        return self._fingerprint

    def coverage(self) -> Coverage:
        """Return where and when its scenes are."""
        rings = [
            dense_footprint(part, WGS84) for scene in self.scenes for part in scene.footprint or ()
        ]
        seconds = [float(scene.properties["system:time_start"]) / 1000 for scene in self.scenes]
        return Coverage.from_scenes(
            [(*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()) for ring in rings],
            [dt.datetime.fromtimestamp(second, dt.UTC).isoformat() for second in seconds],
        )

    def as_collection(self, asset_id: str) -> tuple[Image, ...]:
        """Return the scenes with the asset ids they have in a collection of that id."""
        return tuple(
            replace(scene, asset_id=f"{asset_id}/{scene.properties['system:index']}")
            for scene in self.scenes
        )


def _order(scene: Image) -> tuple[int, str]:
    return scene.properties["system:time_start"], scene.properties["system:index"]


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What a raster's header says."""

    grid: Grid
    dtypes: tuple[str, ...]
    nodata: float


class _Reader:
    """Reads one index and the headers of the rasters it names."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self.headers: dict[Path, _Header] = {}
        self.stored: dict[Node, Stored] = {}
        try:
            self.content = parse_json(index.read_bytes())
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{index}: not a readable JSON index ({error}).") from error

    def scenes(self) -> list[Image]:
        """Return the scenes of the index, in its order.

        Raises:
            ArchiveError: If the index or a raster is not as it should be.
        """
        content = self.content
        is_ours = isinstance(content, dict) and content.get("format") == FORMAT
        if is_ours and content.get("version") != VERSION:
            raise ArchiveError(
                f"{self.index}: version {content.get('version')} of the format, this release reads "
                f"{VERSION}. Generate the archive again."
            )
        entries = content.get("scenes") if isinstance(content, dict) else content
        if not isinstance(entries, list) or not entries:
            raise ArchiveError(f"{self.index}: no scenes in the index.")
        try:
            return [self._own(entry) if is_ours else self._foreign(entry) for entry in entries]
        except KeyError as error:
            raise ArchiveError(f"{self.index}: a scene has no {error}.") from error
        except ArchiveError:
            raise
        except (OSError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ArchiveError(f"{self.index}: a scene is not as it should be: {error}.") from error

    def _own(self, entry: Mapping[str, Any]) -> Image:
        """A scene of a generated archive."""
        bands = [self._band(b["name"], b["file"], b["index"]) for b in entry["bands"]]
        return self._image(bands, {"system:index": entry["id"], **entry["properties"]})

    def _foreign(self, entry: Mapping[str, Any]) -> Image:
        """A scene of ``scenes.json`` or ``chip.json``."""
        bands = [
            self._band(earth_engine_name(name), entry["file"], number)
            for number, name in enumerate(entry["bands"], 1)
        ]
        if "mask_file" in entry:
            if entry.get("mask_kind") != "SCL":
                raise ArchiveError(
                    f"{self.index}: scene {entry['id']}: mask_kind {entry.get('mask_kind')!r} is "
                    "unknown. Only SCL is."
                )
            bands.append(self._band("SCL", entry["mask_file"], 1))
        properties: dict[str, Any] = {
            "system:index": entry["id"],
            "system:time_start": to_millis(entry["datetime"], "datetime"),
        }
        if "cloud_pct" in entry:
            properties["CLOUDY_PIXEL_PERCENTAGE"] = float(entry["cloud_pct"])
        properties |= {_RADAR[key]: entry[key] for key in _RADAR if key in entry}
        polarisations = [name for name in entry["bands"] if name in ("VV", "VH", "HH", "HV")]
        if polarisations:
            properties["transmitterReceiverPolarisation"] = polarisations
        tile = re.search(r"(?<![0-9A-Z])T?(\d{2}[C-X][A-Z]{2})(?![0-9A-Z])", entry["id"])
        if tile:
            properties["MGRS_TILE"] = tile.group(1)
        return self._image(bands, properties)

    def _band(self, name: str, file: str, number: int) -> ImageBand:
        path = self.index.parent / Path(file).name
        if path not in self.headers:
            self.headers[path] = self._header(path)
        header = self.headers[path]
        if not 1 <= number <= len(header.dtypes):
            raise ArchiveError(
                f"{path}: band {name} should be number {number} of the file, which "
                f"has {len(header.dtypes)}."
            )
        dtype = np.dtype(header.dtypes[number - 1])
        node = scene_node(path, number, dtype, header.grid, header.nodata)
        self.stored[node] = Stored(path=path, number=number, nodata=header.nodata)
        return ImageBand(name=name, node=node, grid=header.grid)

    def _header(self, path: Path) -> _Header:
        if not path.is_file():
            raise ArchiveError(f"{self.index}: the raster {path.name} is missing from its folder.")
        try:
            with rasterio.open(path) as source:
                code = source.crs.to_epsg() if source.crs else None
                transform, nodata = source.transform, source.nodata
                dtypes, width, height = tuple(source.dtypes), source.width, source.height
        except RasterioIOError as error:
            raise ArchiveError(f"{path}: not a readable raster ({error}).") from error
        if code is None:
            raise ArchiveError(f"{path}: the raster states no CRS with an EPSG code.")
        if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
            raise ArchiveError(f"{path}: the raster is not north-up ({tuple(transform)[:6]}).")
        crs = f"EPSG:{code}"
        grid = Grid(crs=crs, transform=tuple(transform)[:6], width=width, height=height)
        return _Header(
            grid=grid,
            dtypes=dtypes,
            nodata=0.0 if nodata is None else float(nodata),
        )

    def _image(self, bands: list[ImageBand], properties: Mapping[str, Any]) -> Image:
        start = properties["system:time_start"]
        if not fits("str", properties["system:index"]) or not fits("float", start):
            raise ArchiveError(
                f"{self.index}: a scene's id is not text, or its time is not a number."
            )
        grid = bands[0].grid
        assert grid is not None  # `_band` always sets it
        a, _, left, _, e, top = grid.transform
        bounds = (left, top + e * grid.height, left + a * grid.width, top)
        footprint = Footprint(grid.crs, bounds)
        return Image(bands=tuple(bands), properties=properties, footprint=(footprint,))


def earth_engine_name(name: str) -> str:
    """Return Earth Engine's name of a band, ``B2`` for ``B02``; other names stay."""
    return re.sub(r"^B0(\d)$", r"B\1", name)
