"""``thor-geo change``: how far embeddings moved between two runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from thor_geo.cli.options import (
    WINDOW,
    add_overwrite,
    add_store,
    command_parser,
    local_path,
    run_of,
)
from thor_geo.support.redact import redact

_EXAMPLES = """\
examples:
  thor-geo change out/oslo-2021 out/oslo-2022
  thor-geo change out/oslo-2021 out/oslo-2022 --to change -k 50 --overwrite

The change of a place is the cosine distance of its two embeddings, 1 - cos: 0 if they point the
same way. The runs may differ in time window, area and scenes only. The ground that both cover is
compared, and the result goes to a folder:

  utm32n_change_cells.tif   the change of each cell of the maps, a COG for each UTM zone; NaN where
                            either run has no embedding
  utm32n_change_tiles.tif   the same for tiles
  change.parquet            the tiles as GeoParquet, the most changed first
  change.png                a picture

Runs of places have a table and a picture; places are matched by their ids, or by the rows of one
table.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo change``."""
    parser = command_parser(
        "change", "Measure how far embeddings moved between two runs of the same model.", _EXAMPLES
    )
    parser.add_argument("before", metavar="OUT_A", help="a run directory (output.dir)")
    parser.add_argument("after", metavar="OUT_B", help="a run of another time")
    parser.add_argument(
        "--to", type=local_path, metavar="DIR", help="where the files go (default: OUT_B/change)"
    )
    parser.add_argument(
        "-k", type=int, default=10, metavar="N", help="how many tiles to list (default: 10)"
    )
    for letter in "ab":
        parser.add_argument(
            f"--window-{letter}", type=int, metavar="N", help=f"OUT_{letter.upper()}: {WINDOW}"
        )
    add_overwrite(parser, "an earlier comparison")
    add_store(parser)
    return parser


def run_change(args: Sequence[str]) -> int:
    """Compare two runs, and print the tiles that changed most.

    Args:
        args: Arguments after ``thor-geo change``.

    Returns:
        0.

    Raises:
        ConfigError: If a file exists already.
        RunDirectoryError: If a directory holds no run, or the two cannot be compared.
    """
    command = parser()
    options = command.parse_args(args)
    if options.k < 0:
        command.error("-k: give 0 or more")
    from thor_geo.ground.place_plan import PlacePlan
    from thor_geo.results.changes import check_comparable
    from thor_geo.results.comparison import RunComparison
    from thor_geo.results.place_changes import PlaceChange
    from thor_geo.results.place_parts import refuse_window
    from thor_geo.runs.opened_run import read_run
    from thor_geo.runs.target import made_from

    before, after = (read_run(run_of(options, run)) for run in (options.before, options.after))
    folder = made_from(after.run, "change") if options.to is None else options.to.expanduser()
    if any(isinstance(run.plan, PlacePlan) for run in (before, after)):
        refuse_window(before, options.window_a, "--window-a")
        refuse_window(after, options.window_b, "--window-b")
        if all(isinstance(run.plan, PlacePlan) for run in (before, after)):
            check_comparable(before, after)
        change = PlaceChange.between(before, after)
        for path in change.write(
            folder, options.k, lambda text: print(redact(text)), overwrite=options.overwrite
        ):
            print(redact(f"  written   {path}"))
        return 0
    check_comparable(before, after)
    windows = options.window_a, options.window_b
    for run, window in zip((before, after), windows, strict=True):
        run.time_index(window)  # refuses a window that the run does not have
    comparison = RunComparison(
        before=before,
        after=after,
        windows=windows,
        folder=folder,
        overwrite=options.overwrite,
    )
    for path in comparison.write(options.k, lambda text: print(redact(text))):
        print(redact(f"  written   {path}"))
    return 0
