"""What is said of a run that lost a reading process, or found no scene."""

from __future__ import annotations

import sys

from thor_geo.datamodules import CompositeDataModule
from thor_geo.errors import BlockError, StacError, WorkerError
from thor_geo.support.redact import redact


def is_dead_worker(error: Exception, *, finished: bool) -> bool:
    """Return whether an error of the predict loop means that a reading process was killed.

    PyTorch notices the signal, or the worker's pipe breaks off; either is first. Requests to Earth
    Engine are made by another process. Once all batches have come, a broken pipe is that of the
    output, as with ``| head``.

    Args:
        error: What the loop raised.
        finished: Whether every batch had come.
    """
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in str(error)
    return not finished


def worker_error(error: Exception) -> WorkerError:
    """Return what to say of a reading process that was killed.

    Args:
        error: What the loop raised, see `is_dead_worker`.
    """
    # SIGTERM to this process itself would have been the end before.
    why = "was sent SIGTERM" if "Terminated" in str(error) else "may have run out of memory"
    return WorkerError(
        f"A process that reads composites ended unexpectedly ({error}); it {why}. What is written "
        "is kept: run the same command again, perhaps with a smaller data.num_workers or "
        "data.batch_size."
    )


def say_coverage(datamodule: object) -> None:
    """Say, where no scene was found, where and when the source has any.

    Args:
        datamodule: The run's data.
    """
    if not isinstance(datamodule, CompositeDataModule):
        return
    try:
        coverage = datamodule.coverage()
    except (StacError, BlockError) as error:  # the run is complete, whatever becomes of the advice
        print(redact(f"What the catalogue covers could not be asked for: {error}"), file=sys.stderr)
        return
    if coverage is not None:
        name = datamodule.feed.spec.source.name
        print(
            redact(f"No scene was found. The scenes of data.{name} cover: {coverage}"), flush=True
        )
