"""A run of places without a model: embeddings that are known functions of place and window."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tests.support.synthetic_run import CELLS, DIMENSION, Data, Model, embed, trainer_of
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places, column_digest
from thor_geo.ground.plan import Shard
from thor_geo.tasks import RunWriter

#: Longitude and latitude of 12 places in zones 32 and 33; two are the same, two share a chip.
POINTS = (
    (11.50, 59.90),
    (12.40, 59.95),
    (11.50, 59.90),
    (11.62, 60.01),
    (float("nan"), float("nan")),
    (12.41, 59.95),
    (11.500001, 59.90),
    (12.10, 60.20),
    (11.90, 59.70),
    (11.91, 59.70),
    (12.70, 60.30),
    (11.30, 60.10),
)
#: First and last day (exclusive) of the windows, in turn.
WINDOWS = (("2022-03-01", "2022-06-01"), ("2022-06-01", "2022-09-01"), ("2021-06-01", "2021-09-01"))
#: Which row was skipped, and why.
SKIPPED = {4: "row 4: no longitude and no latitude"}


def table() -> pa.Table:
    """Return the columns of the table: ids, and kept ones of several types, with nulls."""
    n = len(POINTS)
    return pa.table(
        {
            "plot_id": pa.array([f"plot-{k:02d}" for k in range(n)]),
            "crop": pa.array(["wheat", "barley", None, "wheat"] * 3),
            "country": pa.array(["NO", "SE", "NO"] * 4),
            "yield_t": pa.array([None if k == 5 else k / 4 for k in range(n)], pa.float32()),
            "cut": pa.array([None if k % 5 == 0 else k % 2 == 0 for k in range(n)]),
            "visits": pa.array([None if k == 3 else k for k in range(n)], pa.int16()),
            "surveyed": pa.array([19_000 + k for k in range(n)], pa.int32()).cast(pa.date32()),
            "seen": pa.array([k * 10**9 for k in range(n)], pa.int64()).cast(
                pa.timestamp("ms", tz="Europe/Oslo")
            ),
        }
    )


def places(columns: pa.Table | None = None, *, id: str | None = "plot_id") -> Places:
    """Return a table of 12 rows, the fifth skipped, in three windows."""
    n, skipped = len(POINTS), np.isin(np.arange(len(POINTS)), list(SKIPPED))
    starts, ends = (
        np.array([WINDOWS[k % 3][edge] for k in range(n)], dtype="datetime64[us]")
        for edge in (0, 1)
    )
    starts[skipped] = ends[skipped] = np.datetime64("NaT", "us")
    columns = table() if columns is None else columns
    return Places(
        source="survey.parquet",
        lon=np.array([lon for lon, _ in POINTS]),
        lat=np.array([lat for _, lat in POINTS]),
        starts=starts,
        ends=ends,
        columns=columns,
        id=id,
        polygons=None,
        skipped=SKIPPED,
        digests={
            **dict.fromkeys(("geometry", "datetime_start", "datetime_end"), "0" * 64),
            **{name: column_digest(columns[name]) for name in columns.column_names},
        },
    )


def plan_of(table: Places, *, shard_places: int = 4) -> PlacePlan:
    """Return the plan of a table, in small shards."""
    lattice = Lattice(epsg=32632, tile_size=288)
    return PlacePlan.from_places(table, lattice, unit=2, shard_places=shard_places, block_size=576)


class PlaceData(Data):
    """The part of a datamodule of places that writers ask."""

    def __init__(self, table: Places, plan: PlacePlan, **settings: Any) -> None:
        kept = [name for name in table.columns.column_names if name != table.id]
        about = {
            "rows": len(table),
            "id": table.id,
            "keep": kept,
            "columns": dict(table.digests),
            "days": None,
            "within": False,
            "shard_places": plan.shard_places,
        }
        span = {"start": "2021-06-01", "end": "2022-09-01"}
        super().__init__(plan, places=about, **settings)
        self._settings |= span
        self.places_table = table


class PlaceModel(Model):
    """The part of a model that writers ask, with the vector of the place's cell."""

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        return {**super().output_shapes(), "centre": (DIMENSION,)}


def place_batches(
    plan: PlacePlan,
    shard: Shard,
    *,
    size: int = 3,
    failed: Mapping[int, str] | None = None,
    empty: Collection[int] = (),
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (prediction, batch) pairs of a shard; window k adds k to every number.

    Failed and empty are rows of the table.
    """
    failed, out = failed or {}, []
    for start in range(shard.start, shard.stop, size):
        chips = range(start, min(start + size, shard.stop))
        rows = [int(plan.place[k]) for k in chips]
        there = torch.tensor([float(row not in failed and row not in empty) for row in rows])
        later = torch.tensor([float(plan.window[k]) for k in chips])
        pairs = [embed(plan.tile(k)) for k in chips]
        pooled = torch.from_numpy(np.stack([vector for vector, _ in pairs]))
        grid = torch.from_numpy(np.stack([cells for _, cells in pairs]))
        centre = torch.stack(
            [
                cells[:, int(row * CELLS / 288), int(col * CELLS / 288)]
                for cells, (row, col) in zip(grid, map(plan.at, chips), strict=True)
            ]
        )
        prediction = {
            "tile": torch.tensor(list(chips)),
            "valid_fraction": 0.75 * there,
            "observations_mean": (torch.tensor(rows) % 7 + 2.5) * there,
            "pooled": (pooled + later[:, None]) * there[:, None],
            "grid": (grid + later[:, None, None, None]) * there[:, None, None, None],
            "centre": (centre + later[:, None]) * there[:, None],
        }
        batch = {
            "tile": prediction["tile"],
            "image": torch.zeros(len(rows), 1, 2, 2),
            "error": [failed.get(row) for row in rows],
            "scenes": [() if row in empty else (f"S2_{row % 3}", f"S2_{row}") for row in rows],
        }
        out.append((prediction, batch))
    return out


def write_places(
    path: Path,
    table: Places | None = None,
    plan: PlacePlan | None = None,
    *,
    only: int | None = None,
    failed: Mapping[int, str] | None = None,
    empty: Collection[int] = (),
    data: Data | None = None,
    order: int = 1,
    **writer: Any,
) -> RunWriter:
    """Write a run of places as Lightning makes the callback do it.

    Args:
        path: The run directory.
        table: The table; None for `places`.
        plan: Its plan; None for that of `plan_of`.
        only: Shards to write, then stop; None for all.
        failed: Errors by row of the table.
        empty: Rows of the table without an observation.
        data: The datamodule; None for a new one.
        order: -1 to write shards in the opposite order.
        **writer: Arguments of `RunWriter`.
    """
    table = places() if table is None else table
    plan = plan_of(table) if plan is None else plan
    data = data or PlaceData(table, plan)
    model: Any = PlaceModel()
    trainer = trainer_of(data)
    callback = RunWriter(dir=path, **{"quicklook": False, "centre": True, **writer})
    callback.setup(trainer, model, "predict")
    todo = [plan.shards[k] for k in data.ledger.unfinished()][::order][:only]
    if todo:
        callback.on_predict_start(trainer, model)
        for shard in todo:
            made = place_batches(plan, shard, failed=failed, empty=empty)
            for k, (prediction, batch) in enumerate(made):
                callback.on_predict_batch_end(trainer, model, prediction, batch, k)
        callback.on_predict_end(trainer, model)
    callback.teardown(trainer, model, "predict")
    return callback
