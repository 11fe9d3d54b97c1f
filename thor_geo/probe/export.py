"""Embeddings as a CSV file for NeuCo-Bench."""

from __future__ import annotations

import csv
from pathlib import Path

from thor_geo.results import read_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.target import check_target
from thor_geo.support.files import atomic_path


def export_csv(
    opened: OpenedRun,
    path: str | Path,
    *,
    window: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> int:
    """Write the header ``id,1,...,D`` and a row for each tile with an embedding.

    NeuCo-Bench (https://github.com/embed2scale/NeuCo-Bench) reads the columns whose names are whole
    numbers, in ascending order, and standardises all values together. Ids are tile ids. Values are
    those of the run, not standardised, with nine digits, which restore every float32.

    Args:
        opened: The run, with pooled vectors.
        path: The file.
        window: Which time window, 0 for the first, where the run has several.
        overwrite: Whether to replace an earlier file.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Returns:
        The number of rows.

    Raises:
        ConfigError: If the file exists and *overwrite* is false.
        RunDirectoryError: If the run has no vectors, or they cannot be read.
    """
    path = Path(path).expanduser()
    check_target(opened.run, path, folder=False, overwrite=overwrite, argument="--export-csv")
    tiles = read_tiles(opened, window=window, progress=progress)
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *range(1, tiles.vectors.shape[1] + 1)])
        for tile, vector in zip(
            opened.plan.tiles(tiles.index.tolist()), tiles.vectors, strict=True
        ):
            writer.writerow([tile.id, *(f"{value:.9g}" for value in vector.tolist())])
    return len(tiles)
