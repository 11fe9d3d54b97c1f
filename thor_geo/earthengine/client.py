"""The one layer of retries: every request to Earth Engine goes through `Client.call`."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from thor_geo.earthengine._split import SizeMemory
from thor_geo.earthengine.limiter import Limiter
from thor_geo.earthengine.policy import FetchStats, RetryPolicy, Verdict, classify
from thor_geo.earthengine.remedies import to_error
from thor_geo.earthengine.session import Session
from thor_geo.errors import BlockError, EarthEngineError

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Requests that a project may have in flight (Earth Engine guide, usage limits).
CONCURRENCY = 40


class TooLargeError(Exception):
    """The request exceeds the service's memory, time or size: ask for less at a time."""


class Client:
    """A session with a budget of concurrent requests, a retry policy and a memory of sizes.

    Threads share one client, so that a refusal to one of them slows all of them down.
    """

    def __init__(
        self,
        session: Session,
        *,
        concurrency: int = CONCURRENCY,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """Initialize a new Client instance; no request is made.

        Args:
            session: Access to Earth Engine.
            concurrency: Largest number of requests in flight.
            retry: How often and how patiently to ask again.
            sleep: Waits for some seconds.
            uniform: Source of random numbers in 0..1.
        """
        self.session = session
        self.limiter = Limiter(concurrency)
        self.retry = retry or RetryPolicy()
        self.sizes = SizeMemory()
        self._sleep = sleep
        self._uniform = uniform
        self._restricted_seen = 0

    def connect(self) -> None:
        """Set the session up unless it is, with retries; graphs can be built from then on.

        Raises:
            AuthenticationError: If there are no usable credentials.
            ProjectError: If the project is missing or may not be used.
            EarthEngineError: If the service cannot be reached or refuses.
        """
        if self.session.ready:
            return
        try:
            self.call(lambda: None, "its list of functions", FetchStats())
        except BlockError as error:
            endpoint = self.session.spec.endpoint
            raise EarthEngineError(
                f"{endpoint} could not be reached. {error} Check the network, the proxy settings "
                "(HTTPS_PROXY) and https://status.cloud.google.com."
            ) from error

    def call(self, request: Callable[[], T], what: str, stats: FetchStats) -> T:
        """Make a request until it is answered or asking again is pointless.

        Args:
            request: Makes the request with the `ee` client, and returns its answer.
            what: What is asked for, for messages.
            stats: Counts what it cost.

        Returns:
            The answer.

        Raises:
            TooLargeError: If less must be asked for at a time.
            BlockError: If the connection or the service failed too often.
            AuthenticationError: If the login is not accepted.
            ProjectError: If the project may not be used.
            EarthEngineError: If the service refuses for another reason.
        """
        failures = throttled = 0
        while True:
            started = time.monotonic()
            with self.limiter:
                entered = time.monotonic()
                stats.seconds_waiting += entered - started
                stats.requests += 1
                try:
                    transport = self.session.ensure()
                    answer = request()
                except Exception as error:
                    verdict = classify(error)
                    if verdict is None:
                        raise
                    cause: Exception = error
                else:
                    self._watch_quota(transport.restricted_answers)
                    return answer
                finally:
                    stats.seconds += time.monotonic() - entered
            throttled += verdict.kind == "throttled"
            failures += verdict.kind == "transient"
            self._refuse_or_continue(verdict, what, failures, throttled, cause)
            if verdict.kind == "throttled":
                self.limiter.slow_down()
            pause = self.retry.wait(failures + throttled, verdict.retry_after_s, self._uniform)
            logger.info("%s: %s; asking again in %.1f s", what, verdict.message, pause)
            stats.retries += 1
            stats.seconds_waiting += pause
            self._sleep(pause)

    def _refuse_or_continue(
        self, verdict: Verdict, what: str, failures: int, throttled: int, cause: Exception
    ) -> None:
        if verdict.kind == "too_large":
            raise TooLargeError(verdict.message) from cause
        if verdict.kind not in ("throttled", "transient"):
            raise to_error(verdict, self.session.spec, what) from cause
        if failures >= self.retry.tries or throttled >= self.retry.throttled_tries:
            tries = failures + throttled
            raise BlockError(
                f"Earth Engine did not answer for {what} in {tries} tries; the last time: "
                f"{verdict.said} Run again later: what is already there is kept."
            ) from cause

    def _watch_quota(self, restricted_answers: int) -> None:
        # Restricted mode is told in a header of answers that otherwise succeed. A count that went
        # up means at least one answer since the last look; the limiter makes a burst count once.
        if restricted_answers != self._restricted_seen:
            self._restricted_seen = restricted_answers
            self.limiter.slow_down()
        else:
            self.limiter.answered()
