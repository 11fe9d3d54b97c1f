"""If one of these fails, wrong rows or a wrong marker pass for right ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.damage import SHARD, damage_of, edit_json, edit_rows, with_column, with_row
from tests.support.synthetic_run import DIMENSION
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory


def vectors(table: pa.Table, row: int, value: list[float | None] | None) -> pa.Table:
    return with_row(table, "embedding", row, value)


def moved(table: pa.Table) -> pa.Table:
    return with_column(table, "geometry", list(reversed(table["geometry"].to_pylist())))


def renamed_run(table: pa.Table) -> pa.Table:
    metadata = dict(table.schema.metadata)
    about = json.loads(metadata[b"thor_geo"])
    metadata[b"thor_geo"] = json.dumps({**about, "fingerprint": "0" * 64}).encode()
    return table.replace_schema_metadata(metadata)


def mercator(table: pa.Table) -> pa.Table:
    metadata = dict(table.schema.metadata)
    geo = json.loads(metadata[b"geo"])
    geo["columns"]["geometry"]["crs"] = {"id": {"authority": "EPSG", "code": 3857}}
    metadata[b"geo"] = json.dumps(geo).encode()
    return table.replace_schema_metadata(metadata)


def halves(table: pa.Table) -> pa.Table:
    index = table.schema.get_field_index("embedding")
    values = [
        None if row is None else np.array(row, np.float16) for row in table["embedding"].to_pylist()
    ]
    kind = pa.list_(pa.float16())
    return table.set_column(index, "embedding", pa.array(values, kind))


# Rows of the shard: 0 and 3 are ok, 1 failed, 2 is empty.
ROWS: dict[str, tuple[Callable[[pa.Table], pa.Table], str, str]] = {
    "a row is missing": (lambda t: t.slice(1), "rows", "1 missing"),
    "a row came twice": (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "rows", "1 twice"),
    "a row of another shard": (
        lambda t: with_row(t, "tile_id", 0, "utm31n_x1_y1"),
        "rows",
        "1 not of this shard",
    ),
    "another order": (lambda t: t.take(list(reversed(range(len(t))))), "rows", "order"),
    "another shard's id": (lambda t: with_row(t, "shard_id", 0, "x"), "rows", "shard_id"),
    "another window": (
        lambda t: with_column(t, "datetime_end", t["datetime_start"].combine_chunks()),
        "rows",
        "datetime_end",
    ),
    "a wrong EPSG code": (lambda t: with_row(t, "epsg", 0, 32631), "place", "32631"),
    "a wrong transform": (lambda t: with_row(t, "transform", 0, [1.0] * 6), "place", "transform"),
    "a wrong footprint": (moved, "place", "geometry"),
    "a broken footprint": (lambda t: with_row(t, "geometry", 0, b"\x01"), "place", "geometry"),
    "a wrong covering": (
        lambda t: with_row(t, "bbox", 0, {"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}),
        "place",
        "bbox",
    ),
    "another CRS": (mercator, "place", "CRS84"),
    "another primary": (
        lambda t: with_row(t, "primary", 0, not t["primary"][0].as_py()),
        "place",
        "primary",
    ),
    "NaN": (lambda t: vectors(t, 0, [float("nan")] * DIMENSION), "values", "NaN"),
    "infinity": (lambda t: vectors(t, 0, [float("inf")] * DIMENSION), "values", "infinity"),
    "a hole": (
        lambda t: vectors(t, 0, [None, *[1.0] * (DIMENSION - 1)]),
        "values",
        "1 embeddings hold NaN, infinity or null",
    ),
    "no vector": (lambda t: vectors(t, 0, None), "values", "have no embedding"),
    "a vector where it failed": (
        lambda t: vectors(t, 1, [0.0] * DIMENSION),
        "values",
        "not ok and have",
    ),
    "a vector where it is empty": (
        lambda t: vectors(t, 2, [0.0] * DIMENSION),
        "values",
        "not ok and have",
    ),
    "an unknown status": (lambda t: with_row(t, "status", 0, "fine"), "values", "fine"),
    "an error of a good tile": (lambda t: with_row(t, "error", 0, "x"), "values", "error"),
    "no error": (lambda t: with_row(t, "error", 1, None), "values", "error"),
    "observed, yet empty": (
        lambda t: with_row(t, "valid_fraction", 2, 0.5),
        "values",
        "valid_fraction",
    ),
    "a wrong count of scenes": (lambda t: with_row(t, "n_scenes", 0, 7), "values", "n_scenes"),
    "half floats": (halves, "schema", "halffloat"),
    "another length": (
        lambda t: t.set_column(3, "embedding", pa.array([[1.0]] * len(t), pa.list_(pa.float32()))),
        "values",
        "do not have 5 elements",
    ),
    "a vector of another length": (
        lambda t: vectors(t, 0, [1.0] * (DIMENSION + 1)),
        "values",
        "1 embeddings do not have 5 elements",
    ),
    "other facts": (
        lambda t: t.replace_schema_metadata({**t.schema.metadata, b"geoemb": b'{"dimensions":5}'}),
        "schema",
        "geoemb",
    ),
    "a missing column": (lambda t: t.drop_columns(["epsg"]), "schema", "missing epsg"),
    "another run": (renamed_run, "schema", "another run"),
    "no footer": (lambda t: t.replace_schema_metadata(None), "schema", "thor_geo"),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_what_plan_and_status_say(run: RunDirectory, plan: Plan, name: str) -> None:
    damage, kind, reason = ROWS[name]
    edit_rows(run, plan.shards[SHARD], damage)
    found = damage_of(run)
    assert (kind, True) in [(fault.kind, reason in fault.reason) for fault in found], found


MARKERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another run": (lambda m: m.update(fingerprint="0" * 64), "another run"),
    "another shard": (lambda m: m.update(shard_id="utm31n_x"), "shard utm31n_x"),
    "another failed tile": (
        lambda m: m.update(failed_tiles=["utm31n_x1_y1"]),
        "not the shard's: utm31n_x1_y1",
    ),
    "the empty tile as failed": (
        lambda m: m.update(failed_tiles=m["empty_tiles"], empty_tiles=m["failed_tiles"]),
        "empty tiles it names are not",
    ),
    "another scene": (lambda m: m["scenes"].pop(), "scenes it names are not"),
    "another file": (lambda m: m["outputs"].update(x=m["outputs"].popitem()[1]), "other files"),
    "a tile of a very long name": (
        lambda m: m.update(failed_tiles=[9000 * "x"]),
        "not the shard's: xxx",
    ),
    "a file outside": (
        lambda m: m["outputs"].update({"../x": {"sha256": "0" * 64, "size": 1}}),
        "cannot be read as a marker",
    ),
    "nonsense": (lambda m: m.clear(), "cannot be read as a marker"),
}


@pytest.mark.parametrize("name", MARKERS)
def test_markers_agree_with_plan_and_rows(run: RunDirectory, plan: Plan, name: str) -> None:
    damage, reason = MARKERS[name]
    edit_json(run.marker_path(plan.shards[SHARD]), damage)
    found = [fault for fault in damage_of(run) if fault.kind == "marker"]
    assert found
    assert reason in found[0].reason
    assert len(found[0].reason) < 1000
