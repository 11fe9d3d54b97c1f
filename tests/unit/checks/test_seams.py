"""The seam ratio tells a user whether tiles show in a map: it must count the right pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.support import synthetic_run
from tests.support.damage import faults_of, vouch
from tests.support.synthetic_run import CELLS, DIMENSION, TWO_ZONES, embed, plan_of, write_run
from tests.support.written_maps import write_maps
from thor_geo.checks import _checking
from thor_geo.checks._marked import check_shard, seam_reader
from thor_geo.checks._seams import Seams
from thor_geo.checks.validate import Findings, check_run, expected_shards
from thor_geo.cli.main import main as command
from thor_geo.ground.lattice import Tile
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.opened_run import read_run


def check(run: RunDirectory) -> Findings:
    return check_run(read_run(run.path), workers=1)


def counted(run: RunDirectory, plan: Plan, cells: int) -> tuple[list[float], list[float]]:
    """Jumps of a run's whole maps: across tile borders, and inside, whole pairs of cells away."""
    border: list[float] = []
    inside: list[float] = []
    for lattice in plan.lattices:
        zone = xr.open_zarr(run.grid, group=lattice.name.split("_")[0])
        data = zone.embeddings
        if "scale" in zone:
            data = data * zone.scale
        values = data.values.astype(np.float64)
        _, rows, cols = values.shape
        for row in range(rows):
            for col in range(cols):
                for down, right in ((1, 0), (0, 1)):
                    if row + down == rows or col + right == cols:
                        continue
                    jump = np.abs(values[:, row + down, col + right] - values[:, row, col]).mean()
                    place = (row + down if down else col + right) % cells
                    if np.isfinite(jump) and place % 2 == 0:
                        (inside if place else border).append(float(jump))
    return border, inside


def rough(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Noise that no two tiles share."""
    seed = abs(hash((tile.epsg, tile.left, tile.top)))
    pooled, grid = embed(tile)
    return pooled, np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("stride", "cells"), [(288, 6), (192, 4)])
def test_the_ratio_is_that_of_all_pairs_of_the_map(
    tmp_path: Path, dtype: str, stride: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs counted at the wrong lines would make any map look seamless."""
    monkeypatch.setattr(synthetic_run, "embed", rough)
    plan = plan_of(TWO_ZONES, stride=stride)
    failed = {3: "no such block"}
    run = write_run(tmp_path / "run", plan, failed=failed, empty=(4,), dtype=dtype).run
    seams = seams_of(run, plan)
    border, inside = counted(run, plan, cells)
    assert (seams.pairs[0], seams.pairs[2::2].sum()) == (len(border), len(inside))
    assert seams.border == pytest.approx(np.mean(border), rel=1e-6)
    assert seams.inside == pytest.approx(np.mean(inside), rel=1e-6)
    assert seams.ratio == pytest.approx(np.mean(border) / np.mean(inside), rel=1e-6)


def seams_of(run: RunDirectory, plan: Plan) -> Seams:
    """Read all shards with one reader, as a task reads its own."""
    expected, faults = expected_shards(read_run(run.path))
    assert not faults
    reader = seam_reader(expected)
    out = Seams()
    for shard in plan.shards:
        out += check_shard(expected, plan, shard, reader).seams
    return out


def test_steps_between_tiles_show_and_a_smooth_map_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 must mean that borders are like the rest, and a visible step much more."""

    def plane(tile: Tile) -> np.ndarray:
        x, y = synthetic_run.cell_centres(tile)
        return np.stack([(x - 600_000) / 480, (y - 6_640_000) / 480] * 2 + [0 * x])

    def smooth(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        return embed(tile)[0], plane(tile).astype(np.float32)

    def stepped(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        place = tile.left // tile.step % 2 - tile.top // tile.step % 2
        return embed(tile)[0], (plane(tile) + 3.0 * place).astype(np.float32)

    plan = plan_of()
    monkeypatch.setattr(synthetic_run, "embed", smooth)
    found = check(write_run(tmp_path / "smooth", plan).run).checked.seams
    assert found.ratio == pytest.approx(1, abs=1e-3)
    assert found.inside == pytest.approx(0.4, abs=1e-3)  # 1 in two of five bands
    monkeypatch.setattr(synthetic_run, "embed", stepped)
    found = check(write_run(tmp_path / "stepped", plan).run).checked.seams
    # Every band jumps by 3; in two of five the slope adds 1 or takes it away, in turn.
    assert found.border == pytest.approx(3, abs=0.1)
    assert found.inside == pytest.approx(0.4, abs=1e-3)


def test_validate_tells_the_seams(
    tmp_path: Path, whole: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    """The numbers a user is told, in words and for scripts; none where there is no map."""
    assert command(["validate", str(whole.path), "--json", "--workers", "2"]) == 0
    told: dict[str, Any] = json.loads(capfd.readouterr().out)["seams"]
    border, inside = counted(whole, plan, CELLS)
    assert told["border"] == pytest.approx(np.mean(border), rel=1e-6)
    assert told["inside"] == pytest.approx(np.mean(inside), rel=1e-6)
    assert told["ratio"] == pytest.approx(told["border"] / told["inside"])
    assert (told["border_pairs"], told["inside_pairs"]) == (len(border), len(inside))
    assert len(told["profile"]) == CELLS
    assert told["profile"][0] == told["border"]
    assert command(["validate", str(whole.path), "--workers", "1"]) == 0
    assert f"seams: {told['ratio']:.2f} (" in capfd.readouterr().out
    vectors = write_run(tmp_path / "vectors", plan, grid=False).run
    capfd.readouterr()
    assert command(["validate", str(vectors.path), "--json", "--workers", "1"]) == 0
    assert json.loads(capfd.readouterr().out)["seams"] is None


def test_the_number_of_processes_changes_nothing(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that depends on the machine could not be compared."""
    monkeypatch.setattr(_checking, "_AT_ONCE", 2)
    run = write_run(tmp_path / "run", plan).run
    one, two = (check_run(read_run(run.path), workers=workers).checked.seams for workers in (1, 2))
    assert one.summary_json() == two.summary_json()
    # Borders between shards of different tasks are left out, and nothing else.
    whole = seams_of(run, plan)
    assert one.pairs[0] < whole.pairs[0]
    assert np.array_equal(one.pairs[1:], whole.pairs[1:])
    assert one.inside == pytest.approx(whole.inside)


def test_a_single_tile_has_no_border(tmp_path: Path) -> None:
    """A number there would be made up."""
    plan = plan_of((10.60, 59.90, 10.6001, 59.9001))
    assert len(plan) == 1
    found = check(write_run(tmp_path / "run", plan).run)
    assert not found.faults
    told = found.checked.seams.summary_json()
    assert told is not None
    assert told["ratio"] is None
    assert told["border"] is None
    assert told["inside"] > 0


def test_a_shard_with_a_fault_is_not_measured(run: RunDirectory, plan: Plan) -> None:
    """Damaged values may be anything, and would drown the mean of all others."""
    before = check(run).checked.seams
    shard = plan.shards[0]
    store = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS))
    values = np.full((DIMENSION, 2 * CELLS, 2 * CELLS), 1e6, dtype=np.float32)
    (path,) = write_maps(store, shard, values)  # in cells that are not planned, too
    vouch(run, shard, path)
    assert {fault.kind for fault in faults_of(run, 0)} == {"values"}
    after = check(run).checked.seams
    assert after.pairs.sum() < before.pairs.sum()
    assert after.border is not None
    assert after.border < 1e3
