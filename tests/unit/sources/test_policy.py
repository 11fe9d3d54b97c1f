from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from thor_geo.errors import ConfigError
from thor_geo.sources.policy import FetchStats, RetryPolicy, retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("Wed, 01 Jun 2022 12:00:30 GMT", 30.0),
        ("Wed, 01 Jun 2022 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(value: str, seconds: float | None) -> None:
    now = dt.datetime(2022, 6, 1, 12, tzinfo=dt.UTC)
    assert retry_after({"retry-after": value}, now) == seconds


def test_waits_double_up_to_the_cap_with_full_jitter() -> None:
    policy = RetryPolicy(base_s=1, cap_s=120)
    longest = [policy.wait(k, None, lambda: 1.0) for k in range(1, 12)]
    assert longest == [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120]
    assert policy.wait(5, None, lambda: 0.0) == 0
    assert policy.wait(5, None, lambda: 0.5) == 8
    assert policy.wait(10_000, None, lambda: 1.0) == 120


def test_a_service_that_is_back_is_noticed_within_ten_seconds() -> None:
    waits = [RetryPolicy().wait(k, None, lambda: 1.0, unreachable=True) for k in range(1, 9)]
    assert waits == [1, 2, 4, 8, 10, 10, 10, 10]


def test_retry_after_is_honoured_in_full_even_beyond_the_cap() -> None:
    policy = RetryPolicy(cap_s=120)
    assert policy.wait(1, 300, lambda: 0.0) == 300
    assert 300 < policy.wait(1, 300, lambda: 1.0) <= 330


@pytest.mark.parametrize(
    "bad",
    [
        {"tries": 0},
        {"throttled_tries": 0},
        {"base_s": -1.0},
        {"cap_s": float("nan")},
        {"unreachable_s": -1.0},
    ],
)
def test_a_policy_that_could_never_work_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        RetryPolicy(**bad)


def test_stats_add_up() -> None:
    total = FetchStats.from_dict({"requests": 2, "seconds": 1.5, "of a later release": "x"})
    total.add(FetchStats(requests=3, retries=1, splits=4, bytes=5, seconds=0.5, seconds_waiting=2))
    assert total == FetchStats(
        requests=5, retries=1, splits=4, bytes=5, seconds=2.0, seconds_waiting=2
    )


@pytest.mark.parametrize("value", [-1, "2", None, True, float("nan")])
def test_costs_that_are_not_numbers_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="requests"):
        FetchStats.from_dict({"requests": value})
