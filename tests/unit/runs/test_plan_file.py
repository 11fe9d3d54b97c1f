"""If one of these fails, a run's own record of its tiles cannot be read, or tells of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.plan_file import read_plan, write_plan


def plan_of(
    bbox: tuple[float, float, float, float], crs: str = "OGC:CRS84", **lattice: Any
) -> Plan:
    return Plan.from_area(AreaSpec(bbox=bbox, crs=crs).load(), Lattice(epsg=32601, **lattice))


PLANS = {
    "zones": lambda: plan_of((11.8, 59.9, 12.2, 60.0), shard_tiles=3),
    "hemispheres": lambda: plan_of((10, -0.1, 10.2, 0.1), stride=96),
    "odd grid": lambda: plan_of(
        (501362.5, 5629040.0, 503000.0, 5629680.0),
        "EPSG:32631",
        tile_size=64,
        anchor=(501362.5, 5629680.25),
    ),
}


@pytest.fixture(params=PLANS, ids=PLANS)
def plan(request: pytest.FixtureRequest) -> Plan:
    made: Plan = PLANS[request.param]()
    return made


def test_the_plan_comes_back_as_it_was(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    write_plan(path, plan, rows_at_once=100)
    again = read_plan(path)
    assert again.lattices == plan.lattices
    for name in ("zone", "col", "row", "primary"):
        one, other = getattr(plan, name), getattr(again, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert list(again.shards) == list(plan.shards)


def test_every_row_is_what_the_tile_says(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    write_plan(path, plan, rows_at_once=100)
    assert pq.ParquetFile(path).num_row_groups == -(-len(plan) // 100)
    rows = pq.read_table(path).to_pylist()
    polygons = plan.footprints()
    assert len(rows) == len(plan)
    for row, tile, polygon, primary in zip(
        rows, plan.tiles(range(len(plan))), polygons, plan.primary, strict=True
    ):
        assert (row["tile_id"], row["shard_id"], row["epsg"]) == (tile.id, tile.shard_id, tile.epsg)
        assert tuple(row["transform"]) == tile.transform
        assert row["primary"] == primary
        assert row["geometry"] == shapely.to_wkb(polygon, byte_order=1)
        assert tuple(row["bbox"].values()) == polygon.bounds


def test_the_run_directory_gives_its_plan(tmp_path: Path) -> None:
    plan = PLANS["zones"]()
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="does not exist"):
        run.plan()
    run.prepare({}, {}, plan)
    assert run.plan().digest == plan.digest


def rewrite(path: Path, change: Any, footer: Any = None) -> None:
    """Change the rows, or the JSON of the footer, of a written plan."""
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    if footer is not None:
        metadata[b"thor_geo"] = json.dumps(footer(json.loads(metadata[b"thor_geo"]))).encode()
    pq.write_table(change(table).replace_schema_metadata(metadata), path)


def keep(table: pa.Table) -> pa.Table:
    return table


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, pa.array(values, table.schema.field(name).type))


DAMAGES: dict[str, Any] = {
    "a tile is gone": (lambda t: t.slice(1), None, "digest"),
    "no rows": (lambda t: t.slice(0, 0), None, "no rows"),
    "a column is gone": (lambda t: t.drop_columns(["transform"]), None, "transform"),
    "not a number": (
        lambda t: replaced(t, "transform", [[float("nan")] * 6] * len(t)),
        None,
        "impossible",
    ),
    "another zone": (lambda t: replaced(t, "epsg", [32601] * len(t)), None, "zones"),
    "null": (lambda t: replaced(t, "epsg", [None] * len(t)), None, "without values"),
    "no lattices": (keep, lambda f: {"plan": f["plan"]}, "lattices"),
    "a number for a footer": (keep, lambda f: 5, "lattices"),
    "half a lattice": (keep, lambda f: {**f, "lattices": [{"epsg": 32632}]}, "anchor"),
    "another lattice": (
        keep,
        lambda f: {**f, "lattices": [{**one, "tile_size": 0} for one in f["lattices"]]},
        "tile_size",
    ),
    "a lattice of words": (
        keep,
        lambda f: {**f, "lattices": [{**one, "stride": "wide"} for one in f["lattices"]]},
        "damaged",
    ),
    "an enormous tile": (
        keep,
        lambda f: {**f, "lattices": [{**one, "tile_size": 10**400} for one in f["lattices"]]},
        "damaged",
    ),
    "another plan's digest": (keep, lambda f: {**f, "plan": "0" * 64}, "digest"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_plan_is_refused_with_the_remedy(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    write_plan(path, PLANS["zones"]())
    change, footer, says = DAMAGES[damage]
    rewrite(path, change, footer)
    with pytest.raises(RunDirectoryError, match=says) as caught:
        read_plan(path)
    assert "Delete it and run the same `thor-geo predict` command" in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_plan_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    write_plan(path, PLANS["zones"]())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunDirectoryError, match="Delete it"):
        read_plan(path)


def test_another_projects_parquet_is_not_a_plan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plan.parquet")
    with pytest.raises(RunDirectoryError, match="names no lattices"):
        read_plan(tmp_path / "plan.parquet")
