"""One launch on a run directory: what it computes, and how its ranks follow each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thor_geo.errors import ConfigError
from thor_geo.ground.job import part
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.runs.fingerprint import JSON
from thor_geo.runs.grid import GridStore
from thor_geo.runs.place_store import PlaceStore
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.shard import Dtype, Shapes
from thor_geo.runs.skipped_rows import write_skipped
from thor_geo.storage.requests import NewRequests
from thor_geo.tasks.ranks import Heartbeat, RankWatch, ranks_folder
from thor_geo.tasks.shard_writer import ShardWriter
from thor_geo.tasks.started_run import StartedRun
from thor_geo.tasks.unfinished import Frontier, UnfinishedShards, find_unfinished
from thor_geo.tasks.waiting import reason_of

if TYPE_CHECKING:
    import lightning.pytorch as pl

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Session:
    """The open files and state of one predict run of Lightning.

    Attributes:
        started: The run.
        shards: The writer of shards.
        todo: The shards that were unfinished when it began, over all ranks.
        frontier: Progress of the other ranks; on the first rank only.
        watch: Their signs of life, likewise; None without other ranks.
        heartbeat: This rank's, on every rank but the first that has shards to compute.
        world_size: Number of ranks.
        began: When it began, on the steady clock.
    """

    started: StartedRun
    shards: ShardWriter
    todo: UnfinishedShards
    frontier: Frontier | None
    watch: RankWatch | None
    heartbeat: Heartbeat | None
    world_size: int
    began: float = field(default_factory=time.monotonic)

    def break_off(self, exception: BaseException) -> None:
        """Finish the shard that is being written, and tell the first rank of the end.

        Args:
            exception: What stopped the run.
        """
        try:
            try:
                self.shards.close()
            except RuntimeError as error:
                # PyTorch reports a dead reading process from a signal handler, wherever the main
                # thread is at that moment: perhaps while it waited here.
                if "DataLoader worker" not in str(error):
                    raise
                self.shards.close()
        except Exception:  # the exception that stopped the run must be the one that is raised
            _log.exception("The shard being written when the run stopped was not finished")
        if self.watch is not None:
            self.watch.stop()
        if self.heartbeat is not None:
            self.heartbeat.end(reason_of(exception))

    @property
    def stopped(self) -> str:
        """How much is left of a run that was stopped, in words."""
        done = self.shards.written
        if self.frontier is not None:
            self.frontier.advance()
            done += self.frontier.shards
        return f"Stopped with {len(self.todo) - done} of {len(self.todo)} shards left"


def wanted_shapes(
    started: StartedRun, dtype: Dtype, *, pooled: bool, grid: bool, centre: bool = False
) -> Shapes:
    """Return the shapes of what is written for a tile.

    Args:
        started: The run.
        dtype: Data type of the embeddings on disk.
        pooled: Whether vectors are written.
        grid: Whether maps are.
        centre: Whether the vectors of the cells that hold places are.

    Raises:
        ConfigError: If the model does not return them.
    """
    for name, wanted in (("pooled", pooled), ("grid", grid), ("centre", centre)):
        if wanted and name not in started.shapes:
            raise ConfigError(
                f"output.{name}",
                wanted,
                f"the model only returns {', '.join(started.shapes) or 'nothing'}",
                f"Set output.{name}=false, or let the model return it.",
            )
    vector: tuple[int] | None = None
    cell: tuple[int] | None = None
    cells: tuple[int, int, int] | None = None
    if pooled:
        (dimension,) = started.shapes["pooled"]
        vector = (dimension,)
    if centre:
        (bands,) = started.shapes["centre"]
        cell = (bands,)
    if grid:
        bands, height, width = started.shapes["grid"]
        cells = (bands, height, width)
    return Shapes(pooled=vector, grid=cells, centre=cell, dtype=dtype)


def open_session(
    run: RunDirectory,
    started: StartedRun,
    shapes: Shapes,
    info: Mapping[str, JSON],
    trainer: pl.Trainer,
    *,
    asked: NewRequests,
    together: bool,
) -> Session:
    """Create or join the run directory, and find what is left to do.

    Args:
        run: The run directory; the first rank holds its lock.
        started: The run.
        shapes: Of what is written for a tile.
        info: What else a reader of the files must know, besides the run's own.
        trainer: The trainer.
        asked: Counts what this process asks of stores.
        together: Whether every rank calls this at the same point.
    """
    store = _store(run, started, shapes)
    run.prepare(started.settings, {**started.info, **info}, started.plan, with_plan=False)
    if store is not None:
        with run.explain_errors("the grid store"):
            store.create(run.metadata, run.build_version)
    if started.places is not None:
        with run.explain_errors("skipped.parquet"):
            write_skipped(run, started.plan, started.places, shapes)
    owned = started.job.part(len(started.plan.shards))
    todo = find_unfinished(run, started.plan, owned, trainer, together=together)
    watch, heartbeat = _signs(run, started, todo, trainer, together=together)
    first = trainer.is_global_zero
    if first:  # after the exchange, so that the other ranks need not wait for it
        run.write_plan_once(started.plan)
    session = Session(
        started=started,
        shards=ShardWriter(
            run,
            started.plan,
            shapes,
            started.windows,
            store,
            places=started.places,
            session=todo.session,
            strict=started.strict,
            fetch_cost=started.fetch_cost,
            left_out=started.left_out,
            asked=asked,
            marked={started.plan.shards[k].id for k in todo.shards[todo.marked].tolist()},
        ),
        todo=todo,
        frontier=Frontier(run, started.plan, todo, trainer.world_size) if first else None,
        watch=watch,
        heartbeat=heartbeat,
        world_size=trainer.world_size,
    )
    if watch is not None:
        watch.start()
    return session


def _store(run: RunDirectory, started: StartedRun, shapes: Shapes) -> GridStore | PlaceStore | None:
    """Return the store of the maps, not created yet; None without maps."""
    if shapes.grid is None:
        return None
    if isinstance(started.plan, PlacePlan):
        return PlaceStore(run.place_store, started.plan, shapes.grid, shapes.dtype)
    return GridStore(
        run.grid,
        started.plan,
        shapes.grid,
        shapes.dtype,
        crop=started.crop,
        windows=started.windows,
    )


def _signs(
    run: RunDirectory,
    started: StartedRun,
    todo: UnfinishedShards,
    trainer: pl.Trainer,
    *,
    together: bool,
) -> tuple[RankWatch | None, Heartbeat | None]:
    """Return the watch of the first rank, or the started heartbeat of another."""
    folder, world_size = ranks_folder(run, started.job), trainer.world_size
    # Ranks that have not exchanged anything have no id in common.
    launch = todo.session if together else ""
    if trainer.is_global_zero:
        watched = world_size > 1 and len(todo) > 0
        return (RankWatch(folder, world_size, launch) if watched else None), None
    # Lightning tells a rank without batches nothing, its end neither.
    if not len(part(len(todo), trainer.global_rank, world_size)):
        return None, None
    heartbeat = Heartbeat(folder, trainer.global_rank, launch)
    heartbeat.start()
    return None, heartbeat
