"""Answers from an index: as a scan gives them, or refused."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import synthetic_run
from tests.support.mixture import mix
from tests.support.place_files import plan_of_places, table_of, write_place_run
from tests.support.synthetic_run import ONE_ZONE, TWO_ZONES, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo.cli.main import main
from thor_geo.errors import ConfigError, DependencyError, RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.results import index_build, index_parts, index_search
from thor_geo.results.index_build import build_index
from thor_geo.results.index_rows import RowWriter, stored
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.results.nearness import lists_for
from thor_geo.results.similar_places import PlaceUnit, similar_places
from thor_geo.results.similarity import SimilarPlaces, similar_cells, similar_tiles
from thor_geo.runs import similar_index
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.runs.quantise import dequantise, quantise
from thor_geo.runs.shard import Dtype
from thor_geo.runs.similar_index import IndexUnit, pack_cells, unpack_cells
from thor_geo.specs.choices import Unit

pytest.importorskip("faiss", reason="pip install 'thor-geo[index]'")

HERE = (12.03, 60.005)


def index_of(opened: OpenedRun, unit: IndexUnit, time: int | None = None) -> NeighbourIndex:
    index = NeighbourIndex.of_run(opened, unit, time)
    assert index is not None
    return index


def find(opened: OpenedRun, unit: Unit, *, k: int = 10, index: Any = None) -> SimilarPlaces:
    if unit == "tiles":
        return similar_tiles(opened, [HERE], [], k, index=index)
    return similar_cells(opened, [HERE], k, index=index)


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    mix(monkeypatch)


@pytest.fixture(scope="module")
def made(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run in two zones, with a failed and an empty tile, and an index of its tiles."""
    path = tmp_path_factory.mktemp("index") / "run"
    write_run(path, plan, failed={3: "lost"}, empty=(4,))
    assert main(["index", str(path)]) == 0
    return path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """Return a copy of that run."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("unit", ["tiles", "cells"])
def test_an_index_answers_as_a_scan_does(
    kinds: None, plan: Plan, tmp_path: Path, unit: Unit, dtype: Dtype
) -> None:
    """Zones overlap, a tile failed, one is empty, and the question itself is left out."""
    write_run(tmp_path, plan, failed={3: "lost"}, empty=(4,), dtype=dtype)
    opened = read_run(tmp_path)
    build_index(opened, unit, progress=False)
    exact = find(opened, unit)
    quick = find(opened, unit, index=index_of(opened, unit))
    assert quick.ids == exact.ids
    np.testing.assert_allclose(quick.cosine, exact.cosine, atol=1e-6)
    np.testing.assert_array_equal(quick.bounds, exact.bounds)
    np.testing.assert_array_equal(quick.lonlat, exact.lonlat)
    assert (quick.compared, quick.queries) == (exact.compared, exact.queries)
    everything = find(opened, unit, k=10_000, index=index_of(opened, unit))
    assert len(everything.ids) == exact.compared


def test_few_lists_hold_nearly_all_of_the_nearest(
    kinds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(ONE_ZONE)
    write_run(tmp_path, plan, dtype="int8")
    opened = read_run(tmp_path)
    _, about = build_index(opened, "cells", progress=False)
    for name in ("_BYTES", "_ROWS_PER_ANSWER"):
        monkeypatch.setattr(index_search, name, 0)
    monkeypatch.setattr(index_search, "_ROWS", about.rows // 12)
    index, read = index_of(opened, "cells"), []
    whole = index._read
    monkeypatch.setattr(index, "_read", lambda at, rows: read.append(rows) or whole(at, rows))
    rows = np.fromfile(tmp_path / "index" / "cells" / "rows.bin", index._type)
    vectors = rows["vector"].astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    found = 0
    asked = range(0, about.rows, about.rows // 40)
    for k in asked:
        cosine = vectors @ vectors[k]
        cosine[k] = -2
        true = set(rows["place"][np.argsort(-cosine)[:10]].tolist())
        query = vectors[k].astype(np.float32)
        found += len(true & set(index.nearest(query, 10, {int(rows["place"][k])}).place.tolist()))
    assert found / len(asked) / 10 >= 0.97
    assert sum(read) / len(asked) < about.rows / 4, "else it is a scan"


def test_equal_vectors_come_in_the_order_of_a_scan(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = np.ones((3, synthetic_run.CELLS, synthetic_run.CELLS), dtype=np.float32)
    monkeypatch.setattr(synthetic_run, "DIMENSION", 3)
    monkeypatch.setattr(synthetic_run, "embed", lambda tile: (same[:, 0, 0], same))
    write_run(tmp_path, plan)
    opened = read_run(tmp_path)
    for unit in ("tiles", "cells"):
        build_index(opened, unit, progress=False)
        quick = find(opened, unit, k=5, index=index_of(opened, unit))
        assert quick.ids == find(opened, unit, k=5).ids


@pytest.mark.parametrize("unit", ["chips", "centres"])
def test_places_are_found_by_row_id_and_point(tmp_path: Path, unit: PlaceUnit) -> None:
    rng = np.random.default_rng(4)
    table = table_of(rng.uniform(9, 15, 50), rng.uniform(56, 62, 50))
    write_place_run(tmp_path, table, plan_of_places(table), failed=[3], empty=[4])
    opened = read_run(tmp_path)
    build_index(opened, unit, progress=False)
    index = index_of(opened, unit)
    point = (float(table.lon[8]), float(table.lat[8]))
    for asked in ({"places": [17]}, {"ids": ["P0021"]}, {"at": [point]}):
        exact = similar_places(opened, 6, unit=unit, **asked)
        quick = similar_places(opened, 6, unit=unit, index=index, **asked)
        np.testing.assert_array_equal(quick.index, exact.index)
        np.testing.assert_allclose(quick.cosine, exact.cosine, atol=1e-6)
        assert quick.columns.to_pylist() == exact.columns.to_pylist()
        assert (quick.queries, quick.compared) == (exact.queries, exact.compared)
    for wrong in ({"places": [3]}, {"places": [99]}, {"ids": ["P0004"]}, {"at": [(0.0, 0.0)]}):
        with pytest.raises(ConfigError):
            similar_places(opened, 6, unit=unit, index=index, **wrong)


def test_each_time_window_has_an_index_of_its_own(plan: Plan, tmp_path: Path) -> None:
    write_windows(tmp_path, plan)
    opened = read_run(tmp_path)
    for time in (0, 1):
        assert main(["index", str(tmp_path), "--window", str(time)]) == 0
        index = index_of(opened, "tiles", time)
        exact = similar_tiles(opened, [HERE], [], 5, window=time)
        quick = similar_tiles(opened, [HERE], [], 5, window=time, index=index)
        np.testing.assert_allclose(quick.cosine, exact.cosine, atol=1e-6)
    with pytest.raises(ConfigError, match="time windows"):
        build_index(opened, "tiles")


def test_similar_says_where_its_answer_comes_from(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["similar", str(run), "--at", "12.03,60.005", "-k", "3"]
    capsys.readouterr()
    assert main(asked) == 0
    quick = capsys.readouterr().out
    assert f"from {run / 'index' / 'tiles'}; --exact" in quick
    assert main([*asked, "--exact"]) == 0
    exact = capsys.readouterr().out
    assert "all vectors were read (--exact)" in exact
    # Which of equals comes first is rounding.
    found = [[line.split()[-1] for line in out.splitlines()[2:6]] for out in (quick, exact)]
    assert found[0] == found[1]
    assert main([*asked, "--png", str(tmp_path / "a.png")]) == 0
    assert "--png shows every cosine" in capsys.readouterr().out


def test_an_index_of_a_run_that_went_on_is_refused(
    kinds: None, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers would leave out what was embedded since, without a word."""
    write_run(tmp_path, plan, only=2)
    asked = ["similar", str(tmp_path), "--tile", plan.tile(0).id, "-k", "3"]
    assert main(["index", str(tmp_path)]) == 0
    assert main(asked) == 0
    write_run(tmp_path, plan)
    capsys.readouterr()
    assert main(asked) == 2
    out = capsys.readouterr()
    assert "vectors changed" in out.err
    assert f"`thor-geo index {tmp_path}`" in out.err
    assert "rank" not in out.out
    assert main([*asked, "--exact"]) == 0
    assert main(["index", str(tmp_path)]) == 0
    assert main(asked) == 0


def test_markers_are_read_again_only_if_they_look_changed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading those of ten million tiles would take minutes, for every answer."""
    read = []
    whole = similar_index.vectors_digest
    monkeypatch.setattr(
        similar_index, "vectors_digest", lambda opened: read.append(1) or whole(opened)
    )
    opened = read_run(run)
    os.utime(opened.run.marker_path(opened.plan.shards[0]))  # as in a copy of the run
    assert index_of(opened, "tiles").searched
    assert read == [1]
    build_index(opened, "tiles", progress=False)
    assert index_of(opened, "tiles").searched
    assert read == [1]
    marker = opened.run.marker_path(opened.plan.shards[0])
    marker.write_bytes(marker.read_bytes() + b" ")
    assert index_of(opened, "tiles").searched, "the same outputs"
    content = marker.read_text()
    first = content.index('"sha256": "') + len('"sha256": "')
    flipped = "0" if content[first] != "0" else "1"
    marker.write_text(content[:first] + flipped + content[first + 1 :])
    with pytest.raises(RunDirectoryError, match="vectors changed"):
        index_of(opened, "tiles")


def test_an_index_of_another_run_is_refused(run: Path, plan: Plan, tmp_path: Path) -> None:
    """Someone may have copied it along."""
    other = tmp_path / "other"
    write_run(other, plan, model=synthetic_run.Model(patch_size=8))
    (run / "index").rename(other / "index")
    with pytest.raises(RunDirectoryError, match=r"another run\. Build it again"):
        NeighbourIndex.of_run(read_run(other), "tiles", None)


def test_a_build_that_was_interrupted_leaves_the_earlier_index(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    before = {path: path.read_bytes() for path in (run / "index" / "tiles").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(index_build, "_fill", interrupted)
        assert main(["index", str(run)]) == 130
    assert {path: path.read_bytes() for path in (run / "index" / "tiles").iterdir()} == before
    # What a killed build leaves, and the next one removes.
    left = run / "index" / ".tiles.node.1.aa.tmp"
    left.mkdir()
    (left / "rows.bin").write_bytes(b"half")
    assert index_of(read_run(run), "tiles").searched
    assert main(["index", str(run)]) == 0
    assert sorted(path.name for path in (run / "index").iterdir()) == [".lock", "tiles"]


@pytest.mark.parametrize("name", ["index.json", "lists.npz", "rows.bin"])
def test_a_damaged_index_is_refused_with_the_remedy(run: Path, name: str) -> None:
    path = run / "index" / "tiles" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunDirectoryError, match="Delete it; `thor-geo index` builds it again"):
        NeighbourIndex.of_run(read_run(run), "tiles", None)


def test_rows_that_go_missing_under_an_open_index_are_refused_with_the_remedy(run: Path) -> None:
    opened = read_run(run)
    index = index_of(opened, "tiles")
    os.truncate(run / "index" / "tiles" / "rows.bin", 10)
    with pytest.raises(RunDirectoryError, match=r"rows\.bin ends before row .*Delete it"):
        find(opened, "tiles", index=index)


def test_what_fails_while_the_run_is_read_is_no_matter_of_writing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(index_parts.TileParts, "read", broken)
    with pytest.raises(OSError, match="Input/output error"):
        build_index(read_run(run), "tiles", progress=False)


def test_rows_that_do_not_fit_on_the_disk_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """`/dev/full` is a disk without space."""
    writer = RowWriter(Path("/dev/full"), "float32", 2, lists=1, index=tmp_path / "tiles")
    message = r"tiles` cannot be written \(No space left on device, .* GB are free\)\. .*free some"
    with pytest.raises(RunDirectoryError, match=message), writer:
        writer.add(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones((1, 2), np.float32))


def test_two_builds_do_not_remove_each_others_files(run: Path) -> None:
    holding = (
        "import sys, pathlib; from thor_geo.runs.lock import index_lock\n"
        "with index_lock(pathlib.Path(sys.argv[1])):\n print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(run / "index")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunDirectoryError, match="another process is building"):
            build_index(read_run(run), "tiles", progress=False)
        other.communicate()


def test_without_faiss_an_index_answers_and_none_is_built(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    opened = read_run(run)
    quick, exact = find(opened, "tiles", index=index_of(opened, "tiles")), find(opened, "tiles")
    np.testing.assert_allclose(quick.cosine, exact.cosine, atol=1e-6)  # equals in any order
    with pytest.raises(DependencyError, match=r"pip install 'thor-geo\[index\]'"):
        build_index(opened, "tiles")


def test_a_run_without_such_vectors_has_no_index(plan: Plan, tmp_path: Path) -> None:
    write_run(tmp_path, plan, grid=False)
    with pytest.raises(RunDirectoryError, match=r"output\.grid=true"):
        build_index(read_run(tmp_path), "cells")
    assert not (tmp_path / "index").exists()
    with pytest.raises(SystemExit):
        main(["index", str(tmp_path), "--on", "chips"])


def test_a_run_that_has_just_begun_has_none_to_index(plan: Plan, tmp_path: Path) -> None:
    write_run(tmp_path, plan, only=0)
    with pytest.raises(RunDirectoryError, match="no vector of this kind yet"):
        build_index(read_run(tmp_path), "tiles", progress=False)
    assert [path.name for path in (tmp_path / "index").iterdir()] == [".lock"]


def test_results_do_not_go_where_an_index_is(run: Path) -> None:
    asked = ["similar", str(run), "--at", "12.03,60.005", "--overwrite"]
    assert main([*asked, "--to", str(run / "index" / "tiles" / "a.gpkg")]) == 2


def test_codes_are_those_of_the_run() -> None:
    """Else cosines would differ from those of a scan."""
    values = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32)
    values *= np.float32(10.0) ** np.random.default_rng(1).integers(-12, 12, (500, 1))
    values[7] = 0
    codes, scale = quantise(values, axis=1)
    np.testing.assert_array_equal(stored(dequantise(codes, scale[:, None]), "int8"), codes)


def test_cells_are_packed_and_unpacked() -> None:
    rows, cols = np.array([0, 7, 2**24 - 1]), np.array([2**24 - 1, 3, 0])
    cells = unpack_cells(pack_cells(32760, rows, cols))
    np.testing.assert_array_equal(cells, np.stack([np.full(3, 32760), rows, cols], axis=1))


def test_there_are_about_as_many_lists_as_vectors_in_one() -> None:
    vectors = (1, 100, 1_000_000, 10_000_000, 10**9)
    assert [lists_for(n) for n in vectors] == [1, 8, 1024, 2048, 2048]


def test_zones_are_those_of_the_plan() -> None:
    assert len(plan_of(TWO_ZONES).lattices) == 2, "else nothing here meets an overlap"
