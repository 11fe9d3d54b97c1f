"""Damage to a run that its markers vouch for: what only a look inside finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thor_geo.checks._marked import check_shard
from thor_geo.checks.faults import Fault
from thor_geo.checks.validate import expected_shards
from thor_geo.ground.plan import Shard
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import ShardFile
from thor_geo.runs.opened_run import read_run

# The shard that is damaged: tiles 2 to 5, of which 3 failed and 4 is empty.
SHARD = 1


def faults_of(run: RunDirectory, shard: int = SHARD) -> list[Fault]:
    """Return what is wrong with one shard, in this process."""
    opened = read_run(run.path)
    expected, found = expected_shards(opened)
    return found + check_shard(expected, opened.plan, opened.plan.shards[shard]).faults


def damage_of(run: RunDirectory) -> list[Fault]:
    """Return what is wrong with the damaged shard except the tile that failed."""
    return [fault for fault in faults_of(run) if fault.kind != "failed"]


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def faults_of_store(
    run: RunDirectory, array: str, change: Callable[[dict[str, Any]], Any]
) -> list[Fault]:
    """Change an array's metadata; return the faults of the store, of which there must be some."""
    edit_json(run.grid / "utm32n" / array / "zarr.json", change)
    found = [fault for fault in damage_of(run) if fault.kind == "grid"]
    assert found
    return found


def vouch(run: RunDirectory, shard: Shard, path: Path) -> None:
    """Let the marker say that a file is as it is now."""
    output = ShardFile.from_path(path)
    name = path.relative_to(run.path).as_posix()

    def change(marker: dict[str, Any]) -> None:
        marker["outputs"][name] = {"sha256": output.sha256, "size": output.size}

    edit_json(run.marker_path(shard), change)


def edit_rows(run: RunDirectory, shard: Shard, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a pooled file and vouch for it."""
    path = run.pooled_path(shard)
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    vouch(run, shard, path)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """Return a table with other values in a column of the same type."""
    kind = table.schema.field(name).type
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return table.set_column(table.schema.get_field_index(name), name, array)


def with_row(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    """Return a table with another value in one cell."""
    values = table[name].to_pylist()
    values[row] = value
    return with_column(table, name, values)
