"""Progress of a run in tiles: a bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import ProgressBar

from thor_geo.ground.place_plan import PlaceShards
from thor_geo.ground.plan import Shards
from thor_geo.support.progress import LINE_S, Progress
from thor_geo.tasks.writer import RunWriter

if TYPE_CHECKING:
    import lightning.pytorch as pl

# Seconds between checks for the markers of other ranks.
_POLL_SECONDS = 5.0


class TileProgressBar(ProgressBar):
    """Progress in tiles or places, with rate, time left, shards and failures.

    It counts the tiles that were left to do, over all ranks: its own as they come, those of other
    ranks as their shards' markers appear, and a tile in several time windows once for each. Only
    the first rank shows anything; when its own part is done it goes on, with what it waits for.
    """

    def __init__(self, interval: float = LINE_S) -> None:
        """Initialize a new TileProgressBar instance.

        Args:
            interval: Seconds between lines where standard error is not a terminal.
        """
        super().__init__()
        self._interval = interval
        self._enabled = True
        self._progress: Progress | None = None

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without breaking the bar."""
        if self._progress is not None:
            self._progress.write(" ".join(map(str, args)))
        else:
            print(*args, **kwargs)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        callbacks = getattr(trainer, "callbacks", [])
        writer = next((each for each in callbacks if isinstance(each, RunWriter)), None)
        datamodule: Any = getattr(trainer, "datamodule", None)
        shards: Shards = datamodule.plan.shards
        todo = range(len(shards)) if writer is None else writer.todo.shards
        self._shards = len(todo)
        self._windows = 1 if writer is None else writer.windows
        total = int((shards.stops[todo] - shards.starts[todo]).sum()) * self._windows
        self._frontier = None if writer is None else writer.frontier
        self._writer = writer
        # For this rank: tiles done, shards done, and tiles left of the current shard.
        self._tiles = self._own_shards = self._left = 0
        self._plan_shards = shards
        self._failed = 0
        self._polled = time.monotonic()
        if self._enabled:
            unit = "places" if isinstance(shards, PlaceShards) else "tiles"
            self._progress = Progress(total, unit, note=self._note, interval=self._interval)
            self._progress.line()  # the first composites may take a while

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        if self._progress is None or not self._enabled:
            return
        count = len(batch["error"])
        if self._left == 0:
            shards = self._plan_shards
            self._left = len(shards[shards.holding(int(batch["tile"][0]))]) * self._windows
        self._left -= count
        self._tiles += count
        self._own_shards += self._left == 0
        self._failed += sum(error is not None for error in batch["error"])
        now = time.monotonic()
        if now - self._polled >= _POLL_SECONDS:
            self._poll()
            self._polled = now
        self._progress.set(self.done, note=self._note)

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on until the last rank is done, and show that, before the writer's summary."""
        if self._progress is None or not self._enabled:
            return
        if self._writer is not None:
            self._writer.wait_for_ranks(self._show_waiting)
        self._poll()
        self._progress.set(self.done, note=self._note)
        self._progress.line()
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar where it stands."""
        self._close()

    @property
    def done(self) -> int:
        """Tiles done by all ranks."""
        others = 0 if self._frontier is None else self._frontier.tiles * self._windows
        return self._tiles + others

    @property
    def _note(self) -> str:
        shards = self._own_shards + (0 if self._frontier is None else self._frontier.shards)
        count = self._failed if self._writer is None else self._writer.failed
        failed = f", {count:,} failed" if count else ""
        return f"{shards:,}/{self._shards:,} shards{failed}"

    def _show_waiting(self, text: str) -> None:
        assert self._progress is not None, "on_predict_start opens it"
        self._progress.set(self.done, note=f"{self._note}, {text}")

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def _poll(self) -> None:
        if self._frontier is not None:
            self._frontier.advance()
