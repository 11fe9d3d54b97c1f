"""``thor-geo merge``: the vectors of a run in one sorted GeoParquet."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thor_geo.cli.options import add_overwrite, add_run, command_parser, local_path, run_of
from thor_geo.errors import ConfigError
from thor_geo.support.redact import redact
from thor_geo.support.words import counted, size_of

if TYPE_CHECKING:
    from thor_geo.checks.merge import Merged

_EXAMPLES = """\
examples:
  thor-geo merge out/oslo                            # out/oslo/embeddings.parquet
  thor-geo merge out/europe --max-size 2GB           # out/europe/embeddings/part-*.parquet
  thor-geo merge out/europe --partial --to some.parquet

The rows are those of the pooled files, failed and empty tiles included, along a Hilbert curve.
Where UTM zones overlap, a tile is left out if primary tiles that did not fail (in any time window)
cover all of its ground. Places are in the order of their table, with the rows that were skipped.
The same run gives the same bytes, in whatever order its shards were written.

Each file is checked against its marker (size and sha256) as it is read. A file of another size
counts as not done: run the same `thor-geo predict` command. A file of the same size with other
content stops the merge: delete its marker, then run the same command. An earlier merge stays as it
is until the new one is complete.
"""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo merge``."""
    parser = command_parser(
        "merge",
        "Merge a run's pooled files into one sorted GeoParquet file, or a few.",
        _EXAMPLES,
    )
    add_run(parser)
    parser.add_argument(
        "--to",
        type=local_path,
        metavar="PATH",
        help="the file or folder to write (default: embeddings.parquet or embeddings/ in OUT)",
    )
    parser.add_argument(
        "--max-rows", type=int, metavar="N", help="write a folder of parts, each of at most N rows"
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        help="write a folder of parts, each of about this size, e.g. 500MB, 2GB",
    )
    parser.add_argument(
        "--partial", action="store_true", help="merge what is done of an unfinished run"
    )
    add_overwrite(parser, "an earlier merge")
    return parser


def run_merge(args: Sequence[str]) -> int:
    """Merge a run and print what was written.

    Args:
        args: Arguments after ``thor-geo merge``.

    Returns:
        0.

    Raises:
        RunDirectoryError: If the directory holds no run, or an unfinished or a damaged one.
        ConfigError: If an argument is invalid, or the target exists.
    """
    options = parser().parse_args(args)
    from thor_geo.checks.merge import merge_run
    from thor_geo.runs.opened_run import read_run

    merged = merge_run(
        read_run(run_of(options)),
        to=options.to,
        max_rows=options.max_rows,
        max_bytes=None if options.max_size is None else parse_size(options.max_size),
        overwrite=options.overwrite,
        partial=options.partial,
        progress=True,
    )
    print(redact(merged_text(merged)))
    return 0


def merged_text(merged: Merged) -> str:
    """Return in one line what a merge wrote and left out."""
    files = f" in {merged.files:,} files" if merged.files > 1 else ""
    parts = [f"{merged.path}: {counted(merged.rows, 'row')}, {size_of(merged.bytes)}{files}"]
    if merged.failed:
        parts.append(f"{merged.failed:,} of them failed, without an embedding")
    if merged.skipped:
        parts.append(f"{merged.skipped:,} of them skipped, without an embedding")
    if merged.left_out:
        parts.append(f"{counted(merged.left_out, 'tile')} left out where zones overlap")
    if merged.missing:
        parts.append(f"{counted(merged.missing, 'tile')} not done yet")
    return "; ".join(parts)


def parse_size(text: str) -> int:
    """Return the bytes that ``500MB`` or ``2GiB`` stands for.

    Raises:
        ConfigError: If the text has another form.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError("--max-size", text, "not a size", "Give a number and a unit, e.g. 2GB.")
    number, unit, binary = match.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " KMGT".index(unit.upper() or " "))
