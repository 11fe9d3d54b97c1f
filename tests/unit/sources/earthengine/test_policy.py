from __future__ import annotations

import datetime as dt
import json
from typing import Any

import ee
import httplib2
import pytest
from google.auth.exceptions import RefreshError, TransportError
from googleapiclient.errors import HttpError

from thor_geo.errors import AuthenticationError, ConfigError
from thor_geo.sources.earthengine.policy import classify
from thor_geo.sources.policy import FetchStats, RetryPolicy, TruncatedError, retry_after


def refusal(status: int, text: str, headers: dict[str, str] | None = None) -> Exception:
    """Return what the client raises: an EEException in the context of an HttpError."""
    body = json.dumps({"error": {"code": status, "message": text}}).encode()
    answer = httplib2.Response(
        {"status": status, "content-type": "application/json", **(headers or {})}
    )
    try:
        try:
            raise HttpError(answer, body)
        except HttpError as error:
            raise ee.EEException(error._get_reason())  # noqa: B904 (as the client does it)
    except ee.EEException as error:
        return error


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (429, "Too Many Requests", "throttled"),
        (403, "User Rate Limit Exceeded", "throttled"),
        (500, "Internal error", "transient"),
        (503, "The service is currently unavailable.", "transient"),
        (400, "User memory limit exceeded.", "too_large"),
        (400, "Computation timed out.", "too_large"),
        (
            400,
            "Total request size (99 bytes) must be less than or equal to 50331648 bytes.",
            "too_large",
        ),
        (413, "Request Entity Too Large", "too_large"),
        (400, "Image.select: Band pattern 'B99' did not match any bands.", "fatal"),
        (400, "ImageCollection.load: ImageCollection asset 'A/B' not found.", "fatal"),
        (404, "Requested entity was not found.", "fatal"),
        (401, "Request had invalid authentication credentials.", "authentication"),
        (403, "Earth Engine API has not been used in project 1 before", "project"),
        (403, "Permission 'earthengine.computations.create' denied", "project"),
        (403, "Caller does not have required permission to use project p", "project"),
    ],
)
def test_the_status_decides_what_happens_next(status: int, text: str, kind: str) -> None:
    verdict = classify(refusal(status, text))
    assert verdict is not None
    assert (verdict.kind, verdict.status) == (kind, status)
    assert text in verdict.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("reset"), "unreachable"),
        (ConnectionError("Failed to resolve 'earthengine'"), "unreachable"),
        (ConnectionError("SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "fatal"),
        (TimeoutError("slow"), "transient"),
        (TruncatedError("12 bytes"), "transient"),
        (json.JSONDecodeError("cut", "{", 1), "transient"),
        (TransportError("no route to the token server"), "unreachable"),
        (RefreshError("invalid_grant"), "authentication"),
        (RefreshError("try later", retryable=True), "transient"),
        (ee.EEException("ee.Initialize: no project found. Call with project="), "project"),
    ],
)
def test_failures_without_an_answer_are_told_apart(error: Exception, kind: str) -> None:
    verdict = classify(error)
    assert verdict is not None
    assert verdict.kind == kind


@pytest.mark.parametrize(
    "error", [TypeError("a bug"), ValueError("a bug"), KeyError("x"), MemoryError()]
)
def test_bugs_are_not_mistaken_for_the_services_failures(error: Exception) -> None:
    assert classify(error) is None


def test_our_own_errors_stay_what_they_are_whatever_they_came_from() -> None:
    error = AuthenticationError("no login")
    error.__cause__ = refusal(503, "down")
    assert classify(error) is None


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


def test_retry_after_reaches_the_verdict_from_the_answers_headers() -> None:
    verdict = classify(refusal(429, "slow down", {"Retry-After": "17"}))
    assert verdict is not None
    assert verdict.retry_after_s == 17


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
def test_costs_that_are_no_numbers_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="requests"):
        FetchStats.from_dict({"requests": value})
