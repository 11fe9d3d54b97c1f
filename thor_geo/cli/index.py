"""``thor-geo index``: an index of a run's vectors, for quick answers of ``thor-geo similar``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thor_geo.cli.options import WINDOW, add_run, command_parser, run_of
from thor_geo.support.redact import redact
from thor_geo.support.words import size_of

if TYPE_CHECKING:
    from thor_geo.runs.opened_run import OpenedRun
    from thor_geo.runs.similar_index import IndexUnit

_EXAMPLES = """\
examples:
  thor-geo index out/oslo                    # the vectors of tiles, or of places
  thor-geo index out/oslo --on cells         # the cells of its maps
  thor-geo similar out/oslo --at 10.75,59.91 --on cells

`similar` then reads some hundred thousand vectors for an answer and not all of them: worth it from
a million vectors on. It finds at least 97 of 100 of the ten nearest, with their exact cosines;
`similar --exact` still reads everything.

After a sample, the vectors are read once, and written once more, sorted by nearness, to index/ in
the run directory: as many bytes as they have there, uncompressed. Memory stays under 1.5 GB for any
number of them. An earlier index is replaced when the new one is complete. The index of a run that
went on since is refused. Building needs faiss-cpu: pip install 'thor-geo[index]'.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo index``."""
    parser = command_parser(
        "index", "Build an index of a run's vectors, so that `similar` answers at once.", _EXAMPLES
    )
    add_run(parser)
    parser.add_argument(
        "--on",
        choices=("tiles", "cells", "chips", "centres"),
        help="which vectors (default: tiles, or the chips of places)",
    )
    parser.add_argument("--window", type=int, metavar="N", help=WINDOW)
    return parser


def run_index(args: Sequence[str]) -> int:
    """Build an index and say where it is.

    Args:
        args: Arguments after ``thor-geo index``.

    Returns:
        0.

    Raises:
        ConfigError: If an argument is invalid.
        DependencyError: If faiss is not installed.
        RunDirectoryError: If the directory holds no run, or one without such vectors, or the index
            cannot be written.
    """
    command = parser()
    options = command.parse_args(args)
    from thor_geo.results.index_build import build_index
    from thor_geo.results.place_parts import refuse_window
    from thor_geo.runs.opened_run import read_run

    opened = read_run(run_of(options))
    unit = index_unit(command, opened, options.on)
    refuse_window(opened, options.window)
    path, about = build_index(opened, unit, window=options.window)
    size = sum(file.size for file in about.files.values())
    print(redact(f"  written   {path}: {about.rows:,} {unit}, {size_of(size)}"))
    return 0


def index_unit(
    command: argparse.ArgumentParser, opened: OpenedRun, chosen: str | None
) -> IndexUnit:
    """Return which vectors are meant; ends the command if the run cannot have such.

    Args:
        command: The command's parser.
        opened: The run.
        chosen: What the user chose, if anything.
    """
    known: tuple[IndexUnit, ...] = ("chips", "centres") if opened.places else ("tiles", "cells")
    meant = [unit for unit in known if chosen in (None, unit)]
    if meant:
        return meant[0]
    kind = "a run of places has chips and centres" if opened.places else "it has tiles and cells"
    command.error(f"--on {chosen}: {kind}")
