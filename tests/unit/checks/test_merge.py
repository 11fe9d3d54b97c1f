"""If one of these fails, the one file of a run's vectors loses rows, order, ground or readers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tests.support.damage import edit_rows, truncate, vouch, with_row
from tests.support.synthetic_run import embed, plan_of, write_run
from thor_geo.checks._finished import find_finished
from thor_geo.checks._gather import Gatherer
from thor_geo.checks._hilbert import hilbert_order
from thor_geo.checks.merge import merge_run
from thor_geo.checks.overlap import redundant_tiles
from thor_geo.cli.main import main as command
from thor_geo.cli.merge import parse_size
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

# Either side of 12 E, in tiles of 640 m: some of zone 33's lie wholly in zone 32's, and others not.
EDGE = (11.95, 59.96, 12.05, 60.04)
FEW_GROUPS = 16


@pytest.fixture(scope="module")
def small() -> Plan:
    """Return a plan of small tiles along the edge of two zones."""
    return plan_of(EDGE, tile_size=64, shard_tiles=4)


@pytest.fixture(scope="module")
def edge(small: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return its run: one tile failed, one is empty. Do not change it."""
    failed = {int(np.flatnonzero(small.primary)[0]): "no such block"}
    empty = (int(np.flatnonzero(small.primary)[5]),)
    path = tmp_path_factory.mktemp("edge") / "run"
    return write_run(path, small, failed=failed, empty=empty, grid=False).run


@pytest.fixture(scope="module")
def merged(edge: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the merged file."""
    target = tmp_path_factory.mktemp("merged") / "embeddings.parquet"
    merge_run(read_run(edge.path), to=target)
    return target


def test_rows_are_those_of_the_shards_less_what_overlaps(
    edge: RunDirectory, merged: Path, small: Plan
) -> None:
    whole = gpd.read_parquet(edge.pooled).set_index("tile_id")
    rows = gpd.read_parquet(merged).set_index("tile_id")
    assert rows.index.is_unique
    assert set(rows.index) < set(whole.index)
    assert not whole.drop(rows.index).primary.any()
    for name, row in rows.iterrows():
        for column, value in row.items():
            other = whole.loc[name, column]
            assert np.array_equal(value, other) or value == other or (value != value), column
    states = rows.status.value_counts()
    assert states["failed"] == states["empty"] == 1
    assert rows.embedding.isna().sum() == 2
    schema = pq.read_schema(merged)
    one = pq.read_schema(edge.pooled_path(small.shards[0]))
    assert schema.equals(one, check_metadata=False)
    assert schema.metadata[b"thor_geo"] == one.metadata[b"thor_geo"]


def test_rows_follow_a_hilbert_curve(merged: Path, small: Plan) -> None:
    rows = gpd.read_parquet(merged)
    centres = gpd.GeoSeries(shapely.centroid(small.footprints()))
    distances = gpd.GeoSeries(shapely.centroid(rows.geometry.values)).hilbert_distance(
        total_bounds=centres.total_bounds
    )
    # Centroids in degrees and centres in metres differ by less than a cell.
    assert (np.diff(distances.to_numpy().astype(np.int64)) < -3).sum() == 0


def ground(plan: Plan, tiles: np.ndarray) -> shapely.Geometry:
    return shapely.union_all(plan.footprints()[tiles])


def test_tiles_are_left_out_only_where_primary_ones_hold_their_ground(small: Plan) -> None:
    out = redundant_tiles(small, np.ones(len(small), dtype=np.bool_))
    assert 0 < out.sum() < (~small.primary).sum()
    assert not (out & small.primary).any()
    everything, kept = ground(small, np.arange(len(small))), ground(small, ~out)
    # Edges are straight lines in two projections: slivers of a centimetre remain.
    assert everything.difference(kept.buffer(1e-6)).area == 0
    # And every one that may go does: a tile's own ground decides.
    primary = ground(small, small.primary).buffer(1e-6)
    inside = np.array([primary.covers(polygon) for polygon in small.footprints()])
    assert (out == (inside & ~small.primary)).all()


def test_where_the_primary_tile_failed_the_other_zone_s_is_kept(small: Plan) -> None:
    every = np.ones(len(small), dtype=np.bool_)
    out = redundant_tiles(small, every)
    tile = int(np.flatnonzero(out)[0])
    polygon = small.footprints()[tile].buffer(-1e-6)
    under = small.primary & shapely.intersects(small.footprints(), polygon)
    assert under.any()
    for failed in np.flatnonzero(under):
        produced = every.copy()
        produced[failed] = False
        assert not redundant_tiles(small, produced)[tile]


@pytest.mark.parametrize("bbox", [(11.9, -0.1, 12.1, 0.1), (-0.05, 83.8, 0.05, 83.9)])
def test_no_ground_is_lost_at_the_equator_and_far_north(
    bbox: tuple[float, float, float, float],
) -> None:
    plan = plan_of(bbox, tile_size=96)
    out = redundant_tiles(plan, np.ones(len(plan), dtype=np.bool_))
    kept = ground(plan, ~out).buffer(1e-6)
    assert out.any()
    assert ground(plan, np.arange(len(plan))).difference(kept).area == 0


def test_overlapping_tiles_of_one_zone_are_all_kept() -> None:
    plan = plan_of((10.60, 59.95, 10.65, 59.97), tile_size=96, stride=32)
    assert plan.primary.all()
    assert not redundant_tiles(plan, np.ones(len(plan), dtype=np.bool_)).any()
    order = hilbert_order(plan, np.ones(len(plan), dtype=np.bool_))
    assert sorted(order.tolist()) == list(range(len(plan)))


def test_readers_open_it_and_skip_what_lies_elsewhere(
    edge: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thor_geo.checks.merge.GROUP_ROWS", FEW_GROUPS)
    path = tmp_path / "one.parquet"
    rows = merge_run(read_run(edge.path), to=path).rows
    footer = pq.ParquetFile(path).metadata
    assert footer.num_rows == rows
    assert footer.num_row_groups == -(-rows // FEW_GROUPS)
    box = (11.99, 59.99, 11.995, 59.995)
    few = gpd.read_parquet(path, bbox=box)
    everything = gpd.read_parquet(path)
    assert everything.crs.to_string() == "OGC:CRS84"
    expected = everything[everything.intersects(shapely.box(*box))]
    assert set(expected.tile_id) <= set(few.tile_id)
    assert len(few) < len(everything) / 4
    columns = {footer.row_group(0).column(k).path_in_schema: k for k in range(footer.num_columns)}
    spans = [
        [
            footer.row_group(group).column(columns[f"bbox.{edge}"]).statistics
            for edge in ("xmin", "xmax")
        ]
        for group in range(footer.num_row_groups)
    ]
    met = [low.min <= box[2] and high.max >= box[0] for low, high in spans]
    assert 0 < sum(met) < len(met)
    assert footer.row_group(0).column(0).has_offset_index
    query = f"select count(*), count(embedding), sum(embedding[1]) from '{path}'"
    ((count, vectors, total),) = duckdb.sql(query).fetchall()
    assert (count, vectors) == (rows, rows - 2)
    values = np.stack(everything.embedding.dropna())[:, 0]
    assert total == pytest.approx(float(values.astype(np.float64).sum()), rel=1e-6)


def test_the_footer_s_box_is_that_of_all_rows(merged: Path) -> None:
    about = json.loads(pq.read_schema(merged).metadata[b"geo"])["columns"]["geometry"]
    assert about["bbox"] == pytest.approx(gpd.read_parquet(merged).total_bounds.tolist())
    assert about["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_bytes_do_not_depend_on_the_order_of_writing_or_on_memory(
    edge: RunDirectory, small: Plan, merged: Path, tmp_path: Path
) -> None:
    again = tmp_path / "run"
    shutil.copytree(edge.path, again)
    for shard in reversed(small.shards):  # another order of files, times and folder entries
        for path in (
            RunDirectory(again).pooled_path(shard),
            RunDirectory(again).marker_path(shard),
        ):
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
    assert command(["merge", str(again)]) == 0
    assert (again / "embeddings.parquet").read_bytes() == merged.read_bytes()


def test_shards_that_do_not_fit_into_memory_are_read_again(edge: RunDirectory, small: Plan) -> None:
    opened = read_run(edge.path)
    state = np.ones(len(small), dtype=np.uint8)
    for shard in small.shards:
        ids = pq.read_table(edge.pooled_path(shard)).column("status").to_pylist()
        state[shard.start : shard.stop] = [2 if word == "failed" else 1 for word in ids]
    order = hilbert_order(small, np.ones(len(small), dtype=np.bool_))
    plenty = Gatherer(opened, state, order)
    nothing = Gatherer(opened, state, order, cache_bytes=0)
    for one, other in zip(plenty.batches(7), nothing.batches(7), strict=True):
        assert one.equals(other)
    assert plenty.schema.equals(nothing.schema, check_metadata=True)


def test_vectors_are_the_tiles_own(edge: RunDirectory, merged: Path, small: Plan) -> None:
    rows = gpd.read_parquet(merged).set_index("tile_id")
    for k in range(0, len(small), 17):
        tile = small.tile(k)
        if tile.id in rows.index and rows.loc[tile.id].status == "ok":
            np.testing.assert_array_equal(rows.loc[tile.id].embedding, embed(tile)[0])


def test_an_unfinished_run_is_refused_unless_partial(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path / "run", plan, only=3, grid=False).run
    done = plan.shards[2].stop
    with pytest.raises(RunDirectoryError, match=f"{len(plan) - done} of {len(plan)} tiles"):
        merge_run(read_run(run.path))
    assert not list(run.path.glob("*embeddings*"))
    merged = merge_run(read_run(run.path), partial=True)
    assert merged.path == run.path / "embeddings.parquet"
    assert merged.missing == len(plan) - done
    assert merged.rows + merged.left_out == done
    for shard in plan.shards[:3]:
        run.marker_path(shard).unlink()
    with pytest.raises(RunDirectoryError, match="no finished shard"):
        merge_run(read_run(run.path), partial=True, overwrite=True)


def test_parts_are_bounded_and_hold_the_same_rows(
    edge: RunDirectory, merged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pq.read_table(merged)["tile_id"].to_pylist()
    folder = tmp_path / "parts"
    parts = merge_run(read_run(edge.path), to=folder, max_rows=50)
    files = sorted(folder.iterdir())
    assert len(files) == parts.files == -(-len(one) // 50)
    assert [path.name for path in files][:2] == ["part-00000.parquet", "part-00001.parquet"]
    assert [id for path in files for id in pq.read_table(path)["tile_id"].to_pylist()] == one
    assert max(pq.read_metadata(path).num_rows for path in files) <= 50
    assert len(gpd.read_parquet(folder)) == len(one)
    monkeypatch.setattr("thor_geo.checks.merge.GROUP_ROWS", FEW_GROUPS)
    sized = merge_run(read_run(edge.path), to=folder, max_bytes=20_000, overwrite=True)
    assert sized.files > 1
    assert max(path.stat().st_size for path in folder.iterdir()) < 40_000
    assert not list(tmp_path.glob(".*"))
    assert sum(pq.read_metadata(path).num_rows for path in folder.iterdir()) == len(one)


def test_a_damaged_shard_stops_the_merge_and_leaves_nothing(
    run: RunDirectory, plan: Plan, tmp_path: Path
) -> None:
    shard = plan.shards[1]
    before = run.pooled_path(shard).read_bytes()
    for damage in (
        lambda: edit_rows(run, shard, lambda table: table.slice(1)),
        lambda: edit_rows(run, shard, lambda table: with_row(table, "status", 0, "failed")),
        lambda: run.pooled_path(shard).write_bytes(b"P" * len(before)),
    ):
        run.pooled_path(shard).write_bytes(before)
        damage()
        vouch(run, shard, run.pooled_path(shard))
        with pytest.raises(RunDirectoryError, match="thor-geo validate"):
            merge_run(read_run(run.path), to=tmp_path / "out.parquet")
        assert not list(tmp_path.glob("*.parquet"))
        assert not list(tmp_path.glob(".*"))


def flip_unnoticed(path: Path) -> None:
    """Flip a bit that gives other vectors, and a file that is read without complaint."""
    whole, table = path.read_bytes(), pq.ParquetFile(path).read()
    group = pq.read_metadata(path).row_group(0)
    (chunk,) = (
        group.column(k)
        for k in range(group.num_columns)
        if group.column(k).path_in_schema.startswith("embedding.")
    )
    end = chunk.data_page_offset + chunk.total_compressed_size
    for at in range(end - 1, chunk.data_page_offset, -1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        try:
            other = pq.ParquetFile(path).read()
        except (pa.ArrowException, OSError):
            continue
        if not other["embedding"].equals(table["embedding"]):
            return
    raise AssertionError("every flipped bit is noticed")


def test_a_flipped_bit_stops_the_merge_and_keeps_an_earlier_one(
    run: RunDirectory, plan: Plan, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["merge", str(run.path)]) == 0
    earlier = (run.path / "embeddings.parquet").read_bytes()
    path = run.pooled_path(plan.shards[2])
    flip_unnoticed(path)
    capfd.readouterr()
    assert command(["merge", str(run.path), "--overwrite"]) == 2
    err = " ".join(capfd.readouterr().err.split())
    assert f"{path}` is damaged" in err
    assert f"Delete the marker ({run.marker_path(plan.shards[2])})" in err
    assert "row/s" not in err  # no bars in logs
    assert (run.path / "embeddings.parquet").read_bytes() == earlier
    assert not list(run.path.glob(".*.tmp"))


def test_a_file_of_another_size_is_not_done(run: RunDirectory, plan: Plan) -> None:
    truncate(run.pooled_path(plan.shards[2]))
    with pytest.raises(
        RunDirectoryError, match=r"1 of \d+ shards.*same `thor-geo predict` command"
    ):
        merge_run(read_run(run.path))


def test_a_file_that_is_replaced_meanwhile_stops_the_merge(run: RunDirectory, plan: Plan) -> None:
    opened = read_run(run.path)
    finished = find_finished(opened)
    order = hilbert_order(plan, finished.state != 0)
    run.marker_path(plan.shards[2]).unlink()
    with pytest.raises(RunDirectoryError, match="changed since the merge began"):
        list(Gatherer(opened, finished.state, order).batches(1000))


def test_half_floats_and_runs_without_vectors(tmp_path: Path, plan: Plan) -> None:
    halves = write_run(tmp_path / "halves", plan, grid=False, dtype="float16").run
    merged = merge_run(read_run(halves.path))
    assert str(pq.read_schema(merged.path).field("embedding").type.value_type) == "halffloat"
    assert duckdb.sql(f"select count(embedding) from '{merged.path}'").fetchall() == [
        (merged.rows,)
    ]
    maps = write_run(tmp_path / "maps", plan, pooled=False).run
    with pytest.raises(RunDirectoryError, match="no pooled files"):
        merge_run(read_run(maps.path))


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("2 GiB", 2 << 30), ("1.5k", 1500), ("7", 7)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_impossible_sizes_are_refused(
    edge: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    for option, value in (("--max-size", "many"), ("--max-size", "0"), ("--max-rows", "0")):
        assert command(["merge", str(edge.path), option, value]) == 2
        assert option in capfd.readouterr().err
