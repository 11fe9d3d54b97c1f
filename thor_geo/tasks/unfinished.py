"""What a launch has to do: its ranks look at the markers once, each at its share, and agree."""

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
from thor_geo.support.arrays import Int64Array
from thor_geo.support.progress import PATIENCE_S, track

if TYPE_CHECKING:
    import lightning.pytorch as pl


# States of a shard: no marker, finished, and a marker that a new one will replace (tiles failed, an
# output is gone, it is damaged).
_MISSING, _FINISHED, _REPLACED = 0, 1, 2


# Bytes of a launch's id; it travels with the states, so that one collective is enough.
_ID_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class UnfinishedShards:
    """The unfinished shards of a launch, the same on all its ranks.

    Attributes:
        session: Id of the launch, hexadecimal; in the markers it writes.
        of: The shards that the launch owns, finished ones included, as indices in the plan.
        shards: Those that need work, ascending, (n,) int64.
        marked: Whether such a shard has a marker already, which its new one replaces, (n,) bool.
    """

    session: str
    of: range
    shards: Int64Array
    marked: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of unfinished shards."""
        return len(self.shards)


def find_unfinished(
    run: RunDirectory, plan: Plan, of: range, trainer: pl.Trainer, *, together: bool
) -> UnfinishedShards:
    """Return what is left to do.

    Args:
        run: The prepared run directory.
        plan: The plan.
        of: The shards that the launch owns.
        trainer: The trainer.
        together: Whether every rank calls this at the same point. Then each looks at its share and
            they exchange what they saw; otherwise each looks at everything.
    """
    import torch

    rank, world_size = (trainer.global_rank, trainer.world_size) if together else (0, 1)
    own = part(len(of), rank, world_size)
    # All shares have the same length here, the last ones filled up: collectives want that.
    row = np.zeros(len(part(len(of), 0, world_size)), dtype=np.uint8)
    markers = track(
        read_markers(run, plan, of[own.start : own.stop]),
        "shards",
        total=len(own),
        label="looking",
        shown=trainer.is_global_zero,
        delay=PATIENCE_S,
    )
    row[: len(own)] = [_state(run, shard, marker) for shard, marker in markers]
    rows = np.concatenate([np.frombuffer(secrets.token_bytes(_ID_BYTES), np.uint8), row])[None]
    if world_size > 1:
        tensor = torch.from_numpy(rows[0]).to(trainer.strategy.root_device)
        with warnings.catch_warnings():
            # Lightning 2.6 calls what PyTorch has renamed.
            warnings.filterwarnings("ignore", ".*all_gather is deprecated")
            gathered: torch.Tensor = trainer.strategy.all_gather(tensor)
        rows = gathered.cpu().numpy()
    states = np.concatenate(
        [rows[k, _ID_BYTES:][: len(part(len(of), k, world_size))] for k in range(world_size)]
    )
    left = np.flatnonzero(states != _FINISHED)
    return UnfinishedShards(
        session=rows[0, :_ID_BYTES].tobytes().hex(),
        of=of,
        shards=left.astype(np.int64) + of.start,
        marked=states[left] == _REPLACED,
    )


def _state(run: RunDirectory, shard: Shard, marker: Marker | None) -> int:
    if marker is None:  # a damaged one is there, and is replaced
        return _REPLACED if run.marker_path(shard).exists() else _MISSING
    return _FINISHED if run.confirms(marker, shard) else _REPLACED


class Frontier:
    """Follows how far the other ranks have come, by one look per rank and new marker.

    Each rank writes its shards in order, so the first shard without a marker tells where it is:
    no folder is listed, however many shards there are.

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
            todo: What the launch had to do when it began.
            world_size: Its ranks; the first, which follows the others, is not counted.
        """
        self._run, self._plan, self._todo = run, plan, todo
        self.tiles = self.shards = 0
        self._parts = [part(len(todo), rank, world_size) for rank in range(1, world_size)]
        self._at = [one.start for one in self._parts]
        # The sessions of markers that are to be replaced. One replaced before this look carries
        # this launch's session already.
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
        for k, one in enumerate(self._parts):
            while self._at[k] < one.stop and self._written(self._at[k]):
                self.shards += 1
                self.tiles += len(self._shard(self._at[k]))
                self._at[k] += 1
        return self.shards > before

    @property
    def missing(self) -> list[Shard]:
        """The next shard of every rank that is not done."""
        return [
            self._shard(at) for at, one in zip(self._at, self._parts, strict=True) if at < one.stop
        ]

    def _shard(self, position: int) -> Shard:
        return self._plan.shards[int(self._todo.shards[position])]

    def _written(self, position: int) -> bool:
        path = self._run.marker_path(self._shard(position))
        if not self._todo.marked[position]:
            return path.exists()
        marker = Marker.read(path)
        return marker is not None and (
            marker.session == self._todo.session or marker.session != self._old.get(position)
        )
