"""``thor-geo merge``: the vectors of a run in one sorted GeoParquet."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from thor_geo.checks.merge import merge_run
from thor_geo.errors import ConfigError
from thor_geo.runs.opened_run import open_run
from thor_geo.support.redact import redact
from thor_geo.support.words import counted, size_of

_EXAMPLE = """\
example:
  thor-geo merge out/oslo                            # out/oslo/embeddings.parquet
  thor-geo merge out/europe --max-size 2GB           # out/europe/embeddings/part-*.parquet
  thor-geo merge out/europe --partial --to some.parquet

Rows are those of the pooled files, failed and empty tiles included. Where UTM zones overlap, a tile
whose ground lies wholly in primary tiles that did not fail is left out; of a run in several time
windows, did not fail in any. The same run gives the same
bytes, in whatever order its shards were written.

Every file is checked against its marker as it is read (size and sha256). One of another size counts
as not done: run the same `thor-geo predict` command. One of the same size and other content stops
the merge: delete its marker, then run the same command. An earlier merge stays.
"""


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def main(args: Sequence[str]) -> int:
    """Merge a run and print what was written.

    Args:
        args: Arguments after ``thor-geo merge``.

    Returns:
        0.

    Raises:
        RunDirectoryError: If the directory holds no run, or an unfinished or a damaged one.
        ConfigError: If an argument is invalid, or the target exists.
    """
    parser = argparse.ArgumentParser(
        prog="thor-geo merge",
        description="Make one Hilbert-sorted GeoParquet file, or a few, of a run's pooled files.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="OUT", help="the run directory (output.dir)")
    parser.add_argument("--to", type=Path, metavar="PATH", help="the file or folder to make")
    parser.add_argument(
        "--max-rows", type=int, metavar="N", help="a folder of parts with so many rows at most"
    )
    parser.add_argument(
        "--max-size", metavar="SIZE", help="a folder of parts of about this size, e.g. 500MB, 2GB"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier merge")
    parser.add_argument(
        "--partial", action="store_true", help="merge what there is of an unfinished run"
    )
    options = parser.parse_args(args)
    merged = merge_run(
        open_run(options.dir),
        to=options.to,
        max_rows=options.max_rows,
        max_bytes=None if options.max_size is None else parse_size(options.max_size),
        overwrite=options.overwrite,
        partial=options.partial,
        progress=True,
    )
    notes = [
        text
        for count, text in (
            (merged.failed, f"{merged.failed:,} of them failed, without an embedding"),
            (merged.left_out, f"{counted(merged.left_out, 'tile')} left out where zones overlap"),
            (merged.missing, f"{counted(merged.missing, 'tile')} not done yet"),
        )
        if count
    ]
    files = f" in {merged.files:,} files" if merged.files > 1 else ""
    text = f"{merged.path}: {counted(merged.rows, 'row')}, {size_of(merged.bytes)}{files}"
    print(redact("; ".join([text, *notes])))
    return 0


def parse_size(text: str) -> int:
    """Return the bytes that ``500MB`` or ``2GiB`` means.

    Raises:
        ConfigError: If it is not of this form.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError("--max-size", text, "not a size", "Give a number and a unit, e.g. 2GB.")
    number, unit, binary = found.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " KMGT".index(unit.upper() or " "))
