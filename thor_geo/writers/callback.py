"""The writer that Lightning calls: predictions in, shards on disk out."""

from __future__ import annotations

import datetime as dt
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import BasePredictionWriter

from thor_geo.errors import ConfigError
from thor_geo.plan import Shard
from thor_geo.specs import check_choice
from thor_geo.writers.fingerprint import JSON
from thor_geo.writers.grid import GridStore
from thor_geo.writers.markers import Marker
from thor_geo.writers.opening import OpenRun, open_run
from thor_geo.writers.rundir import RunDirectory
from thor_geo.writers.session import ShardWriter
from thor_geo.writers.shard import Dtype, Shapes
from thor_geo.writers.signals import stop_on_sigterm
from thor_geo.writers.summary import Summary, summarise

if TYPE_CHECKING:
    import lightning.pytorch as pl

_log = logging.getLogger(__name__)

# How often the first rank looks for the other ranks' markers, and how long it waits for the next.
_POLL_SECONDS = 0.5
_STALL_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What one predict run of Lightning has open.

    Attributes:
        opened: The run.
        shards: Writes them.
        todo: Shards without a good marker when the run began, over all ranks.
        todo_ids: Their ids.
        stale: Markers that a retry is about to replace.
        since: When it began, UTC.
        began: Likewise, on the steady clock.
    """

    opened: OpenRun
    shards: ShardWriter
    todo: tuple[Shard, ...]
    todo_ids: frozenset[str]
    stale: Mapping[str, Marker]
    since: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    began: float = field(default_factory=time.monotonic)


class RunWriter(BasePredictionWriter):
    """Write embeddings shard by shard into a run directory.

    A shard is complete when all its tiles have come; it is then written while the next is
    computed: pooled file, map, failures, and last the marker. An interruption costs at most the
    shards in the making, and nothing that is written.

    A datamodule with the attribute `ledger` gets this writer as its ledger: it calls `open` before
    it fetches anything, and asks `finished` which shards to leave out.

    Attributes:
        run: The run directory.
        config: The resolved config, to be kept in run.json; set by the command.
    """

    def __init__(
        self,
        dir: Path,
        pooled: bool = True,
        grid: bool = True,
        dtype: Dtype = "float32",
        quicklook: bool = True,
    ) -> None:
        """Initialize a new RunWriter instance.

        Args:
            dir: Directory of the run; one run per directory.
            pooled: Whether to write one vector per tile (GeoParquet).
            grid: Whether to write maps (Zarr); tiles must not overlap.
            dtype: Of the embeddings on disk, of both.
            quicklook: Whether to draw quicklook.png at the end.

        Raises:
            ConfigError: If there is nothing to write, or *dtype* is unknown.
        """
        super().__init__(write_interval="batch")
        if not (pooled or grid):
            raise ConfigError(
                "output.pooled",
                pooled,
                "there is nothing to write, as output.grid is false too",
                "Set one of them to true.",
            )
        check_choice("output.dtype", dtype, Dtype)
        self.run = RunDirectory(dir)
        self.config: Mapping[str, Any] | None = None
        self._pooled, self._grid, self._quicklook = pooled, grid, quicklook
        self._dtype: Dtype = dtype
        self._around: tuple[pl.Trainer, pl.LightningModule] | None = None
        self._session: _Session | None = None
        self._summary: Summary | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse a directory that cannot be written, and become the datamodule's ledger.

        Raises:
            RunDirectoryError: If the directory cannot be written.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        self.run.check_writable()
        self._around, self._session, self._summary = (trainer, pl_module), None, None
        datamodule: Any = getattr(trainer, "datamodule", None)
        if hasattr(datamodule, "ledger"):
            datamodule.ledger = self

    def open(self) -> None:
        """Create or join the run directory; later calls do nothing.

        Every rank must call it before any rank writes (in `predict_dataloader` Lightning sees to
        that with a barrier): what is left to do is decided here.

        Raises:
            RunDirectoryError: If it belongs to another run.
            ConfigError: If the model does not give what is to be written, or tiles overlap.
        """
        if self._session is not None:
            return
        if self._around is None:
            raise RuntimeError("RunWriter.open() needs Lightning's setup first")
        stop_on_sigterm(self._around[0])
        opened = open_run(*self._around, self.settings(), self.config)
        shapes = self._shapes(opened)
        store = None
        if shapes.grid is not None:
            store = GridStore(self.run.grid, opened.plan, shapes.grid, self._dtype)
        self.run.prepare(opened.settings, opened.info, opened.plan)
        if store is not None:
            store.create(self.run.metadata)
        todo = tuple(shard for shard in opened.plan.shards if not self.run.finished(shard))
        markers = {shard.id: Marker.read(self.run.marker_of(shard)) for shard in todo}
        self._session = _Session(
            opened=opened,
            shards=ShardWriter(self.run, opened.plan, shapes, opened.window, store),
            todo=todo,
            todo_ids=frozenset(shard.id for shard in todo),
            stale={name: marker for name, marker in markers.items() if marker is not None},
        )
        if not todo and self._around[0].is_global_zero:
            # Lightning calls no predict hook when there is nothing to predict.
            self._finish()

    def finished(self, shard: Shard) -> bool:
        """Return whether a shard needed no more work when the run began."""
        self.open()
        assert self._session is not None
        return shard.id not in self._session.todo_ids

    @property
    def todo(self) -> tuple[Shard, ...]:
        """Shards that needed work when the run began, over all ranks, in plan order."""
        self.open()
        assert self._session is not None
        return self._session.todo

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the run, for a datamodule that knows no ledger."""
        self.open()

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Collect a batch, and write its shard when that is complete."""
        assert self._session is not None, "on_predict_start opens it"
        self._session.shards.add(prediction, batch)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the last shard; on the first rank for the others', then draw and sum up."""
        assert self._session is not None, "on_predict_start opens it"
        self._session.shards.close()
        if trainer.is_global_zero:
            if trainer.world_size > 1:
                self._wait_for_ranks()
            self._finish()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let the shard that is being written end; one half collected is made again."""
        if self._session is None:
            return
        if isinstance(exception, KeyboardInterrupt | SystemExit) and trainer.is_global_zero:
            left = len(self.unwritten())
            print(
                f"\nStopped with {left} of {len(self.todo)} shards left; run the same command to "
                "continue.",
                file=sys.stderr,
            )
        try:
            self._session.shards.close()
        except Exception:  # the exception that stopped the run must stay the one that is raised
            _log.exception("The shard being written when the run stopped was not finished")

    def unwritten(self) -> tuple[Shard, ...]:
        """Return the shards to do that no rank has written yet."""
        return tuple(
            shard
            for shard in self.todo
            if (marker := Marker.read(self.run.marker_of(shard))) is None
            or (self._session is not None and marker == self._session.stale.get(shard.id))
        )

    @property
    def summary(self) -> Summary | None:
        """What the run did; None before its end, and on every rank but the first."""
        return self._summary

    def settings(self) -> dict[str, JSON]:
        """Return what of this writer changes the numbers."""
        return {"pooled": self._pooled, "grid": self._grid, "dtype": self._dtype}

    def _wait_for_ranks(self) -> None:
        """Wait for the other ranks' markers: no collective, which a dead rank would block."""
        left, since = self.unwritten(), time.monotonic()
        while left and time.monotonic() - since < _STALL_SECONDS:
            time.sleep(_POLL_SECONDS)
            now = self.unwritten()
            if len(now) < len(left):
                since = time.monotonic()
            left = now
        if left:
            _log.error(
                "No other rank has finished a shard for %.0f min; %d are missing, the first is "
                "%s. Run the same command again to make them.",
                _STALL_SECONDS / 60,
                len(left),
                left[0].id,
            )

    def _finish(self) -> None:
        """Draw the quicklook if every shard is there, and print the summary."""
        assert self._session is not None
        session, opened = self._session, self._session.opened
        seconds = time.monotonic() - session.began
        drawn = not session.todo and self.run.quicklook.exists()
        try:
            if self._quicklook and not drawn and not self.run.unmarked(opened.plan.shards):
                from thor_geo.writers.quicklook import write_quicklook

                write_quicklook(self.run, opened.plan, truecolour=opened.truecolour)
        finally:  # the embeddings are complete even where the picture fails
            self._summary = summarise(self.run, opened.plan, since=session.since, seconds=seconds)
            print(f"\n{self._summary}\n", file=sys.stdout, flush=True)

    def _shapes(self, opened: OpenRun) -> Shapes:
        for name, wanted in (("pooled", self._pooled), ("grid", self._grid)):
            if wanted and name not in opened.shapes:
                raise ConfigError(
                    f"output.{name}",
                    wanted,
                    f"the model gives {', '.join(opened.shapes) or 'nothing'} only",
                    f"Set output.{name}=false, or let the model give it.",
                )
        pooled: tuple[int] | None = None
        grid: tuple[int, int, int] | None = None
        if self._pooled:
            (dimension,) = opened.shapes["pooled"]
            pooled = (dimension,)
        if self._grid:
            bands, height, width = opened.shapes["grid"]
            grid = (bands, height, width)
        return Shapes(pooled=pooled, grid=grid, dtype=self._dtype)
