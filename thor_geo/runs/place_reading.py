"""Reading the rows of a run of places back: vectors, status, and the table's own columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Shard
from thor_geo.runs.markers import Marker
from thor_geo.runs.reading import VectorReader, read_rows
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.vectors import CENTRE
from thor_geo.storage.files import readers_of
from thor_geo.support.ahead import read_ahead
from thor_geo.support.arrays import BoolArray, Float32Array, Int64Array
from thor_geo.support.progress import PATIENCE_S, track

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of vectors: of the whole chip, and of the cell that holds the place.
PlaceVectors = Literal["embedding", "centre"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceRows:
    """Rows of the shards that are done, in the plan's order.

    Attributes:
        index: Index in the plan, (N,) int64, ascending.
        vectors: (N, D) float32, NaN where a place has no embedding; None if they were not read.
        embedded: Which places have an embedding, (N,).
        failed: Which failed, (N,); the rest have no observation.
        observations: Mean clear observations of the chip, (N,) float32, NaN where it failed.
        columns: The table's columns that were asked for, with its types and nulls.
        missing: Places of the plan, or of the shards asked for, that are not done yet.
    """

    index: Int64Array
    vectors: Float32Array | None
    embedded: BoolArray
    failed: BoolArray
    observations: Float32Array
    columns: pa.Table
    missing: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)


def own_columns(run: RunDirectory) -> tuple[str, ...]:
    """Return the names of the table's columns in a run's files: that of the ids first, if any.

    Args:
        run: The directory of a run of places.
    """
    own = id_column(run)
    kept = run.document()["settings"]["data"]["places"]["keep"]
    return (*([] if own is None else [own]), *kept)


def id_column(run: RunDirectory) -> str | None:
    """Return the name of the column of ids; None if a place is named by its row alone.

    Args:
        run: The directory of a run of places.
    """
    name = run.document()["settings"]["data"]["places"]["id"]
    return None if name is None else str(name)


def chosen_column(run: RunDirectory, name: str, argument: str) -> str:
    """Return the name of a column of the table, if the run has it.

    Args:
        run: The directory of a run of places.
        name: The name.
        argument: Name of the option, for the message.

    Raises:
        ConfigError: If it has no such column; names the nearest, and all that it has.
    """
    names = own_columns(run)
    if name in names:
        return name
    near = get_close_matches(name, names, n=1)
    raise ConfigError(
        argument,
        name,
        f"`{run.path}` keeps no such column of its table",
        (f"Did you mean {near[0]}? " if near else "")
        + (
            f"It has {', '.join(names)}."
            if names
            else "It keeps none: embed the table again with data.places.keep."
        ),
    )


class _Part(NamedTuple):
    """A shard's vectors, (n, D), NaN where there is none, or None; and its columns."""

    vectors: Float32Array | None
    table: pa.Table


def read_place_rows(
    run: RunDirectory,
    plan: PlacePlan,
    *,
    vectors: PlaceVectors | None = "embedding",
    columns: Sequence[str] = (),
    shards: Sequence[int] | None = None,
    progress: bool = False,
) -> PlaceRows:
    """Read the rows of the shards that are done.

    Args:
        run: The run directory, with pooled files.
        plan: Its plan.
        vectors: Which vectors to read; None for none.
        columns: Columns of the table; see `own_columns`.
        shards: Indices of the plan's shards, ascending; None for all.
        progress: Whether to show progress on standard error.

    Raises:
        RunDirectoryError: If a file cannot be read, or does not fit the plan.
        ConfigError: If the run has no vectors of that kind.
    """
    import pyarrow as pa

    output = run.document()["settings"]["output"]
    if vectors == CENTRE and not output.get("centre", False):
        raise ConfigError(
            "--on",
            "centres",
            f"`{run.path}` has no vectors of the cells that hold its places",
            "Use its chips, or a run with output.centre=true.",
        )
    wanted: Iterable[int] = range(len(plan.shards)) if shards is None else shards
    planned = [plan.shards[k] for k in wanted]
    names = ["status", "observations_mean", *columns]
    index: list[Int64Array] = []
    tables: list[pa.Table] = []
    values: Float32Array | None = None
    filled = missing = 0
    total = sum(map(len, planned))
    parts = _parts(run, planned, names, vectors)
    label = "reading places"
    for shard, part in track(
        parts, "shards", total=len(planned), label=label, shown=progress, delay=PATIENCE_S
    ):
        if part is None:
            missing += len(shard)
            continue
        index.append(np.arange(shard.start, shard.stop))
        tables.append(part.table)
        if part.vectors is not None:
            if values is None:
                values = np.empty((total, part.vectors.shape[1]), dtype=np.float32)
            values[filled : filled + len(shard)] = part.vectors
        filled += len(shard)
    if vectors is not None:
        values = np.empty((0, 0), np.float32) if values is None else values[:filled]
    if not tables:
        tables = [pa.table({name: [] for name in names})]
    table = pa.concat_tables(tables)
    status = np.array(table["status"].to_pylist(), dtype=object)
    ok = status == "ok"
    if values is not None and len(values):
        ok &= np.isfinite(values).all(axis=1)
    return PlaceRows(
        index=np.concatenate(index) if index else np.empty(0, dtype=np.int64),
        vectors=values,
        embedded=ok,
        failed=status == "failed",
        observations=table["observations_mean"].to_numpy().astype(np.float32),
        columns=table.select(list(columns)),
        missing=missing,
    )


def _parts(
    run: RunDirectory,
    shards: Sequence[Shard],
    names: Sequence[str],
    vectors: PlaceVectors | None,
) -> Iterator[tuple[Shard, _Part | None]]:
    """Yield shards with their rows, None if they are not done; some are read ahead."""
    fingerprint, reader = run.fingerprint, VectorReader(run)

    def read(shard: Shard) -> _Part | None:
        marker = Marker.read(run.marker_path(shard))
        if marker is None or marker.fingerprint != fingerprint:
            return None
        table = read_rows(run, shard, names)
        if len(table) != len(shard):
            raise RunDirectoryError(
                f"`{run.pooled_path(shard)}` has {len(table):,} rows, the plan has "
                f"{len(shard):,} places. `thor-geo validate {run.path}` shows what is wrong."
            )
        return _Part(None if vectors is None else reader.read(shard, None, vectors), table)

    parts = read_ahead(read, shards, threads=readers_of(run.path))
    yield from zip(shards, parts, strict=True)
