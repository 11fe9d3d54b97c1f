"""Checks ``overview.parquet`` against the run beside it."""

from __future__ import annotations

from typing import NamedTuple

from thor_geo.checks._marked import Checked
from thor_geo.checks.faults import Fault
from thor_geo.errors import RunDirectoryError, first_line
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.overview import marked_rows, read_overview


class CheckedOverview(NamedTuple):
    """What is wrong with an overview, and whether it is of other vectors than the run has now."""

    faults: list[Fault]
    outdated: bool


def check_overview(opened: OpenedRun, checked: Checked) -> CheckedOverview:
    """Check that a run's overview, if it has one, is of its rows.

    Args:
        opened: The run.
        checked: The counts of its shards.
    """
    run = opened.run
    try:
        overview = read_overview(run, opened.plan)
    except RunDirectoryError as error:
        return CheckedOverview([_fault(opened, first_line(error))], False)
    if overview is None:
        return CheckedOverview([], False)
    if not opened.pooled:
        return CheckedOverview([_fault(opened, "the run writes no vectors")], False)
    try:
        marked = marked_rows(run, opened.plan)
    except RunDirectoryError:  # a fault of the marker, which is named with its shard
        marked = None
    if marked is None or marked.digest != overview.digest:
        return CheckedOverview([], True)
    counts = overview.counts()
    ours = {"ok": checked.ok, "empty": checked.empty, "failed": checked.failed}
    if counts != ours:
        reason = f"it has {_words(counts)} rows, the markers say {_words(ours)}"
        return CheckedOverview([_fault(opened, reason)], False)
    return CheckedOverview([], False)


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _fault(opened: OpenedRun, reason: str) -> Fault:
    return Fault(kind="run", file=opened.run.overview.name, reason=reason)
