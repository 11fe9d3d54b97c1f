"""The shards left to do: each rank reads the markers of its share once, then all ranks agree."""

from __future__ import annotations

import secrets
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.ground.job import part
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.markers import Marker
from thor_geo.runs.reading import read_markers
from thor_geo.runs.rundir import RunDirectory
from thor_geo.storage import StorePath
from thor_geo.support.arrays import Int64Array
from thor_geo.support.progress import PATIENCE_S, track

if TYPE_CHECKING:
    import lightning.pytorch as pl


# States of a shard: no marker, finished, and a marker that a new one will replace (tiles failed, an
# output is missing, or it is damaged).
_MISSING, _FINISHED, _REPLACED = 0, 1, 2

# Bytes of a launch's id; it travels with the states, so that one collective is enough.
_ID_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class UnfinishedShards:
    """The unfinished shards of a launch, the same on all its ranks.

    Attributes:
        session: Id of the launch, hexadecimal; in the markers it writes.
        owned: The shards of this launch, including finished ones, as indices in the plan.
        shards: Those that need work, ascending, (n,) int64.
        marked: Whether such a shard has a marker already, which its new one replaces, (n,) bool.
    """

    session: str
    owned: range
    shards: Int64Array
    marked: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of unfinished shards."""
        return len(self.shards)


def find_unfinished(
    run: RunDirectory, plan: Plan, owned: range, trainer: pl.Trainer, *, together: bool
) -> UnfinishedShards:
    """Return the shards that are left to do.

    Args:
        run: The prepared run directory.
        plan: The plan.
        owned: The shards of this launch, as indices in the plan.
        trainer: The trainer.
        together: Whether every rank calls this at the same point. Then each reads the markers of
            its share and they exchange the states; otherwise each reads all markers.
    """
    import torch

    rank, world_size = (trainer.global_rank, trainer.world_size) if together else (0, 1)
    share = part(len(owned), rank, world_size)
    # All rows have the same length, as collectives require; the last ones are padded.
    row = np.zeros(len(part(len(owned), 0, world_size)), dtype=np.uint8)
    markers = track(
        read_markers(run, plan, owned[share.start : share.stop]),
        "shards",
        total=len(share),
        label="reading markers",
        shown=trainer.is_global_zero,
        delay=PATIENCE_S,
    )
    row[: len(share)] = [_state(run, shard, marker) for shard, marker in markers]
    rows = np.concatenate([np.frombuffer(secrets.token_bytes(_ID_BYTES), np.uint8), row])[None]
    if world_size > 1:
        tensor = torch.from_numpy(rows[0]).to(trainer.strategy.root_device)
        with warnings.catch_warnings():
            # Lightning 2.6 calls a function that PyTorch has renamed.
            warnings.filterwarnings("ignore", ".*all_gather is deprecated")
            gathered: torch.Tensor = trainer.strategy.all_gather(tensor)
        rows = gathered.cpu().numpy()
    states = np.concatenate(
        [rows[k, _ID_BYTES:][: len(part(len(owned), k, world_size))] for k in range(world_size)]
    )
    left = np.flatnonzero(states != _FINISHED)
    return UnfinishedShards(
        session=rows[0, :_ID_BYTES].tobytes().hex(),
        owned=owned,
        shards=left.astype(np.int64) + owned.start,
        marked=states[left] == _REPLACED,
    )


def _state(run: RunDirectory, shard: Shard, marker: Marker | None) -> int:
    if marker is None and isinstance(run.path, StorePath):  # to ask again would double the requests
        return _MISSING
    if marker is None:  # a damaged one exists, and is replaced
        return _REPLACED if run.marker_path(shard).exists() else _MISSING
    return _FINISHED if run.confirms(marker, shard) else _REPLACED


class Frontier:
    """Follows the progress of the other ranks, with one file access per rank and new marker.

    Each rank writes its shards in order, so the first shard without a marker shows its progress,
    and no folder is listed, however many shards there are.

    Attributes:
        tiles: Tiles that the other ranks have written so far.
        shards: Shards likewise.
    """

    def __init__(
        self, run: RunDirectory, plan: Plan, todo: UnfinishedShards, world_size: int
    ) -> None:
        """Initialize a new Frontier instance.

        Args:
            run: The run directory.
            plan: Its plan.
            todo: The shards that were unfinished when the launch began.
            world_size: Number of ranks; the first one follows the others and is not counted.
        """
        self._run, self._plan, self._todo = run, plan, todo
        self.tiles = self.shards = 0
        self._parts = [part(len(todo), rank, world_size) for rank in range(1, world_size)]
        self._next = [share.start for share in self._parts]
        # Sessions of the markers that will be replaced. One that has been replaced already has this
        # launch's session.
        positions = np.flatnonzero(todo.marked)
        old = read_markers(run, plan, todo.shards[positions].tolist())
        self._old = {
            position: marker.session
            for position, (_, marker) in zip(positions.tolist(), old, strict=True)
            if marker is not None
        }

    def advance(self) -> bool:
        """Look for new markers; return whether there were any."""
        before = self.shards
        for k, share in enumerate(self._parts):
            while self._next[k] < share.stop and self._is_written(self._next[k]):
                self.shards += 1
                self.tiles += len(self._shard(self._next[k]))
                self._next[k] += 1
        return self.shards > before

    @property
    def left(self) -> dict[int, int]:
        """The number of shards that are not done, by rank, of every rank that has any."""
        return {
            rank: share.stop - position
            for rank, (position, share) in enumerate(
                zip(self._next, self._parts, strict=True), start=1
            )
            if position < share.stop
        }

    @property
    def missing(self) -> list[Shard]:
        """The next shard of every rank that is not done."""
        return [
            self._shard(position)
            for position, share in zip(self._next, self._parts, strict=True)
            if position < share.stop
        ]

    def _shard(self, position: int) -> Shard:
        return self._plan.shards[int(self._todo.shards[position])]

    def _is_written(self, position: int) -> bool:
        path = self._run.marker_path(self._shard(position))
        if not self._todo.marked[position]:
            return path.exists()
        marker = Marker.read(path)
        return marker is not None and (
            marker.session == self._todo.session or marker.session != self._old.get(position)
        )
