"""Embeddings as a CSV file for NeuCo-Bench."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.place_vectors import place_vectors, read_done, read_vectors
from thor_geo.probe.spec import ProbeSpec, Vectors
from thor_geo.results import read_tiles
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import id_column
from thor_geo.runs.target import check_target
from thor_geo.support.files import atomic_path


def export_csv(
    opened: OpenedRun,
    path: str | Path,
    *,
    window: int | None = None,
    vectors: Vectors | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> int:
    """Write the header ``id,1,...,D`` and a row for each tile or place with an embedding.

    NeuCo-Bench (https://github.com/embed2scale/NeuCo-Bench) reads the columns whose names are whole
    numbers, in ascending order, and standardises all values together. Ids are tile ids, or those of
    the table of places (its row numbers, from 0, if it has none), whose order the rows have. Values
    are those of the run, not standardised, with nine digits, which restore every float32.

    Args:
        opened: The run, with pooled vectors.
        path: The file.
        window: Which time window, 0 for the first, where the run has several.
        vectors: Which vectors of places; None takes ``centre`` where the run has it.
        overwrite: Whether to replace an earlier file.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Returns:
        The number of rows.

    Raises:
        ConfigError: If the file exists and *overwrite* is false, or the run has no such vectors.
        RunDirectoryError: If the run has no vectors, or they cannot be read.
    """
    path = Path(path).expanduser()
    check_target(opened.run, path, folder=False, overwrite=overwrite, argument="--export-csv")
    if isinstance(opened.plan, PlacePlan):
        ids, values = _places(opened, vectors, progress)
    else:
        if vectors is not None:
            raise ConfigError(
                "--vectors", vectors, "the run is of an area", "Leave it out: it is for places."
            )
        tiles = read_tiles(opened, window=window, progress=progress)
        ids = [tile.id for tile in opened.plan.tiles(tiles.index.tolist())]
        values = tiles.vectors
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *range(1, values.shape[1] + 1)])
        for name, vector in zip(ids, values, strict=True):
            writer.writerow([name, *(f"{value:.9g}" for value in vector.tolist())])
    return len(values)


def _places(
    opened: OpenedRun, kind: Vectors | None, progress: bool
) -> tuple[list[Any], npt.NDArray[np.float32]]:
    """Return the ids and vectors of all places that have an embedding, in the table's order."""
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    chosen = place_vectors(opened, ProbeSpec(vectors=kind))
    index, values = read_vectors(opened, chosen, progress=progress)
    order = np.argsort(plan.place[index])
    index, values = index[order], values[order]
    own = id_column(opened.run)
    if own is None:
        return plan.place[index].tolist(), values
    rows = read_done(opened, [own])
    return rows.columns[own].take(np.searchsorted(rows.index, index)).to_pylist(), values
