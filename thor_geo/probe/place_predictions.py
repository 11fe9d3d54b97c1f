"""Predictions of a probe for a run of places: the user's table with a prediction in each row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.place_vectors import read_done, vector_parts
from thor_geo.probe.saved import SavedProbe
from thor_geo.probe.spec import SampleUnit, Vectors
from thor_geo.runs.geoparquet import bbox_column, geo_metadata, parquet_writer
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import own_columns
from thor_geo.support.arrays import ObjectArray
from thor_geo.support.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

#: Vectors of places that a probe of tiles, cells or places takes.
VECTORS_OF: dict[SampleUnit, Vectors] = {"tiles": "pooled", "cells": "centre", "places": "both"}


def write_place_table(
    opened: OpenedRun, probe: SavedProbe, path: Path, *, progress: bool = False
) -> None:
    """Predict on all places of a run that have an embedding.

    The rows of ``predictions.parquet`` are those of the table, in its order, with its id and the
    columns kept, their own types and nulls: ``place`` (row of the table), those columns,
    ``prediction``, for classes a probability ``p_<class>`` each, and the place as ``geometry``. A
    name that the table has already gets underscores at its end.

    Args:
        opened: A run of places.
        probe: The probe; it fits the run.
        path: The file.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Raises:
        RunDirectoryError: If no place has an embedding, or a file cannot be read.
    """
    import pyarrow as pa

    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    indices, scores, chances = [], [], []
    for part, vectors in vector_parts(opened, VECTORS_OF[probe.unit], progress=progress):
        indices.append(part)
        scores.append(probe.predict(vectors))
        chances.append(probe.probabilities(vectors) if probe.classes else np.empty((len(part), 0)))
    rows = read_done(opened, own_columns(opened.run))
    index = np.concatenate(indices)
    order = np.argsort(plan.place[index])
    index = index[order]
    # First of all, for a table without columns has no rows for pyarrow.
    numbered = rows.columns.add_column(0, "place", pa.array(plan.place[rows.index]))
    table = numbered.take(pa.array(np.searchsorted(rows.index, index)))
    predicted, shares = np.concatenate(scores)[order], np.concatenate(chances)[order]
    values = [probe.classes[k] for k in predicted.tolist()] if probe.classes else predicted
    made = [("prediction", pa.array(values))]
    made += [(f"p_{name}", pa.array(shares[:, k])) for k, name in enumerate(probe.classes)]
    points: ObjectArray = np.asarray(shapely.points(plan.lon[index], plan.lat[index]))
    made += [("geometry", pa.array(shapely.to_wkb(points, byte_order=1)))]
    made += [("bbox", bbox_column(points))]
    for name, column in made:
        table = table.append_column(_free(name, table), column)
    table = table.replace_schema_metadata({"geo": geo_metadata(points)})
    with atomic_path(path) as temporary, parquet_writer(temporary, table.schema) as out:
        out.write_table(table)


def _free(name: str, table: pa.Table) -> str:
    while name in table.column_names:
        name += "_"
    return name
