"""Checking every row of plan.parquet against the plan that was read from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import shapely

from thor_geo.checks._rows import SAME_PLACE
from thor_geo.checks.faults import Fault
from thor_geo.ground.plan import Plan
from thor_geo.runs.plan_file import plan_columns, plan_schema
from thor_geo.storage import Location
from thor_geo.storage.files import readable
from thor_geo.support.progress import PATIENCE_S, Progress

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 65_536


def check_plan_file(path: Location, plan: Plan, *, progress: bool = False) -> Iterator[Fault]:
    """Yield the faults of the columns that are not needed to read the plan.

    Args:
        path: ``plan.parquet``.
        plan: The plan read from it.
        progress: Whether to show progress, if it takes long.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(readable(path)) as file:
            if not file.schema_arrow.equals(plan_schema(plan), check_metadata=False):
                yield _fault(path, "its columns are not those of a plan")
                return
            label = "checking the plan"
            with Progress(len(plan), label=label, shown=progress, delay=PATIENCE_S) as bar:
                for batch in file.iter_batches(_ROWS):
                    batch.validate(full=True)
                    yield from _differences(path, batch, plan, bar.done)
                    bar.advance(len(batch))
    except (pa.ArrowException, OSError, ValueError) as error:
        yield _fault(path, f"cannot be read as Parquet ({str(error)[:200]})")


def _differences(path: Location, batch: pa.RecordBatch, plan: Plan, start: int) -> Iterator[Fault]:
    expected = plan_columns(plan, start, start + len(batch))
    for name, actual, wanted in zip(batch.schema.names, batch.columns, expected, strict=True):
        if actual.equals(wanted):
            continue
        if name == "geometry" and not actual.null_count:
            # Versions of PROJ differ in the last bits.
            polygons, planned_polygons = (
                shapely.from_wkb(column.to_numpy(zero_copy_only=False), on_invalid="ignore")
                for column in (actual, wanted)
            )
            if shapely.equals_exact(polygons, planned_polygons, tolerance=SAME_PLACE).all():
                continue
        if name == "bbox" and not actual.null_count:
            edges, planned = (
                np.stack([column.field(k).to_numpy(zero_copy_only=False) for k in range(4)])
                for column in (actual, wanted)
            )
            if np.allclose(edges, planned, rtol=0, atol=SAME_PLACE):
                continue
        yield _fault(path, f"`{name}` is wrong among rows {start} to {start + len(batch) - 1}")


def _fault(path: Location, reason: str) -> Fault:
    return Fault(kind="run", file=path.name, reason=reason)
