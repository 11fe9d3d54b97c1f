"""If this fails, a row has the vector of another, or a large run does not fit in memory."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest

from tests.support.place_run import write_places
from tests.support.synthetic_run import TWO_ZONES, embed, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo import open_run
from thor_geo.api import _run_matrix
from thor_geo.cli.main import main
from thor_geo.errors import ConfigError, RunDirectoryError


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("area") / "run"
    write_run(path, plan_of(TWO_ZONES), failed={1: "no"}, empty=(2,))
    return path


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Map every matrix; return the folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(_run_matrix, "MEMORY_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_each_row_of_vectors_has_its_vector_in_the_matrix(area: Path) -> None:
    run = open_run(area)
    rows = run.vectors()
    assert isinstance(rows, geopandas.GeoDataFrame)
    assert rows.index.equals(pandas.RangeIndex(len(run.X)))
    by_id = {tile.id: embed(tile)[0] for tile in map(run.plan.tile, range(len(run.plan)))}
    np.testing.assert_array_equal(run.X, np.stack([by_id[name] for name in rows["tile_id"]]))
    assert (rows["status"] == "ok").all()
    # Footprints, not those of the rows that are left out.
    kept = run.table[run.embedded]
    assert rows.geometry.to_wkb().tolist() == kept.geometry.to_wkb().tolist()
    assert rows.crs == run.table.crs


def test_places_keep_the_order_of_their_table(tmp_path: Path) -> None:
    write_places(tmp_path / "run", failed={7: "no"})
    run = open_run(tmp_path / "run")
    assert run.vectors()["place"].tolist() == [k for k in range(12) if k not in (4, 7)]


@pytest.mark.parametrize("rows", [1, 3, 7, 10_000])
def test_batches_are_the_matrix_part_by_part(area: Path, rows: int) -> None:
    run = open_run(area)
    parts = list(run.batches(rows))
    assert {len(matrix) for matrix, _ in parts[:-1]} <= {rows}
    assert all(len(matrix) == len(table) for matrix, table in parts)
    np.testing.assert_array_equal(np.concatenate([matrix for matrix, _ in parts]), run.X)
    joined = pandas.concat([table for _, table in parts])
    pandas.testing.assert_frame_equal(joined, run.vectors())


def test_batches_of_places_say_which_row_each_is(tmp_path: Path) -> None:
    write_places(tmp_path / "run", failed={7: "no"}, empty=(9,), dtype="int8")
    run = open_run(tmp_path / "run", vectors="both")
    by_place = dict(zip(run.y("place").tolist(), run.X, strict=True))
    seen = []
    for matrix, table in run.batches(4):
        for vector, place in zip(matrix, table["place"], strict=True):
            np.testing.assert_array_equal(vector, by_place[place])
            seen.append(place)
    assert sorted(seen) == sorted(by_place)


def test_batches_of_a_window_are_those_of_its_rows(tmp_path: Path) -> None:
    write_windows(tmp_path / "run", plan_of(), empty=((2, 1),))
    run = open_run(tmp_path / "run", window=1)
    parts = list(run.batches(10))
    np.testing.assert_array_equal(np.concatenate([matrix for matrix, _ in parts]), run.X)
    assert parts[0][1]["datetime_start"].dt.month.unique().tolist() == [6]


def test_a_reader_that_has_seen_enough_stops(area: Path) -> None:
    stream = open_run(area).batches(2)
    assert len(next(stream)[0]) == 2
    stream.close()  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="rows=0"):
        open_run(area).batches(0)


def test_a_large_matrix_is_a_file_that_ends_with_it(area: Path, mapped: Path) -> None:
    run: Any = open_run(area)
    matrix = run.X
    assert isinstance(matrix, np.memmap)
    (file,) = mapped.rglob("*.float32")
    assert file.stat().st_size == matrix.nbytes
    want = np.stack([matrix for matrix, _ in run.batches(1)])[:, 0]
    np.testing.assert_array_equal(matrix, want)
    # Processes of joblib open the file by its name.
    assert Path(str(matrix.filename)) == file
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(matrix)), want)
    part = matrix[3:5]
    del run, matrix
    assert file.exists(), "a part of it is still used"
    np.testing.assert_array_equal(part, want[3:5])
    del part
    assert list(mapped.iterdir()) == []


def test_processes_of_scikit_learn_take_a_mapped_matrix(area: Path, mapped: Path) -> None:
    from joblib import Parallel, delayed

    run = open_run(area)
    parts = Parallel(n_jobs=2, max_nbytes=1)(delayed(np.sum)(run.X[k::2]) for k in range(2))
    assert sum(parts) == pytest.approx(run.X.sum(), rel=1e-5)


def test_no_room_for_a_large_matrix_is_told_before_it_is_filled(
    area: Path, mapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_run_matrix.os, "posix_fallocate", full, raising=False)
    with pytest.raises(RunDirectoryError, match=r"No space left.*TMPDIR.*run\.batches"):
        _ = open_run(area).X
    assert list(mapped.iterdir()) == []


@pytest.mark.parametrize("large", [False, True])
def test_a_reader_changes_nothing_that_others_see(
    area: Path, large: bool, request: pytest.FixtureRequest
) -> None:
    if large:
        request.getfixturevalue("mapped")
    run: Any = open_run(area)
    before = run.X.copy()
    with pytest.raises(ValueError, match="read-only"):
        run.X -= 1
    with pytest.raises(ValueError, match="read-only"):
        run.samples("tile_id")[0][0] = 0
    with pytest.raises(ValueError, match="read-only"):
        run.embedded[0] = False
    with pytest.raises(AttributeError):
        run.X = before
    np.testing.assert_array_equal(run.X, before)
    table = run.table
    table["fold"] = 1
    table.loc[0, "status"] = "changed"
    assert "fold" not in run.table
    assert "changed" not in set(run.table["status"])


def test_status_is_what_the_command_counts(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = open_run(area).status()
    plan = plan_of(TWO_ZONES)
    assert (counts.tiles, counts.failed, counts.empty) == (len(plan), 1, 1)
    write_run(tmp_path / "run", plan, only=1)
    run = open_run(tmp_path / "run")
    assert run.status().shards_left == len(plan.shards) - 1
    capsys.readouterr()
    assert main(["status", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert f"shards    1 of {len(plan.shards)} done" in str(run.status())
    assert str(run.status()).splitlines()[2:4] == printed.splitlines()[2:4]
    write_run(tmp_path / "run", plan)
    assert run.status().shards_left == 0, "counted anew"
