"""A run in several time windows without a model: window k adds k to every number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tests.support.synthetic_run import Data, Model, batches, trainer_of
from thor_geo.ground.plan import Plan, Shard
from thor_geo.tasks import RunWriter

WINDOWS = [["2022-03-01", "2022-06-01"], ["2022-06-01", "2022-09-01"], ["2022-07-01", "2022-10-01"]]
NAMES = ["20220301_20220601", "20220601_20220901", "20220701_20221001"]
#: A tile and the index of a window.
Row = tuple[int, int]


def windowed_batches(
    plan: Plan,
    shard: Shard,
    *,
    failed: Mapping[Row, str] | None = None,
    empty: Collection[Row] = (),
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (prediction, batch) pairs of a shard: some tiles in all windows, then the next."""
    by_window = []
    for k in range(len(WINDOWS)):
        pairs = batches(
            plan,
            shard,
            failed={tile: why for (tile, window), why in (failed or {}).items() if window == k},
            empty=tuple(tile for tile, window in empty if window == k),
        )
        for prediction, batch in pairs:
            there = (prediction["valid_fraction"] > 0).float() * k
            prediction["pooled"] += there[:, None]
            prediction["grid"] += there[:, None, None, None]
            batch["window"] = [k] * len(batch["error"])
        by_window.append(pairs)
    return [pair for same_tiles in zip(*by_window, strict=True) for pair in same_tiles]


def write_windows(
    path: Path,
    plan: Plan,
    *,
    only: int | None = None,
    failed: Mapping[Row, str] | None = None,
    empty: Collection[Row] = (),
    data: Data | None = None,
    **writer: Any,
) -> RunWriter:
    """Write a run in all `WINDOWS`, as `write_run` does in one."""
    data = data or Data(plan, windows=WINDOWS)
    model: Any = Model()
    trainer = trainer_of(data)
    callback = RunWriter(dir=path, **{"quicklook": False, **writer})
    callback.setup(trainer, model, "predict")
    todo = [plan.shards[k] for k in data.ledger.unfinished()][:only]
    if todo:
        callback.on_predict_start(trainer, model)
        for shard in todo:
            made = windowed_batches(plan, shard, failed=failed, empty=empty)
            for k, (prediction, batch) in enumerate(made):
                callback.on_predict_batch_end(trainer, model, prediction, batch, k)
        callback.on_predict_end(trainer, model)
    callback.teardown(trainer, model, "predict")
    return callback
