"""Progress of a run in tiles: a bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import ProgressBar

from thor_geo.plan import Shards
from thor_geo.writers.callback import RunWriter
from thor_geo.writers.summary import speed

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from tqdm import tqdm

# The rate is that of the last minute: the first batches are slow, and neighbours differ.
_WINDOW_SECONDS = 60.0
# How often the markers of other ranks are looked for.
_POLL_SECONDS = 5.0


def clock(seconds: float) -> str:
    """Return a time left as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Rate:
    """Tiles per second over the last minute."""

    def __init__(self, now: float) -> None:
        """Initialize a new Rate instance.

        Args:
            now: Time of the start, seconds of any steady clock.
        """
        self._points: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, now: float, done: int) -> None:
        """Note how many tiles are done by now."""
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[1][0] >= _WINDOW_SECONDS:
            self._points.popleft()

    @property
    def value(self) -> float:
        """Tiles per second, 0 while nothing is known."""
        (begin, first), (end, last) = self._points[0], self._points[-1]
        return (last - first) / (end - begin) if end > begin else 0.0


class TileProgressBar(ProgressBar):
    """Progress in tiles, with rate, time left, shards and failures.

    Counts the tiles that the run still had to do, over all ranks: its own as they come, the other
    ranks' as their shards' markers appear; a tile in several time windows once for each. Only the
    first rank shows anything.
    """

    def __init__(self, interval: float = 10.0) -> None:
        """Initialize a new TileProgressBar instance.

        Args:
            interval: Seconds between lines where standard error is no terminal.
        """
        super().__init__()
        self._interval = interval
        self._enabled = True
        self._bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without breaking the bar."""
        if self._bar is not None:
            self._bar.write(" ".join(map(str, args)), file=sys.stderr)
        else:
            print(*args, **kwargs)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        writer = next((c for c in _callbacks(trainer) if isinstance(c, RunWriter)), None)
        datamodule: Any = getattr(trainer, "datamodule", None)
        shards: Shards = datamodule.plan.shards
        todo = range(len(shards)) if writer is None else writer.todo.shards
        self._shards = len(todo)
        self._windows = 1 if writer is None else writer.windows
        self._total = int((shards.stops[todo] - shards.starts[todo]).sum()) * self._windows
        self._frontier = None if writer is None else writer.frontier
        # Of this rank: tiles done, shards done, and what is left of the shard in the making.
        self._tiles = self._own_shards = self._left = 0
        self._plan_shards = shards
        self._failed, self._told = 0, -1
        now = time.monotonic()
        self._rate, self._polled, self._printed = Rate(now), now, now
        if self._enabled and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total,
                file=sys.stderr,
                dynamic_ncols=True,
                leave=True,
                desc=self.text,
                bar_format="{percentage:3.0f}% |{bar}| {desc}",
            )
        elif self._enabled:
            self._line(now)  # the first composites may take a while

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
        if not self._enabled:
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
        self._rate.add(now, self.done)
        if self._bar is not None:
            self._bar.n = self.done
            self._bar.set_description_str(self.text, refresh=False)
            self._bar.update(0)
        elif now - self._printed >= self._interval:
            self._line(now)

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the final state, before the writer prints its summary."""
        if not self._enabled:
            return
        self._poll()
        self._rate.add(time.monotonic(), self.done)
        if self._bar is not None:
            self._bar.n = self.done
            self._bar.set_description_str(self.text)
        elif self.done != self._told:
            self._line(time.monotonic())
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
    def text(self) -> str:
        """Counts, rate and time left."""
        shards = self._own_shards + (0 if self._frontier is None else self._frontier.shards)
        rate, left = self._rate.value, self._total - self.done
        parts = [
            f"{self.done:,}/{self._total:,} tiles",
            speed(rate) if rate else "",
            f"{clock(left / rate)} left" if rate and left else "",
            f"{shards:,}/{self._shards:,} shards",
            f"{self._failed:,} failed" if self._failed else "",
        ]
        return ", ".join(part for part in parts if part)

    def _line(self, now: float) -> None:
        percent = 100 * self.done // max(self._total, 1)
        print(f"[thor-geo] {percent:3d}%  {self.text}", file=sys.stderr, flush=True)
        self._printed, self._told = now, self.done

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _poll(self) -> None:
        if self._frontier is not None:
            self._frontier.advance()


def _callbacks(trainer: pl.Trainer) -> list[Any]:
    return list(getattr(trainer, "callbacks", []))
