"""Batches by shard: what a rank computes, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lightning.pytorch import Trainer
from torch.utils.data import Sampler

from thor_geo.errors import ConfigError
from thor_geo.grid import Block, blocks_meeting
from thor_geo.plan import Plan, Shard


class ShardBatchSampler(Sampler[list[int]]):
    """Yields batches of plan indices; a batch never crosses a shard.

    Every rank owns a contiguous run of the plan's shards, so that neighbouring tiles share cached
    blocks, and a shard is always cut into the same batches whoever computes it. The unfinished
    shards are shared out, the first rank first: it is never idle while another works, which it
    must not be, as it starts the emulator and sums up. All ranks must agree on what is finished.

    It has no `batch_size` and `drop_last` attributes on purpose: Lightning rebuilds a predict
    batch sampler that has them, and would stride the shards over the ranks.
    """

    def __init__(
        self,
        plan: Plan,
        tiles_per_batch: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        finished: Callable[[Shard], bool] = lambda shard: False,
    ) -> None:
        """Initialize a new ShardBatchSampler instance.

        Args:
            plan: The tiles.
            tiles_per_batch: Tiles per batch; the last batch of a shard may hold fewer.
            rank: This process's rank, 0 to `world_size` - 1.
            world_size: Number of processes.
            finished: Whether a shard needs no more work.

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
        todo = tuple(shard for shard in plan.shards if not finished(shard))
        first, last = (-(-len(todo) * k // world_size) for k in (rank, rank + 1))
        self.shards = todo[first:last]
        self._plan = plan

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of plan indices."""
        for shard in self.shards:
            for start in range(shard.start, shard.stop, self.tiles_per_batch):
                yield list(range(start, min(start + self.tiles_per_batch, shard.stop)))

    def __len__(self) -> int:
        """Return the number of batches."""
        return sum(-(-len(shard) // self.tiles_per_batch) for shard in self.shards)

    @property
    def tiles(self) -> int:
        """Number of tiles in all batches."""
        return sum(map(len, self.shards))

    def blocks(self, block_size: int) -> Iterator[Block]:
        """Yield the blocks the batches need, each once, in the order of first need.

        Args:
            block_size: Side of a block in pixels.
        """
        seen: set[str] = set()
        for batch in self:
            for tile in self._plan.tiles(batch):
                for block in blocks_meeting(tile, block_size):
                    if block.id not in seen:
                        seen.add(block.id)
                        yield block


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
