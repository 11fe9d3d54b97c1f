"""What has changed in a table of places between a run and its continuation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The settings of a run that say what its table holds, and nothing else.
TABLE_KEYS = ("data.places.rows", "data.places.columns")

# What digests cover that is no column.
_WORDS = {
    "geometry": "its places are others",
    "datetime_start": "its windows start at other times, by their dates or data.places.days",
    "datetime_end": "its windows end at other times, by their dates or data.places.days",
}


def table_changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return how the content of two runs' tables differs, in words; nothing where it does not.

    Columns that only one of them keeps are not compared.

    Args:
        ours: Settings of the run that is about to begin.
        theirs: Settings in run.json.
    """
    now, then = (settings.get("data", {}).get("places") for settings in (ours, theirs))
    if not (isinstance(now, Mapping) and isinstance(then, Mapping)):
        return []
    if now["rows"] != then["rows"]:
        # Every column differs then, which says nothing.
        return [f"it has {now['rows']:,} rows, and the run's had {then['rows']:,}"]
    digests, before = now["columns"], then["columns"]
    both = digests.keys() & before.keys()
    changed = [name for name in digests if name in both and digests[name] != before[name]]
    if len(changed) == len(both) > len(_WORDS):
        return ["all of its columns: its rows are others, or in another order"]
    columns = [name for name in changed if name not in _WORDS]
    has = (
        "its column {} has other values, or another type"
        if len(columns) == 1
        else "its columns {} have other values, or other types"
    )
    return [_WORDS[name] for name in _WORDS if name in changed] + (
        [has.format(", ".join(map(repr, columns)))] if columns else []
    )
