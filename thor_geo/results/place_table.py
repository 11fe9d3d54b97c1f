"""Places in tables: their numbers, ids and kept columns beside a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.ground.area import LONLAT
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.support.arrays import Int64Array

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa

# Columns of the table that a line for reading has room for, and characters of each.
_SHOWN, _WIDEST = 4, 18


def place_frame(
    plan: PlacePlan,
    index: Int64Array,
    columns: pa.Table,
    values: Mapping[str, npt.NDArray[Any]],
) -> geopandas.GeoDataFrame:
    """Return places as points (OGC:CRS84): row of the table, its own columns, and values.

    The table's columns keep their types and nulls. One that has the name of another column here is
    followed by ``_kept``.

    Args:
        plan: The plan.
        index: Indices of places in it, the first rank first, (n,).
        columns: Columns of the table, n rows.
        values: Further columns, (n,) each; `rank` comes first.
    """
    import geopandas
    import pandas as pd

    ours: dict[str, Any] = {
        "place": plan.place[index],
        **values,
        "place_lon": plan.lon[index],
        "place_lat": plan.lat[index],
        "datetime_start": [plan.window_of(k).start for k in index.tolist()],
        "datetime_end": [plan.window_of(k).end for k in index.tolist()],
    }
    kept = {
        f"{name}_kept" if name in (*ours, "geometry") else name: columns[name]
        .combine_chunks()
        .to_pandas(types_mapper=_nullable)
        for name in columns.column_names
    }
    head: dict[str, Any] = {k: ours.pop(k) for k in ("rank", "place") if k in ours}
    frame = pd.DataFrame({**head, **kept, **ours})
    points = shapely.points(plan.lon[index], plan.lat[index])
    return geopandas.GeoDataFrame(frame, geometry=points, crs=LONLAT)


def _nullable(kind: pa.DataType) -> Any:
    """Return pandas's type for integers and booleans that may be null; others as they come."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    if pa.types.is_integer(kind):
        return pd.api.types.pandas_dtype(str(kind).replace("int", "Int").replace("uI", "UI"))
    return None


def place_lines(
    plan: PlacePlan,
    index: Int64Array,
    columns: pa.Table,
    values: npt.NDArray[Any],
    name: str,
) -> list[str]:
    """Return lines for reading: rank, place, its own columns, where it is, and a value.

    Args:
        plan: The plan.
        index: Indices of places in it, the first rank first, (n,).
        columns: Columns of the table, n rows; the first few are shown, and none that repeats where
            the places are.
        values: One for each place, (n,).
        name: Name of the values.
    """
    shown = [name for name in columns.column_names if not _repeats(plan, index, columns[name])]
    shown = shown[:_SHOWN]
    cells = [[_short(v) for v in [n, *columns[n].to_pylist()]] for n in shown]
    widths = [max(map(len, column)) for column in cells]
    place = [str(k) for k in plan.place[index].tolist()]
    wide = max([5, *map(len, place)])

    def line(rank: object, row: str, own: list[str], lon: str, lat: str, value: str) -> str:
        middle = "".join(f"  {text:<{width}}" for text, width in zip(own, widths, strict=True))
        return f"  {rank:>4}  {row:>{wide}}{middle}  {lon:>10}  {lat:>9}  {value:>8}"

    lines = [line("rank", "place", [column[0] for column in cells], "lon", "lat", name)]
    for k, (at, value) in enumerate(zip(index.tolist(), values.tolist(), strict=True)):
        own = [column[k + 1] for column in cells]
        lon, lat = f"{plan.lon[at]:.5f}", f"{plan.lat[at]:.5f}"
        lines.append(line(k + 1, place[k], own, lon, lat, f"{value:.5f}"))
    return lines


def _repeats(plan: PlacePlan, index: Int64Array, column: pa.ChunkedArray) -> bool:
    """Return whether a column is the places' longitude or latitude, as a line shows them."""
    import pyarrow as pa

    if not pa.types.is_floating(column.type):
        return False
    values = column.to_numpy()
    return any(np.allclose(values, own[index], rtol=0, atol=1e-5) for own in (plan.lon, plan.lat))


def _short(value: object) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
