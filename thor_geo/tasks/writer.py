"""The writer that Lightning calls: predictions in, shards on disk out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import BasePredictionWriter

from thor_geo.errors import ConfigError
from thor_geo.runs.fingerprint import JSON
from thor_geo.runs.lock import RunLock
from thor_geo.runs.quantise import DESCRIPTION
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.shard import Dtype
from thor_geo.runs.summary import Summary, summarise
from thor_geo.specs import check_choice
from thor_geo.storage import StoreOptions
from thor_geo.storage.requests import NewRequests
from thor_geo.support.arrays import Int64Array
from thor_geo.tasks.ranks import ranks_folder, remove_signs
from thor_geo.tasks.session import Session, open_session, wanted_shapes
from thor_geo.tasks.signals import is_stopping, stop_on_sigterm
from thor_geo.tasks.started_run import start_run
from thor_geo.tasks.unfinished import Frontier, UnfinishedShards
from thor_geo.tasks.waiting import PrintNowAndThen, wait_for_ranks

if TYPE_CHECKING:
    import lightning.pytorch as pl


class RunWriter(BasePredictionWriter):
    """Writes embeddings shard by shard into a run directory.

    A shard is complete when all its tiles have come; it is then written while the next is
    computed: pooled file, map, failures, and last the marker. An interruption costs at most the
    shards that are being computed, and nothing that is written.

    A datamodule with the attribute `ledger` gets this writer as its ledger: it asks `unfinished`
    for the shards to compute, before it fetches anything.

    Attributes:
        run: The run directory.
        config: The resolved config, recorded in run.json; set by the command.
    """

    def __init__(
        self,
        dir: str | Path,
        pooled: bool = True,
        grid: bool = True,
        dtype: Dtype = "float32",
        quicklook: bool = True,
        crop: bool = False,
        centre: bool = False,
        store: StoreOptions | None = None,
    ) -> None:
        """Initialize a new RunWriter instance.

        Args:
            dir: Directory of the run, or its address in an object store (s3://bucket/prefix, gs://,
                az://); the same command continues the run in it.
            pooled: Write one vector for each tile, as GeoParquet.
            grid: Write georeferenced maps of vectors, as Zarr. Where tiles overlap, their centres.
            dtype: Data type of the embeddings on disk: float32, float16, or int8 (a value is
                `embedding` times the `scale` of its vector or cell).
            quicklook: Draw quicklook.png at the end.
            crop: Leave out cells of maps whose centre lies outside the area: they become NaN, or
                -128 for int8. Vectors are of whole tiles in any case.
            centre: Write the map's cell that holds each place, beside its vector.
            store: How the object store of an address is reached.

        Raises:
            ConfigError: If there is nothing to write or to crop, centres have no vector to stand
                beside, or *dtype* is unknown.
        """
        super().__init__(write_interval="batch")
        if not (pooled or grid):
            raise ConfigError(
                "output.pooled",
                pooled,
                "there is nothing to write, as output.grid is false too",
                "Set one of them to true.",
            )
        if crop and not grid:
            raise ConfigError(
                "output.crop",
                crop,
                "there is no map to crop, as output.grid is false",
                "Leave it out: vectors are of whole tiles.",
            )
        if centre and not pooled:
            raise ConfigError(
                "output.centre",
                centre,
                "output.pooled is false, and it is written beside those vectors",
                "Set output.pooled to true, or leave output.centre out.",
            )
        check_choice("output.dtype", dtype, Dtype)
        self.run = RunDirectory(dir, store)
        self.config: Mapping[str, Any] | None = None
        self._pooled, self._grid, self._quicklook = pooled, grid, quicklook
        self._dtype: Dtype = dtype
        self._crop = crop
        self._centre = centre
        self._around: tuple[pl.Trainer, pl.LightningModule] | None = None
        self._session: Session | None = None
        self._lock: RunLock | None = None
        self._summary: Summary | None = None
        self._failed = 0
        self._asked = NewRequests()

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
        self._failed = 0
        datamodule: Any = getattr(trainer, "datamodule", None)
        if hasattr(datamodule, "ledger"):
            datamodule.ledger = self

    def unfinished(self) -> Int64Array:
        """Create or join the run directory, and return the shards that this launch must compute.

        Every rank must call it at the same point, as Lightning does in `predict_dataloader`: the
        ranks agree on the answer. Later calls return the same answer.

        Returns:
            Indices of the plan's shards, ascending, (n,) int64; the same on all ranks.

        Raises:
            RunDirectoryError: If the directory belongs to another run, or cannot be written.
            RunLockedError: If another process is writing the same shards.
            ConfigError: If the model does not return the outputs wanted, or its maps cannot be
                trimmed to the centres of overlapping tiles.
        """
        return self._open(together=True).todo.shards

    def _open(self, *, together: bool) -> Session:
        if self._session is not None:
            return self._session
        if self._around is None:
            raise RuntimeError("RunWriter needs Lightning's setup first")
        trainer, module = self._around
        stop_on_sigterm(trainer)
        started = start_run(trainer, module, self.settings(), self.config)
        shapes = wanted_shapes(
            started, self._dtype, pooled=self._pooled, grid=self._grid, centre=self._centre
        )
        if trainer.is_global_zero:
            self._lock = RunLock(self.run.path, started.job.part(len(started.plan.shards)))
            self._lock.acquire()
        self._session = open_session(
            self.run, started, shapes, self.info(), trainer, asked=self._asked, together=together
        )
        if together and trainer.is_global_zero and not len(self._session.todo):
            # Lightning calls no predict hook if there is nothing to predict.
            self._finish()
        return self._session

    @property
    def windows(self) -> int:
        """Number of time windows, of which every tile has one embedding each."""
        assert self._session is not None, "unfinished() or on_predict_start opens it"
        return len(self._session.started.windows)

    @property
    def todo(self) -> UnfinishedShards:
        """The shards that were unfinished when the launch began, over all ranks."""
        assert self._session is not None, "unfinished() or on_predict_start opens it"
        return self._session.todo

    @property
    def frontier(self) -> Frontier | None:
        """Progress of the other ranks; None on all ranks but the first."""
        assert self._session is not None, "unfinished() or on_predict_start opens it"
        return self._session.frontier

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the run, for a datamodule without a ledger."""
        # Lightning skips this hook on a rank without batches, so the ranks cannot agree here.
        self._open(together=False)

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
        """Collect a batch, and write its shard if it is complete.

        Raises:
            RankLostError: If another rank with shards left is gone.
        """
        assert self._session is not None, "on_predict_start opens it"
        session = self._session
        session.shards.add(prediction, batch)
        self._failed += sum(error is not None for error in batch["error"])
        if session.heartbeat is not None:
            session.heartbeat.count_failed(self._failed)
        if session.watch is not None and session.frontier is not None:
            session.watch.check(session.frontier)

    @property
    def failed(self) -> int:
        """Tiles that have failed in this launch, on the first rank those of all ranks."""
        watch = None if self._session is None else self._session.watch
        return self._failed + (0 if watch is None else watch.failed)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the last shard, on the first rank also for other ranks, then draw and sum up."""
        assert self._session is not None, "on_predict_start opens it"
        session = self._session
        session.shards.close()
        if session.heartbeat is not None:
            session.heartbeat.end()
        if session.frontier is not None:
            self.wait_for_ranks()
            if session.watch is not None:
                session.watch.stop()
            self._finish()

    def wait_for_ranks(self, show: Callable[[str], None] | None = None) -> None:
        """Wait for the other ranks' markers, without a collective, which a dead rank would block.

        Args:
            show: Called all the time with what is waited for, in words; None prints that every
                ten seconds.

        Raises:
            RankLostError: If a rank with shards left is gone.
        """
        assert self._session is not None, "on_predict_start opens it"
        session = self._session
        if session.frontier is None or session.watch is None:
            return
        wait_for_ranks(session.frontier, session.watch, show or PrintNowAndThen())

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Finish the shard that is being written; an incomplete one is computed again later."""
        if self._session is None:
            self._unlock()
            return
        self._session.break_off(exception)
        wanted = is_stopping() or isinstance(exception, KeyboardInterrupt | SystemExit)
        if wanted and trainer.is_global_zero:
            print(f"\n{self._session.stopped}; run the same command to continue.", file=sys.stderr)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def summary(self) -> Summary | None:
        """Summary of the run; None before its end, and on every rank but the first."""
        return self._summary

    def settings(self) -> dict[str, JSON]:
        """Return the settings of this writer that change the numbers."""
        settings: dict[str, JSON] = {
            "pooled": self._pooled,
            "grid": self._grid,
            "dtype": self._dtype,
        }
        if self._crop:  # runs older than this setting do not have it, and must go on
            settings["crop"] = True
        if self._centre:
            settings["centre"] = True
        return settings

    def info(self) -> dict[str, JSON]:
        """Return what a reader of the files must know: the meaning of int8 embeddings."""
        return {"quantisation": DESCRIPTION} if self._dtype == "int8" else {}

    def _finish(self) -> None:
        """Draw the run if every shard of the plan is done, and print the summary."""
        assert self._session is not None
        session, started = self._session, self._session.started
        seconds = time.monotonic() - session.began
        try:
            from thor_geo.pictures.finished import draw_finished

            draw_finished(
                self.run,
                started.plan,
                truecolour=started.truecolour,
                windows=started.windows,
                quicklook=self._quicklook,
                changed=len(session.todo) > 0,
            )
        finally:  # the embeddings are complete even if the picture fails
            # The process that was writing the plan may have been killed.
            self.run.write_plan_once(started.plan)
            self._summary = summarise(
                self.run,
                started.plan,
                job=started.job,
                session=session.todo.session,
                seconds=seconds,
            )
            remove_signs(ranks_folder(self.run, started.job), session.world_size)
            self._unlock()
            print(f"\n{self._summary}\n", file=sys.stdout, flush=True)
