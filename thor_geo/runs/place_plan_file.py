"""What ``plan.parquet`` says of places besides what it says of all tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.ground.place_plan import PlacePlan, place_shard_id
from thor_geo.ground.plan import Plan
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import Int64Array

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES = ("datetime_start", "datetime_end")
# Attributes of the plan by the names of their columns.
_NUMBERS = {"place_lon": "lon", "place_lat": "lat", "place_x": "x", "place_y": "y"}


def place_fields() -> list[tuple[str, pa.DataType]]:
    """Return names and types of the columns that a plan of places has besides `plan_schema`.

    ``place`` is the row of the table, ``datetime_start`` and ``datetime_end`` its window,
    ``place_lon`` and ``place_lat`` degrees, ``place_x`` and ``place_y`` metres in the chip's zone;
    ``alone`` says whether the chip is fetched as one block of its own.
    """
    import pyarrow as pa

    return [
        ("place", pa.int64()),
        *((name, pa.timestamp("us", tz="UTC")) for name in _TIMES),
        *((name, pa.float64()) for name in _NUMBERS),
        ("alone", pa.bool_()),
    ]


def place_columns(plan: PlacePlan, start: int, stop: int) -> list[pa.Array]:
    """Return these columns of some rows.

    Args:
        plan: The plan.
        start: First place.
        stop: Place after the last.
    """
    import pyarrow as pa

    rows, moment = slice(start, stop), pa.timestamp("us", tz="UTC")
    spans = [[window.start for window in plan.windows], [window.end for window in plan.windows]]
    window = pa.array(plan.window[rows])
    return [
        pa.array(plan.place[rows]),
        *(pa.array(times, moment).take(window) for times in spans),
        *(pa.array(getattr(plan, attribute)[rows]) for attribute in _NUMBERS.values()),
        pa.array(plan.alone[rows]),
    ]


def place_shard_ids(plan: PlacePlan, start: int, stop: int) -> pa.Array:
    """Return the ids of the shards of some places, (stop - start,) strings."""
    import pyarrow as pa

    shards = (plan.first + np.arange(start, stop)) // plan.shard_places
    first = int(shards[0]) if len(shards) else 0
    count = int(shards[-1]) - first + 1 if len(shards) else 0
    names = [
        place_shard_id((first + k) * plan.shard_places, plan.shard_places) for k in range(count)
    ]
    return pa.array(names, pa.string()).take(pa.array(shards - first))


def place_footer(plan: Plan) -> dict[str, Any]:
    """Return what the file's footer says of places; nothing for other plans."""
    if not isinstance(plan, PlacePlan):
        return {}
    return {"places": {"shard_places": plan.shard_places, "table": plan.table}}


def as_place_plan(plan: Plan, footer: Mapping[str, Any], batches: Sequence[Any]) -> PlacePlan:
    """Return the plan of places that the columns of a file describe.

    Args:
        plan: The chips, as a plan of tiles.
        footer: `place_footer`.
        batches: The file's record batches, with `place_fields`.

    Raises:
        KeyError: If a column or an entry of the footer is missing.
        ValueError: If a value is.
    """
    import pyarrow as pa

    table = pa.Table.from_batches(batches).select([name for name, _ in place_fields()])
    if any(column.null_count for column in table.columns):
        raise ValueError("it has places without values")
    times = np.stack([table[name].cast(pa.int64()).to_numpy() for name in _TIMES], axis=1)
    different, window = np.unique(times, axis=0, return_inverse=True)
    spans = different.astype("datetime64[us]").tolist()
    place: Int64Array = table["place"].to_numpy()
    about = footer["places"]
    shard_places = about["shard_places"]
    if not isinstance(shard_places, int) or shard_places < 1:
        raise ValueError(f"its footer has shard_places {shard_places!r:.50}")
    return PlacePlan(
        lattices=plan.lattices,
        zone=plan.zone,
        col=plan.col,
        row=plan.row,
        primary=plan.primary,
        place=place,
        window=window.ravel().astype(np.int32),
        windows=tuple(TemporalSpec(start=start, end=end) for start, end in spans),
        **{attribute: table[name].to_numpy() for name, attribute in _NUMBERS.items()},
        alone=table["alone"].to_numpy(),
        shard_places=shard_places,
        table=str(about["table"]),
    )
