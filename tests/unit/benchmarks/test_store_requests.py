"""If this fails, docs/scale.md quotes requests or prices that do not follow from the counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import store_requests
from benchmarks.support.report import RESULTS


def rows() -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads((RESULTS / "store_requests.json").read_text())
    return list(content["rows"])


def test_the_tables_of_the_page_are_the_scripts() -> None:
    assert store_requests.renew(rows()) == store_requests.DOCS.read_text(), (
        "run: python -m benchmarks.store_requests --docs"
    )


def test_a_million_tiles_cost_what_their_requests_cost() -> None:
    """By another way: requests, then their price."""
    priced = store_requests.tables(rows())["store prices"]
    assert [row["outputs"] for row in priced] == list(store_requests.OUTPUTS)
    for row in priced:
        put, get = (
            int(row[f"{kinds} a million tiles"].replace(",", ""))
            for kinds in ("PUT, LIST", "GET, HEAD")
        )
        total = float(row["USD a million tiles"].rpartition(" = ")[2])
        assert total == pytest.approx(5e-6 * put + 4e-7 * get, abs=0.006)


def test_the_counts_are_of_the_code_as_it_is() -> None:
    """The puts and the removal of a shard, as tests/unit/tasks/test_store_writing.py has them."""
    (shard,) = (
        row
        for row in rows()
        if (row["outputs"], row["launch"], row["of"]) == ("vectors and maps", "first", "shard")
    )
    assert (shard["PUT"], shard["removals"]) == (3, 1)
