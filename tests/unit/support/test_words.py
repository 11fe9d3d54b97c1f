"""If one of these fails, output says "1 faults", or that a small file has no bytes."""

from __future__ import annotations

import pytest

from thor_geo.support.words import counted, size_of


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 retries"), (1, "1 retry"), (1.0, "1 retry"), (2000, "2,000 retries")]
)
def test_nouns_go_with_their_numbers(count: float, text: str) -> None:
    assert counted(count, "retry", "retries") == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 kB"), (3100, "3.1 kB"), (99_999, "100.0 kB"), (1e5, "0.1 MB"), (2.5e9, "2,500.0 MB")],
)
def test_small_sizes_are_not_rounded_to_nothing(size: float, text: str) -> None:
    assert size_of(size) == text
