"""What a failure of a service means, and when to try again."""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from thor_geo.errors import ConfigError

FailureKind = Literal[
    "throttled",
    "unreachable",
    "transient",
    "too_large",
    "missing",
    "damaged",
    "authentication",
    "permission",
    "fatal",
]


#: Texts of HTTP 403 answers that mean "later" (some services limit rates this way).
_RATE_403 = re.compile(r"rate ?limit|quota exceeded|user rate|too many requests", re.IGNORECASE)


class TruncatedError(Exception):
    """The body of an answer ended early or is not what its headers promise."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently to ask again.

    Attributes:
        tries: Requests made in all for time-outs, broken answers and HTTP 5xx.
        throttled_tries: Requests made in all while the service answers 429.
        unreachable_s: Seconds for which one request is tried again while there is no connection
            (refused, reset, no address, no answer at all), from the first such failure on.
        base_s: Upper bound of the first wait; it doubles with every further one.
        cap_s: Largest upper bound of a wait. A Retry-After header is honoured beyond it.
        unreachable_cap_s: The same while there is no connection: shorter, so that a service which
            is back is soon noticed.

    Raises:
        ConfigError: If a number is out of range.
    """

    tries: int = 6
    throttled_tries: int = 40
    unreachable_s: float = 300.0
    base_s: float = 1.0
    cap_s: float = 120.0
    unreachable_cap_s: float = 10.0

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("tries", "throttled_tries"):
            if getattr(self, name) < 1:
                raise ConfigError(name, getattr(self, name), "less than one try", "Give 1 or more.")
        for name in ("unreachable_s", "base_s", "cap_s", "unreachable_cap_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(name, getattr(self, name), "a negative time", "Give seconds.")

    def wait(
        self,
        failures: int,
        retry_after_s: float | None = None,
        uniform: Callable[[], float] = random.random,
        *,
        unreachable: bool = False,
    ) -> float:
        """Return how long to wait after so many failures, seconds.

        Full jitter: uniform between 0 and the doubling bound, so that clients which failed
        together do not come back together. A Retry-After is waited for in full, plus up to a tenth.

        Args:
            failures: Failed requests so far, 1 or more.
            retry_after_s: What the Retry-After header asked for.
            uniform: Source of random numbers in 0..1.
            unreachable: Whether there is no connection.
        """
        if retry_after_s is not None:
            return retry_after_s * (1 + 0.1 * uniform())
        cap = self.unreachable_cap_s if unreachable else self.cap_s
        return uniform() * min(cap, self.base_s * 2.0 ** min(failures - 1, 60))


@dataclass(kw_only=True)
class FetchStats:
    """What answering cost.

    Attributes:
        requests: HTTP requests made, failed ones and renewals of the login included; signing in
            at the beginning is not.
        retries: How often something failed and was asked for again.
        splits: How often an area was quartered.
        bytes: Bytes of pixels received, as they came.
        seconds: Time spent in requests.
        seconds_waiting: Time spent waiting: for a free slot, or before asking again.
    """

    requests: int = 0
    retries: int = 0
    splits: int = 0
    bytes: int = 0
    seconds: float = 0.0
    seconds_waiting: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `dataclasses.asdict` made of one; unknown names are left out.

        Args:
            values: Numbers by name.

        Raises:
            ValueError: If one of them is not a number >= 0.
        """
        known = {
            field.name: values[field.name]
            for field in dataclasses.fields(cls)
            if field.name in values
        }
        for name, value in known.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ValueError(f"{name}={str(value)[:80]!r} is not a number >= 0")
        return cls(**known)

    def add(self, other: FetchStats) -> None:
        """Add another's numbers to these, but no flags; *other* may be of a base class."""
        for field in dataclasses.fields(other):
            value = getattr(other, field.name)
            if not isinstance(value, bool):
                setattr(self, field.name, getattr(self, field.name) + value)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a failed request means.

    Attributes:
        kind: ``throttled``, ``unreachable`` and ``transient`` are asked again, ``too_large`` is
            asked for in pieces, ``damaged`` is asked again and then given up alone, as ``missing``
            is at once; the others end the run.
        message: What the service or the connection said.
        status: HTTP status, or None where there was no answer.
        retry_after_s: What the Retry-After header asked for.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after_s: float | None = None

    @property
    def sentence(self) -> str:
        """Status and message as one sentence."""
        status = f"HTTP {self.status}: " if self.status else ""
        return f"{status}{self.message.strip().rstrip('.')}."


def retry_after(headers: Mapping[str, Any], now: dt.datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None without a usable one.

    Args:
        headers: Headers with lower-case names.
        now: The present, for the form with a date.
    """
    value = str(headers.get("retry-after", "")).strip()
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.UTC)
    return max(0.0, (when - (now or dt.datetime.now(dt.UTC))).total_seconds())


def classify_status(status: int, text: str, headers: Mapping[str, Any]) -> Verdict:
    """Classify an HTTP status.

    Args:
        status: HTTP status, 300 or more.
        text: What the service said.
        headers: The answer's headers, names in lower case.
    """
    kind: FailureKind
    if status == 429 or (status == 403 and _RATE_403.search(text)):
        kind = "throttled"
    elif status in (408, 409) or status >= 500:
        kind = "transient"
    elif status == 413:
        kind = "too_large"
    elif status == 401:
        kind = "authentication"
    elif status == 403:
        kind = "permission"
    else:
        kind = "fatal"
    return Verdict(kind=kind, message=text, status=status, retry_after_s=retry_after(headers))
