"""Cloud-optimised GeoTIFFs of a run's embeddings: as colours, and as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.pictures.pca import Colours
from thor_geo.results.cells import zone_cells
from thor_geo.results.cog import RasterExtent, RasterPart, run_tags, write_cog
from thor_geo.results.map_cut import MapCut
from thor_geo.results.tilemap import tile_rasters
from thor_geo.results.tiles import read_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.target import check_target


class _Map(NamedTuple):
    """A zone's embeddings: their place, D, and a function that reads them part by part."""

    extent: RasterExtent
    dimension: int
    parts: Callable[[], Iterator[RasterPart]]


def export_cogs(
    opened: OpenedRun,
    within: Mapping[int, Bounds],
    folder: Path,
    *,
    bands: Sequence[int] | None = None,
    window: int | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write one COG of colours for each zone, and one of chosen dimensions.

    The pixels are cells of the maps, or tiles for a run without maps.

    Args:
        opened: The run.
        within: Bounds in metres by index of the plan's lattices, each meeting a tile.
        folder: Where the files go.
        bands: Dimensions of the embeddings, counted from 0; None for colours only.
        window: Which time window; may be left out if there is only one.
        overwrite: Whether earlier files may be replaced.

    Returns:
        The files.

    Raises:
        ConfigError: If a file exists, or there is no such dimension.
        RunDirectoryError: If the run has no embedding yet, or a file cannot be read or written.
    """
    files = []
    for k in sorted(within):
        name = folder / zone_name(opened.plan.lattices[k].epsg)
        kinds = ["pca", *([] if bands is None else ["bands"])]
        files.append([name.with_name(f"{name.name}_{kind}.tif") for kind in kinds])
    for path in (path for zone in files for path in zone):
        check_target(opened.run, path, folder=False, overwrite=overwrite)
    fitted = load_or_fit_colours(opened.run, opened.plan)
    if not fitted:
        raise RunDirectoryError(f"`{opened.run.path}` has no tile with an embedding yet.")
    maps = (_cells if opened.grid else _tiles)(opened, within, window)
    for zone_map in maps:
        wrong = [band for band in bands or () if band >= zone_map.dimension]
        if wrong:
            raise ConfigError(
                "--bands",
                ",".join(map(str, bands or ())),
                f"embeddings have {zone_map.dimension} dimensions, there is no {wrong[0]}",
                f"Give 0 to {zone_map.dimension - 1}.",
            )
    for zone_map, paths in zip(maps, files, strict=True):
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
        if bands is not None:
            write_cog(
                opened.run,
                paths[1],
                zone_map.extent,
                _chosen(zone_map.parts(), bands),
                bands=[f"embedding {band}" for band in bands],
                tags=run_tags(opened, window),
                overwrite=overwrite,
            )
    return [path for zone in files for path in zone]


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


def _tiles(opened: OpenedRun, within: Mapping[int, Bounds], window: int | None) -> list[_Map]:
    tiles = read_tiles(opened, window=window, progress=True)
    maps = []
    for k in sorted(within):
        epsg, (left, bottom, right, top) = opened.plan.lattices[k].epsg, within[k]
        chosen = (tiles.epsg == epsg) & (tiles.bounds[:, 0] < right) & (tiles.bounds[:, 2] > left)
        chosen &= (tiles.bounds[:, 1] < top) & (tiles.bounds[:, 3] > bottom)
        if not chosen.any():
            raise RunDirectoryError(
                f"`{opened.run.path}` has no tile with an embedding in this part of "
                f"{zone_name(epsg)}. `thor-geo status` shows the progress of the run."
            )
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
