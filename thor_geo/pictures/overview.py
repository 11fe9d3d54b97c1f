"""Making ``overview.parquet``: the colours of all vectors of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.pictures.colours import RunColours
from thor_geo.runs.overview import STATES, MarkedRows, Overview, marked_rows, read_overview
from thor_geo.runs.place_reading import own_columns
from thor_geo.runs.reading import VectorReader, read_rows
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs.windows import time_axis
from thor_geo.storage.files import readers_of
from thor_geo.support.ahead import read_ahead
from thor_geo.support.arrays import BoolArray, UInt8Array
from thor_geo.support.blas import one_blas_thread
from thor_geo.support.progress import PATIENCE_S, is_first_process, track

if TYPE_CHECKING:
    import pyarrow as pa

#: Runs of more rows have no overview: all their vectors would be read for it, and a page is not
#: made for so many.
MOST_ROWS = 1 << 20


def overview_to_write(run: RunDirectory, plan: Plan) -> MarkedRows | None:
    """Return what markers say of the rows if the run is to have an overview, and has not this one.

    Args:
        run: The run directory.
        plan: Its plan.

    Returns:
        None if the run is unfinished, writes no vectors or is too large; or if its overview is of
        the vectors that it has.

    Raises:
        RunDirectoryError: If a marker cannot be read.
    """
    settings = run.document()["settings"]
    rows = len(plan) * len(time_axis(settings["data"]))
    if not settings["output"]["pooled"] or rows > MOST_ROWS:
        return None
    marked = marked_rows(run, plan)
    if marked is None:
        return None
    try:
        written = read_overview(run, plan)
    except RunDirectoryError:  # damaged: it is written again
        return marked
    return None if written is not None and written.digest == marked.digest else marked


def write_overview(run: RunDirectory, plan: Plan, colours: RunColours, marked: MarkedRows) -> None:
    """Write the overview of a finished run.

    Args:
        run: The run directory.
        plan: Its plan.
        colours: The run's colours.
        marked: What its markers say, from `overview_to_write`.

    Raises:
        RunDirectoryError: If a shard's file cannot be read.
        OSError: If the overview cannot be written.
    """
    import pyarrow as pa

    kept = own_columns(run) if isinstance(plan, PlacePlan) else ()
    reader = VectorReader(run)

    def read(shard: Shard) -> _Coloured:
        values = reader.read(shard, None)
        embedded = np.asarray(np.isfinite(values).all(axis=1))
        rgb = np.zeros((len(values), 3), dtype=np.uint8)
        if embedded.any():
            rgb[embedded] = colours[values.shape[1]](values[embedded])
        columns = read_rows(run, shard, kept) if kept else None
        return _Coloured(values.shape[1], embedded, rgb, columns)

    shards = plan.shards
    # One thread: the last digits of a product depend on their number.
    with one_blas_thread():
        parts = list(
            track(
                read_ahead(read, shards, threads=readers_of(run.path)),
                "shards",
                total=len(shards),
                label="drawing the overview",
                shown=is_first_process(),
                delay=PATIENCE_S,
            )
        )
    embedded = np.concatenate([part.embedded for part in parts])
    without = np.where(np.isnan(marked.observations), STATES.index("failed"), STATES.index("empty"))
    dimension = parts[0].dimension
    tables = [part.columns for part in parts if part.columns is not None]
    Overview(
        fingerprint=run.fingerprint,
        digest=marked.digest,
        dimension=dimension,
        share=colours[dimension].share if dimension in colours else (0.0, 0.0, 0.0),
        rgb=np.concatenate([part.rgb for part in parts]),
        state=np.where(embedded, STATES.index("ok"), without).astype(np.uint8),
        observations=marked.observations,
        columns=pa.concat_tables(tables).combine_chunks() if tables else None,
    ).write(run)


class _Coloured(NamedTuple):
    """What a shard gives to the overview."""

    dimension: int
    embedded: BoolArray
    rgb: UInt8Array
    columns: pa.Table | None
