"""A run without a model: embeddings that are known functions of place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice, Tile
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import Marker
from thor_geo.tasks import RunWriter

# About 40 km around 12 E, 60 N: tiles in zones 32 and 33.
TWO_ZONES = (11.93, 59.96, 12.07, 60.04)
ONE_ZONE = (10.60, 59.85, 10.80, 59.97)
CELLS = 6
DIMENSION = 5


def plan_of(bbox: tuple[float, float, float, float] = ONE_ZONE, **lattice: Any) -> Plan:
    """Return a plan of small shards, so that there are several."""
    lattice = {"epsg": 32632, "tile_size": 288, "shard_tiles": 2, **lattice}
    return Plan.from_area(AreaSpec(bbox=bbox).load(), Lattice(**lattice))


def cell_centres(tile: Tile, cells: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
    """Return eastings and northings (cells, cells) of a tile's cells, row 0 = north."""
    left, _, right, top = tile.bounds
    side = (right - left) / cells
    x = left + (np.arange(cells) + 0.5) * side
    y = top - (np.arange(cells) + 0.5) * side
    return np.meshgrid(x, y)


def embed(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Return pooled (D,) and grid (D, h, w): easting and northing in km, and waves of them."""
    x, y = (a / 1000 for a in cell_centres(tile))
    grid = np.stack([x, y, np.sin(x), np.cos(y), np.sin(x + y)]).astype(np.float32)
    return grid.mean(axis=(1, 2)), grid


class Data:
    """The part of a datamodule that writers ask."""

    def __init__(self, plan: Plan, **settings: Any):
        self.plan = plan
        self.ledger: Any = None
        window = {} if "windows" in settings else {"start": "2022-06-01", "end": "2022-09-01"}
        self._settings = {**window, "source": "test", **settings}

    def settings(self) -> dict[str, Any]:
        return self._settings

    def info(self) -> dict[str, Any]:
        return {"statistics": {"B2": [0.17, 0.26]}}


class Model:
    """The part of a model that writers ask."""

    device = torch.device("cpu")

    def __init__(self, **settings: Any):
        self._settings = {
            "patch_size": 16,
            **settings,
        }

    def settings(self) -> dict[str, Any]:
        return self._settings

    def info(self) -> dict[str, Any]:
        return {
            "model_key": "thor_v1_tiny",
            "pretrained": False,
            "weights": "random weights (seed 0)",
            "cls_removed": True,
        }

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"pooled": (DIMENSION,), "grid": (DIMENSION, CELLS, CELLS)}

    def predict_step(self, batch: Any) -> None:  # BasePredictionWriter.setup looks at it
        raise NotImplementedError


def trainer_of(data: Data, *, rank: int = 0, world_size: int = 1) -> Any:
    """Return the part of a trainer that writers ask."""
    loop = SimpleNamespace(current_batch_indices=[])
    return SimpleNamespace(
        predict_loop=loop,
        datamodule=data,
        precision="32-true",
        is_global_zero=rank == 0,
        global_rank=rank,
        world_size=world_size,
        callbacks=[],
    )


def batches(
    plan: Plan,
    shard: Shard,
    *,
    size: int = 3,
    failed: dict[int, str] | None = None,
    empty: tuple[int, ...] = (),
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (prediction, batch) pairs of a shard; a failed tile has a slot of zeros."""
    failed = failed or {}
    out = []
    for start in range(shard.start, shard.stop, size):
        tiles = list(range(start, min(start + size, shard.stop)))
        pairs = [embed(plan.tile(t)) for t in tiles]
        gone = torch.tensor([t in failed or t in empty for t in tiles])
        zero = gone.logical_not().float()
        pooled = torch.from_numpy(np.stack([p for p, _ in pairs])) * zero[:, None]
        grid = torch.from_numpy(np.stack([g for _, g in pairs])) * zero[:, None, None, None]
        prediction = {
            "tile": torch.tensor(tiles),
            "valid_fraction": 0.75 * zero,
            "observations_mean": (torch.tensor(tiles) % 7 + 2.5) * zero,
            "pooled": pooled,
            "grid": grid,
        }
        batch = {
            "tile": torch.tensor(tiles),
            "image": torch.zeros(len(tiles), 1, 2, 2),
            "error": [failed.get(t) for t in tiles],
            "scenes": [() if t in empty else (f"S2_{t % 3}", f"S2_{t % 3 + 1}") for t in tiles],
        }
        out.append((prediction, batch))
    return out


def write_run(
    path: Path | str,
    plan: Plan,
    *,
    only: int | None = None,
    failed: dict[int, str] | None = None,
    empty: tuple[int, ...] = (),
    model: Model | None = None,
    data: Data | None = None,
    **writer: Any,
) -> RunWriter:
    """Write a run as Lightning makes the callback do it; *only* so many shards, then stop."""
    data = data or Data(plan)
    model = model or Model()
    trainer = trainer_of(data)
    callback = RunWriter(dir=path, **{"quicklook": False, **writer})
    callback.setup(trainer, model, "predict")
    # What the datamodule does in `predict_dataloader`.
    todo = [plan.shards[k] for k in data.ledger.unfinished()][:only]
    if todo:
        callback.on_predict_start(trainer, model)
        for shard in todo:
            for k, (prediction, batch) in enumerate(
                batches(plan, shard, failed=failed, empty=empty)
            ):
                callback.on_predict_batch_end(trainer, model, prediction, batch, k)
        callback.on_predict_end(trainer, model)
    callback.teardown(trainer, model, "predict")
    return callback


def is_finished(run: RunDirectory, shard: Shard, *, verify: bool = False) -> bool:
    """Return whether a shard's marker exists and confirms its files (*verify*: their sha256)."""
    marker = Marker.read(run.marker_path(shard))
    return marker is not None and run.confirms(marker, shard, verify=verify)
