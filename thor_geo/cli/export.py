"""``thor-geo export``: the embeddings of a run as cloud-optimised GeoTIFFs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from thor_geo.cli.options import (
    WINDOW,
    add_overwrite,
    add_run,
    command_parser,
    join_coordinates,
    local_path,
    run_of,
)
from thor_geo.cli.part import BANDS, COORDINATES, add_part, check_part, part_to_show
from thor_geo.support.redact import redact

_EXAMPLES = """\
examples:
  thor-geo export out/oslo --cog                        # all dimensions, into out/oslo/cog
  thor-geo export out/oslo --cog maps --bands 0-191     # the first 192, into maps
  thor-geo export out/oslo --cog maps --at 10.75,59.91 --km 5
  thor-geo export out/seasons --cog maps --window 2

There is one file for each UTM zone and time window, named after both, the end date exclusive:
utm32n_20220601_20220901_embeddings.tif. Its bands are the dimensions, and its pixels the cells of
the maps, or the tiles of a run without maps. Values are float32, NaN where there is no embedding,
compressed by zstd, with overviews: QGIS 3.22, GDAL 3.6 and everything newer show them as they are.
Embeddings of int8 are multiplied by their scales, those of float16 widened, so nothing is left to
do in a GIS. Longitude comes first.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo export``."""
    parser = command_parser(
        "export", "Write the embeddings of a run for GIS tools: all of it or a part.", _EXAMPLES
    )
    add_run(parser)
    parser.add_argument(
        "--cog",
        type=local_path,
        nargs="?",
        const=Path(),
        required=True,
        metavar="DIR",
        help="write cloud-optimised GeoTIFFs (default: into cog in OUT)",
    )
    parser.add_argument(
        "--bands", default="all", metavar="BANDS", help=f"which dimensions: {BANDS} (default: all)"
    )
    add_overwrite(parser)
    part = add_part(parser)
    part.add_argument("--window", type=int, metavar="N", help=f"{WINDOW} (default: each)")
    return parser


def run_export(args: Sequence[str]) -> int:
    """Write the embeddings of a run, or of a part of it.

    Args:
        args: Arguments after ``thor-geo export``.

    Returns:
        0.

    Raises:
        ConfigError: If an argument is invalid, no tile lies in the part, or a file exists.
        RunDirectoryError: If the directory holds no run, or it cannot be read.
    """
    command = parser()
    options = command.parse_args(join_coordinates(args, *COORDINATES))
    check_part(command, options)
    from thor_geo.results.bands import Bands
    from thor_geo.results.export import export_embeddings
    from thor_geo.results.place_parts import refuse_maps
    from thor_geo.runs.opened_run import read_run
    from thor_geo.runs.target import made_from

    bands = Bands.parse(options.bands)
    opened = read_run(run_of(options))
    refuse_maps(opened, "--cog", options.cog)
    if options.window is not None:
        opened.time_index(options.window)  # refuses a window that the run does not have
    folder = made_from(opened.run, "cog") if options.cog == Path() else options.cog.expanduser()
    for path in export_embeddings(
        opened,
        part_to_show(opened, options),
        folder,
        bands=bands,
        window=options.window,
        overwrite=options.overwrite,
    ):
        print(redact(f"  written   {path}"), flush=True)
    return 0
