"""What a run of places has: columns of its table, and vectors of chips, cells or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.spec import ProbeSpec, Vectors
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import PlaceRows, read_place_rows
from thor_geo.runs.reading import VectorReader
from thor_geo.runs.vectors import CENTRE, EMBEDDING
from thor_geo.support.arrays import Int64Array
from thor_geo.support.progress import PATIENCE_S, track

_COLUMNS: dict[Vectors, tuple[str, ...]] = {
    "pooled": (EMBEDDING,),
    "centre": (CENTRE,),
    "both": (EMBEDDING, CENTRE),
}


def read_done(opened: OpenedRun, columns: Sequence[str] = ()) -> PlaceRows:
    """Read columns of the table, and no vectors, of all places that are done.

    Args:
        opened: A run of places with pooled files; it may be unfinished.
        columns: Columns that the run keeps.

    Raises:
        RunDirectoryError: If no place is done yet, or a file cannot be read.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    rows = read_place_rows(opened.run, plan, vectors=None, columns=columns)
    if not len(rows):
        raise RunDirectoryError(
            f"`{opened.run.path}` has no place that is done yet. `thor-geo status "
            f"{opened.run.path}` shows more."
        )
    return rows


def place_vectors(opened: OpenedRun, spec: ProbeSpec) -> Vectors:
    """Return which vectors of places a probe takes.

    Args:
        opened: A run of places.
        spec: Settings; `vectors` decides if it is set.

    Raises:
        ConfigError: If the run does not have them.
    """
    if spec.vectors is None:
        return "centre" if opened.centre else "pooled"
    if spec.vectors != "pooled" and not opened.centre:
        raise ConfigError(
            "--vectors",
            spec.vectors,
            f"`{opened.run.path}` was made with output.centre=false",
            "Use --vectors pooled, or embed the places again with output.centre=true.",
        )
    return spec.vectors


def vector_parts(
    opened: OpenedRun, kind: Vectors, *, progress: bool = False
) -> Iterator[tuple[Int64Array, npt.NDArray[np.float32]]]:
    """Yield the vectors of places shard by shard, as far as there are any.

    Args:
        opened: A run of places; it may be unfinished.
        kind: Which vectors; of ``both``, that of the chip comes first.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Yields:
        Index in the plan, (n,), ascending, and the vectors, (n, D), finite.

    Raises:
        RunDirectoryError: If no place has one, or a file cannot be read.
    """
    reader, found = VectorReader(opened.run), 0
    for shard in track(
        opened.plan.shards, "shards", label="reading vectors", shown=progress, delay=PATIENCE_S
    ):
        if opened.marker(shard) is None:
            continue
        columns = [reader.read(shard, None, column) for column in _COLUMNS[kind]]
        vectors = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        if len(vectors) != len(shard):
            raise RunDirectoryError(
                f"`{opened.run.pooled_path(shard)}` has {len(vectors):,} rows, the plan has "
                f"{len(shard):,} places. `thor-geo validate {opened.run.path}` shows what is wrong."
            )
        valid = np.flatnonzero(np.isfinite(vectors).all(axis=1))
        found += len(valid)
        yield valid + shard.start, vectors[valid]
    if not found:
        raise RunDirectoryError(
            f"`{opened.run.path}` has no place with an embedding. `thor-geo status "
            f"{opened.run.path}` shows more."
        )


def read_vectors(
    opened: OpenedRun, kind: Vectors, chosen: Int64Array | None = None, *, progress: bool = False
) -> tuple[Int64Array, npt.NDArray[np.float32]]:
    """Read the vectors of places that have one.

    Args:
        opened: A run of places; it may be unfinished.
        kind: Which vectors, see `vector_parts`.
        chosen: Indices in the plan, of which alone vectors are kept in memory; None for all.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Returns:
        Index in the plan, (n,), ascending, and the vectors, (n, D), finite.

    Raises:
        RunDirectoryError: If no place has one, or a file cannot be read.
    """
    indices, parts = [], []
    for index, vectors in vector_parts(opened, kind, progress=progress):
        kept = np.ones(len(index), dtype=np.bool_) if chosen is None else np.isin(index, chosen)
        indices.append(index[kept])
        parts.append(vectors[kept])
    return np.concatenate(indices), np.concatenate(parts)
