"""If one of these fails, an embedding stands under another time window than its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rioxarray  # noqa: F401  # for `.rio`
import xarray as xr

from tests.support.synthetic_run import (
    CELLS,
    DIMENSION,
    TWO_ZONES,
    Data,
    embed,
    plan_of,
    trainer_of,
    write_run,
)
from tests.support.windowed_run import NAMES, WINDOWS, windowed_batches, write_windows
from thor_geo.errors import ThorGeoError
from thor_geo.ground.plan import Plan
from thor_geo.pictures.zone_pictures import drawn_windows, read_pictures
from thor_geo.runs.markers import Marker
from thor_geo.runs.quantise import dequantise
from thor_geo.specs import Windows
from thor_geo.tasks.progress import TileProgressBar
from thor_geo.tasks.session import wanted_shapes
from thor_geo.tasks.shard_writer import ShardWriter

COUNT = len(WINDOWS)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(TWO_ZONES)


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: tile 3 failed in the second window, tile 4 has no scene in the first."""
    path = tmp_path_factory.mktemp("windows") / "run"
    write_windows(path, plan, failed={(3, 1): "no such block"}, empty={(4, 0)})
    return path


def test_rows_are_tiles_by_windows_each_with_its_own_dates_and_state(run: Path, plan: Plan) -> None:
    rows = pd.concat([gpd.read_parquet(path) for path in sorted(run.glob("pooled/*.parquet"))])
    tiles = [tile.id for tile in plan.tiles(range(len(plan)))]
    by_shard = rows.set_index("id").loc[[f"{tile}_{name}" for tile in tiles for name in NAMES]]
    assert len(by_shard) == len(rows) == COUNT * len(plan)
    assert by_shard.tile_id.tolist() == [tile for tile in tiles for _ in NAMES]
    # In the files, too, the windows of a tile stand together.
    first = pq.read_table(run / "pooled" / f"{plan.shards[0].id}.parquet")["id"].to_pylist()
    assert first == by_shard.index[: len(first)].tolist()
    starts, ends = ([pd.Timestamp(one[k], tz="UTC") for one in WINDOWS] for k in (0, 1))
    assert by_shard.datetime_start.tolist() == starts * len(plan)
    assert by_shard.datetime_end.tolist() == ends * len(plan)
    for k, (_, row) in enumerate(by_shard.iterrows()):
        tile, window = divmod(k, COUNT)
        expected = {(3, 1): "failed", (4, 0): "empty"}.get((tile, window), "ok")
        assert row.status == expected
        if expected == "ok":
            np.testing.assert_array_equal(row.embedding, embed(plan.tile(tile))[0] + window)
        else:
            assert row.embedding is None
    assert by_shard.error.dropna().to_dict() == {f"{tiles[3]}_{NAMES[1]}": "no such block"}
    assert by_shard.geometry.iloc[0].equals(by_shard.geometry.iloc[COUNT - 1])


def test_markers_and_failures_name_the_row(run: Path, plan: Plan) -> None:
    shard = plan.shards[plan.shards.holding(3)]
    marker = Marker.read(run / "markers" / f"{shard.id}.json")
    assert marker is not None
    failed, empty = (f"{plan.tile(3).id}_{NAMES[1]}", f"{plan.tile(4).id}_{NAMES[0]}")
    assert (marker.tiles, marker.failed_tiles) == (COUNT * len(shard), (failed,))
    assert marker.empty_tiles == (empty,)
    assert len(marker.observations_mean) == marker.tiles
    record = json.loads((run / "failures" / f"{shard.id}.jsonl").read_text())
    assert record == {"id": failed, "tile_id": plan.tile(3).id, "error": "no such block"}


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_maps_have_a_time_axis_of_dates_that_xarray_knows(
    plan: Plan, tmp_path: Path, dtype: str
) -> None:
    write_windows(tmp_path / "run", plan, empty={(0, 2)}, dtype=dtype)
    group = xr.open_zarr(tmp_path / "run" / "grid.zarr", group="utm32n")
    starts, ends = ([pd.Timestamp(one[k]) for one in WINDOWS] for k in (0, 1))
    assert group.embeddings.dims == ("time", "band", "y", "x")
    assert group.time.to_index().tolist() == starts
    assert pd.DatetimeIndex(group.embeddings.time_end).tolist() == ends
    assert group.time_end.dims == ("time",)
    assert group.embeddings.encoding["chunks"][0] == group.embeddings.encoding["shards"][0] == 1
    assert group.embeddings.rio.crs.to_epsg() == 32632
    for index in np.flatnonzero(plan.zone == 0).tolist():
        tile = plan.tile(index)
        left, bottom, right, top = tile.bounds
        here = group.sel(x=slice(left, right), y=slice(top, bottom))
        for k, (start, _) in enumerate(WINDOWS):
            values = here.embeddings.sel(time=start).values
            if (index, k) == (0, 2):
                assert np.isnan(values).all()
                continue
            expected = embed(tile)[1] + k
            if dtype == "float32":
                np.testing.assert_array_equal(values, expected)
                continue
            assert group["scale"].dims == ("time", "y", "x")
            scale = here["scale"].sel(time=start).values
            assert (np.abs(dequantise(values, scale) - expected) <= 0.51 * scale).all()


def digests(run: Path) -> dict[str, bytes]:
    files = [*run.glob("pooled/*"), *run.rglob("grid.zarr/**/*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.is_file()}


def test_a_stopped_run_continues_to_the_same_bytes(plan: Plan, tmp_path: Path) -> None:
    write_windows(tmp_path / "whole", plan)
    write_windows(tmp_path / "parts", plan, only=1)
    kept = (tmp_path / "parts" / "markers" / f"{plan.shards[0].id}.json").read_bytes()
    write_windows(tmp_path / "parts", plan)
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    now = (tmp_path / "parts" / "markers" / f"{plan.shards[0].id}.json").read_bytes()
    assert now == kept, "what is finished is not made again"


def test_a_shard_that_lost_one_windows_file_is_made_again(plan: Plan, tmp_path: Path) -> None:
    writer = write_windows(tmp_path / "run", plan)
    before = digests(writer.run.path)
    file = next(
        (writer.run.grid / "utm33n" / "embeddings" / "c" / "2").rglob("[0-9]*/[0-9]*/[0-9]")
    )
    file.unlink()
    assert len(digests(writer.run.path)) == len(before) - 1
    write_windows(tmp_path / "run", plan)
    assert digests(writer.run.path) == before


def test_a_batch_that_does_not_say_its_window_stops_the_run(plan: Plan, tmp_path: Path) -> None:
    shard = plan.shards[0]
    writer = write_windows(tmp_path / "run", plan, only=0)
    assert writer._session is not None
    shards = ShardWriter(
        writer.run,
        plan,
        wanted_shapes(writer._session.started, "float32", pooled=True, grid=True),
        Windows.from_dates(windows=WINDOWS),
        None,
    )
    for window in ([], [0, 1], [7]):
        prediction, batch = windowed_batches(plan, shard)[0]
        with pytest.raises(ThorGeoError, match="windows 0 to 2: each batch must be of one"):
            shards.add(prediction, {**batch, "window": window})
    shards.close()


def test_the_summary_counts_every_window_and_the_ground_once(
    plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = write_run(tmp_path / "alone", plan).summary
    summary = write_windows(tmp_path / "run", plan, failed={(3, 1): "gone"}, empty={(4, 0)}).summary
    assert summary is not None
    assert alone is not None
    assert summary.tiles == (COUNT * len(plan),) * 2
    assert (summary.empty, summary.failed) == (1, 1)
    assert summary.area_km2 == pytest.approx(alone.area_km2)
    assert summary.first_failure == (f"{plan.tile(3).id}_{NAMES[1]}", "gone")
    said = capfd.readouterr().out
    assert f"48 of 48 ({len(plan)} in each of 3 windows): 46 ok" in said
    assert "its axis `time` has 3 windows: .isel(time=0)" in said
    assert "axis" not in str(alone)


def test_progress_reaches_the_end_with_the_last_window(
    plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = Data(plan, windows=WINDOWS)
    writer = write_windows(tmp_path / "run", plan, only=0, data=data)
    trainer = trainer_of(data)
    trainer.callbacks = [writer]
    bar = TileProgressBar(interval=0)
    bar.on_predict_start(trainer, None)  # type: ignore[arg-type]
    seen = []
    for shard in plan.shards:
        for k, (prediction, batch) in enumerate(windowed_batches(plan, shard)):
            bar.on_predict_batch_end(trainer, None, prediction, batch, k)  # type: ignore[arg-type]
            seen.append(bar.done)
    total = COUNT * len(plan)
    assert seen == sorted(set(seen))
    assert seen[-1] == total
    bar.on_predict_epoch_end(trainer, None)  # type: ignore[arg-type]
    said = capfd.readouterr().err
    assert f"{total}/{total} tiles" in said
    assert f"{len(plan.shards)}/{len(plan.shards)} shards" in said


@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_the_picture_shows_each_window_that_has_room(plan: Plan, tmp_path: Path, kind: str) -> None:
    only: dict[str, Any] = {"pooled": kind == "pooled", "grid": kind == "grid"}
    windows = Windows.from_dates(windows=WINDOWS)
    run = write_windows(tmp_path / "run", plan, empty={(0, 2)}, quicklook=True, **only).run
    assert run.quicklook.stat().st_size > 10_000
    asked: list[int] = []

    def truecolour(epsg: int, bounds: object, shape: tuple[int, int], window: int) -> np.ndarray:
        asked.append(window)
        return np.zeros((*shape, 3), dtype=np.uint8)

    pictures, colours = read_pictures(run, plan, truecolour, windows)
    # Two zones, so two windows each: the first and the last.
    assert drawn_windows(plan, windows) == [0, 2]
    labels = ["2022-03-01 to 2022-06-01", "2022-07-01 to 2022-10-01"]
    assert [picture.window for picture in pictures] == labels * 2
    assert asked == [0, 2, 0, 2]
    assert colours is not None
    assert [len(picture.empty) for picture in pictures] == [0, 1, 0, 0]
    assert np.isfinite(pictures[0].observations).sum() == (plan.zone == 0).sum()
    # Window k adds k: the colours are not those of the first window again.
    assert not np.array_equal(pictures[2].embeddings, pictures[3].embeddings)
    side = {"pooled": 1, "grid": CELLS}[kind]
    assert pictures[0].embeddings.shape[0] == side * pictures[0].observations.shape[0]


def test_of_many_windows_some_at_even_distances_are_drawn() -> None:
    plan = plan_of()
    months = [[f"2022-{k:02}-01", f"2022-{k + 1:02}-01"] for k in range(1, 12)]
    assert drawn_windows(plan, Windows.from_dates(windows=months)) == [0, 3, 7, 10]
    assert drawn_windows(plan, Windows.from_dates(windows=months[:3])) == [0, 1, 2]


def test_a_list_of_one_window_has_a_time_axis_too(plan: Plan, tmp_path: Path) -> None:
    data = Data(plan, windows=WINDOWS[:1])
    write_windows(tmp_path / "run", plan, data=data, only=0)
    group = xr.open_zarr(tmp_path / "run" / "grid.zarr", group="utm32n")
    assert group.embeddings.shape[:2] == (1, DIMENSION)
