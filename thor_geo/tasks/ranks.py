"""Signs of life of a launch's ranks, as small files in the run directory.

There is no collective in them, which a dead rank would block.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thor_geo.errors import RankLostError
from thor_geo.ground.job import Job
from thor_geo.support.words import counted
from thor_geo.tasks.unfinished import Frontier

_log = logging.getLogger(__name__)

# A rank writes its file this often, and the first rank reads them as often.
_BEAT_S = 5.0
# A rank whose file has not changed for so long is gone. With the time between two looks that is
# less than a minute.
_SILENT_S = 45.0

# Silence of a rank that is worth a word.
_TOLD_S = 3 * _BEAT_S


def ranks_folder(run: Path, job: Job) -> Path:
    """Return the folder of a launch's files; launches of different jobs may run at once.

    Args:
        run: The run directory.
        job: The launch's part of the run.
    """
    return run / ".ranks" / f"{job.index}-{job.count}"


class Heartbeat:
    """Tells the first rank that this one lives, how far it is, and why it ends."""

    def __init__(self, folder: Path, rank: int) -> None:
        """Initialize a new Heartbeat instance; nothing is written yet.

        Args:
            folder: See `ranks_folder`.
            rank: This process's.
        """
        self._path = folder / f"{rank}.json"
        self._state: dict[str, Any] = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "failed": 0,
            "ended": None,
        }
        self._beats = 0
        self._warned = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="thor-geo-rank", daemon=True)

    def start(self) -> None:
        """Write the file now and every few seconds."""
        self._write()
        self._thread.start()

    def count_failed(self, failed: int) -> None:
        """Set how many tiles of this rank have failed so far."""
        self._state["failed"] = failed

    def end(self, reason: str | None = None) -> None:
        """Say why this rank ends before its work is done, or remove the file.

        Args:
            reason: Why; None for a rank whose work is done.
        """
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        if reason is not None:
            self._state["ended"] = reason
            self._write()
            return
        self._path.unlink(missing_ok=True)
        remove_folder(self._path.parent)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S):
            self._write()

    def _write(self) -> None:
        self._beats += 1
        text = json.dumps({**self._state, "beat": self._beats})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # In place: on network file systems another node sees that at once, and a new name not.
            self._path.write_text(text)
        except OSError as error:
            if not self._warned:
                _log.warning("%s cannot be written (%s)", self._path, error.strerror or error)
            self._warned = True


def remove_folder(folder: Path) -> None:
    """Remove the folder of a launch's files, once all ranks have removed theirs."""
    for path in (folder, folder.parent):
        with suppress(OSError):  # not empty: another rank or job has a file in it
            path.rmdir()


@dataclass(frozen=True, kw_only=True)
class RankState:
    """What the first rank knows of another.

    Attributes:
        name: For messages: ``rank 3 on node2``.
        failed: Tiles that have failed there.
        ended: Why it has ended before its work was done, or None.
        silent_s: For how long its file has not changed, seconds, by the clock of the first rank.
    """

    name: str
    failed: int = 0
    ended: str | None = None
    silent_s: float = 0.0


class RankWatch:
    """Follows the signs of life of all ranks but the first, on the first."""

    def __init__(self, folder: Path, world_size: int) -> None:
        """Initialize a new RankWatch instance.

        Args:
            folder: See `ranks_folder`.
            world_size: Number of ranks.
        """
        self._folder = folder
        self._states = {rank: RankState(name=f"rank {rank}") for rank in range(1, world_size)}
        # What an earlier launch has left does not change any more.
        self._texts = {rank: self._read(rank) for rank in self._states}
        self._looked = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="thor-geo-ranks", daemon=True)

    def start(self) -> None:
        """Look at the files from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        remove_folder(self._folder)

    @property
    def failed(self) -> int:
        """Tiles that have failed on the other ranks."""
        return sum(state.failed for state in self._states.values())

    def check(self, frontier: Frontier) -> None:
        """Stop the run if a rank that has shards left is gone.

        Args:
            frontier: The progress of the other ranks.

        Raises:
            RankLostError: Names the rank.
        """
        lost = {rank for rank, state in self._states.items() if _is_gone(state)}
        if not lost & frontier.left.keys():
            return
        frontier.advance()  # it may have ended because it was done
        for rank, left in frontier.left.items():
            if rank in lost:
                state = self._states[rank]
                seen = state.ended or f"no sign of life for {state.silent_s:.0f} s"
                raise RankLostError(
                    f"R{state.name[1:]} is gone ({seen}), with {counted(left, 'shard')} left. What "
                    "is written is kept: run the same command again."
                )

    def waiting_for(self, frontier: Frontier) -> str:
        """Return in words which ranks have shards left, and how many; empty without any.

        Args:
            frontier: The progress of the other ranks.
        """
        left = frontier.left
        if not left:
            return ""
        first = self._states[next(iter(left))]
        who = first.name if len(left) == 1 else f"{len(left)} ranks"
        silent = max(self._states[rank].silent_s for rank in left)
        heard = f", no sign of life for {silent:.0f} s" if silent >= _TOLD_S else ""
        return f"waiting for {who}: {counted(sum(left.values()), 'shard')} left{heard}"

    def _follow(self) -> None:
        while not self._over.wait(_BEAT_S):
            self.look()

    def look(self) -> None:
        """Read the files once."""
        now = time.monotonic()
        # Longer than usual: this process was stopped itself, perhaps with all the others.
        since = min(now - self._looked, 2 * _BEAT_S)
        self._looked = now
        for rank, state in self._states.items():
            text = self._read(rank)
            if text is None or text == self._texts[rank]:
                self._states[rank] = replace(state, silent_s=state.silent_s + since)
                continue
            self._texts[rank] = text
            self._states[rank] = _parsed(rank, text) or replace(state, silent_s=0.0)

    def _read(self, rank: int) -> str | None:
        try:
            return (self._folder / f"{rank}.json").read_text()
        except OSError:  # not there yet, no more, or out of reach for a moment
            return None


def _is_gone(state: RankState) -> bool:
    return state.ended is not None or state.silent_s >= _SILENT_S


def _parsed(rank: int, text: str) -> RankState | None:
    """Return the state in a file; None while it is being written."""
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    return RankState(
        name=f"rank {rank} on {fields['host']} (process {fields['process']})",
        failed=fields["failed"],
        ended=fields["ended"],
    )
