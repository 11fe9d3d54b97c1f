"""If these fail, THOR of one summer is compared with another run of another one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tests.support import place_run
from tests.support.synthetic_run import plan_of
from tests.support.windowed_run import write_windows
from thor_geo.errors import ConfigError
from thor_geo.probe import ProbeSpec, kept_labels, open_labels
from thor_geo.probe.beside import Beside
from thor_geo.probe.beside_run import beside_window, probed_span
from thor_geo.probe.beside_samples import read_besides
from thor_geo.probe.collect import collect_samples
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.specs import TemporalSpec, Windows

SPRING, SUMMER, AUTUMN = (
    ("2022-03-01", "2022-06-01"),
    ("2022-06-01", "2022-09-01"),
    ("2022-07-01", "2022-10-01"),
)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    """Return a run in spring, summer and autumn, in which window k adds k to every number."""
    path = tmp_path_factory.mktemp("windows") / "run"
    write_windows(path, plan_of())
    return read_run(path)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a polygon over all of the runs."""
    path = tmp_path_factory.mktemp("labels") / "all.gpkg"
    all_of_it = gpd.GeoDataFrame({"kind": [1]}, geometry=[shapely.box(9, 59, 14, 61)], crs=4326)
    all_of_it.to_file(path)
    return path


@pytest.mark.parametrize("on", ["tiles", "cells"])
def test_the_window_of_the_same_dates_is_taken_and_named(
    opened: OpenedRun, windowed: OpenedRun, labels: Path, on: Any
) -> None:
    besides = (Beside(name="other", path=windowed.run.path),)
    spec = ProbeSpec(on=on, besides=besides)
    samples = collect_samples(opened, open_labels(labels, "kind"), spec)
    (found,) = read_besides(opened, samples, spec)
    np.testing.assert_allclose(found.vectors, samples.vectors + 1, rtol=1e-6)
    assert found.columns.endswith(" m, window 1 (2022-06-01 to 2022-09-01)")


def test_the_number_of_a_window_of_the_probed_run_says_nothing_of_the_other(
    opened: OpenedRun, windowed: OpenedRun, labels: Path
) -> None:
    for window, other, step, words in (
        (2, opened, -2, ", window 0 (2022-06-01 to 2022-09-01)"),
        (2, windowed, 0, ", window 2 (2022-07-01 to 2022-10-01)"),
        (1, opened, -1, " m"),
    ):
        besides = (Beside(name="other", path=other.run.path),)
        spec = ProbeSpec(on="tiles", window=window, besides=besides)
        samples = collect_samples(windowed, open_labels(labels, "kind"), spec)
        (found,) = read_besides(windowed, samples, spec)
        np.testing.assert_allclose(found.vectors, samples.vectors + step, rtol=1e-5, atol=1e-5)
        assert found.columns.endswith(words)


def test_a_table_of_all_windows_gives_the_rows_of_the_probed_one(
    windowed: OpenedRun, labels: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(windowed.run.pooled, columns=["id", "embedding", "geometry"])
    pq.write_table(rows, tmp_path / "all.parquet")
    besides = (Beside(name="table", path=tmp_path / "all.parquet"),)
    spec = ProbeSpec(on="tiles", window=2, besides=besides)
    samples = collect_samples(windowed, open_labels(labels, "kind"), spec)
    (found,) = read_besides(windowed, samples, spec)
    np.testing.assert_array_equal(found.vectors, samples.vectors)


@pytest.mark.parametrize(
    ("windows", "taken"),
    [
        ([SPRING, SUMMER], 1),
        ([("2019-01-01", "2020-01-01")], 0),  # the only one, and named in the report
        ([SPRING, AUTUMN], 1),
        ([("2021-01-01", "2022-06-15"), ("2022-06-10", "2022-07-15"), AUTUMN], 2),
    ],
)
def test_without_the_same_dates_the_largest_overlap_counts(
    windows: list[tuple[str, str]], taken: int
) -> None:
    other: Any = SimpleNamespace(windows=Windows.from_dates(windows=windows))
    assert beside_window(other, TemporalSpec.range(*SUMMER)) == taken


def test_windows_of_another_time_are_refused_with_both(windowed: OpenedRun) -> None:
    with pytest.raises(
        ConfigError,
        match="samples are of 2022-10-01 to 2023-01-01, and none of its 3 time windows overlaps "
        "that: they are of 2022-03-01 to 2022-10-01",
    ):
        beside_window(windowed, TemporalSpec.range("2022-10-01", "2023-01-01"))


def test_places_are_of_all_their_windows(tmp_path: Path) -> None:
    place_run.write_places(tmp_path / "run", place_run.places())
    survey = read_run(tmp_path / "run")
    samples = collect_samples(survey, kept_labels(survey, "country"), ProbeSpec(vectors="pooled"))
    assert probed_span(survey, samples, None) == TemporalSpec.range("2021-06-01", "2022-09-01")
