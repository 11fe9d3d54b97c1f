"""If this fails, a run on a web server opens slowly, or shows other places than it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.object_store import ObjectStore
from benchmarks.support.web_files import WebFiles, web_files
from tests.support.asking import unpacked
from tests.support.place_run import write_places
from tests.support.synthetic_run import ONE_ZONE, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo.errors import RunDirectoryError
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import OpenedRun, read_run


def asked(web: WebFiles) -> set[str]:
    return {path.lstrip("/").partition("/")[0] for _, path, _ in web.asked}


def both(session: ExplorerSession, other: ExplorerSession, question: str, *given: object) -> None:
    """Compare two answers; colours may differ by the rounding of a product."""
    ours, theirs = (unpacked(getattr(one, question)(*given)) for one in (session, other))
    assert ours[0] == theirs[0]
    assert ours[1].keys() == theirs[1].keys()
    for name, values in ours[1].items():
        # Markers, and so the overview, have two decimals.
        atol = {"rgb": 1, "values": 0.006}.get(name, 0)
        np.testing.assert_allclose(values.astype(float), theirs[1][name].astype(float), atol=atol)


def test_the_map_is_drawn_without_a_vector_and_a_click_reads_them(
    written: RunDirectory, opened: OpenedRun, session: ExplorerSession
) -> None:
    assert isinstance(written.path, Path)
    with web_files(written.path) as web:
        there = ExplorerSession(read_run(web.url))
        both(there, session, "places", "tiles")
        both(there, session, "observations", "tiles")
        there.run()
        there.prepare()
        assert asked(web) == {"run.json", "plan.parquet", "overview.parquet"}
        assert there.progress() == {"read": 0, "total": 0}
        both(there, session, "similar", "tiles", 3, 5)
        shards = len(opened.plan.shards)
        assert there.progress() == {"read": shards, "total": shards}
        web.forget()
        both(there, session, "similar", "tiles", 4, 5)
        both(there, session, "probe", "tiles", np.array([1, 2]), np.array([7]))
        assert web.asked == [], "vectors are read once"


def test_without_an_overview_the_vectors_are_read(
    written: RunDirectory, session: ExplorerSession, tmp_path: Path
) -> None:
    """Of a run that is older, too large, or unfinished."""
    shutil.copytree(str(written.path), tmp_path / "run")
    (tmp_path / "run" / "overview.parquet").unlink()
    with web_files(tmp_path / "run") as web:
        there = ExplorerSession(read_run(web.url))
        both(there, session, "places", "tiles")
        both(there, session, "observations", "tiles")
        assert {"pooled", "markers"} <= asked(web)


def test_one_window_of_several_is_shown(tmp_path: Path) -> None:
    write_windows(tmp_path / "run", plan_of(ONE_ZONE), failed={(1, 2): "lost"}, empty=[(0, 1)])
    here = read_run(tmp_path / "run")
    with web_files(tmp_path / "run") as web:
        for window in (0, 1, 2):
            there = ExplorerSession(read_run(web.url), window=window)
            local = ExplorerSession(here, window=window)
            assert "pooled" not in asked(web)
            both(there, local, "places", "tiles")
            both(there, local, "similar", "tiles", 3, 5)
            web.forget()


def test_places_are_shown_with_the_columns_of_their_table(tmp_path: Path) -> None:
    write_places(tmp_path / "run", failed={3: "lost"}, empty=[7])
    local = ExplorerSession(read_run(tmp_path / "run"))
    with web_files(tmp_path / "run") as web:
        there = ExplorerSession(read_run(web.url))
        both(there, local, "places", "chips")
        both(there, local, "column", "chips", "crop")
        both(there, local, "observations", "chips")
        assert there.describe("chips", 2) == local.describe("chips", 2)
        assert "pooled" not in asked(web)
        both(there, local, "similar", "chips", 3, 5)
        both(there, local, "places", "centres")


def test_vectors_of_other_tiles_are_refused(tmp_path: Path) -> None:
    """The run went on after its overview was made, and the page with the old one."""
    path, plan = tmp_path / "run", plan_of(ONE_ZONE)
    write_run(path, plan, failed={1: "lost"})
    old = (path / "overview.parquet").read_bytes()
    write_run(path, plan)
    (path / "overview.parquet").write_bytes(old)
    with web_files(path) as web:
        session = ExplorerSession(read_run(web.url))
        with pytest.raises(RunDirectoryError, match=r"other tiles than `overview.parquet` says"):
            session.similar("tiles", 3, 5)


def test_a_run_that_was_written_to_a_bucket_has_an_overview(
    bucket: ObjectStore, tmp_path: Path
) -> None:
    """It is the same as in a folder."""
    plan = plan_of(ONE_ZONE)
    write_run(tmp_path / "run", plan, failed={1: "lost"})
    write_run(bucket.url("run"), plan, failed={1: "lost"})
    local = read_run(tmp_path / "run")
    assert bucket.contents("run")["overview.parquet"] == local.run.overview.read_bytes()
    session = ExplorerSession(read_run(bucket.url("run")))
    both(session, ExplorerSession(local), "similar", "tiles", 3, 5)
