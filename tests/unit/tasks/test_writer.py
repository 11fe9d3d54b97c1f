"""If one of these fails, an interrupted or repeated run loses, repeats or mixes up tiles."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from tests.support.synthetic_run import (
    Data,
    Model,
    batches,
    is_finished,
    plan_of,
    trainer_of,
    write_run,
)
from thor_geo.errors import ConfigError, RunDirectoryError, ThorGeoError
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import Marker
from thor_geo.runs.shard import Dtype
from thor_geo.tasks import RunWriter, TileProgressBar, shard_writer


def outputs(run: RunDirectory) -> dict[str, str]:
    """Return the sha256 of every file that holds embeddings."""
    files = [*run.pooled.glob("*"), *run.grid.rglob("c/0/*/*"), *run.failures.glob("*")]
    return {
        file.relative_to(run.path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def opened(
    path: Path, plan: Plan, *, rank: int = 0, world_size: int = 1, **kwargs: Any
) -> tuple[RunWriter, Any, Model]:
    """Return a writer as it stands before the first batch."""
    data, model = Data(plan), Model()
    trainer = trainer_of(data, rank=rank, world_size=world_size)
    writer = RunWriter(dir=path, quicklook=False, **kwargs)
    writer.setup(trainer, model, "predict")
    writer.on_predict_start(trainer, model)
    return writer, trainer, model


def test_two_runs_give_the_same_bytes(tmp_path: Path, plan: Plan) -> None:
    one = write_run(tmp_path / "one", plan, failed={1: "no such block"}, empty=(2,)).run
    two = write_run(tmp_path / "two", plan, failed={1: "no such block"}, empty=(2,)).run
    assert outputs(one) == outputs(two)
    # The vectors and the map of each shard, the plan, and the preview of each zone.
    assert len(outputs(one)) == 2 * len(plan.shards) + 1 + 2


def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path: Path, plan: Plan) -> None:
    straight = write_run(tmp_path / "straight", plan).run
    write_run(tmp_path / "stopped", plan, only=2)
    stopped = RunDirectory(tmp_path / "stopped")
    assert sum(is_finished(stopped, shard) for shard in plan.shards) == 2
    times = {path: path.stat().st_mtime_ns for path in stopped.pooled.iterdir()}
    write_run(tmp_path / "stopped", plan)
    assert outputs(straight) == outputs(stopped)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert all(is_finished(stopped, shard, verify=True) for shard in plan.shards)


def test_a_retry_makes_only_shards_with_failures(tmp_path: Path, plan: Plan) -> None:
    clean = write_run(tmp_path / "clean", plan).run
    broken = write_run(tmp_path / "run", plan, failed={1: "timed out", 5: "no such block"})
    assert broken.summary is not None
    assert broken.summary.failed == 2
    run = broken.run
    lines = [
        json.loads(line)
        for path in sorted(run.failures.iterdir())
        for line in path.read_text().splitlines()
    ]
    assert {line["tile_id"]: line["error"] for line in lines} == {
        plan.tile(1).id: "timed out",
        plan.tile(5).id: "no such block",
    }
    bad = {shard.id for shard in plan.shards for k in (1, 5) if shard.start <= k < shard.stop}
    times = {path: path.stat().st_mtime_ns for path in run.markers.iterdir()}
    mended = write_run(tmp_path / "run", plan)
    assert {plan.shards[k].id for k in mended.todo.shards} == bad
    touched = {path.stem for path in times if path.stat().st_mtime_ns != times[path]}
    assert touched == bad
    assert not list(run.failures.iterdir())
    assert outputs(run) == outputs(clean)


def test_a_second_run_of_a_finished_plan_writes_nothing(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", plan, quicklook=True).run
    times = {path: path.stat().st_mtime_ns for path in run.path.rglob("[!.]*") if path.is_file()}
    assert run.quicklook in times
    capsys.readouterr()
    again = write_run(tmp_path / "run", plan, quicklook=True)
    assert len(again.todo) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("[!.]*") if p.is_file()} == times


def test_other_settings_are_refused_before_any_batch(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan).run
    before = outputs(run)
    for change, says in (
        ({"model": Model(patch_size=8)}, r"model\.patch_size is 8 here and 16 there"),
        ({"data": Data(plan, mask="scl")}, r"data\.mask is \"scl\" here and \(absent\) there"),
        ({"dtype": "float16"}, r"output\.dtype"),
    ):
        with pytest.raises(RunDirectoryError, match=says):
            write_run(tmp_path / "run", plan, **change)  # type: ignore[arg-type]
    assert outputs(run) == before


@pytest.mark.parametrize("step", ["write_all", "failures_bytes"])
def test_the_marker_comes_last(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    original = getattr(shard_writer, step)
    calls = []

    def crash(*args: Any) -> Any:
        result = original(*args)
        calls.append(args)
        if len(calls) == 2:
            raise OSError("power failure")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, step, crash)
        with pytest.raises(RunDirectoryError, match=r"power failure.*are kept"):
            write_run(tmp_path / "run", plan)
    run = RunDirectory(tmp_path / "run")
    assert is_finished(run, plan.shards[0], verify=True)
    assert not run.marker_path(plan.shards[1]).exists()
    assert not is_finished(run, plan.shards[1])
    assert not list(run.path.rglob("*.tmp"))
    write_run(tmp_path / "run", plan)
    assert outputs(run) == outputs(write_run(tmp_path / "clean", plan).run)


def test_a_retry_removes_the_old_marker_first(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", plan, failed={0: "no such block"}).run

    def crash(path: Path, table: object) -> None:
        raise OSError("power failure")

    monkeypatch.setattr(shard_writer, "write_all", crash)
    with pytest.raises(RunDirectoryError, match=r"power failure.*are kept"):
        write_run(tmp_path / "run", plan)
    assert not run.marker_path(plan.shards[0]).exists()


def test_an_interruption_keeps_the_shard_being_written(tmp_path: Path, plan: Plan) -> None:
    writer, trainer, model = opened(tmp_path / "run", plan)
    first, second = plan.shards[:2]
    for prediction, batch in batches(plan, first):
        writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
    prediction, batch = batches(plan, second, size=1)[0]
    writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
    writer.on_exception(trainer, model, KeyboardInterrupt())
    assert is_finished(writer.run, first, verify=True)
    assert not writer.run.marker_path(second).exists()


def test_a_dead_worker_told_while_a_shard_is_waited_for_costs_no_shard(
    tmp_path: Path,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """PyTorch raises in a handler of SIGCHLD, wherever the main thread is; SIGUSR1 plays it."""
    writer, trainer, model = opened(tmp_path / "run", plan)
    go, original = threading.Event(), shard_writer.write_all

    def slow(path: Path, *args: Any) -> None:
        assert go.wait(20)
        original(path, *args)

    def told(number: int, frame: object) -> None:
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    monkeypatch.setattr(shard_writer, "write_all", slow)
    for prediction, batch in batches(plan, plan.shards[0]):
        writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
    before = signal.signal(signal.SIGUSR1, told)
    timers = [
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)),
        threading.Timer(0.8, go.set),
    ]
    try:
        for timer in timers:
            timer.start()
        writer.on_exception(trainer, model, ConnectionResetError())
    finally:
        for timer in timers:
            timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert not [record for record in caplog.records if record.exc_info]
    assert is_finished(writer.run, plan.shards[0], verify=True)


def test_markers_tell_what_happened(written: RunDirectory, plan: Plan) -> None:
    shard = plan.shards[0]
    marker = Marker.read(written.marker_path(shard))
    assert marker is not None
    assert marker.tiles == len(shard) == marker.ok + marker.empty + marker.failed
    everywhere = [Marker.read(written.marker_path(s)) for s in plan.shards]
    assert sum(m.failed for m in everywhere if m) == 1
    assert sum(m.empty for m in everywhere if m) == 1
    assert plan.tile(1).id in {t for m in everywhere if m for t in m.failed_tiles}
    assert marker.scenes == tuple(sorted(set(marker.scenes)))
    for name, output in marker.outputs.items():
        content = (written.path / name).read_bytes()
        assert output.size == len(content)
        assert output.sha256 == hashlib.sha256(content).hexdigest()
    assert {name.split("/")[0] for name in marker.outputs} == {"pooled", "grid.zarr"}


def test_a_vector_that_is_not_finite_fails_its_tile_alone(tmp_path: Path, plan: Plan) -> None:
    writer, trainer, model = opened(tmp_path / "run", plan, dtype="float16")
    shard = plan.shards[0]
    for prediction, batch in batches(plan, shard):
        if shard.start in prediction["tile"]:
            prediction["pooled"][0, 0] = torch.nan
            prediction["pooled"][1, 0] = 1e6
        writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
    writer.on_exception(trainer, model, KeyboardInterrupt())
    lines = writer.run.failures_path(shard).read_text().splitlines()
    errors = {json.loads(line)["tile_id"]: json.loads(line)["error"] for line in lines}
    assert "NaN" in errors.pop(plan.tile(shard.start).id)
    # The synthetic northings of about 6650 km fit float16.
    assert "does not fit float16" in errors.pop(plan.tile(shard.start + 1).id)
    assert not errors


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_value_that_no_output_holds_is_told_so(tmp_path: Path, plan: Plan, dtype: Dtype) -> None:
    writer, trainer, model = opened(tmp_path / "run", plan, dtype=dtype, grid=False)
    shard = plan.shards[0]
    for prediction, batch in batches(plan, shard):
        prediction["pooled"] = prediction["pooled"].double()
        prediction["pooled"][prediction["tile"] == shard.start, 0] = 1e39
        writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
    writer.on_exception(trainer, model, KeyboardInterrupt())
    (line,) = writer.run.failures_path(shard).read_text().splitlines()
    error = json.loads(line)["error"]
    assert f"does not fit {dtype} (largest value 1e+39): no output.dtype holds it" in error
    assert "output.dtype=float32" not in error


def test_batches_that_break_the_contract_are_refused(tmp_path: Path, plan: Plan) -> None:
    small, shard = plan.shards[:2]  # of 2 and 4 tiles
    ours, theirs = batches(plan, shard, size=2), batches(plan, small, size=2)
    for wrong, says in (
        ([ours[0], ours[0]], "tile of shard .* came twice"),
        ([*theirs, *theirs], "Shard .* came twice"),
        ([ours[0], theirs[0]], "must not cross shards"),
        ([(ours[0][0], {**ours[0][1], "scenes": []})], "one of each per tile"),
        ([({**ours[0][0], "pooled": torch.zeros(2, 3)}, ours[0][1])], "output_shapes"),
    ):
        writer, trainer, model = opened(tmp_path / "run", plan)
        for prediction, batch in wrong[:-1]:
            writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
        prediction, batch = wrong[-1]
        with pytest.raises(ThorGeoError, match=says):
            writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
        assert not writer.run.marker_path(shard).exists()


def test_bad_settings_fail_in_the_constructor_or_before_work(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(ConfigError, match=r"output\.pooled"):
        RunWriter(dir=tmp_path, pooled=False, grid=False)
    with pytest.raises(ConfigError, match=r"output\.dtype.*float32, float16, int8"):
        RunWriter(dir=tmp_path, dtype="int4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"output\.centre.*output\.pooled"):
        RunWriter(dir=tmp_path, pooled=False, centre=True)
    assert "centre" not in RunWriter(dir=tmp_path).settings(), "older runs must go on"
    with pytest.raises(ConfigError, match=r"output\.grid=false"):
        write_run(tmp_path / "overlap", plan_of(stride=144))
    assert not (tmp_path / "overlap" / "run.json").exists()

    class VectorsOnly(Model):
        def output_shapes(self) -> dict[str, tuple[int, ...]]:
            return {"pooled": (5,)}

    with pytest.raises(ConfigError, match=r"output\.grid=True.*only returns pooled"):
        write_run(tmp_path / "vectors", plan, model=VectorsOnly())
    write_run(tmp_path / "vectors", plan, model=VectorsOnly(), grid=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError, match="is a file"):
        write_run(tmp_path / "file", plan)


class _Module(LightningModule):
    """The synthetic run's model in Lightning: looks predictions up by tile."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.known = {
            tuple(p["tile"].tolist()): p for s in plan.shards for p, _ in batches(plan, s)
        }
        self.like = Model()

    def settings(self) -> dict[str, Any]:
        return self.like.settings()

    def info(self) -> dict[str, Any]:
        return self.like.info()

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        return self.like.output_shapes()

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, torch.Tensor]:
        return self.known[tuple(batch["tile"].tolist())]


class _DataModule(LightningDataModule):
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan, self.ledger = plan, None
        self.like = Data(plan)

    def settings(self) -> dict[str, Any]:
        return self.like.settings()

    def info(self) -> dict[str, Any]:
        return self.like.info()

    def predict_dataloader(self) -> DataLoader[Any]:
        ledger: Any = self.ledger
        shards = [self.plan.shards[k] for k in ledger.unfinished()]
        items = [batch for shard in shards for _, batch in batches(self.plan, shard)]
        return DataLoader(items, batch_size=None)  # type: ignore[arg-type]


def test_lightning_drives_it_and_resumes_when_nothing_is_left(
    tmp_path: Path, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = write_run(tmp_path / "expected", plan).run

    def predict() -> RunWriter:
        writer = RunWriter(dir=tmp_path / "run", quicklook=False)
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[writer, TileProgressBar(interval=0)],
        )
        trainer.predict(_Module(plan), datamodule=_DataModule(plan), return_predictions=False)
        return writer

    writer = predict()
    assert {n: h for n, h in outputs(writer.run).items() if "grid" in n} == {
        n: h for n, h in outputs(expected).items() if "grid" in n
    }
    captured = capfd.readouterr()
    assert f"{len(plan)}/{len(plan)} tiles" in captured.err
    assert "Embedded" in captured.out
    again = predict()
    assert again.summary is not None
    assert again.summary.new_tiles == 0
    assert "Nothing to do" in capfd.readouterr().out


def test_the_first_rank_waits_for_the_others(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thor_geo.tasks import waiting

    failed = plan.shards[-1]  # has a marker, which says nothing until it is replaced
    run = write_run(tmp_path / "run", plan, failed={failed.start: "timed out"}).run
    for shard in plan.shards[:-1]:
        run.marker_path(shard).unlink()
    run.marker_path(plan.shards[-2]).write_text("{")  # nor does a damaged one
    writer, trainer, model = opened(tmp_path / "run", plan, world_size=2)
    half = -(-len(plan.shards) // 2)
    for shard in plan.shards[:half]:
        for prediction, batch in batches(plan, shard):
            writer.write_on_batch_end(trainer, model, prediction, None, batch, 0, 0)
    left = list(plan.shards[half:])

    def other_rank(seconds: float) -> None:
        assert writer.frontier is not None
        assert [shard.id for shard in writer.frontier.missing] == [left[0].id]
        other, its_trainer, its_model = opened(tmp_path / "run", plan, rank=1, world_size=2)
        for prediction, batch in batches(plan, left.pop(0)):
            other.write_on_batch_end(its_trainer, its_model, prediction, None, batch, 0, 0)
        other.on_exception(its_trainer, its_model, KeyboardInterrupt())

    monkeypatch.setattr(waiting.time, "sleep", other_rank)
    writer.on_predict_end(trainer, model)
    assert not left
    assert writer.summary is not None
    assert writer.summary.complete
    np.testing.assert_equal(writer.summary.tiles, (len(plan), len(plan)))


def test_a_rank_that_never_ends_is_not_waited_for_for_ever(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from thor_geo.tasks import waiting

    monkeypatch.setattr(waiting, "_STALL_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "_POLL_SECONDS", 0.01)
    writer, trainer, model = opened(tmp_path / "run", plan, world_size=2)
    writer.on_predict_end(trainer, model)
    assert plan.shards[-(-len(plan.shards) // 2)].id in caplog.text
    assert writer.summary is not None
    assert not writer.summary.complete
