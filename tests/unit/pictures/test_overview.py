"""If this fails, a run's first map on a web server shows what the run does not have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.place_run import write_places
from tests.support.synthetic_run import ONE_ZONE, plan_of, write_run
from tests.support.windowed_run import WINDOWS, write_windows
from thor_geo.checks.validate import check_run
from thor_geo.ground.plan import Plan
from thor_geo.pictures import finished, overview
from thor_geo.pictures.colours import fit_colours
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.overview import STATES, Overview, read_overview
from thor_geo.runs.place_reading import read_place_rows
from thor_geo.runs.reading import VectorReader, read_rows


@pytest.fixture(scope="module")
def small() -> Plan:
    return plan_of(ONE_ZONE)


def overview_of(path: Path) -> Overview:
    opened = read_run(path)
    found = read_overview(opened.run, opened.plan)
    assert found is not None
    return found


def content(path: Path) -> bytes:
    return (path / "overview.parquet").read_bytes()


def test_rows_have_the_colours_of_their_vectors_and_their_states(
    written: RunDirectory, plan: Plan
) -> None:
    assert isinstance(written.path, Path)
    found = overview_of(written.path)
    vectors = np.concatenate([VectorReader(written).read(shard, None) for shard in plan.shards])
    there = np.isfinite(vectors).all(axis=1)
    colours = fit_colours(written, plan)[vectors.shape[1]]
    np.testing.assert_array_equal(found.rgb[there], colours(vectors[there]))
    assert (found.dimension, found.share) == (vectors.shape[1], colours.share)
    assert found.counts() == {"ok": len(plan) - 2, "empty": 1, "failed": 1}
    np.testing.assert_array_equal(found.embedded, there)
    rows = [read_rows(written, shard, ["observations_mean"]) for shard in plan.shards]
    observed = np.concatenate([part["observations_mean"].to_numpy() for part in rows])
    np.testing.assert_allclose(found.observations, observed, atol=0.006)
    table = pq.read_table(written.overview)
    assert table.column_names == ["red", "green", "blue", "status", "observations_mean"]
    assert [table["red"].null_count, table["status"][1].as_py()] == [2, "failed"]


def test_the_file_is_whole_or_absent_and_the_same_after_several_launches(
    tmp_path: Path, small: Plan
) -> None:
    write_run(tmp_path / "a", small)
    for _ in range(2):
        write_run(tmp_path / "b", small, only=2)
        assert not (tmp_path / "b" / "overview.parquet").exists()
    write_run(tmp_path / "b", small)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    before = (tmp_path / "b" / "overview.parquet").stat().st_mtime_ns
    write_run(tmp_path / "b", small)
    assert (tmp_path / "b" / "overview.parquet").stat().st_mtime_ns == before, "nothing to do"


def test_a_launch_that_was_killed_before_the_overview_leaves_it_to_the_next(
    tmp_path: Path, small: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had retried a tile that failed, so that the overview is of other vectors."""
    path = tmp_path / "run"
    write_run(path, small, failed={1: "lost"})
    assert overview_of(path).counts()["failed"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(finished, "overview_to_write", lambda *_: None)
        write_run(path, small)
    findings = check_run(read_run(path))
    assert (findings.faults, findings.overview_outdated) == ([], True)
    write_run(path, small)
    findings = check_run(read_run(path))
    assert (findings.faults, findings.overview_outdated) == ([], False)
    write_run(tmp_path / "at once", small)
    assert content(path) == content(tmp_path / "at once")


def test_a_damaged_one_and_that_of_another_run_are_faults_and_written_again(
    tmp_path: Path, small: Plan
) -> None:
    path = tmp_path / "run"
    write_run(path, small)
    whole = content(path)
    write_run(tmp_path / "other", small, dtype="float16")
    table = pq.read_table(path / "overview.parquet")
    for damaged, reason in (
        (whole[:-20], "cannot be used"),
        (content(tmp_path / "other"), "another run"),
        (None, "rows, the run has"),
    ):
        if damaged is None:
            pq.write_table(table.slice(1), path / "overview.parquet")
        else:
            (path / "overview.parquet").write_bytes(damaged)
        (fault,) = check_run(read_run(path)).faults
        assert (fault.kind, fault.file) == ("run", "overview.parquet")
        assert reason in fault.reason
        write_run(path, small)
        assert content(path) == whole
    found = overview_of(path)
    state = np.where(np.arange(len(found)) == 0, STATES.index("empty"), found.state)
    replace(found, state=state.astype(np.uint8)).write(read_run(path).run)
    (fault,) = check_run(read_run(path)).faults
    assert f"{len(small) - 1:,} ok, 1 empty" in fault.reason


def test_with_windows_there_is_a_row_for_each(tmp_path: Path, small: Plan) -> None:
    write_windows(tmp_path / "run", small, failed={(1, 2): "lost"}, empty=[(0, 1)])
    found, times = overview_of(tmp_path / "run"), len(WINDOWS)
    assert len(found) == len(small) * times
    assert np.flatnonzero(~found.embedded).tolist() == [1, times + 2]
    assert check_run(read_run(tmp_path / "run")).faults[0].kind == "failed"


def test_places_have_the_columns_of_their_table(tmp_path: Path) -> None:
    run = write_places(tmp_path / "run").run
    found, opened = overview_of(tmp_path / "run"), read_run(tmp_path / "run")
    names = ["plot_id", "crop", "country", "yield_t", "cut", "visits", "surveyed", "seen"]
    rows = read_place_rows(run, opened.plan, columns=names)
    assert found.columns is not None
    assert found.columns.select(names).equals(rows.columns.combine_chunks())
    np.testing.assert_array_equal(found.embedded, rows.embedded)
    assert check_run(opened).faults == []


def test_runs_without_vectors_and_those_that_are_too_large_have_none(
    tmp_path: Path, small: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "maps", small, pooled=False)
    monkeypatch.setattr(overview, "MOST_ROWS", len(small) - 1)
    write_run(tmp_path / "large", small)
    assert not list(tmp_path.glob("*/overview.parquet"))
