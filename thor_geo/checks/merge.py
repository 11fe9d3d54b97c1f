"""``thor-geo merge``: one GeoParquet file out of a run's shards.

Tiles are sorted along a Hilbert curve, places are in the order of their table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thor_geo.checks._finished import FAILED, MISSING, PRODUCED, FinishedRows, find_finished
from thor_geo.checks._gather import Gatherer, RowIndices
from thor_geo.checks._hilbert import hilbert_order
from thor_geo.checks._parts import GROUP_ROWS, PartWriter, part_bounds
from thor_geo.checks._table_order import TableOrder
from thor_geo.checks.overlap import redundant_tiles
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.target import atomic_target, check_target, made_from
from thor_geo.support.processes import usable_cores
from thor_geo.support.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The result of a merge.

    Attributes:
        path: The file, or the folder of parts.
        rows: Rows in it.
        files: Files.
        bytes: Their size.
        failed: Rows of failed tiles.
        left_out: Tiles left out because primary tiles cover their ground.
        missing: Tiles of shards that are not finished.
        skipped: Rows of the table of places that were skipped.

    With a list of time windows a tile counts once for each.
    """

    path: Path
    rows: int
    files: int
    bytes: int
    failed: int
    left_out: int
    missing: int
    skipped: int = 0


def merge_run(
    opened: OpenedRun,
    *,
    to: Path | None = None,
    max_rows: int | None = None,
    max_bytes: int | None = None,
    overwrite: bool = False,
    partial: bool = False,
    progress: bool = False,
) -> Merged:
    """Write a run's rows; the target is complete or absent.

    Tiles are in Hilbert order. Places are in the order of the table, with the rows that were
    skipped.

    Args:
        opened: The run.
        to: The file to make, or with a limit the folder of parts; None for ``embeddings.parquet``
            or ``embeddings`` in the run directory.
        max_rows: Most rows of a part.
        max_bytes: Approximate size of a part, estimated from the sizes of the shards.
        overwrite: Replace an earlier merge.
        partial: Merge an unfinished run as it is.
        progress: Whether to show progress on standard error.

    Raises:
        RunDirectoryError: If the run has no pooled files or is unfinished, a file is damaged or
            differs from its marker, or the target cannot be written.
        ConfigError: If a limit is invalid, or the target exists or is one of the run's files.
    """
    for argument, limit, example in (
        ("--max-rows", max_rows, "1"),
        ("--max-size", max_bytes, "2GB"),
    ):
        if limit is not None and limit < 1:
            raise ConfigError(argument, limit, "a part would be empty", f"Give {example} or more.")
    folder = max_rows is not None or max_bytes is not None
    target = _target(opened, to, folder=folder)
    check_target(opened.run, target, folder=folder, overwrite=overwrite)
    finished = find_finished(opened, progress=progress)
    state = finished.state
    missing = _count_missing(opened, finished, partial=partial)
    rows: Gatherer | TableOrder
    order: RowIndices
    if isinstance(opened.plan, PlacePlan):
        scratch = target.parent / "merge"
        rows = TableOrder(opened, opened.plan, state, scratch, threads=usable_cores())
        order, left_out = rows.order, 0
    else:
        order, spare = _along_curve(opened, state)
        rows = Gatherer(opened, state, order, threads=usable_cores())
        left_out = int(np.sum(spare & (state != MISSING)))
    part = len(order)
    if max_bytes is not None:  # assuming that rows take as much as in the shards
        part = max(1, int(max_bytes * int((state != MISSING).sum()) / finished.bytes))
    if max_rows is not None:
        part = min(part, max_rows)
    group = GROUP_ROWS
    if folder:  # whole row groups of one size, as few as can be
        group = part // -(-part // GROUP_ROWS)
        part = part // group * group
    with (
        atomic_target(opened.run, target, folder=folder, overwrite=overwrite) as temporary,
        Progress(len(order), "rows", label="merging", shown=progress) as bar,
    ):
        boxes = part_bounds(opened.plan, order, part, len(opened.windows))
        writer = PartWriter(
            temporary,
            rows.schema,
            boxes,
            part_rows=part,
            folder=folder,
            multi=opened.plan.crosses_antimeridian,
        )
        for written in writer.write(rows.batches(group)):
            bar.advance(written)
    return Merged(
        path=target,
        rows=writer.rows,
        files=writer.files,
        bytes=writer.bytes,
        failed=int((state[order[order >= 0]] == FAILED).sum()),
        left_out=left_out,
        missing=missing,
        skipped=int((order < 0).sum()),
    )


def _along_curve(
    opened: OpenedRun, state: npt.NDArray[np.uint8]
) -> tuple[RowIndices, npt.NDArray[np.bool_]]:
    """Return the rows to write, along a Hilbert curve, and which are left out as redundant.

    With a list of windows, all rows of a tile are kept or left out together: it is redundant if its
    ground is covered in every window. Its rows follow one another in the order of windows.
    """
    windows = len(opened.windows)
    by_tile = state.reshape(-1, windows)
    spare = redundant_tiles(opened.plan, (by_tile == PRODUCED).all(axis=1))
    keep = (by_tile != MISSING).all(axis=1) & ~spare
    return tile_rows(hilbert_order(opened.plan, keep), windows), spare.repeat(windows)


def _count_missing(opened: OpenedRun, finished: FinishedRows, *, partial: bool) -> int:
    """Return how many rows are missing; refuse an unfinished run unless *partial*."""
    total = len(finished.state)
    missing = int((finished.state == MISSING).sum())
    if missing and not partial:
        unit = "places" if isinstance(opened.plan, PlacePlan) else "tiles"
        raise RunDirectoryError(
            f"`{opened.run.path}` is unfinished: {finished.shards_missing:,} of "
            f"{len(opened.plan.shards):,} shards and {missing:,} of {total:,} {unit} are missing, "
            f"the first shard is {finished.first_missing}. Finish the run with the same "
            "`thor-geo predict` command, or merge what is finished with --partial."
        )
    if missing == total:
        raise RunDirectoryError(
            f"`{opened.run.path}` has no finished shard: there is nothing to merge yet."
        )
    return missing


def tile_rows(tiles: npt.NDArray[np.uint32], windows: int) -> RowIndices:
    """Return the rows of some tiles, those of a tile together, in the order of the windows.

    Args:
        tiles: Indices of tiles in the plan, (n,).
        windows: Number of time windows.

    Returns:
        (n * windows,); with one window the tiles' indices themselves.
    """
    if windows == 1:
        return tiles
    # 64 bits: tiles times windows may be more than 32 bits hold.
    return (tiles[:, None].astype(np.int64) * windows + np.arange(windows)).ravel()


def _target(opened: OpenedRun, to: Path | None, *, folder: bool) -> Path:
    if not opened.pooled:
        raise RunDirectoryError(
            f"`{opened.run.path}` has no pooled files (output.pooled=false): there are no rows to "
            f"merge. Its maps are one store already: {'places' if opened.places else 'grid'}.zarr."
        )
    if to is None:
        return made_from(opened.run, "embeddings" if folder else "embeddings.parquet")
    return to.expanduser()
