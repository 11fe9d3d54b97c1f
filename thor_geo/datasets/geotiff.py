"""A user's GeoTIFFs: finding them, reading their headers, and a fingerprint of their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from thor_geo.datasets.placement import check_placement
from thor_geo.errors import ConfigError, first_line
from thor_geo.ground.lattice import Bounds
from thor_geo.support.progress import PATIENCE_S, is_first_process, track

#: Suffixes of GeoTIFFs in a folder; a glob or a file's path may name anything that GDAL reads.
SUFFIXES = (".tif", ".tiff")

# From larger files, so many pieces of this size are read, evenly spaced from the first byte to the
# last. Headers and tables of offsets are at one end or the other, and in a compressed file a
# changed pixel moves all that follows. A pixel changed in place between two pieces, in an
# uncompressed file, goes unnoticed.
_PIECES, _PIECE_BYTES = 64, 256 * 1024


@dataclass(frozen=True, kw_only=True)
class RasterFile:
    """The header of a raster file that lies north-up in one UTM zone.

    Attributes:
        path: The file.
        name: Its path below the folder that all files share, which outputs record.
        epsg: EPSG code of its UTM zone.
        left: Western edge in metres.
        top: Northern edge in metres.
        resolution: Side of its pixels in metres.
        width: Columns.
        height: Rows.
        count: Bands.
        dtype: NumPy's name of the type of all bands.
        scales: GDAL's scale of each band: value x scale + offset is in a physical unit.
        offsets: GDAL's offset of each band.
        descriptions: What the file calls each band; None where it says nothing.
        alpha: Which bands are transparency, no pixels; numbered from 0.
    """

    path: Path
    name: str
    epsg: int
    left: float
    top: float
    resolution: float
    width: int
    height: int
    count: int
    dtype: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str | None, ...]
    alpha: tuple[int, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in metres."""
        return (
            self.left,
            self.top - self.height * self.resolution,
            self.left + self.width * self.resolution,
            self.top,
        )


def find_files(paths: str | Sequence[str]) -> list[Path]:
    """Return the files of folders, globs and paths, each once, sorted by name.

    Args:
        paths: Folders (all GeoTIFFs in them and below), globs (``**`` goes into folders) or files.

    Raises:
        ConfigError: If one of them matches no file.
    """
    names: set[str] = set()
    for entry in [paths] if isinstance(paths, str) else paths:
        path = Path(entry).expanduser()
        if path.is_dir():
            files = [str(file) for file in path.rglob("*") if file.suffix.lower() in SUFFIXES]
        else:
            files = [str(path)] if path.is_file() else _matches(path)
        files = [file for file in files if Path(file).is_file()]
        if not files:
            raise ConfigError(
                "paths",
                str(entry),
                "no GeoTIFF in this folder" if path.is_dir() else "no such file, folder or match",
                "Give a folder of .tif files, a glob such as 'data/*.tif', or a list of them.",
            )
        names.update(map(os.path.abspath, files))
    return [Path(file) for file in sorted(names)]


def _matches(pattern: Path) -> list[str]:
    # `Path.glob` starts at a folder: the one before the first wildcard.
    parts = pattern.parts
    first = next((k for k, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    if first == len(parts):
        return []
    return [str(match) for match in Path(*parts[:first]).glob(str(Path(*parts[first:])))]


def read_headers(paths: Iterable[Path], resolution: float = 10) -> list[RasterFile]:
    """Read the headers of files.

    Args:
        paths: The files, absolute, sorted by name.
        resolution: Pixel size that the run wants, metres; for the remedies in messages.

    Raises:
        ConfigError: If a file cannot be read, or is not north-up in a UTM zone with square
            pixels.
    """
    files = list(paths)
    shared = os.path.commonpath([str(path.parent) for path in files])
    shown = is_first_process()
    return [
        _read_header(path, path.relative_to(shared).as_posix(), resolution)
        for path in track(files, "files", label="headers", shown=shown, delay=PATIENCE_S)
    ]


def _read_header(path: Path, name: str, resolution: float) -> RasterFile:
    try:
        with rasterio.open(path) as file:
            check_placement(path, file, resolution)
            return _header(path, name, file)
    except rasterio.errors.RasterioError as error:
        raise ConfigError(
            "paths",
            str(path),
            f"it cannot be read ({first_line(error)})",
            "Repair it, or leave it out.",
        ) from error


def _header(path: Path, name: str, file: DatasetReader) -> RasterFile:
    dtypes = file.dtypes
    if len(set(dtypes)) > 1 or np.dtype(dtypes[0]).kind not in "iuf":
        raise ConfigError(
            "paths",
            str(path),
            f"its bands are {', '.join(sorted(set(dtypes)))}",
            "Give all bands one type, integers or floats: gdal_translate -ot Float32.",
        )
    return RasterFile(
        path=path,
        name=name,
        epsg=file.crs.to_epsg(),
        left=file.transform.c,
        top=file.transform.f,
        resolution=file.transform.a,
        width=file.width,
        height=file.height,
        count=file.count,
        dtype=str(dtypes[0]),
        scales=tuple(map(float, file.scales)),
        offsets=tuple(map(float, file.offsets)),
        descriptions=tuple(file.descriptions),
        alpha=tuple(k for k, use in enumerate(file.colorinterp) if use == ColorInterp.alpha),
    )


def content_sha256(files: Sequence[RasterFile]) -> str:
    """Return a sha256 of the content of files; names and dates do not matter.

    It covers all bytes of files up to 16 MiB, and the size and 64 pieces of 256 KiB of larger ones.
    Files that belong to a GeoTIFF (masks, metadata), and those behind a VRT, are included.

    Args:
        files: The files, in the order in which they overlay each other.

    Returns:
        64 hexadecimal digits.

    Raises:
        ConfigError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    shown = is_first_process()
    for file in track(files, "files", label="content", shown=shown, delay=PATIENCE_S):
        try:
            with rasterio.open(file.path) as source:
                parts = list(source.files)
            for part in map(Path, parts):
                if part.is_file():
                    _digest_file(part, digest)
        except (OSError, rasterio.errors.RasterioError) as error:
            raise ConfigError(
                "paths",
                str(file.path),
                f"it cannot be read ({first_line(error)})",
                "Repair it, or leave it out.",
            ) from error
    return digest.hexdigest()


def _digest_file(path: Path, digest: hashlib._Hash) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(size.to_bytes(8, "big"))
        if size <= _PIECES * _PIECE_BYTES:
            file.seek(0)
            digest.update(file.read())
            return
        for piece in range(_PIECES):
            file.seek(piece * (size - _PIECE_BYTES) // (_PIECES - 1))
            digest.update(file.read(_PIECE_BYTES))
