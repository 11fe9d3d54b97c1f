"""Requests to a service: slots, retries, and what becomes of failures."""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from thor_geo.errors import BlockError, ThorGeoError
from thor_geo.sources.limiter import Limiter
from thor_geo.sources.policy import FetchStats, RetryPolicy, Verdict

logger = logging.getLogger(__name__)

T = TypeVar("T")


#: Requests in flight unless the user sets another number.
CONCURRENCY = 40

#: Seconds of failures after which the user is told what is waited for, and told again.
PATIENCE_S, REMINDER_S = 10.0, 30.0


class TooLargeError(Exception):
    """The request exceeds the service's memory, time or size: ask for less at a time."""


class StoppedError(Exception):
    """The client makes no more requests: its process is ending."""


class ServiceTransport(Protocol):
    """Sends a session's requests."""

    @property
    def restricted(self) -> bool:
        """Whether the service has said that it serves fewer requests at a time."""
        ...

    def taking_turns(
        self, turn: Callable[[], AbstractContextManager[None]]
    ) -> AbstractContextManager[None]:
        """Give each of this thread's requests a turn, from sending to the end of the answer."""
        ...


class Endpoint(Protocol):
    """A session's settings."""

    @property
    def endpoint(self) -> str:
        """The address that requests go to, as it may be shown."""
        ...


class ServiceSession(Protocol):
    """A session with a service."""

    @property
    def spec(self) -> Endpoint:
        """Its settings."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it is set up."""
        ...

    def ensure(self) -> ServiceTransport:
        """Set it up unless it is."""
        ...


class Asker(ABC):
    """A session with a budget of concurrent requests and a retry policy.

    Threads share one, so that a refusal to one of them slows all of them down.

    Attributes:
        service: Name of the service, for messages.
        restriction: What it means that the service serves fewer requests at a time, for the log.
    """

    service: str
    restriction: str = "The service serves fewer requests at a time"

    def __init__(
        self,
        session: ServiceSession,
        *,
        concurrency: int = CONCURRENCY,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Initialize a new instance; no request is made.

        Args:
            session: Access to the service.
            concurrency: Largest number of requests in flight.
            retry: How often and how patiently to ask again.
            sleep: Waits for some seconds.
            uniform: Source of random numbers in 0..1.
            clock: Source of the time, seconds.
        """
        self.session = session
        self.limiter = Limiter(concurrency)
        self.retry = retry or RetryPolicy()
        self._sleep = sleep
        self._uniform = uniform
        self._clock = clock
        self._stopped = False
        self._restricted = False
        self._restriction_lock = threading.Lock()
        # Threads inside `call`; single dict operations only.
        self._asking: dict[int, None] = {}

    @property
    def asking(self) -> int:
        """Threads that wait for an answer, for a free slot, or to ask again."""
        return len(self._asking)

    def stop(self) -> None:
        """Make no more requests: further calls raise a `StoppedError`."""
        self._stopped = True

    @abstractmethod
    def connect(self) -> None:
        """Set the session up unless it is, with retries.

        Raises:
            ThorGeoError: If the service cannot be reached, or refuses.
        """

    @abstractmethod
    def classify(self, error: BaseException) -> Verdict | None:
        """Classify a failed request; None if it is a bug, which propagates.

        Args:
            error: What the request raised.
        """

    @abstractmethod
    def refusal(self, verdict: Verdict, subject: str) -> ThorGeoError:
        """Return the error for a refusal that asking again would not change.

        Args:
            verdict: What the refusal means.
            subject: What was asked for.
        """

    def call(
        self, request: Callable[[], T], subject: str, stats: FetchStats, *, order: int = 0
    ) -> T:
        """Make a request until it is answered or asking again is pointless.

        Args:
            request: Makes the request, and returns its answer.
            subject: What is asked for, for messages.
            stats: Counts what it cost.
            order: Who gets a slot first: the lowest of those who wait.

        Returns:
            The answer.

        Raises:
            TooLargeError: If less must be asked for at a time.
            StoppedError: If `stop` was called.
            BlockError: If the service failed too often, or there was no connection for too long.
            ThorGeoError: If the service refuses, see `refusal`.
        """
        self._asking[threading.get_ident()] = None
        try:
            return self._call(request, subject, stats, order)
        finally:
            del self._asking[threading.get_ident()]

    def _call(self, request: Callable[[], T], subject: str, stats: FetchStats, order: int) -> T:
        failures = _Failures()
        while True:
            try:
                transport = self.session.ensure()
                with (
                    self._waiting(self.limiter.place(order), stats, failures),
                    transport.taking_turns(lambda: self._slot(subject, stats, failures, order)),
                ):
                    answer = request()
            except Exception as error:
                verdict = self.classify(error)
                if verdict is None:
                    raise
                cause: Exception = error
            else:
                self._watch_restriction(transport.restricted)
                return answer
            failures.add(verdict, self._clock())
            self._refuse_or_continue(verdict, subject, failures, cause)
            if verdict.kind == "throttled":
                self.limiter.slow_down()
            pause = self._pause(verdict, failures)
            logger.info("%s: %s; asking again in %.1f s", subject, verdict.message, pause)
            self._report_waiting(verdict, subject, failures)
            stats.retries += 1
            stats.seconds_waiting += pause
            self._sleep(pause)

    def _report_waiting(self, verdict: Verdict, subject: str, failures: _Failures) -> None:
        """Warn at once of a lost connection, of other failures after a while; then now and then."""
        seconds = failures.seconds
        lost = verdict.kind == "unreachable"
        if seconds < failures.next_report and not (lost and failures.unreachable == 1):
            return
        failures.next_report = seconds + REMINDER_S
        limit = f" (up to {self.retry.unreachable_s:.0f} s without a connection)" if lost else ""
        logger.warning(
            "Waiting for %s: %s, for %.0f s so far%s. %s",
            self.session.spec.endpoint,
            subject,
            seconds,
            limit,
            verdict.sentence,
        )

    @contextmanager
    def _slot(
        self, subject: str, stats: FetchStats, failures: _Failures, order: int
    ) -> Iterator[None]:
        """Hold a slot of the budget for one request, and count what that costs."""
        with self._waiting(self.limiter.slot(order), stats, failures):
            if self._stopped:
                raise StoppedError(subject)
            stats.requests += 1
            entered = self._clock()
            try:
                yield
            finally:
                stats.seconds += self._clock() - entered

    @contextmanager
    def _waiting(
        self, turn: AbstractContextManager[None], stats: FetchStats, failures: _Failures
    ) -> Iterator[None]:
        """Wait for a turn and hold it; count the wait."""
        started = self._clock()
        with turn:
            waited = self._clock() - started
            stats.seconds_waiting += waited
            failures.waited(waited)
            yield

    def _pause(self, verdict: Verdict, failures: _Failures) -> float:
        lost = verdict.kind == "unreachable"
        number = failures.unreachable if lost else failures.transient + failures.throttled
        pause = self.retry.wait(number, verdict.retry_after_s, self._uniform, unreachable=lost)
        # The last try comes when the time is up, not before and not long after.
        left = self.retry.unreachable_s - failures.seconds_unreachable
        return min(pause, left) if lost else pause

    def _refuse_or_continue(
        self, verdict: Verdict, subject: str, failures: _Failures, cause: Exception
    ) -> None:
        if verdict.kind == "too_large":
            raise TooLargeError(verdict.message) from cause
        retry = self.retry
        damaged = verdict.kind == "damaged"
        if verdict.kind not in ("throttled", "transient", "unreachable", "damaged") or (
            damaged and failures.transient >= retry.tries
        ):
            raise self.refusal(verdict, subject) from cause
        if verdict.kind == "unreachable":
            seconds = failures.seconds_unreachable
            if seconds >= retry.unreachable_s:
                raise BlockError(
                    f"There was no connection to {self.session.spec.endpoint} for {subject}, for "
                    f"{seconds:.0f} s and {failures.unreachable} tries; the last time: "
                    f"{verdict.sentence} Run again later: what is already there is kept."
                ) from cause
        elif failures.transient >= retry.tries or failures.throttled >= retry.throttled_tries:
            raise BlockError(
                f"{self.service} did not answer for {subject} in {failures.all} tries; the last "
                f"time: {verdict.sentence} Run again later: what is already there is kept."
            ) from cause

    def _watch_restriction(self, restricted: bool) -> None:
        # A restriction may last for weeks while answers succeed: the budget is halved once, and
        # does not grow until it ends. If that is still too much, the service refuses with 429.
        with self._restriction_lock:
            begins = restricted and not self._restricted
            self._restricted = restricted
        if begins:
            self.limiter.slow_down(another=True)
            logger.warning(
                "%s: %d requests at a time from now on.", self.restriction, self.limiter.limit
            )
        elif not restricted:
            self.limiter.answered()


@dataclass(kw_only=True)
class _Failures:
    """How one request has failed so far."""

    transient: int = 0
    throttled: int = 0
    unreachable: int = 0
    all: int = 0
    since: float | None = None
    seconds_unreachable: float = 0.0
    seconds: float = 0.0
    next_report: float = PATIENCE_S
    first: float | None = None

    def add(self, verdict: Verdict, now: float) -> None:
        self.all += 1
        self.first = now if self.first is None else self.first
        self.seconds = now - self.first
        self.transient += verdict.kind in ("transient", "damaged")
        self.throttled += verdict.kind == "throttled"
        if verdict.kind == "unreachable":
            self.since = now if self.since is None else self.since
            self.seconds_unreachable = now - self.since
            self.unreachable += 1
        else:
            # It answered: a later loss of the connection is counted afresh.
            self.since, self.unreachable, self.seconds_unreachable = None, 0, 0.0

    def waited(self, seconds: float) -> None:
        """Record a wait for a slot; without a request it tells nothing about the connection."""
        if self.since is not None:
            self.since += seconds
