"""If one of these fails, an int8 run cannot be checked or merged, or a wrong scale is not seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from tests.support.damage import (
    SHARD,
    damage_of,
    edit_json,
    edit_rows,
    faults_of_store,
    truncate,
    vouch,
    with_row,
)
from tests.support.synthetic_run import CELLS, DIMENSION, is_finished, write_run
from thor_geo.checks.merge import merge_run
from thor_geo.cli.main import main as command
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid_layout import SCALE, array_file
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.zone_grid import zone_grids


@pytest.fixture(scope="module")
def coded(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return a finished int8 run: tile 3 failed, tile 4 is empty. Do not change it."""
    path = tmp_path_factory.mktemp("int8") / "run"
    return write_run(path, plan, failed={3: "no such block"}, empty=(4,), dtype="int8").run


@pytest.fixture
def run(coded: RunDirectory, tmp_path: Path) -> RunDirectory:
    """Return a copy of it, to be damaged."""
    shutil.copytree(coded.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def scales_of(run: RunDirectory, plan: Plan) -> Path:
    """Return the file of the shard's scales."""
    shard = plan.shards[SHARD]
    return run.grid / array_file(zone_grids(plan, CELLS)[shard.epsg], shard, SCALE)


def test_a_whole_run_has_no_fault_and_merges_with_its_scales(
    plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", plan, empty=(4,), dtype="int8").run
    assert command(["validate", str(run.path), "--workers", "1"]) == 0
    merged = merge_run(read_run(run.path))
    rows = pq.read_table(merged.path)
    assert rows.schema.field("embedding").type == pa.list_(pa.int8())
    assert json.loads(rows.schema.metadata[b"thor_geo"])["quantisation"]["nodata"] == -128
    facts = json.loads(rows.schema.metadata[b"geoemb"])
    assert (facts["dimensions"], facts["data_type"]) == (DIMENSION, "int8")
    assert facts["quantization"]["scale"]["array_name"] in rows.schema.names
    pooled = pa.concat_tables([pq.read_table(path) for path in run.pooled.glob("*.parquet")])
    scale = dict(zip(pooled["id"].to_pylist(), pooled["scale"].to_pylist(), strict=True))
    assert rows["scale"].to_pylist() == [scale[name] for name in rows["id"].to_pylist()]
    assert rows["scale"].null_count == 1


def test_a_failing_run_has_the_failure_only(run: RunDirectory) -> None:
    assert damage_of(run) == []
    assert command(["validate", str(run.path), "--workers", "1"]) == 3


ROWS: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "nodata in a vector": (lambda t: with_row(t, "embedding", 0, [-128] * DIMENSION), "-128"),
    "no scale": (lambda t: with_row(t, "scale", 0, None), "`scale` is null elsewhere"),
    "a scale where it failed": (lambda t: with_row(t, "scale", 1, 0.5), "null elsewhere"),
    "a scale of 0": (lambda t: with_row(t, "scale", 0, 0.0), "1 embeddings do not match their"),
    "codes that are all small": (
        lambda t: with_row(t, "embedding", 0, [3] * DIMENSION),
        "1 embeddings do not match their scales",
    ),
    "a scale too large": (lambda t: with_row(t, "scale", 0, 2.7e36), "1 scales are negative, NaN"),
    "a hole in a vector": (
        lambda t: with_row(t, "embedding", 0, [None, *[127] * (DIMENSION - 1)]),
        "1 embeddings hold -128 or null",
    ),
    "a negative scale": (lambda t: with_row(t, "scale", 0, -0.5), "1 scales are negative"),
    "NaN": (lambda t: with_row(t, "scale", 0, float("nan")), "1 scales are negative, NaN"),
}


@pytest.mark.parametrize("name", ROWS)
def test_vectors_and_scales_fit_each_other(run: RunDirectory, plan: Plan, name: str) -> None:
    damage, reason = ROWS[name]
    edit_rows(run, plan.shards[SHARD], damage)
    (fault,) = damage_of(run)
    assert fault.kind == "values"
    assert reason in fault.reason


def edit_maps(run: RunDirectory, plan: Plan, change: Callable[[Any, Any], Any]) -> None:
    """Change codes (D', k s, k s) and scales (k s, k s) of the shard; vouch for its files."""
    shard = plan.shards[SHARD]
    zone = zone_grids(plan, CELLS)[shard.epsg]
    row, col = zone.shard_position(shard)
    parts, side = [], zone.shard_side
    for name in ("embeddings", "scale"):
        array = zarr.open_array(str(run.grid), path=f"{zone.name}/{name}", mode="r+")
        where = (..., slice(row * side, row * side + side), slice(col * side, col * side + side))
        parts.append((name, array, where, np.asarray(array[where])))
    change(*(values for *_, values in parts))
    for name, array, where, values in parts:
        array[where] = values
        vouch(run, shard, run.grid / array_file(zone, shard, name))


def first_ok(codes: Any, scales: Any) -> tuple[tuple[int, int], Any]:
    """Return a cell with an embedding, row and column, and a view of its codes."""
    row, col = np.argwhere(~np.isnan(scales))[0]
    return (row, col), codes[:, row, col]


@pytest.mark.parametrize(
    ("slot", "value", "reason"),
    [
        (0, np.nan, "a scale that is missing, negative or too large in 1 tiles that are ok"),
        (0, -1.0, "a scale that is missing, negative or too large in 1 tiles that are ok"),
        (0, np.inf, "a scale that is missing, negative or too large in 1 tiles that are ok"),
        # 127 of it is infinity
        (0, 2.7e36, "a scale that is missing, negative or too large in 1 tiles that are ok"),
        (1, 0.5, "values in 1 tiles that are not ok"),
    ],
)
def test_maps_have_scales_where_tiles_are_ok_and_nowhere_else(
    run: RunDirectory, plan: Plan, slot: int, value: float, reason: str
) -> None:
    # By the file's own account: a tile with a scale, or one without.
    def change(codes: Any, scales: Any) -> None:
        scales[tuple(np.argwhere(np.isnan(scales) == bool(slot))[0])] = value

    edit_maps(run, plan, change)
    (fault,) = damage_of(run)
    path = scales_of(run, plan)
    assert (fault.kind, fault.file) == ("values", path.relative_to(run.path).as_posix())
    assert reason in fault.reason


def of_codes(value: int) -> Callable[[Any, Any], None]:
    return lambda codes, scales: first_ok(codes, scales)[1].fill(value)


def of_scale(value: float, code: int | None = None) -> Callable[[Any, Any], None]:
    def change(codes: Any, scales: Any) -> None:
        tile, its_codes = first_ok(codes, scales)
        scales[tile] = value
        if code is not None:
            its_codes[:] = code

    return change


OTHERS: dict[str, tuple[Callable[[Any, Any], None], bool]] = {
    "a scale of 0": (of_scale(0.0), False),
    "codes that are all small": (of_codes(3), False),
    "zeros with a scale": (of_codes(0), False),
    "zeros": (of_scale(0.0, 0), True),
    # What `quantise` makes of a tile whose largest value is 63 times the smallest float32.
    "the smallest scale": (of_scale(1e-45, 64), True),
    "too small for it": (of_scale(1e-45, 62), False),
}


@pytest.mark.parametrize("name", OTHERS)
def test_codes_of_maps_are_of_their_scales(run: RunDirectory, plan: Plan, name: str) -> None:
    change, whole = OTHERS[name]
    edit_maps(run, plan, change)
    found = [(fault.kind, fault.reason.split(" (")[0]) for fault in damage_of(run)]
    assert found == ([] if whole else [("values", "cells of 1 tiles do not match their scales")])


def test_a_code_must_not_be_nodata(run: RunDirectory, plan: Plan) -> None:
    edit_maps(run, plan, lambda *maps: first_ok(*maps)[1].__setitem__(2, -128))
    (fault,) = damage_of(run)
    assert (fault.kind, fault.reason) == ("values", "-128 in 1 tiles that are ok")


@pytest.mark.parametrize(
    ("damage", "reason"), [(truncate, "bytes, the marker says"), (Path.unlink, "missing")]
)
def test_a_file_of_scales_is_what_its_marker_says(
    run: RunDirectory, plan: Plan, damage: Callable[[Path], Any], reason: str
) -> None:
    path = scales_of(run, plan)
    damage(path)
    (fault,) = damage_of(run)
    assert (fault.kind, fault.file) == ("file", path.relative_to(run.path).as_posix())
    assert reason in fault.reason
    assert not is_finished(run, plan.shards[SHARD])


def test_a_torn_file_of_scales_and_a_stray_one_are_faults(run: RunDirectory, plan: Plan) -> None:
    path = scales_of(run, plan)
    truncate(path)
    vouch(run, plan.shards[SHARD], path)
    (fault,) = damage_of(run)
    assert (fault.kind, fault.file) == ("file", path.relative_to(run.path).as_posix())
    assert "cannot be decoded" in fault.reason
    (path.parent / "99").write_bytes(b"")
    assert command(["validate", str(run.path), "--workers", "1"]) == 1


def test_vectors_of_zeros_and_of_the_smallest_numbers_are_whole(
    run: RunDirectory, plan: Plan
) -> None:
    for code, scale in ((0, 0.0), (64, 1e-45)):
        shard = plan.shards[SHARD]
        edit_rows(run, shard, lambda t, code=code: with_row(t, "embedding", 0, [code] * DIMENSION))
        edit_rows(run, shard, lambda t, scale=scale: with_row(t, "scale", 0, scale))
        assert damage_of(run) == []


REPEATED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no scales": (lambda r: r.pop("utm32n/scale"), "lacks utm32n/scale"),
    "no centres": (lambda r: r.pop("utm33n/x"), "lacks utm33n/x"),
    "no mask": (
        lambda r: r["utm32n/embeddings"]["attributes"].pop("_FillValue"),
        "differs from the zarr.json of utm32n/embeddings",
    ),
    "fill of scales": (
        lambda r: r["utm33n/scale"].update(fill_value=0.0),
        "differs from the zarr.json of utm33n/scale",
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_the_root_repeats_what_the_arrays_say(run: RunDirectory, name: str) -> None:
    damage, reason = REPEATED[name]
    edit_json(
        run.grid / "zarr.json", lambda root: damage(root["consolidated_metadata"]["metadata"])
    )
    (fault,) = damage_of(run)
    assert (fault.kind, fault.file) == ("grid", "grid.zarr/zarr.json")
    assert reason in fault.reason


STORES: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "shape": ("scale", lambda m: m["shape"].__setitem__(0, 1), "shape"),
    "type": ("scale", lambda m: m.update(data_type="int32", fill_value=0), "dtype"),
    "fill": ("scale", lambda m: m.update(fill_value=0.0), "fill value"),
    "codecs": ("scale", lambda m: m["codecs"].pop(), "codecs is blosc"),
    "axes": ("scale", lambda m: m.update(dimension_names=["row", "col"]), "dimensions"),
    "nodata": ("embeddings", lambda m: m.update(fill_value=0), "fill value"),
    "mask": ("embeddings", lambda m: m["attributes"].pop("_FillValue"), "_FillValue"),
    "link": ("embeddings", lambda m: m["attributes"].pop("ancillary_variables"), "ancillary"),
    "place": ("scale", lambda m: m["attributes"].pop("grid_mapping"), "grid_mapping"),
    "nonsense": ("scale", lambda m: m.clear(), "cannot be opened"),
}


@pytest.mark.parametrize("name", STORES)
def test_the_store_says_what_its_scales_are(run: RunDirectory, name: str) -> None:
    array, damage, reason = STORES[name]
    assert reason in faults_of_store(run, array, damage)[0].reason
