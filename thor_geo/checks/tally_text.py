"""A tally of a run's markers in words, for `thor-geo status` and `Run.status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from thor_geo.runs.summary import left_out_rows, store_rows
from thor_geo.support.progress import speed
from thor_geo.support.redact import redact
from thor_geo.support.words import counted, duration, size_of

if TYPE_CHECKING:
    from thor_geo.checks.tally import Tally

# Different messages of failed tiles that are listed.
_MOST_MESSAGES = 5


def tally_text(counts: Tally) -> str:
    """Return a tally as text: how far the run is, then a line for each count.

    Args:
        counts: What a run's markers say.
    """
    done = counts.ok + counts.empty
    each = ""
    if counts.windows > 1:
        each = f" ({counts.tiles // counts.windows:,} in each of {counts.windows} windows)"
    lines = [counts.headline, ""]
    noun = "tiles" if counts.table is None else "places"
    lines.append(
        f"  {noun:<10}{done:,} of {counts.tiles:,}{each} done ({counts.ok:,} ok, {counts.empty:,} "
        f"empty), {counts.failed:,} failed, {counts.left:,} left"
    )
    if counts.table is not None and counts.table[1]:
        rows, skipped = counts.table
        lines.append(f"  {'':<10}{skipped:,} of the table's {rows:,} rows skipped")
    lines.append(
        f"  shards    {counts.shards_done:,} of {counts.shards:,} done, {counts.shards_failed:,} "
        f"with failed {noun}, {counts.shards_left:,} left"
    )
    if counts.rate is not None and counts.rate_seconds is not None:
        span = duration(counts.rate_seconds)
        past = f"over the last {span}" if counts.running else f"in {span} of work"
        by = f", {counts.launches:,} launches" if counts.launches > 1 else ""
        lines.append(f"  rate      {speed(counts.rate, noun)} {past}{by}")
    if counts.seconds_left is not None:
        lines.append(f"  left      about {duration(counts.seconds_left)} at this rate")
    if counts.newest_age is not None:
        lines.append(f"  newest    shard finished {duration(counts.newest_age)} ago")
    fetch = counts.fetch
    if fetch["requests"]:
        lines.append(
            f"  fetched   {counted(fetch['requests'], 'request')}, "
            f"{counted(fetch['retries'], 'retry', 'retries')}, "
            f"{counted(fetch['splits'], 'split')}, {size_of(fetch['bytes'])}, "
            f"{duration(fetch['seconds_waiting'])} waiting"
        )
    lines += store_rows(counts.store)
    lines += left_out_rows(counts.left_out)
    return redact("\n".join([*lines, *_failure_lines(counts)]))


def _failure_lines(counts: Tally) -> Iterator[str]:
    if not counts.messages:
        return
    label = "failures"
    for message, count in list(counts.messages.items())[:_MOST_MESSAGES]:
        yield f"  {label:<10}{count:,} x {message}"
        label = ""
    if len(counts.messages) > _MOST_MESSAGES:
        other = counted(len(counts.messages) - _MOST_MESSAGES, "other message")
        yield f"  {'':<10}and {other} (--json)"
    yield f"  {'first':<10}{counts.failures[0].name}: {counts.failures[0].error}"
    yield f"  {'':<10}run the same command again: only shards with failures are redone"
