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
    local_path,
    parse_lonlat,
    run_of,
)
from thor_geo.storage import Location
from thor_geo.support.redact import redact

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from thor_geo.results.index_search import NeighbourIndex
    from thor_geo.results.similar_places import PlaceUnit
    from thor_geo.results.similarity import SimilarPlaces
    from thor_geo.runs.opened_run import OpenedRun
    from thor_geo.runs.similar_index import IndexUnit

_EXAMPLES = """\
examples:
  thor-geo similar out/oslo --at 10.75,59.91 -k 20
  thor-geo similar out/oslo --at 10.75,59.91 --at 10.60,59.95 --to like.gpkg --png like.png
  thor-geo similar out/oslo --tile utm32n_r10_t288_x230_y2308
  thor-geo similar out/oslo --at 10.75,59.91 --on cells --tif maps --png like.png
  thor-geo similar out/survey --id P0042 --on centres --to like.gpkg     # a run of places

Similarity is the cosine of the angle between two embeddings: 1 if they point the same way. Several
places make one query, the mean of their directions, and are not listed themselves. Ground where the
maps of two UTM zones overlap is listed once. Longitude comes first.

--to writes .parquet, .gpkg or .geojson: rank, id, cosine, lon, lat and the footprint. The id of a
cell is its zone, row and column in grid.zarr. Vectors are read shard by shard, so a run of any size
fits in memory. Places have their kept columns beside them, and are points in the table.

All vectors are read, unless there is an index (`thor-geo index`): then an answer among millions
takes a fraction of a second, and at least 97 of 100 of the ten nearest are found. --exact reads all
of them nevertheless, as --png and --tif do, which show every cosine.
"""
# Vectors from which on an index is worth a word.
_MANY = 1_000_000


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
        "--place",
        action="append",
        default=[],
        type=int,
        metavar="ROW",
        help="of a run of places: a row of the table, from 0; may be repeated",
    )
    parser.add_argument(
        "--id", action="append", default=[], metavar="ID", help="its id; may be repeated"
    )
    parser.add_argument(
        "-k", type=int, default=20, metavar="N", help="how many places to list (default: 20)"
    )
    parser.add_argument(
        "--on",
        choices=("tiles", "cells", "chips", "centres"),
        help="what to compare (default: tiles, or the chips of places)",
    )
    parser.add_argument("--to", type=local_path, metavar="FILE", help="write the places as a table")
    parser.add_argument("--png", type=local_path, metavar="FILE", help="draw a map of the places")
    parser.add_argument(
        "--tif",
        type=local_path,
        metavar="DIR",
        help="write the cosines as COGs, one for each UTM zone",
    )
    parser.add_argument("--window", type=int, metavar="N", help=WINDOW)
    parser.add_argument(
        "--exact", action="store_true", help="read all vectors even if there is an index"
    )
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
    from thor_geo.ground.place_plan import PlacePlan
    from thor_geo.results.similar_maps import cosine_map_paths, draw_similar, find_similar
    from thor_geo.results.tables import check_suffix, write_table
    from thor_geo.runs.opened_run import read_run
    from thor_geo.runs.target import check_target

    if options.to is not None:
        check_suffix("--to", options.to)
    opened, overwrite = read_run(run_of(options)), options.overwrite
    if isinstance(opened.plan, PlacePlan):
        return _similar_places(command, opened, places, options)
    _refuse_places(command, options)
    options.on = options.on or "tiles"
    opened.time_index(options.window)  # refuses a window that the run does not have
    maps = {} if options.tif is None else cosine_map_paths(opened, options.tif, options.on)
    targets = [("--to", options.to), ("--png", options.png)]
    for argument, path in [*targets, *(("--tif", path) for path in maps.values())]:
        if path is not None:
            check_target(opened.run, path, folder=False, overwrite=overwrite, argument=argument)
    index = _open_index(opened, options.on, options)
    similar = find_similar(
        opened,
        places,
        options.tile,
        options.k,
        unit=options.on,
        window=options.window,
        maps=maps,
        overwrite=overwrite,
        index=index,
    )
    print(redact(similar_text(run_of(options), similar, options.on)))
    _say_how(opened, options.on, options, index, similar.compared)
    written = list(maps.values())
    if options.to is not None:
        write_table(opened.run, options.to, similar.table(), overwrite=overwrite)
        written.append(options.to)
    if options.png is not None:
        figure = draw_similar(opened, similar, options.on, options.window)
        written.append(_save(opened, figure, options))
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def _refuse_places(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that go with a run of places, where the run is of an area."""
    for name in ("place", "id"):
        if getattr(options, name):
            command.error(f"--{name} goes with a run of places; give --at or --tile")
    if options.on in ("chips", "centres"):
        command.error(f"--on {options.on} goes with a run of places; this one has tiles and cells")


def _similar_places(
    command: argparse.ArgumentParser,
    opened: OpenedRun,
    at: Sequence[tuple[float, float]],
    options: argparse.Namespace,
) -> int:
    """Find similar places of a table and print them."""
    from thor_geo.results.place_parts import refuse_maps, refuse_window
    from thor_geo.results.place_table import place_lines
    from thor_geo.results.similar_places import draw_similar_places, similar_places
    from thor_geo.results.tables import write_table
    from thor_geo.runs.target import check_target

    if options.tile:
        command.error("--tile: chips of places may be shared; give --place, --id or --at")
    if options.on in ("tiles", "cells"):
        command.error(
            f"--on {options.on}: a run of places has chips, and centres, the vectors of the cells "
            "that hold its places"
        )
    refuse_window(opened, options.window)
    if options.tif is not None:
        refuse_maps(opened, "--tif", options.tif)
    overwrite = options.overwrite
    unit: PlaceUnit = options.on or "chips"
    for argument, path in (("--to", options.to), ("--png", options.png)):
        if path is not None:
            check_target(opened.run, path, folder=False, overwrite=overwrite, argument=argument)
    index = _open_index(opened, unit, options)
    similar = similar_places(
        opened, options.k, at=at, places=options.place, ids=options.id, unit=unit, index=index
    )
    head = (
        f"{run_of(options)}: {len(similar.index):,} of {similar.compared:,} {unit}, by cosine to "
        f"{', '.join(similar.queries)} (not listed)"
    )
    lines = place_lines(similar.plan, similar.index, similar.columns, similar.cosine, "cosine")
    print(redact("\n".join([head, "", *lines])))
    _say_how(opened, unit, options, index, similar.compared)
    written: list[Path] = []
    if options.to is not None:
        write_table(opened.run, options.to, similar.table(), overwrite=overwrite)
        written.append(options.to)
    if options.png is not None:
        written.append(_save(opened, draw_similar_places(opened, similar, unit), options))
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def _open_index(
    opened: OpenedRun, unit: IndexUnit, options: argparse.Namespace
) -> NeighbourIndex | None:
    """Open the index that answers; None if there is none, or all vectors are needed."""
    from thor_geo.results.index_search import NeighbourIndex

    if options.exact or options.png is not None or options.tif is not None:
        return None
    return NeighbourIndex.of_run(opened, unit, opened.time_index(options.window))


def _say_how(
    opened: OpenedRun,
    unit: IndexUnit,
    options: argparse.Namespace,
    index: NeighbourIndex | None,
    compared: int,
) -> None:
    """Say where the answer comes from, if that is not a matter of course."""
    from thor_geo.runs.similar_index import index_command, index_path

    if not isinstance(opened.run.path, Path):
        return  # a run in a store has no index
    time = opened.time_index(options.window)
    path = index_path(opened.run, unit, time)
    if index is not None:
        text = f"from {path}; --exact reads all vectors"
    elif not path.exists():
        if compared < _MANY:
            return
        text = f"all vectors were read; `{index_command(opened, unit, time)}` makes this quick"
    elif options.exact:
        text = "all vectors were read (--exact)"
    else:
        needs = "--png" if options.png is not None else "--tif"
        text = f"all vectors were read: {needs} shows every cosine, which the index does not have"
    print(redact(f"\n  {text}"))


def _save(opened: OpenedRun, figure: Figure, options: argparse.Namespace) -> Path:
    from thor_geo.pictures.sheet import save_png
    from thor_geo.runs.target import atomic_target

    path: Path = options.png
    with atomic_target(opened.run, path, folder=False, overwrite=options.overwrite) as temporary:
        save_png(figure, temporary)
    return path


def _check(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that are out of range or do not go together."""
    if options.k < 1:
        command.error("-k: give 1 or more")
    if not (options.at or options.tile or options.place or options.id):
        command.error(
            "give a place with --at LON,LAT, a tile with --tile ID, or of a run of places a row "
            "with --place or --id"
        )
    if options.tile and options.on == "cells":
        command.error("--tile goes with --on tiles; give the place of a cell with --at")


def similar_text(path: Location, similar: SimilarPlaces, unit: str) -> str:
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
