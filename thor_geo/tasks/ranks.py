"""Signs of life of a launch's ranks, as small files in the run directory.

There is no collective in them, which a dead rank would block. Network file systems show a new or a
removed name to another node up to a minute late (NFS: acdirmax), but what is in a file that is
opened at once. So the first rank makes the files and removes them, the others write in place, and
no rank is given up because of a name.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thor_geo.errors import RankLostError, StoreError, first_line
from thor_geo.ground.job import Job
from thor_geo.runs.rundir import RunDirectory
from thor_geo.storage import Location, StorePath
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

# Files of launches that were killed are removed when they have not changed for so long.
_OLD_S = 3600.0


def ranks_folder(run: RunDirectory, job: Job) -> Location:
    """Return the folder of a launch's files; launches of different jobs may run at once.

    Args:
        run: The run directory.
        job: The launch's part of the run.
    """
    return run.ranks / f"{job.index}-{job.count}"


def remove_signs(folder: Location, world_size: int) -> None:
    """Remove a launch's files, and those that killed launches of other jobs have left.

    Args:
        folder: See `ranks_folder`; its ranks are done. In a store only a launch's own go.
        world_size: Number of its ranks.
    """
    if isinstance(folder, StorePath):
        with suppress(StoreError):  # `validate --clean` removes what stays
            for rank in range(1, world_size):
                (folder / f"{rank}.json").unlink()
        return
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # there is none, or another launch has removed it meanwhile
        for other in list(folder.parent.iterdir()):
            newest = max((file.stat().st_mtime for file in other.iterdir()), default=0.0)
            if time.time() - newest > _OLD_S:
                shutil.rmtree(other, ignore_errors=True)
        folder.parent.rmdir()  # not empty: another job's launch is under way


class Heartbeat:
    """Tells the first rank that this one lives, how far it is, and why it ends."""

    def __init__(self, folder: Location, rank: int, launch: str) -> None:
        """Initialize a new Heartbeat instance; nothing is written yet.

        Args:
            folder: See `ranks_folder`.
            rank: This process's.
            launch: Id of the launch, the same on all its ranks.
        """
        self._path = folder / f"{rank}.json"
        self._state: dict[str, Any] = {
            "launch": launch,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "failed": 0,
            "done": False,
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
        """Say that this rank's work is done, or why it ends before that; once.

        Args:
            reason: Why; None for a rank whose work is done.
        """
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        self._state |= {"done": reason is None, "ended": reason}
        if self._signed():  # else the first rank has seen all markers, and tidied up
            self._write()

    def _signed(self) -> bool:
        try:
            return self._path.exists()
        except StoreError:
            return False  # the first rank counts the silence

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S):
            self._write()

    def _write(self) -> None:
        self._beats += 1
        text = json.dumps({**self._state, "beat": self._beats})
        try:
            if isinstance(self._path, StorePath):
                self._path.put(text.encode())
            else:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(text)  # in place, see above
        except (OSError, StoreError) as error:
            if not self._warned:
                _log.warning("%s cannot be written (%s)", self._path, first_line(error))
            self._warned = True


@dataclass(frozen=True, kw_only=True)
class RankState:
    """What the first rank knows of another.

    Attributes:
        name: For messages: ``rank 3 on node2``.
        failed: Tiles that have failed there.
        done: Whether its work is done; its last markers may not be visible here yet.
        ended: Why it has ended before its work was done, or None.
        silent_s: For how long its file has not changed, seconds, by the clock of the first rank.
    """

    name: str
    failed: int = 0
    done: bool = False
    ended: str | None = None
    silent_s: float = 0.0

    @property
    def gone(self) -> bool:
        """Whether it has ended, or shows no sign of life, before its work was done."""
        return not self.done and (self.ended is not None or self.silent_s >= _SILENT_S)


class RankWatch:
    """Follows the signs of life of all ranks but the first, on the first."""

    def __init__(self, folder: Location, world_size: int, launch: str) -> None:
        """Initialize a new RankWatch instance, and make the ranks' files.

        Args:
            folder: See `ranks_folder`.
            world_size: Number of ranks.
            launch: Id of the launch, the same on all its ranks. What another launch has left or
                still writes, while its processes end, is no sign of life. Without an id that holds
                for what is in the files by now.
        """
        self._folder, self._launch = folder, launch
        self._states = {rank: RankState(name=f"rank {rank}") for rank in range(1, world_size)}
        if isinstance(folder, Path):
            with suppress(OSError):  # the ranks make them themselves, and warn if they cannot
                folder.mkdir(parents=True, exist_ok=True)
                for rank in self._states:
                    (folder / f"{rank}.json").touch()
        self._texts = {rank: "" if launch else self._read(rank) for rank in self._states}
        self._looked = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="thor-geo-ranks", daemon=True)

    def start(self) -> None:
        """Look at the files from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

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
        lost = {rank for rank, state in self._states.items() if state.gone}
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
        states = [self._states[rank] for rank in left]
        silent = max(0.0 if state.done else state.silent_s for state in states)
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
            told = None if text == self._texts[rank] else self._parsed(rank, text)
            if told is None:
                self._states[rank] = replace(state, silent_s=state.silent_s + since)
            else:
                self._texts[rank], self._states[rank] = text, told

    def _read(self, rank: int) -> str:
        try:
            return (self._folder / f"{rank}.json").read_bytes().decode(errors="replace")
        except (OSError, StoreError):  # not there yet, no more, or out of reach for a moment
            return ""

    def _parsed(self, rank: int, text: str) -> RankState | None:
        """Return the state in a file; None while it is being written, and of another launch's."""
        try:
            fields = json.loads(text)
        except ValueError:
            return None
        if fields.get("launch") != self._launch:
            return None
        return RankState(
            name=f"rank {rank} on {fields['host']} (process {fields['process']})",
            failed=fields["failed"],
            done=fields["done"],
            ended=fields["ended"],
        )
