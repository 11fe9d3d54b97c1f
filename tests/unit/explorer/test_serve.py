"""If these fail, a run that could be looked at is refused, or the page outlives its Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.support.asking import unpacked
from tests.support.synthetic_run import ONE_ZONE, plan_of, write_run
from thor_geo.errors import RunDirectoryError
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.specs.choices import Unit


def test_it_prints_its_address_and_ends_with_ctrl_c(opened: OpenedRun) -> None:
    code = (
        "import sys\nfrom thor_geo.runs.opened_run import read_run\n"
        "from thor_geo.explorer import serve"
        "\nsys.exit(serve(read_run(sys.argv[1]), port=0, open_browser=False))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(opened.run.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url) as page:
            assert b"<title>thor-geo" in page.read()
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err


def test_an_unfinished_run_shows_what_is_done(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of(ONE_ZONE), only=2)
    opened = read_run(tmp_path / "run")
    header, arrays = unpacked(ExplorerSession(opened).places("tiles"))
    shards = opened.plan.shards
    assert header["n"] == len(shards[0]) + len(shards[1]) == len(arrays["patch"])
    assert header["missing"] == len(shards) - 2


def test_a_run_without_vectors_of_tiles_has_its_cells(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of(ONE_ZONE), pooled=False, grid=True, only=1)
    session = ExplorerSession(read_run(tmp_path / "run"))
    assert session.units == ("cells",)
    assert unpacked(session.places("cells"))[0]["unit"] == "cells"


def test_a_run_without_any_embedding_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of(ONE_ZONE), only=0)
    with pytest.raises(RunDirectoryError, match="no tile with an embedding yet"):
        ExplorerSession(read_run(tmp_path / "run"))


@pytest.mark.parametrize("unit", ["tiles", "cells"])
def test_observations_are_those_of_the_markers(opened: OpenedRun, unit: Unit) -> None:
    session = ExplorerSession(opened)
    assert unit in session.units
    _, arrays = unpacked(session.observations(unit))
    places = session.comparison(unit).places
    ids = {opened.plan.tile(k).id: k for k in range(len(opened.plan))}
    expected: dict[int, float | None] = {}
    for path in opened.run.markers.glob("*.json"):
        marker = json.loads(path.read_text())
        shard = next(
            candidate for candidate in opened.plan.shards if candidate.id == marker["shard_id"]
        )
        expected.update(
            zip(range(shard.start, shard.stop), marker["observations_mean"], strict=True)
        )
    assert len(expected) == len(ids)
    for k in range(0, len(places), 7):
        left, bottom, right, top = places.bounds(k)
        holding = [
            tile
            for tile in map(opened.plan.tile, range(len(opened.plan)))
            if tile.epsg == places.epsg(k)
            and tile.bounds[0] <= (left + right) / 2 < tile.bounds[2]
            and tile.bounds[1] <= (bottom + top) / 2 < tile.bounds[3]
        ]
        assert arrays["values"][k] == np.float32(expected[ids[holding[0].id]])
