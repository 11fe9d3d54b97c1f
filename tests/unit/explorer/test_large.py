"""Runs with more vectors than the explorer holds: a click finds what is not on the map, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest

from tests.support.asking import unpacked
from tests.support.mixture import DIMENSION, mix
from tests.support.synthetic_run import plan_of, write_run
from thor_geo.explorer import large, located
from thor_geo.explorer.download import ExplorerFindings
from thor_geo.explorer.located import RasterVectors
from thor_geo.explorer.session import ExplorerSession
from thor_geo.results.index_build import build_index
from thor_geo.results.similarity import similar_cells, similar_tiles
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.specs.choices import Unit

pytest.importorskip("faiss", reason="pip install 'thor-geo[index]'")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    path = tmp_path_factory.mktemp("large") / "run"
    with pytest.MonkeyPatch.context() as patch:
        mix(patch)  # neighbours that differ in more than the last digit
        write_run(path, plan_of((11.9, 59.94, 12.1, 60.06)), failed={1: "lost"})
    opened = read_run(path)
    for unit in ("tiles", "cells"):
        build_index(opened, unit, progress=False)
    return opened


@pytest.fixture
def session(indexed: OpenedRun, monkeypatch: pytest.MonkeyPatch) -> ExplorerSession:
    """Return a session with room for one tile of a shard of 4, and one of its 144 cells."""
    for module in (large, located):
        monkeypatch.setattr(module, "MOST_BYTES", len(indexed.plan.shards) * 5 * 4 * DIMENSION // 2)
    return ExplorerSession(indexed)


@pytest.mark.parametrize("unit", ["tiles", "cells"])
def test_a_click_finds_what_a_scan_of_the_whole_run_finds(
    indexed: OpenedRun, session: ExplorerSession, unit: Unit
) -> None:
    places = session.comparison(unit).places
    assert len(places) < len(indexed.plan) * (1 if unit == "tiles" else 36) / 2
    assert isinstance(places, RasterVectors)
    main = np.flatnonzero(places.main)  # those that `similar` takes for a point
    asked = int(main[len(main) // 2])
    lonlat = [(float(places.lonlat[asked, 0]), float(places.lonlat[asked, 1]))]
    exact = (
        similar_tiles(indexed, lonlat, [], 8)
        if unit == "tiles"
        else similar_cells(indexed, lonlat, 8)
    )
    header, arrays = unpacked(session.similar(unit, asked, 8))
    found = header["neighbours"]
    np.testing.assert_allclose([one["cosine"] for one in found], exact.cosine, atol=1e-6)
    got = [[one["lon"], one["lat"]] for one in found]
    np.testing.assert_allclose(got, exact.lonlat, atol=1e-9)
    assert [one["id"] for one in found] == (list(exact.ids) if unit == "tiles" else [None] * 8)
    # On the map, the place beside it stands for it.
    for one in found:
        assert np.abs(places.lonlat[one["place"]] - [one["lon"], one["lat"]]).max() < 0.06
    assert len(arrays["values"]) == len(places), "the map shows the cosine of what is on it"


def test_the_download_has_the_tiles_of_the_list(session: ExplorerSession, tmp_path: Path) -> None:
    none = np.empty(0, dtype=np.int64)
    findings = ExplorerFindings(query=0, k=5, positive=none, negative=none, threshold=0.5)
    content = session.download("tiles", findings).body
    (tmp_path / "findings.gpkg").write_bytes(content)
    layer = geopandas.read_file(tmp_path / "findings.gpkg", layer="neighbours")
    header, _ = unpacked(session.similar("tiles", 0, 5))
    assert layer["tile_id"].tolist()[1:] == [one["id"] for one in header["neighbours"]]
    assert layer["rank"].tolist() == [0, 1, 2, 3, 4, 5]


def test_an_index_of_an_older_run_is_left_out_with_a_warning(
    indexed: OpenedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The map can still be looked at."""
    shutil.copytree(indexed.run.path, tmp_path / "run")
    opened = read_run(tmp_path / "run")
    opened.run.marker_path(opened.plan.shards[0]).unlink()
    places = ExplorerSession(opened).comparison("tiles").places
    assert len(places) == len(opened.plan) - len(opened.plan.shards[0])
    assert "goes without the index" in caplog.text


def test_without_an_index_all_tiles_are_held(
    indexed: OpenedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(indexed.run.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "index")
    monkeypatch.setattr(large, "MOST_BYTES", 1)
    places = ExplorerSession(read_run(tmp_path / "run")).comparison("tiles").places
    assert len(places) == len(indexed.plan) - 1
