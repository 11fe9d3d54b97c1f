from __future__ import annotations

import json

import ee
import httplib2
import pytest
from google.auth.exceptions import RefreshError, TransportError
from googleapiclient.errors import HttpError

from thor_geo.errors import AuthenticationError
from thor_geo.sources.earthengine.client import classify_earthengine_error
from thor_geo.sources.policy import TruncatedError


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
        (403, "Earth Engine API has not been used in project 1 before", "permission"),
        (403, "Permission 'earthengine.computations.create' denied", "permission"),
        (403, "Caller does not have required permission to use project p", "permission"),
    ],
)
def test_the_status_decides_what_happens_next(status: int, text: str, kind: str) -> None:
    verdict = classify_earthengine_error(refusal(status, text))
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
        (ee.EEException("ee.Initialize: no project found. Call with project="), "permission"),
    ],
)
def test_failures_without_an_answer_are_told_apart(error: Exception, kind: str) -> None:
    verdict = classify_earthengine_error(error)
    assert verdict is not None
    assert verdict.kind == kind


@pytest.mark.parametrize(
    "error", [TypeError("a bug"), ValueError("a bug"), KeyError("x"), MemoryError()]
)
def test_bugs_are_not_mistaken_for_the_services_failures(error: Exception) -> None:
    assert classify_earthengine_error(error) is None


def test_our_own_errors_stay_what_they_are_whatever_they_came_from() -> None:
    error = AuthenticationError("no login")
    error.__cause__ = refusal(503, "down")
    assert classify_earthengine_error(error) is None


def test_retry_after_reaches_the_verdict_from_the_answers_headers() -> None:
    verdict = classify_earthengine_error(refusal(429, "slow down", {"Retry-After": "17"}))
    assert verdict is not None
    assert verdict.retry_after_s == 17
