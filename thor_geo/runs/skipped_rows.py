"""The rows of a table of places that were skipped, written when a run begins."""

from __future__ import annotations

import io

from thor_geo.ground.places import Places
from thor_geo.ground.plan import Plan
from thor_geo.runs.geoparquet import geo_metadata
from thor_geo.runs.place_rows import PlaceFields, skipped_table
from thor_geo.runs.pooled import footer_facts, pooled_schema, pooled_writer
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.shard import Shapes
from thor_geo.storage.files import create_once, write_bytes


def write_skipped(run: RunDirectory, plan: Plan, places: Places, shapes: Shapes) -> None:
    """Write the rows of a table that were skipped; every process of a run may call it.

    Args:
        run: The prepared run directory.
        plan: The plan.
        places: The table.
        shapes: What is written for a place; without vectors there are no rows.

    Raises:
        OSError: If the file cannot be written.
    """
    if shapes.pooled is None or not places.skipped:
        return
    fields = PlaceFields.of(places.columns.schema, centre=shapes.centre is not None)
    footer = {
        "geo": geo_metadata(None),
        **footer_facts(
            run.metadata,
            plan,
            shapes.dtype,
            dimension=shapes.pooled[0],
            centre=None if shapes.centre is None else shapes.centre[0],
        ),
    }
    schema = pooled_schema(shapes.dtype, fields).with_metadata(footer)
    content = io.BytesIO()
    with pooled_writer(content, schema) as out:
        out.write_table(skipped_table(places, schema))
    created = create_once(run.skipped, lambda path: path.write_bytes(content.getvalue()))
    # The table alone decides what it holds: one that is damaged is made again.
    if not created and run.skipped.read_bytes() != content.getvalue():
        write_bytes(run.skipped, content.getvalue())
