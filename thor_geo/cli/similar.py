"""``thor-geo similar``: the places of a run that are most like a given one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thor_geo.cli.options import (
    WINDOW,
    add_overwrite,
    add_run,
    command_parser,
    join_coordinates,
    parse_lonlat,
)
from thor_geo.support.redact import redact

if TYPE_CHECKING:
    from thor_geo.results.similarity import SimilarPlaces

_EXAMPLES = """\
examples:
  thor-geo similar out/oslo --at 10.75,59.91 -k 20
  thor-geo similar out/oslo --at 10.75,59.91 --at 10.60,59.95 --to like.gpkg --png like.png
  thor-geo similar out/oslo --tile utm32n_r10_t288_x230_y2308
  thor-geo similar out/oslo --at 10.75,59.91 --on cells --tif maps --png like.png

Similarity is the cosine of the angle between two embeddings: 1 if they point the same way. Several
places make one query, the mean of their directions, and are not listed themselves. Ground where the
maps of two UTM zones overlap is listed once. Longitude comes first.

--to writes .parquet, .gpkg or .geojson: rank, id, cosine, lon, lat and the footprint. The id of a
cell is its zone, row and column in grid.zarr. Maps are read shard by shard, so a run of any size
fits in memory.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo similar``."""
    parser = command_parser(
        "similar", "Find the places of a run that are most similar to a given one.", _EXAMPLES
    )
    add_run(parser)
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="LON,LAT",
        help="a place in degrees; may be repeated",
    )
    parser.add_argument(
        "--tile", action="append", default=[], metavar="ID", help="a tile's id; may be repeated"
    )
    parser.add_argument(
        "-k", type=int, default=20, metavar="N", help="how many places to list (default: 20)"
    )
    parser.add_argument(
        "--on", choices=("tiles", "cells"), default="tiles", help="what to compare (default: tiles)"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the places as a table")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw a map of the places")
    parser.add_argument(
        "--tif", type=Path, metavar="DIR", help="write the cosines as COGs, one for each UTM zone"
    )
    parser.add_argument("--window", type=int, metavar="N", help=WINDOW)
    add_overwrite(parser)
    return parser


def run_similar(args: Sequence[str]) -> int:
    """Find similar places and print them.

    Args:
        args: Arguments after ``thor-geo similar``.

    Returns:
        0.

    Raises:
        ConfigError: If an argument is invalid, a place is not in the run, or a file exists.
        RunDirectoryError: If the directory holds no run, or one without embeddings.
    """
    command = parser()
    options = command.parse_args(join_coordinates(args, "--at"))
    _check(command, options)
    places = [parse_lonlat("--at", text) for text in options.at]
    from thor_geo.pictures.sheet import save_png
    from thor_geo.results.similar_maps import cosine_map_paths, draw_similar, find_similar
    from thor_geo.results.tables import check_suffix, write_table
    from thor_geo.runs.opened_run import open_run
    from thor_geo.runs.target import atomic_target, check_target

    if options.to is not None:
        check_suffix("--to", options.to)
    opened, overwrite = open_run(options.dir), options.overwrite
    opened.time_index(options.window)  # refuses a window that the run does not have
    maps = {} if options.tif is None else cosine_map_paths(opened, options.tif, options.on)
    for path in (options.to, options.png, *maps.values()):
        if path is not None:
            check_target(opened.run, path, folder=False, overwrite=overwrite)
    similar = find_similar(
        opened,
        places,
        options.tile,
        options.k,
        unit=options.on,
        window=options.window,
        maps=maps,
        overwrite=overwrite,
    )
    print(redact(similar_text(options.dir, similar, options.on)))
    written = list(maps.values())
    if options.to is not None:
        write_table(opened.run, options.to, similar.table(), overwrite=overwrite)
        written.append(options.to)
    if options.png is not None:
        figure = draw_similar(opened, similar, options.on, options.window)
        with atomic_target(opened.run, options.png, folder=False, overwrite=overwrite) as temporary:
            save_png(figure, temporary)
        written.append(options.png)
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def _check(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that are out of range or do not go together."""
    if options.k < 1:
        command.error("-k: give 1 or more")
    if not options.at and not options.tile:
        command.error("give a place with --at LON,LAT, or a tile with --tile ID")
    if options.tile and options.on == "cells":
        command.error("--tile goes with --on tiles; give the place of a cell with --at")


def similar_text(path: Path, similar: SimilarPlaces, unit: str) -> str:
    """Return a table of similar places as text.

    Args:
        path: The run directory.
        similar: The places.
        unit: ``tiles`` or ``cells``.
    """
    from thor_geo.results.tables import ranking_lines

    head = (
        f"{path}: {len(similar.ids):,} of {similar.compared:,} {unit}, by cosine to "
        f"{', '.join(similar.queries)} (not listed)"
    )
    return "\n".join(
        [head, "", *ranking_lines(similar.ids, similar.lonlat, similar.cosine, "cosine")]
    )
