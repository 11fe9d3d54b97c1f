"""Reading the rows of a run of places back: vectors, status, and the table's own columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import RESERVED
from thor_geo.ground.plan import Shard
from thor_geo.runs.markers import Marker
from thor_geo.runs.quantise import dequantise
from thor_geo.runs.reading import _readable
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.vectors import stack_vectors
from thor_geo.support.arrays import BoolArray, Float32Array, Int64Array
from thor_geo.support.progress import PATIENCE_S, track

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of vectors: of the whole chip, and of the cell that holds the place.
PlaceVectors = Literal["embedding", "centre"]
_SCALES = {"embedding": "scale", "centre": "centre_scale"}
# Files that are read at once, and kept in memory until their turn.
_THREADS, _AT_ONCE = 8, 256


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


def own_columns(run: RunDirectory, plan: PlacePlan) -> tuple[str, ...]:
    """Return the names of the table's columns in a run's files: that of the ids first, if any.

    Args:
        run: The run directory; a shard is done.
        plan: Its plan.

    Raises:
        RunDirectoryError: If no shard is done, or the first such file cannot be read.
    """
    import pyarrow.parquet as pq

    shard = next((each for each in plan.shards if run.marker_path(each).exists()), None)
    if shard is None:
        raise RunDirectoryError(
            f"`{run.path}` has no finished shard yet. `thor-geo status {run.path}` shows more."
        )
    with _readable(run, shard, run.pooled_path(shard)) as path:
        names = pq.read_schema(path).names
    own = id_column(run)
    kept = [name for name in names if name not in RESERVED and name != own]
    return (*([] if own is None else [own]), *kept)


def id_column(run: RunDirectory) -> str | None:
    """Return the name of the column of ids; None if a place is named by its row alone."""
    name = run.document()["settings"]["data"].get("places", {}).get("id")
    return None if name is None else str(name)


def chosen_column(run: RunDirectory, plan: PlacePlan, name: str, argument: str) -> str:
    """Return the name of a column of the table, if the run has it.

    Args:
        run: The run directory.
        plan: Its plan.
        name: The name.
        argument: Name of the option, for the message.

    Raises:
        ConfigError: If it has no such column; names those that it has.
    """
    names = own_columns(run, plan)
    if name not in names:
        raise ConfigError(
            argument,
            name,
            "the run keeps no such column",
            f"It has {', '.join(names)}." if names else "It keeps none: see data.places.keep.",
        )
    return name


class _Part(NamedTuple):
    """A shard's rows: their vectors, null where there are none, and columns."""

    shard: Shard
    vectors: Any
    scales: Any
    table: Any


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

    wanted: Iterable[int] = range(len(plan.shards)) if shards is None else shards
    planned = [plan.shards[k] for k in wanted]
    names = ["status", "observations_mean", *columns]
    index: list[Int64Array] = []
    tables: list[Any] = []
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
        end = filled + len(shard)
        if vectors is not None and part.vectors.null_count < len(part.vectors):
            length = int(part.vectors.drop_null().value_lengths()[0].as_py())
            if values is None:
                values = np.full((total, length), np.nan, dtype=np.float32)
            valid = part.vectors.is_valid().to_numpy(zero_copy_only=False)
            with _readable(run, shard, run.pooled_path(shard)):
                rows = stack_vectors(part.vectors, values.shape[1]).astype(np.float32)
            if part.scales is not None:
                rows = dequantise(rows, part.scales[valid, None])
            values[filled:end][valid] = rows
        filled = end
    if vectors is not None:
        values = np.empty((filled, 0), np.float32) if values is None else values[:filled]
    table = pa.concat_tables(tables) if tables else pa.table({name: [] for name in names})
    status = table["status"].to_numpy() if filled else np.empty(0, dtype=object)
    ok = status == "ok"
    return PlaceRows(
        index=np.concatenate(index) if index else np.empty(0, dtype=np.int64),
        vectors=values,
        embedded=ok if values is None or not values.shape[1] else ok & np.isfinite(values[:, 0]),
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
    fingerprint = run.fingerprint

    def read(shard: Shard) -> _Part | None:
        marker = Marker.read(run.marker_path(shard))
        if marker is None or marker.fingerprint != fingerprint:
            return None
        return _read_shard(run, shard, names, vectors)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="thor-geo-places") as pool:
        for start in range(0, len(shards), _AT_ONCE):
            batch = shards[start : start + _AT_ONCE]
            yield from zip(batch, pool.map(read, batch), strict=True)


def _read_shard(
    run: RunDirectory, shard: Shard, names: Sequence[str], vectors: PlaceVectors | None
) -> _Part:
    import pyarrow.parquet as pq

    path = run.pooled_path(shard)
    with _readable(run, shard, path), pq.ParquetFile(path) as file:
        has = file.schema_arrow.names
        scale = None if vectors is None else _SCALES[vectors]
        read = [*names, *([] if vectors is None else [vectors]), *([scale] if scale in has else [])]
        absent = [name for name in read if name not in has]
        # One column of lists decodes no faster with more threads; files are read side by side.
        table = file.read(columns=[n for n in read if n in has], use_threads=False)
    if "centre" in absent:
        raise ConfigError(
            "on",
            "centres",
            f"`{run.path}` has no vectors of the cells that hold its places",
            "Use its chips, or a run with output.centre=true.",
        )
    if absent or len(table) != len(shard):
        what = f"no column {absent[0]}" if absent else f"{len(table):,} rows"
        raise RunDirectoryError(
            f"`{path}` has {what}, the plan has {len(shard):,} places. `thor-geo validate "
            f"{run.path}` shows what is wrong."
        )
    column = None if vectors is None else table[vectors].combine_chunks()
    scales = None
    if scale is not None and scale in table.column_names:
        scales = table[scale].to_numpy().astype(np.float32)
    return _Part(shard, column, scales, table.select(list(names)))
