"""Columns of a run of places: what its pooled files say of every place that is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.reading import read_rows
from thor_geo.support.arrays import Int64Array
from thor_geo.support.progress import PATIENCE_S, track

if TYPE_CHECKING:
    import pyarrow as pa


def id_column(opened: OpenedRun) -> str | None:
    """Return the name of the column of ids; None if places are numbered.

    Args:
        opened: A run of places.
    """
    name = opened.document["settings"]["data"]["places"]["id"]
    return None if name is None else str(name)


def read_place_columns(
    opened: OpenedRun, names: Sequence[str], *, progress: bool = False
) -> tuple[Int64Array, pa.Table]:
    """Read columns of all shards that are done.

    Args:
        opened: A run of places with pooled files; it may be unfinished.
        names: Columns of the pooled files.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Returns:
        Index in the plan of every row, ascending, (n,), and the columns, n rows, with the types and
        nulls that they have in the files.

    Raises:
        RunDirectoryError: If the run has no such files yet, or one cannot be read.
    """
    import pyarrow as pa

    run, indices, tables = opened.run, [], []
    for shard in track(
        opened.plan.shards, "shards", label="reading places", shown=progress, delay=PATIENCE_S
    ):
        if opened.marker(shard) is None:
            continue
        table = read_rows(run, shard, names)
        if len(table) != len(shard):
            raise RunDirectoryError(
                f"`{run.pooled_path(shard)}` has {len(table):,} rows, the plan has {len(shard):,} "
                f"places. `thor-geo validate {run.path}` shows what is wrong."
            )
        indices.append(np.arange(shard.start, shard.stop))
        tables.append(table)
    if not tables:
        raise RunDirectoryError(
            f"`{run.path}` has no place that is done yet. `thor-geo status {run.path}` shows more."
        )
    return np.concatenate(indices), pa.concat_tables(tables).combine_chunks()
