"""``thor-geo validate``: whether every file of a run is whole."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from thor_geo.cli.options import add_json, add_run, command_parser, run_of
from thor_geo.storage import Location
from thor_geo.support.redact import redact, redact_json
from thor_geo.support.words import counted, size_of

if TYPE_CHECKING:
    from thor_geo.checks.validate import Findings

_EXAMPLES = """\
examples:
  thor-geo validate out/oslo
  thor-geo validate out/oslo --json --workers 8 > faults.json

Reads every file and writes none; --clean removes what killed jobs left behind, if it is older than
an hour and no job holds the run. Exit codes: 0 the run is whole; 1 something is wrong or not done
yet; 2 the directory holds no run; 3 nothing is wrong except tiles recorded as failed.

A shard whose file is missing, or of another size than its marker says, is made again by the same
`thor-geo predict` command. If the size is right but the content is not, delete the marker first
(markers/<shard>.json).
"""
# Faults that are listed one by one, and markers that are named.
_MOST_LISTED = 20
# Kinds of faults that are mended by making the shard again.
_SHARD_FAULTS = frozenset({"marker", "file", "schema", "rows", "place", "values", "failures"})


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo validate``."""
    parser = command_parser(
        "validate",
        "Check every file of a run against its marker, its schema and the plan.",
        _EXAMPLES,
    )
    add_run(parser)
    add_json(parser, "print JSON, with every fault")
    parser.add_argument(
        "--clean", action="store_true", help="remove temporary files that killed jobs left behind"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="number of processes (default: one for each core)"
    )
    return parser


def run_validate(args: Sequence[str]) -> int:
    """Check a run and print what is wrong with it.

    Args:
        args: Arguments after ``thor-geo validate``.

    Returns:
        0 if the run is whole, 1 for any fault, 3 if nothing is wrong except failed tiles.

    Raises:
        RunDirectoryError: If the directory holds no run.
    """
    command = parser()
    options = command.parse_args(args)
    if options.workers is not None and options.workers < 1:
        command.error("--workers: give 1 or more")
    from thor_geo.checks.validate import clean_run
    from thor_geo.runs.opened_run import read_run

    findings = _check(run_of(options), options.workers)
    if options.clean and findings.temporaries.paths:
        removed = clean_run(read_run(run_of(options)), findings)
        print(f"thor-geo: {counted(removed, 'temporary file')} removed", file=sys.stderr)
    if options.json:
        print(json.dumps(redact_json(findings_json(run_of(options), findings))))
    else:
        print(redact(findings_text(run_of(options), findings)))
    return findings.exit_code


def _check(path: Location, workers: int | None) -> Findings:
    from thor_geo.checks.faults import Fault
    from thor_geo.checks.validate import Findings, check_run
    from thor_geo.errors import RunDirectoryError
    from thor_geo.runs.opened_run import read_run
    from thor_geo.runs.rundir import RunDirectory
    from thor_geo.support.processes import usable_cores

    run = RunDirectory(path)
    if not run.run_json.exists():
        run.document()  # raises, and says what is missing
    # A damaged marker is one of the findings; the log need not warn of it, too.
    log = logging.getLogger("thor_geo.runs.markers")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return check_run(read_run(path), workers=workers or usable_cores(), progress=True)
    except RunDirectoryError as error:
        fault = Fault(kind="run", file="run.json, plan.parquet", reason=str(error))
        return Findings(shards=0, tiles=0, faults=[fault])
    finally:
        log.setLevel(level)


def findings_json(path: Location, findings: Findings) -> dict[str, Any]:
    """Return findings as JSON.

    Args:
        path: The run directory.
        findings: What is wrong.
    """
    checked = findings.checked
    return {
        "run": str(path),
        "exit_code": findings.exit_code,
        "shards": {"total": findings.shards, "with_marker": checked.shards},
        "tiles": {
            "total": findings.tiles,
            "ok": checked.ok,
            "empty": checked.empty,
            "failed": checked.failed,
        },
        "table": None
        if findings.table is None
        else dict(zip(("rows", "skipped"), findings.table, strict=True)),
        "faults": [asdict(fault) for fault in findings.faults],
        "counts": dict(Counter(fault.kind for fault in findings.faults)),
        "seams": checked.seams.summary_json(),
        "temporaries": findings.temporaries.paths,
        "outdated_indexes": findings.outdated,
        "outdated_overview": findings.overview_outdated,
    }


def findings_text(path: Location, findings: Findings) -> str:
    """Return findings as text.

    Args:
        path: The run directory.
        findings: What is wrong.
    """
    from thor_geo.checks.validate import EXIT_FAILED

    checked, faults = findings.checked, findings.faults
    noun = "tiles" if findings.table is None else "places"
    if not faults:
        state = "whole"
    elif findings.exit_code == EXIT_FAILED:
        state = f"whole, except for {noun} recorded as failed; run the same command to retry them"
    else:
        state = counted(len(faults), "fault")
    head = (
        f"{path}: {state}. {checked.shards:,} of {counted(findings.shards, 'shard')} with a "
        f"marker; {noun}: {checked.ok:,} ok, {checked.empty:,} empty, {checked.failed:,} failed"
    )
    if findings.table is not None and findings.table[1]:
        rows, skipped = findings.table
        head += f", {skipped:,} of {rows:,} rows skipped"
    listed = [f"{fault.kind:<10}  {fault.file}: {fault.reason}" for fault in faults[:_MOST_LISTED]]
    lines = [*listed, *_notes(findings), *_remedies(findings)]
    return "\n".join([head, *(f"  {line}" for line in lines)])


def _notes(findings: Findings) -> Iterator[str]:
    """Yield notes that follow the list of faults."""
    seams = findings.checked.seams
    if seams.ratio is not None:
        yield (
            f"seams: {seams.ratio:.2f} (neighbouring cells differ by {seams.border:.3g} across "
            f"tile borders and by {seams.inside:.3g} inside tiles; at 1 the borders do not show)"
        )
    rest = Counter(fault.kind for fault in findings.faults[_MOST_LISTED:])
    if rest:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in rest.most_common())
        yield f"and {rest.total():,} more: {counts} (--json lists all)"
    if findings.outdated:
        yield (
            f"note: {', '.join(findings.outdated)}: made before the run's vectors changed; "
            "`similar` refuses it until `thor-geo index` builds it again"
        )
    if findings.overview_outdated:
        yield (
            "note: overview.parquet was made before the run's vectors changed; the same predict "
            "command makes it again when the run is complete"
        )
    temporaries = findings.temporaries
    if temporaries.paths:
        files = counted(len(temporaries.paths), "temporary file")
        yield (
            f"note: {files} ({size_of(temporaries.bytes)}), e.g. {temporaries.paths[0]}, of jobs "
            "at work or left behind by killed ones; readers ignore them, and --clean removes "
            "those of more than an hour ago"
        )


def _remedies(findings: Findings) -> Iterator[str]:
    from thor_geo.checks.faults import first_few

    faults = findings.faults
    if any(fault.noticed or fault.kind == "unfinished" for fault in faults):
        yield (
            "shards that are not done, or whose file is missing or of another size: run the same "
            "`thor-geo predict` command, which makes them again"
        )
    markers = [
        fault.marker
        for fault in faults
        if fault.marker and fault.kind in _SHARD_FAULTS and not fault.noticed
    ]
    if markers:
        names = first_few(list(dict.fromkeys(markers)), _MOST_LISTED)
        yield (
            f"other damage to shards: delete their markers ({names}), then run the same "
            "`thor-geo predict` command"
        )
    if any(fault.kind == "index" for fault in faults):
        yield "damage to an index: delete its folder; `thor-geo index` builds it again"
    if any(fault.kind == "grid" for fault in faults):
        store = "grid.zarr" if findings.table is None else "places.zarr"
        yield (
            f"damage to the metadata of the Zarr store ({store}/**/zarr.json, coordinates): "
            f"restore these files from a copy, or delete {store} and run the same `thor-geo "
            "predict` command, which makes the store and all shards again"
        )
