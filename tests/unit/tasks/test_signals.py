"""If one of these fails, a job that is cancelled or preempted ends with another code than 143."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from thor_geo.tasks import signals
from thor_geo.tasks.signals import is_stopping, signals_first, stop_on_sigterm

TRAINER: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=None))
DEAD_WORKER = RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Give the signals their meaning back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    stop_on_sigterm(TRAINER)
    yield
    stop_on_sigterm(TRAINER)
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_a_signal_ends_the_command_with_its_code(number: int, code: int) -> None:
    with pytest.raises(SystemExit) as end:
        send(number)
    assert end.value.code == code


def test_a_second_signal_does_not_break_off_the_end() -> None:
    def end() -> None:
        with signals_first():
            try:
                send(signal.SIGTERM)
            finally:
                send(signal.SIGTERM)
                send(signal.SIGUSR1)

    with pytest.raises(SystemExit):
        end()
    # Python would give a handled signal its usual meaning back before it ends.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_signal_is_the_reason_where_it_ended_helpers_too() -> None:
    def end() -> None:
        with signals_first():
            try:
                send(signal.SIGTERM)
            except SystemExit:
                raise DEAD_WORKER from None

    with pytest.raises(SystemExit) as caught:
        end()
    assert caught.value.code == 143


def test_a_signal_that_comes_after_a_helper_has_ended_is_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals.time, "sleep", lambda _: send(signal.SIGTERM))
    with pytest.raises(SystemExit) as end, signals_first():
        raise DEAD_WORKER
    assert end.value.code == 143


def test_an_error_without_a_signal_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_BEHIND_HELPERS_S", 0.01)
    with pytest.raises(RuntimeError, match="DataLoader worker"), signals_first():
        raise DEAD_WORKER
    assert not is_stopping()
