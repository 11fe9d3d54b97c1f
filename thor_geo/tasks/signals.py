"""SIGTERM, which schedulers send before they kill a process."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lightning.pytorch as pl

#: Exit code that shells report for a process ended by SIGTERM: 128 + 15.
EXIT_SIGTERM = 143


def stop_on_sigterm(trainer: pl.Trainer) -> None:
    """Make SIGTERM end the run at once, wherever it waits, with exit code 143.

    Lightning's own handler only sets a flag that prediction never reads, and enters a collective
    that ranks without the signal do not join. It is replaced; Lightning restores the earlier one.
    Only the main thread may set handlers; in other threads this does nothing.

    Args:
        trainer: The trainer; processes that it launched get the signal, too.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ignore a second one
        launcher = trainer.strategy.launcher
        if getattr(launcher, "procs", None):
            launcher.kill(signum)  # type: ignore[union-attr]  # those with `procs` are not None
        raise SystemExit(EXIT_SIGTERM)

    signal.signal(signal.SIGTERM, stop)
