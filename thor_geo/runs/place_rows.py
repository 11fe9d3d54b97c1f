"""What rows of places have besides those of tiles: the place, its id, and the columns kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import Places
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.quantise import quantise
from thor_geo.runs.shard import ShardResult
from thor_geo.runs.vectors import CENTRE, SCALES, as_column, vector_column
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import BoolArray, Int64Array

if TYPE_CHECKING:
    import pyarrow as pa

#: The status of a row of the table that became no place.
SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class PlaceFields:
    """The columns that depend on the user's table and settings.

    Attributes:
        table: The id column, if there is one, and the columns kept, with the table's own types. An
            id column that is called ``id`` is the output's own.
        centre: Whether rows have the vector of the cell that holds the place.
    """

    table: pa.Schema
    centre: bool

    @classmethod
    def of(cls, columns: pa.Schema, *, centre: bool) -> Self:
        """Return the columns of a table's rows.

        Args:
            columns: Schema of `Places.columns`, or of a file that has these columns.
            centre: Whether rows have the vector of the cell that holds the place.
        """
        import pyarrow as pa

        # Without what readers of the table's file left on its fields.
        plain = pa.schema([pa.field(field.name, field.type) for field in columns])
        return cls(table=plain, centre=centre)

    @property
    def has_id(self) -> bool:
        """Whether the output's column ``id`` is the table's."""
        return "id" in self.table.names

    @property
    def id_type(self) -> pa.DataType:
        """The type of the output's column ``id``."""
        import pyarrow as pa

        return self.table.field("id").type if self.has_id else pa.string()

    def added(self, vector: pa.DataType, *, coded: bool) -> list[pa.Field]:
        """Return the columns that follow those of all runs.

        Args:
            vector: Type of an embedding.
            coded: Whether embeddings are int8 codes.
        """
        import pyarrow as pa

        centre = [pa.field(CENTRE, vector)] if self.centre else []
        if self.centre and coded:
            centre.append(pa.field(SCALES[CENTRE], pa.float32()))
        return [
            pa.field("place", pa.int64()),
            pa.field("place_lon", pa.float64()),
            pa.field("place_lat", pa.float64()),
            pa.field("offset_m", pa.float32()),
            *centre,
            *(field for field in self.table if field.name != "id"),
        ]


def row_windows(plan: Plan, start: int, stop: int, window: TemporalSpec) -> list[TemporalSpec]:
    """Return the time window of some rows, which places have each for itself.

    Args:
        plan: The plan.
        start: First tile.
        stop: Tile after the last.
        window: The window of a plan that is not of places.
    """
    if isinstance(plan, PlacePlan):
        return [plan.window_of(index) for index in range(start, stop)]
    return [window] * (stop - start)


def place_columns(
    plan: PlacePlan,
    shard: Shard,
    places: Places,
    result: ShardResult,
    null: BoolArray,
    *,
    coded: bool,
) -> dict[str, Any]:
    """Return the values of `PlaceFields.added` for a shard, and ``id`` where the table has it.

    Args:
        plan: The plan.
        shard: The shard.
        places: The table.
        result: The complete shard.
        null: Which of its places have no embedding.
        coded: Whether embeddings are int8 codes.
    """
    import pyarrow as pa

    rows = slice(shard.start, shard.stop)
    columns: dict[str, Any] = {
        "place": plan.place[rows],
        "place_lon": plan.lon[rows],
        "place_lat": plan.lat[rows],
        "offset_m": plan.offset_m[rows],
    }
    if result.centre is not None:
        vectors = result.centre
        if coded:
            vectors, scales = quantise(vectors, axis=1)
            columns[SCALES[CENTRE]] = pa.array(scales, mask=null)
        columns[CENTRE] = vector_column(vectors, null)
    return columns | _of_table(places, plan.place[rows])


def skipped_table(places: Places, schema: pa.Schema) -> pa.Table:
    """Return the rows that were skipped, with the reason of each as their error.

    They have what the table says of them, and null for all that a chip would have.

    Args:
        places: The table.
        schema: Schema of the run's pooled files, with their metadata.
    """
    import pyarrow as pa

    rows = np.array(sorted(places.skipped), dtype=np.int64)
    lon, lat = places.lon[rows], places.lat[rows]
    columns: dict[str, Any] = {
        "id": [f"p{row}" for row in rows.tolist()],
        "datetime_start": pa.array(places.starts[rows].astype("datetime64[us]")),
        "datetime_end": pa.array(places.ends[rows].astype("datetime64[us]")),
        "status": [SKIPPED] * len(rows),
        "error": [places.skipped[row] for row in rows.tolist()],
        "place": rows,
        "place_lon": pa.array(lon, mask=np.isnan(lon)),
        "place_lat": pa.array(lat, mask=np.isnan(lat)),
        **_of_table(places, rows),
    }
    arrays = [
        as_column(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _of_table(places: Places, rows: Int64Array | Sequence[int]) -> dict[str, Any]:
    """Return the id column and the kept columns of some rows, values and nulls as they are."""
    import pyarrow as pa

    taken = places.columns.take(pa.array(rows, pa.int64())).combine_chunks()
    return {name: taken[name] for name in taken.column_names}
