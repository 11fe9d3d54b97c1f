"""Cloud-optimised GeoTIFFs of a run's embeddings: as colours, and as they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.pictures.pca import Colours
from thor_geo.results.bands import Bands
from thor_geo.results.cells import zone_cells
from thor_geo.results.cog import RasterExtent, RasterPart, run_tags, write_cog
from thor_geo.results.map_cut import MapCut
from thor_geo.results.tilemap import tile_rasters
from thor_geo.results.tiles import NoEmbeddingError, read_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.pooled import window_name
from thor_geo.runs.target import check_target

logger = logging.getLogger(__name__)


class _Map(NamedTuple):
    """A zone's embeddings: their place, D, and a function that reads them part by part."""

    extent: RasterExtent
    dimension: int
    parts: Callable[[], Iterator[RasterPart]]


def export_pictures(
    opened: OpenedRun,
    within: Mapping[int, Bounds],
    folder: Path,
    *,
    bands: Bands | None = None,
    window: int | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write one COG of colours for each zone, and one of chosen dimensions.

    The pixels are cells of the maps, or tiles for a run without maps.

    Args:
        opened: The run.
        within: Bounds in metres by index of the plan's lattices, each meeting a tile.
        folder: Where the files go.
        bands: Dimensions of the embeddings; None for colours only.
        window: Which time window; may be left out if there is only one.
        overwrite: Whether earlier files may be replaced.

    Returns:
        The files.

    Raises:
        ConfigError: If a file exists, or there is no such dimension.
        RunDirectoryError: If the run has no embedding yet, or a file cannot be read or written.
    """
    kinds = ["pca", *([] if bands is None else ["bands"])]
    files = [[_file(opened, folder, k, window, kind) for kind in kinds] for k in sorted(within)]
    for path in (path for zone in files for path in zone):
        check_target(opened.run, path, folder=False, overwrite=overwrite)
    fitted = load_or_fit_colours(opened.run, opened.plan)
    if not fitted:
        raise RunDirectoryError(f"`{opened.run.path}` has no tile with an embedding yet.")
    maps = _maps(opened, within, window)
    chosen = None if bands is None else [bands.indices(each.dimension) for each in maps]
    for k, (zone_map, paths) in enumerate(zip(maps, files, strict=True)):
        write_cog(
            opened.run,
            paths[0],
            zone_map.extent,
            _coloured(zone_map.parts(), fitted[zone_map.dimension]),
            bands=("red", "green", "blue", "alpha"),
            dtype="uint8",
            tags=run_tags(opened, window, colours="first three principal components"),
            overwrite=overwrite,
        )
        if chosen is not None:
            _write_embeddings(opened, paths[1], zone_map, chosen[k], window, overwrite=overwrite)
    return [path for zone in files for path in zone]


def export_embeddings(
    opened: OpenedRun,
    within: Mapping[int, Bounds],
    folder: Path,
    *,
    bands: Bands,
    window: int | None = None,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Write one COG of embeddings for each zone and time window, and yield each when it is done.

    The values are float32 whatever the type of the run: GDAL before 3.7 has no int8 and before 3.11
    no float16, and a GeoTIFF has one scale for a band, where int8 maps have one for each cell. So
    codes are multiplied by their scales. Of a run without maps, a zone and time window in which no
    tile has an embedding gets no file, which is logged.

    Args:
        opened: The run.
        within: Bounds in metres by index of the plan's lattices, each meeting a tile.
        folder: Where the files go.
        bands: Dimensions of the embeddings.
        window: The only time window that is wanted; None for all of them.
        overwrite: Whether earlier files may be replaced.

    Yields:
        The files.

    Raises:
        ConfigError: If a file exists, or there is no such dimension or window.
        RunDirectoryError: If the run has no embedding yet, or a file cannot be read or written.
    """
    windows = range(len(opened.windows)) if window is None else [window]
    files = {
        time: [_file(opened, folder, k, time, "embeddings") for k in sorted(within)]
        for time in windows
    }
    for path in (path for zones in files.values() for path in zones):
        check_target(opened.run, path, folder=False, overwrite=overwrite, argument="--cog")
    absent: NoEmbeddingError | None = None
    written = 0
    for time, paths in files.items():
        for found, path in zip(_found_maps(opened, within, time), paths, strict=True):
            if isinstance(found, NoEmbeddingError):
                absent = found
                logger.warning("%s is not written: %s", path.name, found)
                continue
            chosen = bands.indices(found.dimension)
            _write_embeddings(opened, path, found, chosen, time, overwrite=overwrite)
            written += 1
            yield path
    if absent is not None and not written:
        raise absent


def _file(opened: OpenedRun, folder: Path, zone: int, window: int | None, kind: str) -> Path:
    """Return the path of a COG, named after zone, dates and content."""
    span = opened.span if window is None else opened.windows.spans[window]
    name = zone_name(opened.plan.lattices[zone].epsg)
    return folder / f"{name}_{window_name(span)}_{kind}.tif"


def _write_embeddings(
    opened: OpenedRun,
    path: Path,
    zone_map: _Map,
    bands: Sequence[int],
    window: int | None,
    *,
    overwrite: bool,
) -> None:
    write_cog(
        opened.run,
        path,
        zone_map.extent,
        _chosen(zone_map.parts(), bands),
        bands=[f"embedding {band}" for band in bands],
        tags=run_tags(opened, window),
        overwrite=overwrite,
    )


def _maps(opened: OpenedRun, within: Mapping[int, Bounds], window: int | None) -> list[_Map]:
    """Return the embeddings of each zone.

    Raises:
        NoEmbeddingError: If a zone has none.
    """
    maps = []
    for found in _found_maps(opened, within, window):
        if isinstance(found, NoEmbeddingError):
            raise found
        maps.append(found)
    return maps


def _found_maps(
    opened: OpenedRun, within: Mapping[int, Bounds], window: int | None
) -> Sequence[_Map | NoEmbeddingError]:
    """Return the embeddings of each zone, or why there are none."""
    if opened.grid:
        return _cells(opened, within, window)
    try:
        return _tiles(opened, within, window)
    except NoEmbeddingError as error:
        return [error] * len(within)


def _cells(opened: OpenedRun, within: Mapping[int, Bounds], window: int | None) -> list[_Map]:
    zones = zone_cells(opened, window=window)
    maps = []
    for k in sorted(within):
        zone = zones[opened.plan.lattices[k].epsg]
        crop = MapCut.from_plan(opened.plan, zone, within[k])

        def parts(zone: Any = zone, crop: MapCut = crop) -> Iterator[RasterPart]:
            return crop(zone.parts(crop.rows, crop.cols, progress=True))

        maps.append(_Map(crop.extent, zone.dimension, parts))
    return maps


def _tiles(
    opened: OpenedRun, within: Mapping[int, Bounds], window: int | None
) -> list[_Map | NoEmbeddingError]:
    tiles = read_tiles(opened, window=window, progress=True)
    maps: list[_Map | NoEmbeddingError] = []
    for k in sorted(within):
        epsg, (left, bottom, right, top) = opened.plan.lattices[k].epsg, within[k]
        chosen = (tiles.epsg == epsg) & (tiles.bounds[:, 0] < right) & (tiles.bounds[:, 2] > left)
        chosen &= (tiles.bounds[:, 1] < top) & (tiles.bounds[:, 3] > bottom)
        if not chosen.any():
            maps.append(
                NoEmbeddingError(
                    f"`{opened.run.path}` has no tile with an embedding in this part of "
                    f"{zone_name(epsg)}. `thor-geo status` shows the progress of the run."
                )
            )
            continue
        rasters = tile_rasters(opened.plan, tiles.index[chosen], tiles.vectors[chosen], np.nan)
        extent, values = rasters[epsg]
        whole = (slice(0, extent.shape[0]), slice(0, extent.shape[1]))

        def parts(
            whole: tuple[slice, slice] = whole, values: npt.NDArray[Any] = values
        ) -> Iterator[RasterPart]:
            yield (*whole, values)

        maps.append(_Map(extent, values.shape[-1], parts))
    return maps


def _coloured(parts: Iterator[RasterPart], colours: Colours) -> Iterator[RasterPart]:
    for rows, cols, values in parts:
        image = np.zeros((4, *values.shape[:2]), dtype=np.uint8)
        valid = np.isfinite(values).all(axis=-1)
        image[:3, valid] = colours(values[valid]).T
        image[3, valid] = 255
        yield rows, cols, image


def _chosen(parts: Iterator[RasterPart], bands: Sequence[int]) -> Iterator[RasterPart]:
    for rows, cols, values in parts:
        yield rows, cols, np.moveaxis(values[..., list(bands)], -1, 0)
