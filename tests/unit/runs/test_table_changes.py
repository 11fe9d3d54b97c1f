"""If these fail, a run that is refused does not say what changed in its table."""

from __future__ import annotations

from typing import Any

import pytest

from thor_geo.runs.table_changes import table_changes

BEFORE = {"geometry": "1", "datetime_start": "2", "datetime_end": "3", "crop": "4", "plot": "5"}


def settings(rows: int = 300, **digests: str) -> dict[str, Any]:
    return {"data": {"places": {"rows": rows, "columns": BEFORE | digests}}}


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        (settings(), []),
        (settings(crop="x"), ["its column 'crop' has other values, or another type"]),
        (settings(geometry="x"), ["its places are others"]),
        (
            settings(datetime_start="x", datetime_end="x"),
            [
                "its windows start at other times, by their dates or data.places.days",
                "its windows end at other times, by their dates or data.places.days",
            ],
        ),
        (
            settings(plot="x", crop="x"),
            ["its columns 'crop', 'plot' have other values, or other types"],
        ),
        (
            settings(**dict.fromkeys(BEFORE, "x")),
            ["all of its columns: its rows are others, or in another order"],
        ),
        (settings(303, geometry="x", crop="x"), ["it has 303 rows, and the run's had 300"]),
        (settings(other="x"), []),
        ({"data": {"area": "x"}}, []),
    ],
)
def test_what_changed_is_named(now: dict[str, Any], changes: list[str]) -> None:
    assert table_changes(now, settings()) == changes
