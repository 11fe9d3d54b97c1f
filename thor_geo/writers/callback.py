"""The writer that Lightning calls: predictions in, shards on disk out."""

from __future__ import annotations

import datetime as dt
import logging
import sys
import time
from collections.abc import Sequence
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
from thor_geo.writers.summary import Summary, summarise

if TYPE_CHECKING:
    import lightning.pytorch as pl

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What one predict run of Lightning has open."""

    opened: OpenRun
    shards: ShardWriter
    since: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    began: float = field(default_factory=time.monotonic)


class RunWriter(BasePredictionWriter):
    """Write embeddings shard by shard into a run directory.

    A shard is complete when all its tiles have come; it is then written while the next is
    computed: pooled file, map, failures, and last the marker. An interruption costs at most the
    shards in the making, and nothing that is written.

    Attributes:
        run: The run directory.
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
        self._pooled, self._grid, self._quicklook = pooled, grid, quicklook
        self._dtype: Dtype = dtype
        self._stale: dict[str, Marker] = {}
        self._session: _Session | None = None
        self._told = False

    def settings(self) -> dict[str, JSON]:
        """Return what of this writer changes the numbers."""
        return {"pooled": self._pooled, "grid": self._grid, "dtype": self._dtype}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse a directory that cannot be written, before any rank starts to work."""
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        self.run.check_writable()
        self._session, self._told = None, False
        # What a retry is about to replace. Ranks meet at a barrier after setup and before the
        # first batch, so no marker of this run is among them.
        datamodule: Any = getattr(trainer, "datamodule", None)
        markers = {
            shard.id: Marker.read(self.run.marker_of(shard))
            for shard in getattr(datamodule, "shards_to_do", ())
        }
        self._stale = {name: marker for name, marker in markers.items() if marker is not None}

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bind the directory to this run.

        Raises:
            RunDirectoryError: If it belongs to another run.
            ConfigError: If the model does not give what is to be written, or tiles overlap.
        """
        self._open(trainer, pl_module)

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
        self._open(trainer, pl_module).shards.add(prediction, batch)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the last shard; on the first rank, draw and sum up if this job is done."""
        self._open(trainer, pl_module).shards.close()
        if trainer.is_global_zero and not self.waiting_for():
            self.finish(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let the shard that is being written end; one half collected is made again."""
        if self._session is None:
            return
        try:
            self._session.shards.close()
        except Exception:  # the exception that stopped the run must stay the one that is raised
            _log.exception("The shard being written when the run stopped was not finished")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Sum up a run that had nothing left to do: Lightning then calls no predict hook.

        Raises:
            RunDirectoryError: If the directory belongs to another run.
        """
        if stage == "predict" and self._session is None:
            self.on_predict_end(trainer, pl_module)

    def waiting_for(self) -> tuple[Shard, ...]:
        """Return this job's shards that no rank has finished in this run yet.

        Raises:
            RuntimeError: If the run has not started.
        """
        if self._session is None:
            raise RuntimeError("waiting_for() needs a run that has started")
        return tuple(
            shard
            for shard in self._session.opened.shards
            if (marker := Marker.read(self.run.marker_of(shard))) is None
            or marker == self._stale.get(shard.id)
        )

    def finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Summary:
        """Draw the quicklook and print the summary, once; called again, only sum up.

        The picture is drawn when every shard of the plan is there, not only this job's.

        Args:
            trainer: The trainer.
            pl_module: The model.

        Returns:
            The summary, which knows of failures.
        """
        session = self._open(trainer, pl_module)
        opened, seconds = session.opened, time.monotonic() - session.began
        first, self._told = not self._told, True
        try:
            if first and self._quicklook and not self.run.unmarked(opened.plan.shards):
                from thor_geo.writers.quicklook import write_quicklook

                write_quicklook(self.run, opened.plan, truecolour=opened.truecolour)
        finally:  # the embeddings are complete even where the picture fails
            summary = summarise(self.run, opened.plan, since=session.since, seconds=seconds)
            if first:
                print(f"\n{summary}\n", file=sys.stdout, flush=True)
        return summary

    def _open(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> _Session:
        if self._session is not None:
            return self._session
        opened = open_run(trainer, pl_module, self.settings())
        shapes = self._shapes(opened)
        store = None
        if shapes.grid is not None:
            store = GridStore(self.run.grid, opened.plan, shapes.grid, self._dtype)
        self.run.prepare(opened.settings, opened.info, opened.plan)
        if store is not None:
            store.create(self.run.metadata)
        shards = ShardWriter(self.run, opened.plan, shapes, opened.window, store)
        self._session = _Session(opened=opened, shards=shards)
        return self._session

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
