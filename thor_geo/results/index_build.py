"""Builds an index of a run's vectors: nearness is learnt from a sample, then all pass once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.results.cosine import unit_vectors
from thor_geo.results.index_parts import IndexPart, IndexParts, index_parts
from thor_geo.results.index_rows import RowWriter
from thor_geo.results.nearness import Nearness, learn_nearness, lists_for, load_faiss
from thor_geo.runs.markers import ShardFile
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.similar_index import (
    LAYOUT,
    LISTS,
    ROWS,
    IndexAbout,
    IndexUnit,
    index_path,
    index_written,
    markers_state,
    new_index,
    vectors_digest,
)
from thor_geo.support.arrays import Float32Array, Int64Array
from thor_geo.support.progress import Progress

# Vectors of the sample for each list, and parts of the run from which it is taken.
_SAMPLE_PER_LIST, _SAMPLE_PARTS = 64, 128
# Bytes of the sample, at most; of 4,096 lists and 768 dimensions that is 42 vectors for each.
_SAMPLE_BYTES = 512 * 1024**2


def build_index(
    opened: OpenedRun, unit: IndexUnit, *, window: int | None = None, progress: bool = True
) -> tuple[Path, IndexAbout]:
    """Build the index of a run's vectors in place of an earlier one.

    Memory holds a sample, and a part of the vectors at a time: under 1.5 GB.

    Args:
        opened: The run; it may be unfinished.
        unit: Which of its vectors.
        window: Which time window; may be left out if there is only one.
        progress: Whether to show progress on standard error.

    Returns:
        Its folder, and what it says of itself.

    Raises:
        DependencyError: If faiss is not installed.
        RunDirectoryError: If the run has no such vectors, one cannot be read, or the index cannot
            be written.
        ConfigError: If there are several windows and none is chosen, or there is no such window.
    """
    load_faiss()
    time = opened.time_index(window)
    parts = index_parts(opened, unit, window)
    path = index_path(opened.run, unit, time)
    # Before the first vector is read: what changes meanwhile makes the index outdated.
    markers, digest = markers_state(opened), vectors_digest(opened)
    with new_index(path) as folder:
        lists = lists_for(parts.most)
        sample = _sample(parts, lists * _SAMPLE_PER_LIST, progress=progress)
        nearness = learn_nearness(sample, lists)
        del sample
        writer = RowWriter(
            folder / ROWS,
            opened.dtype,
            len(nearness.axes),
            lists=len(nearness.centres),
            index=path,
        )
        with writer:
            _fill(writer, nearness, parts, progress=progress)
        arrays = nearness._asdict() | writer.blocks()
        arrays["left_out"] = parts.left_out(np.concatenate(writer.places))
        with index_written(path):
            np.savez(folder / LISTS, allow_pickle=False, **arrays)
        about = IndexAbout(
            layout=LAYOUT,
            unit=unit,
            time=time,
            dtype=opened.dtype,
            dimension=len(nearness.axes),
            rows=writer.rows,
            lists=len(nearness.centres),
            fingerprint=opened.fingerprint,
            digest=digest,
            files={name: ShardFile.from_path(folder / name) for name in (ROWS, LISTS)},
            markers=markers,
        )
        with index_written(path):
            about.write(folder)
    return path, about


def _sample(parts: IndexParts, count: int, *, progress: bool) -> Float32Array:
    """Return about so many vectors of length one from all over the run, (n, D)."""
    random = np.random.default_rng(0)
    chosen = np.unique(np.linspace(0, len(parts) - 1, min(len(parts), _SAMPLE_PARTS)).astype(int))
    sample, filled = np.empty((0, 0), dtype=np.float32), 0
    with Progress(len(chosen), "parts", label="sampling", shown=progress) as bar:
        for part in chosen.tolist():
            vectors = parts.read(part).vectors
            if len(vectors) and not filled:
                most = min(count, _SAMPLE_BYTES // vectors[0].nbytes)
                each = -(-most // len(chosen))
                sample = np.empty((each * len(chosen), vectors.shape[1]), dtype=np.float32)
            if len(vectors):
                vectors = vectors[np.sort(random.permutation(len(vectors))[:each])]
                sample[filled : filled + len(vectors)] = unit_vectors(vectors)
                filled += len(vectors)
            bar.advance()
    if filled:
        return sample[:filled]
    # What was sampled may be empty by chance.
    for part in range(len(parts)):
        vectors = parts.read(part).vectors
        if len(vectors):
            return unit_vectors(vectors)
    raise RunDirectoryError(
        "The run has no vector of this kind yet. `thor-geo status` shows how far it is."
    )


def _fill(writer: RowWriter, nearness: Nearness, parts: IndexParts, *, progress: bool) -> None:
    """Write all vectors, each into the list of the nearest centre."""
    nearest = load_faiss().IndexFlatL2(nearness.centres.shape[1])
    nearest.add(nearness.centres)
    with Progress(parts.most, "vectors", label="indexing", shown=progress) as bar:
        for part in range(len(parts)):
            located: IndexPart = parts.read(part)
            if len(located.place):
                along = nearness.project(located.vectors)
                lists: Int64Array = nearest.search(along, 1)[1][:, 0]
                writer.add(lists, located.place, located.vectors)
            bar.set(min(parts.most * (part + 1) // len(parts), parts.most))
