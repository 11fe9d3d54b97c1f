"""SIGTERM, which schedulers send before they kill a process, and SIGUSR1, by which they warn."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import lightning.pytorch as pl

#: Exit code that shells report for a process ended by SIGTERM: 128 + 15.
EXIT_SIGTERM: Final = 143
#: Exit code after SIGUSR1, with which SLURM warns (``--signal=USR1@120``) that time is nearly over:
#: the same command continues (EX_TEMPFAIL of sysexits.h).
EXIT_WARNED: Final = 75

_CODES = {signal.SIGTERM: EXIT_SIGTERM, signal.SIGUSR1: EXIT_WARNED}
# A signal to the whole process group may end a helper before this process has it.
_BEHIND_HELPERS_S = 1.0


class _Stop:
    """The exit code that a signal has asked for, if one has come."""

    code: int | None = None


def stop_on_sigterm(trainer: pl.Trainer) -> None:
    """Make SIGTERM end the run at once, wherever it waits, with exit code 143; SIGUSR1 with 75.

    Lightning's own handler only sets a flag that prediction never reads, and enters a collective
    that ranks without the signal do not join. It is replaced; Lightning restores the earlier one.
    Only the main thread may set handlers; in other threads this does nothing.

    Args:
        trainer: The trainer; processes that it launched get the signal, too.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _Stop.code = None

    def stop(signum: int, frame: FrameType | None) -> None:
        if _Stop.code is not None:  # a second one must not break off the end
            return
        _Stop.code = _CODES[signal.Signals(signum)]
        launcher = trainer.strategy.launcher
        if getattr(launcher, "procs", None):
            launcher.kill(signum)  # type: ignore[union-attr]  # those with `procs` are not None
        raise SystemExit(_Stop.code)

    for signum in _CODES:
        signal.signal(signum, stop)


def is_stopping() -> bool:
    """Return whether a signal has asked this process to end."""
    return _Stop.code is not None


@contextmanager
def signals_first() -> Iterator[None]:
    """Let a signal be the reason of the end where it also ended helper processes.

    Whichever error such a helper's end has raised, the process then leaves with the signal's code.

    Raises:
        SystemExit: In place of an error, if a signal has come or comes at the same time.
    """
    try:
        yield
    except Exception as error:
        if not is_stopping():
            time.sleep(_BEHIND_HELPERS_S)  # the handler raises SystemExit here
            raise
        raise SystemExit(_Stop.code) from error
    finally:
        if is_stopping():
            # When Python ends it gives signals that have a handler their usual meaning back: to
            # kill. It leaves alone those that are ignored (`_PySignal_Fini` in CPython's
            # Modules/signalmodule.c).
            for signum in _CODES:
                signal.signal(signum, signal.SIG_IGN)
