"""SIGTERM: what schedulers send before they kill."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lightning.pytorch as pl

#: What a shell reports of a process that SIGTERM ended: 128 + 15.
EXIT_SIGTERM = 143


def stop_on_sigterm(trainer: pl.Trainer) -> None:
    """Have SIGTERM end the run at once, wherever it waits, with exit code 143.

    Lightning's own handler only takes a note, which prediction never reads, and enters a collective
    that ranks which got no signal do not. It is replaced; Lightning restores what was there before.
    Only the main thread may set handlers; elsewhere this does nothing.

    Args:
        trainer: The trainer; processes that it launched are told, too.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the first
        launcher = trainer.strategy.launcher
        if getattr(launcher, "procs", None):
            launcher.kill(signum)  # type: ignore[union-attr]  # those with `procs` are not None
        raise SystemExit(EXIT_SIGTERM)

    signal.signal(signal.SIGTERM, stop)
