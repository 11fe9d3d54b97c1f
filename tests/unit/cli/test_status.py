"""If one of these fails, a person misjudges how far a run is, or waits for one that has died."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.damage import edit_json
from tests.support.held import another
from tests.support.synthetic_run import write_run
from thor_geo.checks.tally import Tally, count_markers
from thor_geo.cli.main import main as command
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory, summarise
from thor_geo.runs.opened_run import read_run

NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def set_markers(run: RunDirectory, plan: Plan, seconds: list[float], **more: Any) -> None:
    """Let shards have been finished so many seconds before noon, each in 10 s."""
    for shard, before in zip(plan.shards, seconds, strict=False):
        at = (NOON - dt.timedelta(seconds=before)).isoformat()
        values = {"finished_at": at, "compute_seconds": 10.0, **more}
        edit_json(run.marker_path(shard), lambda marker, values=values: marker.update(values))


def look(run: RunDirectory, now: dt.datetime = NOON) -> Tally:
    return count_markers(read_run(run.path), now=now)


@pytest.fixture
def run(tmp_path: Path, plan: Plan) -> RunDirectory:
    """Return a finished run: tile 3 failed, tile 4 is empty."""
    path = tmp_path / "run"
    failed = {3: "block utm32n_r10_b576_x1_y2: no such block"}
    return write_run(path, plan, failed=failed, empty=(4,)).run


@pytest.fixture
def half(tmp_path: Path, plan: Plan) -> RunDirectory:
    """Return a run that stopped after four shards, as if on a file system without locks."""
    run = write_run(tmp_path / "half", plan, only=4, grid=False).run
    (run.path / ".run.lock").unlink()
    return run


def test_done_failed_and_left_add_up(run: RunDirectory, half: RunDirectory, plan: Plan) -> None:
    counts = look(run)
    n = len(plan.shards)
    assert (counts.shards_done, counts.shards_failed, counts.shards_left) == (n - 1, 1, 0)
    assert (counts.ok, counts.empty, counts.failed, counts.left) == (len(plan) - 2, 1, 1, 0)
    counts = look(half)
    assert (counts.shards_done, counts.shards_failed, counts.shards_left) == (4, 0, n - 4)
    assert counts.ok == plan.shards[3].stop
    assert counts.left == len(plan) - counts.ok


def test_rate_and_time_left_are_those_of_the_last_quarter_of_an_hour(
    half: RunDirectory, plan: Plan
) -> None:
    tiles = plan.shards[3].stop
    set_markers(half, plan, [40, 30, 20, 10])
    counts = look(half)
    assert counts.running
    assert counts.rate_seconds == pytest.approx(50)  # the first was begun 10 s before its end
    assert counts.rate == pytest.approx(tiles / 50)
    assert counts.seconds_left == pytest.approx((len(plan) - tiles) * 50 / tiles)


def test_an_old_part_of_the_run_does_not_count_for_the_rate(run: RunDirectory, plan: Plan) -> None:
    run.marker_path(plan.shards[8]).unlink()
    (run.path / ".run.lock").unlink()
    set_markers(run, plan, [90_000, 80_000, 60, 50, 40, 30, 20, 10])
    counts = look(run)
    recent = sum(len(shard) for shard in plan.shards[2:8])
    assert counts.rate == pytest.approx(recent / 70)


def test_a_run_that_has_died_has_no_time_left(half: RunDirectory, plan: Plan) -> None:
    set_markers(half, plan, [7240, 7230, 7220, 7210])
    counts = look(half)
    assert not counts.running
    assert counts.seconds_left is None
    assert counts.newest_age == pytest.approx(7210)
    assert counts.rate is None
    # Where a shard takes half an hour, two hours of silence are nothing.
    set_markers(half, plan, [7240, 7230, 7220, 7210], compute_seconds=1800.0)
    assert look(half).running


def test_a_held_lock_tells_that_it_runs_and_a_free_one_that_it_stopped(
    half: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    def status_line() -> str:
        assert command(["status", str(half.path)]) == 0
        return capfd.readouterr().out

    now = dt.datetime.now(dt.UTC)
    set_markers(half, plan, [(NOON - now).total_seconds()] * 4)
    assert "; perhaps running" in status_line()  # no lock's file: the markers' age tells
    (half.path / ".run.lock").touch()
    text = status_line()
    assert "; stopped: run the same command, or its other jobs, to continue" in text
    assert "rate " not in text
    assert "newest " in text
    set_markers(half, plan, [7240, 7230, 7220, 7210])
    with another(half.path, 7, 8):
        counts = look(half)
        assert (counts.locked, counts.running) == (True, True)
        assert counts.seconds_left is not None
        assert "; running" in status_line()
        for shard in plan.shards[:4]:
            half.marker_path(shard).unlink()
        assert "no shard is finished yet; running" in status_line()
    assert "no shard is finished yet; stopped" in status_line()


def test_a_complete_run_has_the_rate_of_its_work_not_of_the_days_between(
    run: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    shards = len(plan.shards)
    # Two at the same time, one after them, the rest the day before; each took 10 s.
    set_markers(run, plan, [20, 20, 10, *(90_000 - 10 * k for k in range(shards - 3))])
    counts = look(run)
    assert not counts.running
    assert counts.rate_seconds == pytest.approx(10 * (shards - 1))
    assert counts.rate == pytest.approx(len(plan) / (10 * (shards - 1)))
    assert command(["status", str(run.path)]) == 0
    text = capfd.readouterr().out
    assert "of work" in text
    assert "at work" not in text


def test_clocks_that_disagree_and_times_that_are_none_do_no_harm(
    half: RunDirectory, plan: Plan
) -> None:
    set_markers(half, plan, [-30, -20, -10, 10])
    assert look(half).newest_age == 0
    set_markers(half, plan, [0, 0, 0, 0], finished_at="yesterday")
    counts = look(half)
    assert counts.rate is None
    assert counts.shards_done == 4


def test_what_fetching_cost_is_summed(half: RunDirectory, plan: Plan) -> None:
    set_markers(half, plan, [40, 30], fetch={"requests": 10, "retries": 1, "seconds_waiting": 2.5})
    counts = look(half)
    assert counts.fetch["requests"] == 20
    assert counts.fetch["retries"] == 2
    assert counts.fetch["seconds_waiting"] == 5
    assert counts.fetch["splits"] == 0


def test_failures_are_counted_by_message_without_ids(run: RunDirectory, plan: Plan) -> None:
    counts = look(run)
    assert counts.messages == {"block <id>: no such block": 1}
    (failure,) = counts.failures
    assert failure.tile == plan.tile(3).id
    assert failure.error == "block utm32n_r10_b576_x1_y2: no such block"


def test_markers_of_another_run_and_damaged_ones_do_not_count(
    half: RunDirectory, plan: Plan
) -> None:
    edit_json(half.marker_path(plan.shards[0]), lambda marker: marker.update(fingerprint="0" * 64))
    half.marker_path(plan.shards[1]).write_text("{")
    counts = look(half)
    assert counts.shards_done == 2
    assert counts.shards_left == len(plan.shards) - 2


@pytest.mark.parametrize("field", ["compute_seconds", "fetch", "ok"])
@pytest.mark.parametrize("number", ["NaN", "1e999", "1" + 400 * "0", "1e308", "true", "-1e999"])
def test_impossible_numbers_end_no_look(
    half: RunDirectory,
    plan: Plan,
    field: str,
    number: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = dt.datetime.now(dt.UTC).isoformat()
    for shard in plan.shards[:2]:
        path = half.marker_path(shard)
        fetch = {"requests": 1, "seconds_waiting": "?"}
        value = fetch if field == "fetch" else "?"
        marker = {**json.loads(path.read_bytes()), "finished_at": now, field: value}
        path.write_text(json.dumps(marker).replace('"?"', number))
    for options in ([], ["--json"]):
        assert command(["status", str(half.path), *options]) == 0
        out = capfd.readouterr().out
        assert "is damaged" in caplog.text
    content = json.loads(out)
    assert content["shards"]["done"] == 2
    assert content["tiles"]["ok"] == sum(len(shard) for shard in plan.shards[2:4])


def test_a_marker_that_cannot_be_read_is_told(
    half: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    path = half.marker_path(plan.shards[0])
    path.unlink()
    path.mkdir()
    assert command(["status", str(half.path)]) == 2
    assert f"{path}` cannot be read" in capfd.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"tile_id": 1}', None])
def test_a_damaged_list_of_failed_tiles_ends_no_look(
    run: RunDirectory, plan: Plan, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = run.failures_path(plan.shards[1])
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert command(["status", str(run.path)]) == 0
    assert "1 failed" in capfd.readouterr().out
    counts = summarise(run, plan)
    assert counts.first_failure == (plan.tile(3).id, "(its record is missing or damaged)")


def test_no_folder_is_listed(half: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = read_run(half.path)

    def refuse(*_: Any) -> Any:
        raise AssertionError("a folder was listed")

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse)
    assert count_markers(opened).shards_done == 4


def test_the_command_prints_text_and_json(
    run: RunDirectory, half: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["status", str(run.path)]) == 0
    text = capfd.readouterr().out
    assert "complete, except for failed tiles" in text
    assert f"{len(plan) - 1} of {len(plan)} done" in text
    assert "1 x block <id>: no such block" in text
    assert command(["status", str(half.path), "--json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["complete"] is False
    assert content["shards"]["left"] == len(plan.shards) - 4
    assert content["tiles"]["total"] == len(plan)


def test_a_run_without_any_shard_is_a_run(
    tmp_path: Path, plan: Plan, half: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    for shard in plan.shards[:4]:
        half.marker_path(shard).unlink()
    assert command(["status", str(half.path)]) == 0
    assert "no shard is finished yet" in capfd.readouterr().out
