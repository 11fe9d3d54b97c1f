"""``thor-geo similar``: the places of a run that are most like one of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.ground.lattice import zone_name
from thor_geo.pictures.caption import SEPARATOR, run_caption
from thor_geo.pictures.quicklook import colours_legend
from thor_geo.pictures.sheet import Row, draw_sheet, save_png
from thor_geo.pictures.zone_pictures import MAX_ZONES
from thor_geo.results.cog import RasterExtent, run_tags, write_cog
from thor_geo.results.drawing import Marks, drawn_pictures, numbers_panel, picture_panel
from thor_geo.results.places import join_negative_values, parse_lonlat
from thor_geo.results.similarity import SimilarPlaces, similar_cells, similar_tiles
from thor_geo.results.tables import DRIVERS, check_suffix, ranking_lines, write_table
from thor_geo.runs.opened_run import WINDOW, OpenedRun, open_run
from thor_geo.runs.target import atomic_target, check_target
from thor_geo.support.arrays import Float32Array
from thor_geo.support.redact import redact

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_EXAMPLE = f"""\
examples:
  thor-geo similar out/oslo --at 10.75,59.91 -k 20
  thor-geo similar out/oslo --at 10.75,59.91 --at 10.60,59.95 --to like.gpkg --png like.png
  thor-geo similar out/oslo --tile utm32n_r10_t288_x230_y2308
  thor-geo similar out/oslo --at 10.75,59.91 --on cells --tif maps --png like.png

Similarity is the cosine of the angle between embeddings: 1 for the same direction. Several places
are asked about together, as the mean of their directions. The places themselves are not listed.
Where the maps of two UTM zones overlap, ground is listed once. Longitude comes first.

--to writes {", ".join(DRIVERS)}: rank, id, cosine, lon, lat and the footprint. A cell's id is its
zone, row and column in grid.zarr, which is read shard by shard: any run fits in memory.
"""


def main(args: Sequence[str]) -> int:
    """Find similar places and print them.

    Args:
        args: Arguments after ``thor-geo similar``.

    Returns:
        0.

    Raises:
        ConfigError: If an argument is invalid, a place is not in the run, or a file exists.
        RunDirectoryError: If the directory holds no run, or one without embeddings.
    """
    parser = argparse.ArgumentParser(
        prog="thor-geo similar",
        description="Find the places of a run that are most similar to one of it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="OUT", help="the run directory (output.dir)")
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="LON,LAT",
        help="a place in degrees; may be given several times",
    )
    parser.add_argument(
        "--tile", action="append", default=[], metavar="ID", help="a tile by its id, likewise"
    )
    parser.add_argument("-k", type=int, default=20, metavar="N", help="how many (default 20)")
    parser.add_argument(
        "--on", choices=("tiles", "cells"), default="tiles", help="what to compare (default tiles)"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="write them as a table")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw a map of them")
    parser.add_argument(
        "--tif", type=Path, metavar="DIR", help="write the cosines as COGs, one for each zone"
    )
    parser.add_argument("--window", type=int, metavar="N", help=WINDOW)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier files")
    options = parser.parse_args(join_negative_values(args, "--at"))
    if options.k < 1:
        parser.error("-k: give 1 or more")
    if not options.at and not options.tile:
        parser.error("give a place with --at LON,LAT, or a tile with --tile ID")
    if options.tile and options.on == "cells":
        parser.error("--tile goes with --on tiles; give a cell's place with --at")
    if options.to is not None:
        check_suffix("--to", options.to)
    places = [parse_lonlat("--at", text) for text in options.at]
    opened, overwrite = open_run(options.dir), options.overwrite
    opened.time(options.window)  # says which windows there are
    tifs = {} if options.tif is None else _tifs(opened, options.tif, options.on)
    for path in (options.to, options.png, *tifs.values()):
        if path is not None:
            check_target(opened.run, path, folder=False, overwrite=overwrite)
    found = _find(opened, places, options, tifs)
    print(redact(str_of(options.dir, found, options.on)))
    written = list(tifs.values())
    if options.to is not None:
        write_table(opened.run, options.to, found.table(), overwrite=overwrite)
        written.append(options.to)
    if options.png is not None:
        figure = draw(opened, found, options.on, options.window)
        with atomic_target(opened.run, options.png, folder=False, overwrite=overwrite) as temporary:
            save_png(figure, temporary)
        written.append(options.png)
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def _tifs(opened: OpenedRun, folder: Path, on: str) -> dict[int, Path]:
    """Return the files of cosines by zone."""
    return {
        lattice.epsg: folder / f"{zone_name(lattice.epsg)}_similar_{on}.tif"
        for k, lattice in enumerate(opened.plan.lattices)
        if (opened.plan.zone == k).any()
    }


def _find(
    opened: OpenedRun,
    places: Sequence[tuple[float, float]],
    options: argparse.Namespace,
    tifs: Mapping[int, Path],
) -> SimilarPlaces:
    def write(extent: RasterExtent, windows: Iterator[tuple[slice, slice, Float32Array]]) -> None:
        write_cog(
            opened.run,
            tifs[extent.epsg],
            extent,
            ((rows, cols, values[None]) for rows, cols, values in windows),
            bands=["cosine similarity"],
            tags=run_tags(opened, options.window, at=" ".join([*options.at, *options.tile])),
            overwrite=options.overwrite,
        )

    if options.on == "cells":
        return similar_cells(
            opened, places, options.k, write if tifs else None, window=options.window
        )
    found = similar_tiles(opened, places, options.tile, options.k, window=options.window)
    for epsg in tifs:
        if epsg in found.rasters:
            extent, values = found.rasters[epsg]
            write(extent, iter([(slice(0, extent.shape[0]), slice(0, extent.shape[1]), values)]))
    return found


def str_of(path: Path, found: SimilarPlaces, on: str) -> str:
    """Return what was found for reading.

    Args:
        path: The run directory.
        found: The places.
        on: ``tiles`` or ``cells``.
    """
    head = (
        f"{path}: {len(found.ids):,} of {found.compared:,} {on}, by cosine to "
        f"{', '.join(found.queries)} (not listed)"
    )
    return "\n".join([head, "", *ranking_lines(found.ids, found.lonlat, found.cosine, "cosine")])


def draw(opened: OpenedRun, found: SimilarPlaces, on: str, window: int | None = None) -> Figure:
    """Draw a map of what was found: cosines, and embeddings as colours where they fit a picture.

    Args:
        opened: The run.
        found: The places.
        on: ``tiles`` or ``cells``.
        window: Which time window; may be left out where there is but one.
    """
    everything = np.concatenate([raster.ravel() for _, raster in found.rasters.values()])
    low, high = np.nanpercentile(everything, (2, 100)).tolist()
    pictures, colours = drawn_pictures(opened, found.rasters, window)
    rows = []
    for epsg, (extent, values) in list(found.rasters.items())[:MAX_ZONES]:
        marks = Marks(
            [
                (tuple(found.bounds[k].tolist()), str(k + 1))
                for k in np.flatnonzero(found.epsg == epsg).tolist()
            ],
            [
                ((left + right) / 2, (bottom + top) / 2)
                for one, (left, bottom, right, top) in found.query_bounds
                if one == epsg
            ],
        )
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
            one = pictures[epsg]
            panels.append(
                picture_panel(extent, one.embeddings, one.bounds, marks, title="Embeddings (PCA)")
            )
        rows.append(Row(extent.bounds, panels))
    caption = run_caption(opened.run, opened.plan)
    hidden = len(found.rasters) - len(rows)
    return draw_sheet(
        rows,
        replace(
            caption,
            title=f"{len(found.ids):,} most similar {on}",
            subtitle=f"{caption.title}{SEPARATOR}{caption.subtitle}",
        ),
        colours_legend(colours, hidden) if pictures else "",
    )
