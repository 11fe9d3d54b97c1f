"""Headers of raster files that a call embeds: where they lie, and which band is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely

from thor_geo.api._bands import picked_planes
from thor_geo.api._place import Place
from thor_geo.api._request import EmbeddingRequest
from thor_geo.datasets.descriptions import check_alpha
from thor_geo.datasets.geotiff import RasterFile, read_headers
from thor_geo.datasets.placement import warp_line
from thor_geo.errors import BandError, ConfigError
from thor_geo.ground.lattice import Rect
from thor_geo.specs.bands import find_band

# Pixels of the model's finest bands, metres.
_FINEST_M = 10


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

    def planes(self, request: EmbeddingRequest) -> list[int]:
        """Return which of its bands are those that a call wants, in its order.

        Args:
            request: The settings.

        Raises:
            BandError: If bands are missing, or contradict their descriptions.
            ConfigError: If one of them is transparency.
        """
        selection = request.selection
        if request.names:
            self._check_names(request.names)
            return list(range(len(request.names)))
        if request.plane_names:
            self._check_names(request.plane_names)
            return picked_planes(request.plane_names, selection)
        if any(map(find_band, self.descriptions)):
            return picked_planes(self.descriptions, selection)
        wanted = [band.channel for band in selection.bands]
        check_alpha(self.file, wanted)
        if len(wanted) != self.file.count:
            raise BandError(
                "bands",
                None,
                f"{self.file.name} has {self.file.count} bands and no names of bands that are "
                f"known; {len(wanted)} are wanted",
                "Name each band of the file in its order: bands=['B2', 'B3', ...].",
            )
        return list(range(len(wanted)))

    def _check_names(self, names: Sequence[str]) -> None:
        """Refuse names that are too few or too many, or contradict the file's own."""
        check_alpha(self.file, names)
        if len(names) != self.file.count:
            raise BandError(
                "bands",
                list(names),
                f"{len(names)} names, but {self.file.name} has {self.file.count} bands",
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
        size, first = file.resolution, files[0].resolution
        # Finer pixels than the model's finest take other settings, too.
        whole_metres = max(round(first), _FINEST_M)
        others = "" if file == files[0] else f", those of {files[0].name} {first:g} m"
        if abs(size - round(size)) > 1e-6 * size or round(size) != round(first):
            raise ConfigError(
                "raster",
                str(file.path),
                f"its pixels are {size:g} m{others}: they must be whole metres, the same in all",
                f"Warp it, and give utm.tif in its place: {warp_line(file.path, whole_metres)}",
            )
    return [RasterInput(file=file) for file in files]
