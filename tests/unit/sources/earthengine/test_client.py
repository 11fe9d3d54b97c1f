from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from thor_geo.errors import BlockError, EarthEngineError, ProjectError, UnreachableError
from thor_geo.sources.asking import TooLargeError
from thor_geo.sources.earthengine.client import EarthEngineClient
from thor_geo.sources.earthengine.session import EarthEngineSession
from thor_geo.sources.earthengine.spec import SessionSpec
from thor_geo.sources.policy import FetchStats, RetryPolicy, Verdict


class Transport:
    restricted = False

    @contextmanager
    def taking_turns(self, turn: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        with turn():
            yield


class FakeSession(EarthEngineSession):
    """A session that is always set up, or fails to be."""

    ready = False

    def __init__(self, failures: list[Exception] | None = None) -> None:
        super().__init__(SessionSpec(project="p"))
        self.transport = Transport()
        self.failures = failures or []

    def ensure(self) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return self.transport


class AnswerError(Exception):
    """An answer of the service that `classify` is made to read below."""

    def __init__(self, kind: str, retry_after_s: float | None = None) -> None:
        super().__init__(kind)
        self.verdict = Verdict(
            kind=kind,  # type: ignore[arg-type] # text from the test's table
            message=f"it said {kind}",
            status=499,
            retry_after_s=retry_after_s,
        )


@pytest.fixture(autouse=True)
def _read_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def classify(error: Exception) -> Verdict | None:
        return error.verdict if isinstance(error, AnswerError) else None

    monkeypatch.setattr("thor_geo.sources.earthengine.client.classify_earthengine_error", classify)


def client(waits: list[float] | None = None, **settings: Any) -> EarthEngineClient:
    waits = [] if waits is None else waits
    return EarthEngineClient(
        settings.pop("session", FakeSession()),
        sleep=waits.append,
        uniform=lambda: 1.0,
        **settings,
    )


def request(*outcomes: Any) -> Callable[[], Any]:
    """Return a request that fails with the exceptions among *outcomes*, and returns the rest."""
    left: Iterator[Any] = iter(outcomes)

    def ask() -> Any:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return ask


def test_an_answer_comes_through_at_once_and_is_counted() -> None:
    waits: list[float] = []
    stats = FetchStats()
    assert client(waits).call(request("pixels"), "x", stats) == "pixels"
    assert waits == []
    assert (stats.requests, stats.retries) == (1, 0)


def test_passing_failures_are_outwaited_with_doubling_pauses() -> None:
    waits: list[float] = []
    stats = FetchStats()
    ask = request(*[AnswerError("transient")] * 5, "pixels")
    assert client(waits).call(ask, "x", stats) == "pixels"
    assert waits == [1, 2, 4, 8, 16]
    assert (stats.requests, stats.retries) == (6, 5)
    assert stats.seconds_waiting == pytest.approx(31, rel=0.1)


def test_six_failures_are_enough_and_only_this_block_fails() -> None:
    stats = FetchStats()
    with pytest.raises(BlockError, match=r"block x in 6 tries.*HTTP 499: it said transient"):
        client().call(request(*[AnswerError("transient")] * 7), "block x", stats)
    assert stats.requests == 6


def test_being_throttled_does_not_use_up_the_tries_and_slows_everyone_down() -> None:
    waits: list[float] = []
    one = client(waits, concurrency=40)
    ask = request(
        *[AnswerError("throttled", retry_after_s=20)] * 10, AnswerError("transient"), "pixels"
    )
    assert one.call(ask, "x", FetchStats()) == "pixels"
    assert waits[:10] == [22.0] * 10
    assert one.limiter.limit == 20


def test_being_throttled_for_ever_ends_too() -> None:
    retry = RetryPolicy(throttled_tries=3)
    with pytest.raises(BlockError, match="in 3 tries"):
        client(retry=retry).call(request(*[AnswerError("throttled")] * 4), "x", FetchStats())


def test_a_refusal_is_not_repeated() -> None:
    stats = FetchStats()
    with pytest.raises(EarthEngineError, match="refused block x"):
        client().call(request(AnswerError("fatal"), "never"), "block x", stats)
    assert stats.requests == 1


def test_a_request_that_is_too_large_is_left_to_the_caller() -> None:
    with pytest.raises(TooLargeError):
        client().call(request(AnswerError("too_large"), "never"), "x", FetchStats())


def test_a_bug_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        client().call(request(ZeroDivisionError(), "never"), "x", FetchStats())


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def endless(kind: str) -> Callable[[], Any]:
    def ask() -> Any:
        raise AnswerError(kind)

    return ask


def at(clock: Clock, **settings: Any) -> EarthEngineClient:
    return EarthEngineClient(
        FakeSession(), sleep=clock.sleep, uniform=lambda: 1.0, clock=clock, **settings
    )


def test_a_lost_connection_has_five_minutes_and_not_a_number_of_tries() -> None:
    clock, stats = Clock(), FetchStats()
    with pytest.raises(
        BlockError, match=r"no connection to .* for block x, for 300 s and 34 tries"
    ):
        at(clock).call(endless("unreachable"), "block x", stats)
    assert sum(clock.waits) == 300
    assert max(clock.waits) == 10
    assert stats.requests == 34


def test_waiting_for_a_slot_is_not_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    answers = iter([AnswerError("unreachable"), AnswerError("unreachable"), "pixels"])

    def ask() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = at(clock)

    @contextmanager
    def crowded(order: int) -> Iterator[None]:
        clock.now += 301
        yield

    monkeypatch.setattr(client.limiter, "slot", crowded)
    assert client.call(ask, "x", FetchStats()) == "pixels"


def test_a_service_gone_for_a_minute_fails_nothing() -> None:
    clock = Clock()

    def ask() -> str:
        if clock.now < 160:
            raise AnswerError("unreachable")
        return "pixels"

    assert at(clock).call(ask, "x", FetchStats()) == "pixels"
    assert clock.now <= 170


def test_the_time_for_a_lost_connection_begins_anew_after_an_answer() -> None:
    clock = Clock()

    def ask() -> str:
        if clock.now < 350:
            raise AnswerError("unreachable")
        if clock.now < 360:
            raise AnswerError("throttled", retry_after_s=10)
        if clock.now < 600:
            raise AnswerError("unreachable")
        return "pixels"

    assert at(clock).call(ask, "x", FetchStats()) == "pixels"


def test_lost_connections_do_not_use_up_the_tries_of_other_failures() -> None:
    ask = request(*[AnswerError("unreachable"), AnswerError("transient")] * 5, "pixels")
    assert client().call(ask, "x", FetchStats()) == "pixels"


def test_restricted_mode_halves_the_budget_once_and_holds_it_though_answers_succeed() -> None:
    session = FakeSession()
    one = client(session=session, concurrency=8)
    session.transport.restricted = True
    for _ in range(100):
        one.call(request("pixels"), "x", FetchStats())
    assert one.limiter.limit == 4
    session.transport.restricted = False
    for _ in range(100):
        one.call(request("pixels"), "x", FetchStats())
    assert one.limiter.limit == 8


def test_restricted_mode_halves_the_budget_after_refusals_too() -> None:
    session = FakeSession()
    one = client(session=session, concurrency=8)
    one.call(request(AnswerError("throttled", retry_after_s=0), "pixels"), "x", FetchStats())
    assert one.limiter.limit == 4
    session.transport.restricted = True
    one.call(request("pixels"), "x", FetchStats())
    assert one.limiter.limit == 2


def test_connecting_is_retried_like_any_request() -> None:
    waits: list[float] = []
    client(
        waits, session=FakeSession([AnswerError("transient"), AnswerError("throttled")])
    ).connect()
    assert len(waits) == 2


@pytest.mark.parametrize("kind", ["transient", "unreachable"])
def test_an_unreachable_service_is_an_error_of_the_run_not_of_a_block(kind: str) -> None:
    clock = Clock()
    session = FakeSession([AnswerError(kind) for _ in range(99)])
    one = EarthEngineClient(session, sleep=clock.sleep, uniform=lambda: 1.0, clock=clock)
    with pytest.raises(
        UnreachableError, match=r"highvolume.*could not be reached.*proxy"
    ) as caught:
        one.connect()
    # A scheduler may start it again as it is; a refusal it may not.
    assert caught.value.retryable
    assert not EarthEngineError.retryable


def test_a_refused_project_shows_when_connecting() -> None:
    with pytest.raises(ProjectError, match=r"data\.earthengine\.project='p'"):
        client(session=FakeSession([AnswerError("permission")])).connect()
