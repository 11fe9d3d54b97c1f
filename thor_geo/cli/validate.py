"""``thor-geo validate``: whether every file of a run is whole."""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thor_geo.checks.faults import Fault, first_few
from thor_geo.checks.validate import EXIT_FAILED, Findings, check_run
from thor_geo.errors import RunDirectoryError
from thor_geo.runs.opened_run import cores, open_run
from thor_geo.runs.rundir import RunDirectory
from thor_geo.support.redact import redact, redact_json
from thor_geo.support.words import counted, size_of

_EXAMPLE = """\
example:
  thor-geo validate out/oslo
  thor-geo validate out/oslo --json --workers 8 > faults.json

Reads every file and writes none. Exits with 0 if the run is whole; 1 if anything is wrong or not
done yet; 3 if all that is wrong are tiles recorded as failed; 2 if the directory holds no run.
The same `thor-geo predict` command makes shards again whose file is missing or has another size
than the marker says. Where the size is right and the content is not, delete the marker
(markers/<shard>.json) first.
"""


# Faults printed one by one.
_SHOWN = 20


# Kinds of faults that making the shard again mends.
_OF_SHARDS = frozenset({"marker", "file", "schema", "rows", "place", "values", "failures"})


def main(args: Sequence[str]) -> int:
    """Check a run and print what is wrong with it.

    Args:
        args: Arguments after ``thor-geo validate``.

    Returns:
        0 if the run is whole, 1 for any fault, 3 if all that is wrong are failed tiles.

    Raises:
        RunDirectoryError: If the directory holds no run.
    """
    parser = argparse.ArgumentParser(
        prog="thor-geo validate",
        description="Check every file of a run against its marker, its schema and the plan.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="OUT", help="the run directory (output.dir)")
    parser.add_argument("--json", action="store_true", help="print JSON, with every fault")
    parser.add_argument(
        "--workers", type=int, default=cores(), metavar="N", help="processes (default: every core)"
    )
    options = parser.parse_args(args)
    if options.workers < 1:
        parser.error("--workers: give 1 or more")
    run = RunDirectory(options.dir)
    if not run.run_json.exists():
        run.document()  # says what is missing
    # A damaged marker is a fault here, and told as one.
    log = logging.getLogger("thor_geo.runs.markers")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        found = check_run(open_run(options.dir), workers=options.workers, progress=True)
    except RunDirectoryError as error:
        found = Findings(shards=0, tiles=0)
        found.faults.append(Fault(kind="run", file="run.json, plan.parquet", reason=str(error)))
    finally:
        log.setLevel(level)
    if options.json:
        print(json.dumps(redact_json(as_json(options.dir, found))))
    else:
        print(redact(str_of(options.dir, found)))
    return found.exit_code


def as_json(path: Path, found: Findings) -> dict[str, Any]:
    """Return findings as JSON.

    Args:
        path: The run directory.
        found: What is wrong.
    """
    return {
        "run": str(path),
        "exit_code": found.exit_code,
        "shards": {"total": found.shards, "with_marker": found.checked.shards},
        "tiles": {
            "total": found.tiles,
            "ok": found.checked.ok,
            "empty": found.checked.empty,
            "failed": found.checked.failed,
        },
        "faults": [asdict(fault) for fault in found.faults],
        "counts": dict(Counter(fault.kind for fault in found.faults)),
        "seams": found.checked.seams.as_json(),
        "temporaries": found.temporaries.paths,
    }


def str_of(path: Path, found: Findings) -> str:
    """Return findings for reading.

    Args:
        path: The run directory.
        found: What is wrong.
    """
    checked = found.checked
    tiles = (
        f"{checked.shards:,} of {counted(found.shards, 'shard')} with a marker; tiles: "
        f"{checked.ok:,} ok, {checked.empty:,} empty, {checked.failed:,} failed"
    )
    lines = [f"  {fault.kind:<10}  {fault.file}: {fault.reason}" for fault in found.faults[:_SHOWN]]
    seams = checked.seams
    if seams.ratio is not None:
        lines.append(
            f"  seams: {seams.ratio:.2f} (neighbouring cells differ by {seams.border:.3g} across "
            f"tile borders, by {seams.inside:.3g} inside tiles; at 1 no border shows)"
        )
    rest = Counter(fault.kind for fault in found.faults[_SHOWN:])
    if rest:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in rest.most_common())
        lines.append(f"  and {rest.total():,} more: {counts} (--json gives all)")
    if found.temporaries.paths:
        files = counted(len(found.temporaries.paths), "temporary file")
        lines.append(
            f"  note: {files} ({size_of(found.temporaries.bytes)}), e.g. "
            f"{found.temporaries.paths[0]}: of jobs at work, or left over by killed ones; readers "
            "leave them out, and they may be deleted when nothing runs"
        )
    if not found.faults:
        return "\n".join([f"{path}: whole. {tiles}", *lines])
    if found.exit_code == EXIT_FAILED:
        head = "whole, except for tiles recorded as failed; run the same command to retry them"
    else:
        head = counted(len(found.faults), "fault")
    if any(fault.noticed or fault.kind == "unfinished" for fault in found.faults):
        lines.append(
            "  what is not done, missing or of another size: run the same `thor-geo predict` "
            "command, which makes it again"
        )
    markers = [
        fault.marker
        for fault in found.faults
        if fault.marker and fault.kind in _OF_SHARDS and not fault.noticed
    ]
    if markers:
        names = first_few(list(dict.fromkeys(markers)), _SHOWN)
        lines.append(
            f"  other damage to shards: delete their markers ({names}), then run the same "
            "`thor-geo predict` command"
        )
    if any(fault.kind == "grid" for fault in found.faults):
        lines.append(
            "  damage to what the Zarr store says of itself (grid.zarr/**/zarr.json, coordinates): "
            "restore these files from a copy, or delete grid.zarr and run the same `thor-geo "
            "predict` command, which makes the store and all shards again"
        )
    return "\n".join([f"{path}: {head}. {tiles}", *lines])
