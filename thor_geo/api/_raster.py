"""Headers of raster files that a call embeds: where they lie, and which band is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely

from thor_geo.api._bands import picked_planes
from thor_geo.api._place import Place
from thor_geo.datasets.geotiff import RasterFile, read_headers
from thor_geo.errors import BandError, ConfigError
from thor_geo.ground.lattice import Rect
from thor_geo.specs.bands import BandSelection, find_band


@dataclass(frozen=True, kw_only=True)
class RasterInput:
    """The header of one raster file.

    Attributes:
        file: The file.
    """

    file: RasterFile

    @property
    def descriptions(self) -> tuple[str, ...]:
        """What it calls its bands; empty text where it does not say."""
        return tuple(text or "" for text in self.file.descriptions)

    @property
    def place(self) -> Place:
        """Where it lies, on its own pixel grid."""
        file = self.file
        rect = Rect(
            epsg=file.epsg,
            resolution=round(file.resolution),
            left=0,
            top=0,
            width=file.width,
            height=file.height,
            anchor=(file.left, file.top),
        )
        return Place(epsg=file.epsg, geometry=shapely.box(*file.bounds), rect=rect)

    def planes(self, selection: BandSelection, names: Sequence[str]) -> list[int]:
        """Return which of its bands are those of a selection, in its order.

        Args:
            selection: The bands wanted.
            names: The caller's names of all bands in their order; empty for the file's own.

        Raises:
            BandError: If bands are missing or contradict their descriptions.
        """
        described = [find_band(text) for text in self.descriptions]
        if names:
            return self._as_named(selection, names)
        if any(described):
            return picked_planes(self.descriptions, selection)
        return self._as_named(selection, [band.channel for band in selection.bands])

    def _as_named(self, selection: BandSelection, names: Sequence[str]) -> list[int]:
        if len(names) != self.file.count:
            raise BandError(
                "bands",
                list(names),
                f"{len(names)} names, but {self.file.name} has {self.file.count} bands, "
                "and does not name them itself",
                "Name each band of the file once, in its order.",
            )
        for text, name in zip(self.descriptions, names, strict=True):
            described, named = find_band(text), find_band(name)
            if described and named and described != named:
                raise BandError(
                    "bands",
                    list(names),
                    f"{self.file.name} calls the band {text!r} that is named {name!r} here",
                    "Correct the order, or leave bands out to go by the file's names.",
                )
        return list(range(len(selection.bands)))


def open_rasters(paths: Sequence[str | Path]) -> list[RasterInput]:
    """Read the headers of raster files.

    Args:
        paths: The files.

    Raises:
        ConfigError: If one cannot be read, or is not north-up in a UTM zone with square pixels of
            whole metres, of the same size in all.
    """
    files = []
    for path in paths:
        whole = Path(path).expanduser().absolute()
        if not whole.is_file():
            raise ConfigError("raster", str(path), "no such file", "Give the path of a GeoTIFF.")
        files += read_headers([whole])
    for file in files:
        size = file.resolution
        if abs(size - round(size)) > 1e-6 * size or round(size) != round(files[0].resolution):
            raise ConfigError(
                "raster",
                file.name,
                f"its pixels are {size:g} m"
                + (
                    f", those of {files[0].name} {files[0].resolution:g} m"
                    if file != files[0]
                    else ""
                ),
                f"Warp it: gdalwarp -tr METRES METRES -tap {file.name} out.tif",
            )
    return [RasterInput(file=file) for file in files]
