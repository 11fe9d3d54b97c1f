"""If this fails, labels meet the vectors of other rows, or scikit-learn cannot take them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score

from tests.support.place_run import write_places
from tests.support.synthetic_run import DIMENSION, TWO_ZONES, embed, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo import Run, open_run
from thor_geo.errors import ConfigError, RunDirectoryError

FAILED, EMPTY, SKIPPED = 7, 9, 4


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("places") / "run"
    write_places(path, failed={FAILED: "no such block"}, empty=(EMPTY,))
    return path


def test_rows_are_those_of_the_table_that_have_a_vector(survey: Path) -> None:
    run = open_run(survey)
    assert run.table["place"].tolist() == list(range(12)), "the table's order, nothing lost"
    there = np.isin(np.arange(12), [FAILED, EMPTY, SKIPPED], invert=True)
    np.testing.assert_array_equal(run.embedded, there)
    assert run.table["status"][[FAILED, EMPTY, SKIPPED]].tolist() == ["failed", "empty", "skipped"]
    assert len(run) == len(run.X) == 9
    assert run.X.dtype == np.float32
    by_place: dict[int, tuple[Any, Any]] = {}
    for file in (survey / "pooled").glob("*.parquet"):
        for row in pq.read_table(file).to_pylist():
            by_place[row["place"]] = row["embedding"], row["centre"]
    rows = np.flatnonzero(there).tolist()
    np.testing.assert_array_equal(run.X, np.array([by_place[k][0] for k in rows], np.float32))
    centre = open_run(survey, vectors="centre").X
    np.testing.assert_array_equal(centre, np.array([by_place[k][1] for k in rows], np.float32))
    both = open_run(survey, vectors="both").X
    np.testing.assert_array_equal(both, np.hstack([run.X, centre]))
    assert run.y("plot_id").tolist() == [f"plot-{k:02d}" for k in rows]
    assert run.groups("country").tolist() == [("NO", "SE", "NO")[k % 3] for k in rows]
    assert run.table.crs.to_authority() == ("OGC", "CRS84")
    # Nulls of rows without a vector change no type.
    assert open_run(survey).y("place").dtype == np.int64
    assert "11 places in utm32n, utm33n" in repr(run)


def test_samples_have_a_label_and_train_a_classifier(survey: Path) -> None:
    run = open_run(survey)
    X, y, groups = run.samples("crop", "country")  # noqa: N806
    assert X.shape == (6, DIMENSION)
    assert y.tolist() == ["wheat", "barley", "wheat", "barley", "wheat", "wheat"]
    assert groups.tolist() == ["NO", "SE", "NO", "NO", "NO", "NO"]
    # Gaps change no type: these are booleans and whole numbers.
    X, y, groups = run.samples("cut")  # noqa: N806
    assert y.dtype == np.bool_
    assert run.samples("visits")[1].dtype == np.int16
    scores = cross_val_score(
        LogisticRegression(), X, y, groups=groups, cv=GroupKFold(3), error_score="raise"
    )
    assert len(scores) == 3
    # Every row has one: nothing is copied.
    assert run.samples("country")[0] is run.X


def test_squares_on_the_ground_keep_neighbours_together(survey: Path) -> None:
    run = open_run(survey)
    by_row = dict(zip(run.table["place"][run.embedded], run.groups().tolist(), strict=True))
    assert by_row[0] == by_row[2] == by_row[6], "the same place, or a step away"
    assert by_row[1] == by_row[5]
    assert len({by_row[0], by_row[1], by_row[3], by_row[10], by_row[11]}) == 5
    assert len(set(run.groups(block_m=1e7).tolist())) == 2, "a zone each"
    with pytest.raises(ConfigError, match="block_m=0"):
        run.groups(block_m=0)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_vectors_are_float32_whatever_is_on_disk(survey: Path, tmp_path: Path, dtype: Any) -> None:
    write_places(tmp_path / "run", failed={FAILED: "no"}, empty=(EMPTY,), dtype=dtype)
    run, exact = open_run(tmp_path / "run", vectors="both"), open_run(survey, vectors="both")
    assert run.X.dtype == np.float32
    np.testing.assert_allclose(run.X, exact.X, rtol=5e-3, atol=30)
    assert not np.array_equal(run.X, exact.X)


def test_a_run_of_an_area_has_its_tiles_in_the_order_of_the_plan(tmp_path: Path) -> None:
    plan = plan_of(TWO_ZONES)
    write_run(tmp_path / "run", plan, failed={1: "no"}, empty=(2,))
    run = open_run(tmp_path / "run")
    kept = [k for k in range(len(plan)) if k not in (1, 2)]
    want = np.stack([embed(plan.tile(k))[0] for k in kept])
    np.testing.assert_array_equal(run.X, want)
    assert run.y("tile_id").tolist() == [plan.tile(k).id for k in kept]
    assert len(run.table) == len(plan) == len(run.plan)
    assert run.meta["settings"]["output"]["dtype"] == "float32"
    assert len(set(run.groups(block_m=5000))) > 2


def test_one_of_several_windows_is_chosen(tmp_path: Path) -> None:
    plan = plan_of()
    write_windows(tmp_path / "run", plan, empty=((2, 1),))
    undecided = open_run(tmp_path / "run")
    for use in (len, Run.vectors, Run.batches, lambda run: run.X, lambda run: run.y("status")):
        with pytest.raises(ConfigError, match=r"window=None.*3 time windows.*window=N.*2022-06"):
            use(undecided)
    with pytest.raises(ConfigError, match="window=3"):
        open_run(tmp_path / "run", window=3)
    first, second = (open_run(tmp_path / "run", window=k) for k in (0, 1))
    kept = np.arange(len(plan)) != 2
    np.testing.assert_array_equal(second.X, first.X[kept] + 1)
    assert set(second.y("datetime_start").astype("datetime64[D]")) == {np.datetime64("2022-06-01")}


def test_an_unfinished_run_has_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_places(tmp_path / "run", only=0)
    with pytest.raises(RunDirectoryError, match=r"no finished shard.*thor-geo status"):
        len(open_run(tmp_path / "run"))
    write_places(tmp_path / "run", only=1)
    with caplog.at_level(logging.WARNING):
        run = open_run(tmp_path / "run")
        assert len(run.X) == 4
    assert "1 of 3 shards" in caplog.text
    assert len(run.table) == 5, "with the row that was skipped"


def test_what_a_run_does_not_have_is_told(survey: Path, tmp_path: Path) -> None:
    run = open_run(survey)
    for call in (run.y, run.groups, run.samples):
        with pytest.raises(ConfigError, match=r"'contry'.*Did you mean 'country'"):
            call("contry")
    with pytest.raises(ConfigError, match=r"vectors='center'.*centre"):
        open_run(survey, vectors="center")  # type: ignore[arg-type]
    write_run(tmp_path / "maps", plan_of(), pooled=False)
    maps = open_run(tmp_path / "maps")
    for use in (len, Run.vectors, Run.batches, lambda run: run.X, lambda run: run.y("status")):
        with pytest.raises(ConfigError, match=r"maps and no vectors.*output\.pooled=true"):
            use(maps)
    write_run(tmp_path / "area", plan_of())
    with pytest.raises(ConfigError, match=r"vectors='centre'.*output\.centre=true"):
        open_run(tmp_path / "area", vectors="centre")
    assert isinstance(run, Run)


def test_opening_a_run_needs_no_pytorch(survey: Path) -> None:
    code = (
        "import sys, thor_geo\n"
        f"thor_geo.open_run({str(survey)!r}).samples('crop')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
