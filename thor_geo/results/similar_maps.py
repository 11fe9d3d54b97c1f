"""Similar places with maps of the cosines: COGs for GIS tools, and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.ground.lattice import zone_name
from thor_geo.pictures.caption import SEPARATOR, colours_legend, run_caption
from thor_geo.pictures.marks import Marks
from thor_geo.pictures.sheet import Row, draw_sheet
from thor_geo.pictures.zone_pictures import MAX_ZONES
from thor_geo.results.cog import RasterExtent, run_tags, write_cog
from thor_geo.results.drawing import drawn_pictures, numbers_panel, picture_panel
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.results.similarity import LonLat, SimilarPlaces, similar_cells, similar_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.specs.choices import Unit
from thor_geo.support.arrays import Float32Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cosine_map_paths(opened: OpenedRun, folder: Path, unit: Unit) -> dict[int, Path]:
    """Return the files that maps of cosines go to, by EPSG code.

    Args:
        opened: The run.
        folder: Their folder.
        unit: What is compared.
    """
    return {
        lattice.epsg: folder / f"{zone_name(lattice.epsg)}_similar_{unit}.tif"
        for k, lattice in enumerate(opened.plan.lattices)
        if (opened.plan.zone == k).any()
    }


def find_similar(
    opened: OpenedRun,
    places: Sequence[LonLat],
    tile_ids: Sequence[str],
    k: int,
    *,
    unit: Unit,
    window: int | None = None,
    maps: Mapping[int, Path],
    overwrite: bool = False,
    index: NeighbourIndex | None = None,
) -> SimilarPlaces:
    """Find the places most similar to some, and write maps of the cosines.

    Args:
        opened: The run.
        places: Longitude and latitude of places, degrees.
        tile_ids: Ids of tiles; none if cells are compared.
        k: How many to find.
        unit: What to compare.
        window: Which time window; None if there is only one.
        maps: Files by EPSG code (`cosine_map_paths`); none to write no maps.
        overwrite: Whether earlier files may be replaced.
        index: An index of what is compared, to find them without maps; None reads everything.

    Raises:
        ConfigError: If a place or an id is not in the run, or a file exists.
        RunDirectoryError: If the run has no such embeddings, or a file cannot be read or written.
    """
    lonlat = [f"{lon},{lat}" for lon, lat in places]
    tags = run_tags(opened, window, places=" ".join([*lonlat, *tile_ids]))

    def write(extent: RasterExtent, windows: Iterator[tuple[slice, slice, Float32Array]]) -> None:
        write_cog(
            opened.run,
            maps[extent.epsg],
            extent,
            ((rows, cols, values[None]) for rows, cols, values in windows),
            bands=["cosine similarity"],
            tags=tags,
            overwrite=overwrite,
        )

    if unit == "cells":
        return similar_cells(opened, places, k, write if maps else None, window=window, index=index)
    similar = similar_tiles(opened, places, tile_ids, k, window=window, index=index)
    for epsg in maps:
        if epsg in similar.rasters:
            extent, values = similar.rasters[epsg]
            write(extent, iter([(slice(0, extent.shape[0]), slice(0, extent.shape[1]), values)]))
    return similar


def draw_similar(
    opened: OpenedRun, similar: SimilarPlaces, unit: Unit, window: int | None = None
) -> Figure:
    """Draw a map of similar places: cosines, and embeddings as colours where they fit a picture.

    Args:
        opened: The run.
        similar: The places.
        unit: What was compared.
        window: Which time window; None if there is only one.
    """
    everything = np.concatenate([raster.ravel() for _, raster in similar.rasters.values()])
    low, high = np.nanpercentile(everything, (2, 100)).tolist()
    pictures, colours = drawn_pictures(opened, similar.rasters, window)
    rows = []
    for epsg, (extent, values) in list(similar.rasters.items())[:MAX_ZONES]:
        marks = _marks(similar, epsg)
        panels = [
            numbers_panel(
                extent,
                values,
                marks,
                title="Similarity",
                label="cosine similarity to the place with the star",
                cmap="viridis",
                limits=(low, high),
            )
        ]
        if epsg in pictures:
            zone = pictures[epsg]
            panels.append(
                picture_panel(extent, zone.embeddings, zone.bounds, marks, title="Embeddings (PCA)")
            )
        rows.append(Row(extent.bounds, panels))
    caption = run_caption(opened.run, opened.plan)
    hidden = len(similar.rasters) - len(rows)
    return draw_sheet(
        rows,
        replace(
            caption,
            title=f"{len(similar.ids):,} most similar {unit}",
            subtitle=f"{caption.title}{SEPARATOR}{caption.subtitle}",
        ),
        colours_legend(colours, hidden) if pictures else "",
    )


def _marks(similar: SimilarPlaces, epsg: int) -> Marks:
    """Return the outlines in a zone: the places with their ranks, and the queries."""
    ranks = np.flatnonzero(similar.epsg == epsg).tolist()
    return Marks(
        [(tuple(similar.bounds[rank].tolist()), str(rank + 1)) for rank in ranks],
        [
            ((left + right) / 2, (bottom + top) / 2)
            for zone, (left, bottom, right, top) in similar.query_bounds
            if zone == epsg
        ],
    )
