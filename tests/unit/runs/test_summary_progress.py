"""If one of these fails, a person does not learn how the run goes or where its files are."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas  # noqa: F401  (the printed line uses it)
import pytest
import xarray  # noqa: F401  (likewise)

import thor_geo
from benchmarks.support.object_store import ObjectStore
from tests.support.synthetic_run import Data, Model, batches, trainer_of, write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory, summarise
from thor_geo.support.words import duration
from thor_geo.tasks import RunWriter, TileProgressBar


def test_the_summary_counts_and_its_lines_open_the_files(written: RunDirectory, plan: Plan) -> None:
    summary = summarise(written, plan, seconds=2.0)
    text = str(summary)
    assert f"Embedded {len(plan)} tiles in 2.0 s ({len(plan) / 2:.1f} tiles/s)" in text
    assert f"{len(plan)} of {len(plan)}: {len(plan) - 2} ok, 1 empty" in text
    assert f"{plan.area_km2:,.1f} km2 in utm32n, utm33n" in text
    assert f"{plan.tile(1).id}: no such block" in text
    assert "picture" not in text
    lines = re.findall(r"(?:geopandas|xarray)\.\S+\(.*\)", text)
    assert len(lines) == 2
    modules = {"geopandas": sys.modules["geopandas"], "xarray": sys.modules["xarray"]}
    tiles, grid = (eval(line, dict(modules)) for line in lines)
    assert len(tiles) == len(plan)
    assert grid.embeddings.dims == ("band", "y", "x")


def test_lines_of_a_run_in_a_store_open_it_with_what_is_installed(
    written: RunDirectory, plan: Plan, bucket: ObjectStore
) -> None:
    assert isinstance(written.path, Path)
    bucket.upload(written.path, "oslo")
    text = str(summarise(RunDirectory(bucket.url("oslo")), plan, seconds=2.0))
    lines = re.findall(r"thor_geo\.\S+\(.*\)", text)
    tiles, grid = (eval(line, {"thor_geo": thor_geo}) for line in lines)
    assert len(tiles) == len(plan) - 2
    assert grid.dims == ("band", "y", "x")


def test_a_run_of_nothing_but_failures_embedded_nothing(written: RunDirectory, plan: Plan) -> None:
    summary = replace(summarise(written, plan, seconds=2.0), ok=0, empty=0, failed=len(plan))
    assert str(summary).startswith("No tile could be embedded in 2.0 s")


def test_a_part_of_a_run_says_what_is_left(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan, only=1).run
    summary = summarise(run, plan, session="another launch", seconds=1.0)
    assert not summary.complete
    assert summary.new_tiles == 0
    text = str(summary)
    assert f"{len(plan.shards) - 1} of {len(plan.shards)} shards" in text
    assert f"{len(plan.shards[0])} of {len(plan)} tiles are done" in str(summarise(run, plan))


def test_only_a_run_of_empty_tiles_blames_the_scenes(tmp_path: Path, plan: Plan) -> None:
    run = RunDirectory(tmp_path / "run")
    nothing = summarise(run, plan)
    assert nothing.tiles[0] == 0
    assert "no scene passed" not in str(nothing)
    done = replace(nothing, tiles=(len(plan), len(plan)))
    assert "no scene passed" in str(replace(done, empty=len(plan)))
    assert "no scene passed" not in str(replace(done, empty=len(plan) - 1, ok=1))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.43, "8.4 s"), (59.97, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def bar_over(plan: Plan, tmp_path: Path, world_size: int = 1) -> tuple[TileProgressBar, Any]:
    data = Data(plan)
    trainer = trainer_of(data, world_size=world_size)
    writer = RunWriter(dir=tmp_path / "run", quicklook=False)
    writer.setup(trainer, Model(), "predict")  # type: ignore[arg-type]
    writer.on_predict_start(trainer, Model())  # type: ignore[arg-type]
    bar = TileProgressBar(interval=0.0)
    trainer.callbacks = [writer, bar]
    bar.setup(trainer, Model(), "predict")  # type: ignore[arg-type]
    bar.on_predict_start(trainer, Model())  # type: ignore[arg-type]
    return bar, trainer


def test_without_a_terminal_it_prints_plain_lines(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    _, trainer = bar_over(plan, tmp_path)
    model: Any = Model()
    for shard in plan.shards[:2]:
        for prediction, batch in batches(plan, shard, failed={1: "timed out"}):
            for callback in trainer.callbacks:
                callback.on_predict_batch_end(trainer, model, prediction, batch, 0)
    error = capsys.readouterr().err
    assert "\r" not in error
    done = sum(map(len, plan.shards[:2]))
    last = error.splitlines()[-1]
    assert re.fullmatch(
        rf"\[thor-geo\] +{100 * done // len(plan)}%  {done}/{len(plan)} tiles, [\d,.]+ tiles/s, "
        rf"\d+:\d\d left, 2/{len(plan.shards)} shards, 1 failed",
        last,
    ), last


def test_in_a_terminal_it_draws_a_bar(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar, trainer = bar_over(plan, tmp_path)
    model: Any = Model()
    for shard in plan.shards:
        for prediction, batch in batches(plan, shard):
            bar.on_predict_batch_end(trainer, model, prediction, batch, 0)
    bar.on_predict_epoch_end(trainer, model)
    error = capsys.readouterr().err
    assert "\r" in error
    assert f"{len(plan)}/{len(plan)} tiles" in error
    assert "100%" in error


def test_other_ranks_count_when_their_markers_appear(tmp_path: Path, plan: Plan) -> None:
    bar, trainer = bar_over(plan, tmp_path, world_size=2)
    model: Any = Model()
    first = -(-len(plan.shards) // 2)
    own, others = plan.shards[0], plan.shards[first:]
    for prediction, batch in batches(plan, own):
        bar.on_predict_batch_end(trainer, model, prediction, batch, 0)
    assert bar.done == len(own)
    run: RunDirectory = trainer.callbacks[0].run
    for shard in (own, *others):
        run.marker_path(shard).write_text("{}")
    bar.on_predict_epoch_end(trainer, model)
    assert bar.done == len(own) + sum(map(len, others))


def test_other_ranks_show_nothing(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    bar, trainer = bar_over(plan, tmp_path)
    capsys.readouterr()  # what the first rank said when it began
    trainer = SimpleNamespace(**{**vars(trainer), "is_global_zero": False})
    model: Any = Model()
    bar.setup(trainer, model, "predict")
    for prediction, batch in batches(plan, plan.shards[0]):
        bar.on_predict_batch_end(trainer, model, prediction, batch, 0)
    bar.on_predict_epoch_end(trainer, model)
    assert "tiles" not in capsys.readouterr().err
