"""Checking what a run of places says of its table as a whole: rows skipped, and columns kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from thor_geo.checks.faults import Fault, FaultKind, first_few
from thor_geo.errors import first_line
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import column_digest
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import own_columns
from thor_geo.runs.place_rows import SKIPPED, PlaceFields
from thor_geo.runs.pooled import pooled_schema
from thor_geo.storage.files import below, readable
from thor_geo.support.jsontext import parse_json

# What a row that was skipped has.
_OF_TABLE = frozenset(
    {"id", "datetime_start", "datetime_end", "status", "error", "place", "place_lon", "place_lat"}
)


def check_skipped(opened: OpenedRun, plan: PlacePlan, fields: PlaceFields) -> Iterator[Fault]:
    """Yield the faults of ``pooled/skipped.parquet``, which exists if rows were skipped.

    Args:
        opened: A run of places with pooled files.
        plan: Its plan.
        fields: The columns of its rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, skipped = opened.table or (0, 0)
    if not skipped:
        return  # a file that should not be there is a stray
    path = opened.run.skipped
    name = below(path, opened.run.path)

    def fault(kind: FaultKind, reason: str) -> Fault:
        return Fault(kind=kind, file=name, reason=reason, noticed=True)

    try:
        table = pq.ParquetFile(readable(path)).read()
        table.validate(full=True)
        about = parse_json((table.schema.metadata or {})[b"thor_geo"])
        same_run = about["fingerprint"] == opened.fingerprint
    except FileNotFoundError:
        yield fault("file", f"missing: {skipped} rows of the table were skipped")
        return
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        yield fault("file", f"cannot be read ({first_line(error)})")
        return
    wanted = pooled_schema(opened.dtype, fields)
    if not table.schema.equals(wanted, check_metadata=False):
        yield fault("schema", "its columns are not those of the other pooled files")
        return
    if not same_run:
        yield fault("schema", "the footer has the fingerprint of another run")
    planned = np.isin(np.arange(rows), plan.place, invert=True)
    if table["place"].to_pylist() != np.flatnonzero(planned).tolist():
        yield fault("rows", "`place` is not the rows that are not in the plan")
    if set(table["status"].to_pylist()) != {SKIPPED}:
        yield fault("values", f"`status` is not {SKIPPED} in every row")
    if not all(table["error"].to_pylist()):
        yield fault("values", "`error` gives no reason in some rows")
    kept = _OF_TABLE.union(fields.table.names)
    valued = [
        column
        for column in table.column_names
        if column not in kept and table[column].null_count < len(table)
    ]
    if valued:
        yield fault("values", f"{first_few(valued)} should be null, as there is no chip")


def check_kept(opened: OpenedRun) -> Iterator[Fault]:
    """Yield the columns whose values are not those that the run was given.

    Args:
        opened: A run of places, complete and without other faults.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    digests = opened.document["settings"]["data"]["places"]["columns"]
    names = own_columns(opened.run)
    files = [opened.run.pooled_path(shard) for shard in opened.plan.shards]
    if opened.table is not None and opened.table[1]:
        files.append(opened.run.skipped)
    table = pa.concat_tables(
        pq.ParquetFile(readable(file)).read(columns=["place", *names]) for file in files
    )
    order = pa.array(np.argsort(table["place"].to_numpy()))
    for name in names:
        if column_digest(table[name].take(order)) != digests.get(name):
            yield Fault(
                kind="values",
                file=opened.run.pooled.name,
                reason=f"the values of `{name}` are not those of the table that was given",
            )
