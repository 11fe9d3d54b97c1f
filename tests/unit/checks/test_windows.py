"""If one of these fails, looking at a run in several windows misses damage, or mixes windows up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr
import zarr

from tests.support.damage import edit_json, edit_rows, faults_of, with_row
from tests.support.synthetic_run import TWO_ZONES, Data, embed, plan_of
from tests.support.windowed_run import NAMES, WINDOWS, write_windows
from thor_geo.checks._seams import SeamReader
from thor_geo.checks.merge import merge_run, tile_rows
from thor_geo.checks.overlap import redundant_tiles
from thor_geo.checks.tally import count_markers
from thor_geo.cli.main import main as command
from thor_geo.errors import ConfigError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.zone_grid import zone_grids

COUNT = len(WINDOWS)
#: Either side of 12 E: of tiles of 640 m some of zone 33 lie wholly in tiles of zone 32.
EDGE = (11.985, 59.99, 12.015, 60.0)


@pytest.fixture(scope="module")
def finished(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run in three windows. Do not change it."""
    path = tmp_path_factory.mktemp("windows") / "run"
    return write_windows(path, plan, empty={(4, 0)}).run


@pytest.fixture
def windowed(finished: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the run, to be damaged."""
    shutil.copytree(finished.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_whole_run_is_whole(plan: Plan, tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "run"
    write_windows(path, plan, empty={(4, 0)}, dtype=dtype)
    assert command(["validate", str(path), "--workers", "1"]) == 0


def test_failed_rows_are_told_as_such_and_by_their_window(
    plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_windows(tmp_path / "run", plan, failed={(3, 1): "no such block"})
    capfd.readouterr()
    assert command(["validate", str(tmp_path / "run"), "--workers", "1", "--json"]) == 3
    found = json.loads(capfd.readouterr().out)
    assert [fault["reason"] for fault in found["faults"]] == [
        f"{plan.tile(3).id}_{NAMES[1]}: no such block"
    ]
    assert found["tiles"]["total"] == COUNT * len(plan)
    assert found["tiles"]["failed"] == 1


def test_status_counts_each_window(
    finished: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    found = count_markers(read_run(finished.path))
    assert (found.tiles, found.ok, found.empty, found.left) == (48, 47, 1, 0)
    assert command(["status", str(finished.path)]) == 0
    assert f"48 of 48 ({len(plan)} in each of 3 windows) done" in capfd.readouterr().out


def test_a_row_of_another_window_is_found(windowed: RunDirectory, plan: Plan) -> None:
    def other_day(table: pa.Table) -> pa.Table:
        return with_row(table, "datetime_end", 1, table["datetime_end"][0].as_py())

    edit_rows(windowed, plan.shards[0], other_day)
    (fault,) = faults_of(windowed, 0)
    assert "`datetime_end` is not" in fault.reason

    def swapped(table: pa.Table) -> pa.Table:
        return table.take([1, 0, *range(2, len(table))])

    edit_rows(windowed, plan.shards[2], swapped)
    assert [fault.kind for fault in faults_of(windowed, 2)] == ["rows"]


def test_damage_to_one_windows_map_is_found_in_that_window(
    windowed: RunDirectory, plan: Plan
) -> None:
    shard = plan.shards[0]
    row, col = zone_grids(plan, 1)[shard.epsg].shard_position(shard)
    path = windowed.grid / "utm32n" / "embeddings" / "c" / "1" / "0" / str(row) / str(col)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (fault,) = faults_of(windowed, 0)
    assert fault.file.endswith(f"embeddings/c/1/0/{row}/{col}")
    assert fault.kind == "file"
    # A map where the row of that window is empty, and of no other.
    values = zarr.open_array(str(windowed.grid), path="utm32n/embeddings", mode="r")
    assert np.isnan(values[0]).sum() > np.isnan(values[2]).sum()


def test_another_time_axis_is_found(windowed: RunDirectory) -> None:
    def other_units(about: dict[str, dict[str, str]]) -> None:
        about["attributes"]["units"] = "days since 1970-01-01"

    edit_json(windowed.grid / "utm32n" / "time" / "zarr.json", other_units)
    found = [fault.reason for fault in faults_of(windowed, 0) if fault.kind == "grid"]
    assert any("attribute units is not seconds since 1970" in reason for reason in found)
    zarr.open_array(str(windowed.grid), path="utm33n/time_end", mode="r+")[0] = 0
    found = [fault.file for fault in faults_of(windowed, 0) if "coordinates are" in fault.reason]
    assert found == ["grid.zarr/utm33n/time_end"]


def test_a_map_of_no_shard_is_a_stray(
    windowed: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    stray = windowed.grid / "utm32n" / "embeddings" / "c" / "2" / "0" / "77" / "0"
    stray.parent.mkdir()
    stray.write_bytes(b"")
    capfd.readouterr()
    assert command(["validate", str(windowed.path), "--workers", "1", "--json"]) == 1
    (fault,) = json.loads(capfd.readouterr().out)["faults"]
    assert (fault["kind"], fault["file"]) == ("stray", "grid.zarr/utm32n/embeddings/c/2/0/77/0")


def test_seams_are_measured_within_each_window(finished: RunDirectory, plan: Plan) -> None:
    # Window 0 of a shard must not be compared with window 1 of the shard beside it.
    zones = zone_grids(plan, 2)
    shards = [shard for shard in plan.shards if shard.epsg == 32632]
    zone = zones[32632]
    reader, alone = SeamReader(2), SeamReader(2)
    flat = [np.full((1, zone.shard_side, zone.shard_side), k, dtype=np.float32) for k in (0, 9)]
    for shard in shards:
        for time in (0, 1):
            assert reader.read(zone, shard, flat[time], None, time).jumps.sum() == 0
    jumps = sum(
        alone.read(zone, shard, flat[time], None).jumps.sum() for shard in shards for time in (0, 1)
    )
    assert jumps > 0, "without the window they would be"


def test_a_merge_has_all_rows_of_a_tile_together(
    finished: RunDirectory, plan: Plan, tmp_path: Path
) -> None:
    opened = read_run(finished.path)
    target = tmp_path / "all.parquet"
    merged = merge_run(opened, to=target)
    left_out = redundant_tiles(plan, np.ones(len(plan), dtype=np.bool_))
    assert merged.rows == COUNT * int((~left_out).sum())
    assert merged.left_out == COUNT * int(left_out.sum())
    rows = gpd.read_parquet(target)
    assert rows.id.is_unique
    assert [name[-17:] for name in rows.id] == NAMES * (len(rows) // COUNT)
    assert rows.tile_id.tolist() == rows.tile_id.iloc[::COUNT].repeat(COUNT).tolist()
    by_id = rows.set_index("id").embedding
    for tile in plan.tiles(np.flatnonzero(~left_out).tolist()):
        for k, name in enumerate(NAMES):
            vector = by_id[f"{tile.id}_{name}"]
            if vector is not None:
                np.testing.assert_array_equal(vector, embed(tile)[0] + k)
    assert by_id.isna().sum() == 1


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_parts_that_cut_through_a_tiles_rows_have_right_boxes(
    finished: RunDirectory, tmp_path: Path, rows: int
) -> None:
    merged = merge_run(read_run(finished.path), to=tmp_path / "parts", max_rows=rows)
    parts = sorted((tmp_path / "parts").iterdir())
    assert merged.files == len(parts) == -(-merged.rows // rows)
    ids = []
    for part in parts:
        table = pq.read_table(part)
        ids += table["id"].to_pylist()
        about = json.loads(table.schema.metadata[b"geo"])
        bounds = shapely.total_bounds(shapely.from_wkb(table["geometry"].to_pylist()))
        np.testing.assert_allclose(about["columns"]["geometry"]["bbox"], bounds, atol=1e-9)
    merge_run(read_run(finished.path), to=tmp_path / "one.parquet")
    assert ids == pq.read_table(tmp_path / "one.parquet")["id"].to_pylist()


def test_a_tile_stays_where_what_holds_its_ground_failed_in_one_window(tmp_path: Path) -> None:
    edge = plan_of(EDGE, tile_size=64, shard_tiles=4)
    spared = redundant_tiles(edge, np.ones(len(edge), dtype=np.bool_))
    assert spared.any()
    write_windows(tmp_path / "whole", edge, grid=False)
    merged = merge_run(read_run(tmp_path / "whole"))
    assert merged.rows == COUNT * int((~spared).sum())
    assert merged.left_out == COUNT * int(spared.sum())
    # In the last window no primary tile stands in for another zone's.
    failed = {(k, COUNT - 1): "gone" for k in np.flatnonzero(edge.primary).tolist()}
    write_windows(tmp_path / "run", edge, failed=failed, grid=False)
    merged = merge_run(read_run(tmp_path / "run"))
    assert (merged.rows, merged.left_out, merged.failed) == (COUNT * len(edge), 0, len(failed))
    status = pq.read_table(tmp_path / "run" / "embeddings.parquet")["status"]
    assert pc.sum(pc.equal(status, "failed")).as_py() == len(failed)


def test_maps_are_cropped_in_every_window(tmp_path: Path) -> None:
    area = AreaSpec(bbox=(11.95, 59.97, 12.05, 60.03)).load()
    plan = plan_of(TWO_ZONES)
    plan = Plan.from_area(area, plan.lattices[0])
    data = Data(plan, windows=WINDOWS)
    data.area = area  # type: ignore[attr-defined]
    path = tmp_path / "run"
    write_windows(path, plan, data=data, crop=True)
    maps = xr.open_zarr(path / "grid.zarr", group="utm33n").embeddings.isel(band=0).values
    absent = np.isnan(maps)
    assert 0 < absent[0].sum() < absent[0].size
    assert (absent == absent[0]).all()
    assert command(["validate", str(path), "--workers", "1"]) == 0


def test_a_run_of_several_says_how_to_choose_one(finished: RunDirectory) -> None:
    with pytest.raises(ConfigError, match=r"3 time windows.*--window N.*--window-a N.*0: 2022"):
        read_run(finished.path).time_index(None)


def test_rows_of_the_largest_plans_do_not_wrap() -> None:
    last = 2**32 - 1
    tiles = np.array([3, last], dtype=np.uint32)
    assert tile_rows(tiles, 3).tolist() == [9, 10, 11, 3 * last, 3 * last + 1, 3 * last + 2]
    assert tile_rows(tiles, 1).tolist() == tiles.tolist()
