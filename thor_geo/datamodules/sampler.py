"""Batches by shard: what a rank computes, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from lightning.pytorch import Trainer
from torch.utils.data import Sampler

from thor_geo.errors import ConfigError
from thor_geo.ground.blocks import BlockOrder, PlaceOrder, needed_blocks
from thor_geo.ground.job import part
from thor_geo.ground.plan import Plan
from thor_geo.support.arrays import Int64Array


class ShardBatchSampler(Sampler[list[int]]):
    """Yields batches of plan indices; a batch never crosses a shard.

    Every rank owns a contiguous run of the shards, so that neighbouring tiles share cached blocks,
    and a shard is cut into the same batches by any rank. The first rank is never idle while another
    works, because it starts the emulator and sums up. All ranks must be given the same shards.

    With several windows, each batch belongs to one window and holds the same tiles as in a run of
    that window alone. The windows of the same tiles come one after the other.

    It has no `batch_size` and `drop_last` attributes on purpose: Lightning rebuilds a predict
    batch sampler that has them, and would stride the shards over the ranks.

    Attributes:
        shards: This rank's shards, as indices in the plan, (n,) int64.
    """

    def __init__(
        self,
        plan: Plan,
        tiles_per_batch: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        shards: Sequence[int] | Int64Array | None = None,
        windows: int = 1,
    ) -> None:
        """Initialize a new ShardBatchSampler instance.

        Args:
            plan: The tiles.
            tiles_per_batch: Tiles per batch; the last batch of a shard may hold fewer.
            rank: This process's rank, 0 to `world_size` - 1.
            world_size: Number of processes.
            shards: The shards to compute, over all ranks, as ascending indices in the plan; None
                for all.
            windows: Number of time windows; an index then is that of a tile times this number, plus
                that of a window (see `WindowDataset`).

        Raises:
            ConfigError: If a number is out of range.
        """
        if tiles_per_batch < 1:
            raise ConfigError("batch_size", tiles_per_batch, "not positive", "Give 1 or more.")
        if not 0 <= rank < world_size:
            raise ConfigError(
                "rank", rank, f"not below world_size={world_size}", "Check the launcher."
            )
        self.tiles_per_batch = tiles_per_batch
        todo = np.arange(len(plan.shards)) if shards is None else np.asarray(shards, np.int64)
        mine = part(len(todo), rank, world_size)
        self.shards: Int64Array = todo[mine.start : mine.stop]
        self._starts = plan.shards.starts[self.shards]
        self._stops = plan.shards.stops[self.shards]
        self._plan = plan
        self._windows = windows

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of plan indices, or of those of tiles and windows."""
        step, windows = self.tiles_per_batch, self._windows
        for first, stop in zip(self._starts.tolist(), self._stops.tolist(), strict=True):
            for start in range(first, stop, step):
                tiles = range(start, min(start + step, stop))
                for window in range(windows):
                    yield [tile * windows + window for tile in tiles]

    def __len__(self) -> int:
        """Return the number of batches."""
        batches = -(-(self._stops - self._starts) // self.tiles_per_batch)
        return int(batches.sum()) * self._windows

    @property
    def tiles(self) -> int:
        """Number of tiles in all batches."""
        return int((self._stops - self._starts).sum())

    def blocks(self, block_size: int) -> BlockOrder | PlaceOrder:
        """Return the blocks the batches need, in the order of first need; see `needed_blocks`.

        Args:
            block_size: Side of a block in pixels.
        """
        return needed_blocks(self._plan, self.shards, block_size)


def refuse_lightnings_sampler(trainer: Trainer | None) -> None:
    """Refuse a trainer that would inject its own distributed sampler.

    Args:
        trainer: The trainer, if there is one.

    Raises:
        ConfigError: If its `use_distributed_sampler` is on.
    """
    connector = getattr(trainer, "_accelerator_connector", None)
    if connector is not None and connector.use_distributed_sampler:
        raise ConfigError(
            "use_distributed_sampler",
            True,
            "Lightning would stride tiles over the ranks and break up their shards",
            "Set trainer.use_distributed_sampler to false (the command's default).",
        )
